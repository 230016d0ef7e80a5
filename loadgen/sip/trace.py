"""A SIP trace as a text file, for support bundles: every message, with numbers, keys and credentials masked.

The trace gets pieces of the stream as they are sent and received, and writes them down. It parses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trunkproof.loadgen.sip.mask import mask
from trunkproof.models.errors import InputError, Problem

Trace = Callable[[str, bytes], None]
"""A function that is called with "sent" or "received", and the bytes."""


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
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        problem = Problem(where="--trace", what=f"cannot be written ({error.strerror})")
        raise InputError(str(path), [problem]) from error
    with file:

        def trace(direction: str, data: bytes) -> None:
            file.write(f"--- {time.time():.6f} {direction}\n{mask(data.decode('utf-8', 'replace'))}\n")

        yield trace
