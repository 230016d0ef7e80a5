"""A SIP trace as a text file, for support bundles: every message, with numbers, keys and credentials masked.

It is told of pieces of the stream as they are sent and received, and writes them down; it parses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trunkproof.loadgen.sip.mask import mask
from trunkproof.models.errors import InputError, Problem

Trace = Callable[[str, bytes], None]
"""Called with "sent" or "received" and the bytes."""


@contextmanager
def open_trace(path: Path | None) -> Iterator[Trace | None]:
    """A trace into a new file; `None` for none.

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
