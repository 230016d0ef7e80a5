"""A SIP trace as a text file, for support bundles: every message, with numbers, keys and credentials masked.

The trace gets whole messages, as they were sent or received: of a part of a key nobody could tell what it is. Only its
owner may read the file, since a mask is no proof.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trunkproof.loadgen.sip.mask import mask
from trunkproof.models.errors import InputError, Problem

Trace = Callable[[str, bytes], None]
"""A function that is called with "sent" or "received", and the bytes of one message."""


_PRIVATE = 0o600


@contextmanager
def open_trace(path: Path | None) -> Iterator[Trace | None]:
    """Open a trace into a new file, or None where no path is given.

    Raises:
        InputError: the file cannot be written.
    """
    if path is None:
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
        # A file that was there before keeps its mode when it is opened.
        os.fchmod(descriptor, _PRIVATE)
    except OSError as error:
        problem = Problem(where="--trace", what=f"cannot be written ({error.strerror})")
        raise InputError(str(path), [problem]) from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:

        def trace(direction: str, data: bytes) -> None:
            file.write(f"--- {time.time():.6f} {direction}\n{mask(data.decode('utf-8', 'replace'))}\n")

        yield trace
