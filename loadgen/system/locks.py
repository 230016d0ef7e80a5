"""Lock an open file for this process alone. The system ends the lock with the process, however that ends."""

from __future__ import annotations

import errno
import os
from importlib import import_module
from types import ModuleType

_BEYOND = 1 << 30
"""Where Windows locks a byte. Nobody can read a locked byte there, so it must be none of the file's own."""


def lock_file(descriptor: int) -> None:
    """Lock an open file, without waiting.

    Raises:
        BlockingIOError: another process has locked it.
        OSError: its file system knows no locks (`ENOLCK`, `ENOTSUP`), or it cannot be locked.
    """
    if (posix := _module("fcntl")) is not None:
        posix.flock(descriptor, posix.LOCK_EX | posix.LOCK_NB)
        return
    if (windows := _module("msvcrt")) is None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    os.lseek(descriptor, _BEYOND, os.SEEK_SET)
    try:
        windows.locking(descriptor, windows.LK_NBLCK, 1)
    except PermissionError as error:
        raise BlockingIOError(error.errno, error.strerror) from error


def _module(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ImportError:
        return None
