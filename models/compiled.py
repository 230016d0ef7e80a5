"""Marks functions that Numba compiles: plain loops over numbers and arrays, which Python would be too slow for.

Machine code is kept between runs (in `__pycache__`, or the user's cache where that cannot be written), and it runs
without the interpreter's lock. Arithmetic is that of Python's floats to the last bit: no re-ordering, no contraction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

_njit: Any = numba.njit
"""Its types do not know all that it takes."""
_LEAN: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "_nrt": False,
    "error_model": "numpy",
    # Nobody takes the address of one: a tenth less to compile.
    "no_cfunc_wrapper": True,
}
_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """Return the same function, compiled for each combination of argument types when it is first called with them."""
    return cast("_Function", _stamped(_njit(nogil=True, cache=True)(function)))


def lean(function: _Function) -> _Function:
    """As `compiled`, for a function that makes no arrays: it need not count who uses the ones that it is given.

    It raises nothing either: a division by zero gives what IEEE 754 says.
    """
    return cast("_Function", _stamped(_njit(**_LEAN)(function)))


def inlined(function: _Function) -> _Function:
    """As `lean`, for a part of such a function: it becomes part of each that calls it, so that no call is left."""
    return cast("_Function", _stamped(_njit(**_LEAN, forceinline=True)(function)))


def part(function: _Function) -> _Function:
    """As `inlined`, for a function that was made at run time or is written elsewhere: it is not kept by itself, only in
    the machine code of the kept functions that call it.
    """
    return cast("_Function", _njit(**{**_LEAN, "cache": False}, forceinline=True)(function))


def is_kept(function: Callable[..., object]) -> bool:
    """Tell whether machine code of a marked function is kept from an earlier run, and not out of date."""
    dispatcher: Any = function
    return bool(dispatcher._cache._cache_file._load_index())


def _stamped(dispatcher: Any) -> Any:
    """Machine code holds the functions that it calls and the constants that it reads: kept code is out of date as soon
    as any file beside it, in the folder around it, in `models` or in its `throttles` is another, where Numba looks at
    the function's own file only.
    """
    folder = Path(dispatcher.py_func.__code__.co_filename).parent
    stamp, kept = _stamp(folder), dispatcher._cache._cache_file
    kept._source_stamp = stamp
    # Numba writes the stamp before the code. Under one name for all, a process that reads in between had old code.
    digest = hashlib.sha256(repr(stamp).encode()).hexdigest()[:12]
    kept._data_name_pattern = kept._data_name_pattern.replace(".{number:d}.", f".{digest}.{{number:d}}.")
    return dispatcher


@lru_cache
def _stamp(folder: Path) -> tuple[tuple[str, float, int], ...]:
    models = Path(__file__).parent
    folders = sorted({folder, folder.parent, models, models / "throttles"})
    files = [(file.name, file.stat()) for each in folders for file in sorted(each.glob("*.py"))]
    return tuple((name, found.st_mtime, found.st_size) for name, found in files)
