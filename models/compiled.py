"""Mark functions that Numba compiles: plain loops over numbers and arrays, for which Python is too slow.

Machine code is kept between runs: in `__pycache__`, or else in the user's cache, or else in a private folder of the
temporary one. Where none of them can be written it is compiled anew by each process, after one warning. It runs without
the interpreter's lock. Arithmetic is that of Python's floats to the last bit: no re-ordering, no contraction.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

logger = logging.getLogger(__name__)

_CACHE = "NUMBA_CACHE_DIR"
"""Numba's own environment variable for the folder of machine code. Our child processes inherit it."""
_njit: Any = numba.njit
"""`Any`, because Numba's types do not declare all of its options."""
_LEAN: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "_nrt": False,
    "error_model": "numpy",
    # Nobody needs the address of such a function. Without it compiling takes a tenth less time.
    "no_cfunc_wrapper": True,
}
_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """Return the same function, compiled for each combination of argument types when it is first called with them."""
    return cast("_Function", _kept(function, {"nogil": True, "cache": True}))


def lean(function: _Function) -> _Function:
    """Return the function compiled for speed. It must make no arrays, because references to arrays are not counted.

    It raises nothing: a division by zero gives the result of IEEE 754.
    """
    return cast("_Function", _kept(function, _LEAN))


def inlined(function: _Function) -> _Function:
    """Return the function compiled like `lean`, and inlined into every function that calls it."""
    return cast("_Function", _kept(function, {**_LEAN, "forceinline": True}))


def part(function: _Function) -> _Function:
    """Return the function inlined, for one that is made at run time or written elsewhere.

    Its machine code is not kept by itself, but inside the kept functions that call it.
    """
    return cast("_Function", _njit(**{**_LEAN, "cache": False}, forceinline=True)(function))


def is_kept(function: Callable[..., object]) -> bool:
    """Tell whether up-to-date machine code of a marked function is kept from an earlier run, or cannot be kept."""
    dispatcher: Any = function
    kept = getattr(dispatcher._cache, "_cache_file", None)
    return kept is None or bool(kept._load_index())


def _kept(function: Callable[..., object], options: dict[str, Any]) -> Any:
    """Return the dispatcher of a function, with its machine code kept wherever that is possible."""
    try:
        return _stamped(_njit(**options)(function))
    except RuntimeError:  # Numba's way to say that it has no folder to write to.
        if not _has_private_folder():
            return _njit(**{**options, "cache": False})(function)
        return _stamped(_njit(**options)(function))


@cache
def _has_private_folder() -> bool:
    """Let Numba use a private folder of the temporary one. Return whether there is one."""
    # Windows has no such numbers, and gives every user a temporary folder that nobody else may write to.
    owner = os.getuid() if hasattr(os, "getuid") else None
    folder = Path(tempfile.gettempdir()) / f"trunkproof-{owner}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        # What is in it is run: nobody else may have made it, or may write to it.
        is_ours = stat.S_ISDIR(found.st_mode)
        is_ours &= owner is None or (found.st_uid == owner and not found.st_mode & 0o022)
        if is_ours:
            with tempfile.TemporaryFile(dir=folder):
                pass
            os.environ[_CACHE] = str(folder)
            numba.config.reload_config()  # type: ignore[no-untyped-call]
            logger.warning("machine code is kept in %s: its own folder and the user's cache are not writable", folder)
            return True
    except OSError:
        pass
    logger.warning("machine code cannot be kept, and is compiled anew each time: no folder for it is writable")
    return False


@cache
def _tell_not_kept(why: str) -> None:
    logger.warning("machine code cannot be kept, and is compiled anew the next time: %s", why)


def _stamped(dispatcher: Any) -> Any:
    """Make kept machine code depend on all files that it may contain code or constants of.

    These are the files in the function's folder, in the folder around it, in `models` and in `models/throttles`. Numba
    by itself checks only the function's own file.
    """
    folder = Path(dispatcher.py_func.__code__.co_filename).parent
    stamp, kept = _stamp(folder), dispatcher._cache._cache_file
    save = dispatcher._cache.save_overload

    def save_if_possible(*code: Any) -> None:
        try:
            save(*code)
        except OSError as error:  # A full disk: the code is in memory, and can be run.
            _tell_not_kept(error.strerror or str(error))

    dispatcher._cache.save_overload = save_if_possible
    kept._source_stamp = stamp
    # Numba writes the stamp before the code. With one name for all versions, a process that reads in between would get
    # old code.
    digest = hashlib.sha256(repr(stamp).encode()).hexdigest()[:12]
    kept._data_name_pattern = kept._data_name_pattern.replace(".{number:d}.", f".{digest}.{{number:d}}.")
    return dispatcher


@lru_cache
def _stamp(folder: Path) -> tuple[tuple[str, float, int], ...]:
    models = Path(__file__).parent
    folders = sorted({folder, folder.parent, models, models / "throttles"})
    files = [(file.name, file.stat()) for each in folders for file in sorted(each.glob("*.py"))]
    return tuple((name, found.st_mtime, found.st_size) for name, found in files)
