"""Give a folder a name that every program understands.

Kamailio, rtpengine and Asterisk read paths from configuration files, in which blanks, quotes, semicolons and line
breaks mean something, and the path of a Unix socket has at most 107 bytes. A link with a plain, short name stands for
such a folder; the files are still where the user wants them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from trunkproof.models.errors import StorageError

_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")
_LONGEST = 80
"""Leaves room for the names of sockets in it."""
_PREFIX = "trunkproof-path-"
_counter = itertools.count()


@contextlib.contextmanager
def plainly_named(folder: Path) -> Iterator[Path]:
    """Yield a plain path of the folder while the block runs: its own where it is plain, or else that of a link.

    Raises:
        StorageError: no link can be made.
    """
    path = folder.absolute()
    if _PLAIN.fullmatch(str(path)) and len(str(path)) <= _LONGEST:
        yield path
        return
    own = Path(tempfile.gettempdir())
    place = own if _PLAIN.fullmatch(str(own)) else Path("/tmp")
    _remove_left_behind(place)
    link = place / f"{_PREFIX}{os.getpid()}-{next(_counter)}"
    try:
        link.symlink_to(path)
    except OSError as error:
        what = f"the trunk's programs cannot read the name of {path}, and no link to it can be made in {place}"
        raise StorageError(f"{what} ({error.strerror}); name another folder") from error
    try:
        yield link
    finally:
        link.unlink(missing_ok=True)


def _remove_left_behind(place: Path) -> None:
    """Remove the links of processes that were killed."""
    for link in place.glob(f"{_PREFIX}*"):
        pid = link.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            with contextlib.suppress(OSError):
                link.unlink()
