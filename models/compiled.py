"""Mark functions that Numba compiles: plain loops over numbers and arrays, for which Python is too slow.

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
    return cast("_Function", _stamped(_njit(nogil=True, cache=True)(function)))


def lean(function: _Function) -> _Function:
    """Return the function compiled for speed. It must make no arrays, because references to arrays are not counted.

    It raises nothing: a division by zero gives the result of IEEE 754.
    """
    return cast("_Function", _stamped(_njit(**_LEAN)(function)))


def inlined(function: _Function) -> _Function:
    """Return the function compiled like `lean`, and inlined into every function that calls it."""
    return cast("_Function", _stamped(_njit(**_LEAN, forceinline=True)(function)))


def part(function: _Function) -> _Function:
    """Return the function inlined, for one that is made at run time or written elsewhere.

    Its machine code is not kept by itself, but inside the kept functions that call it.
    """
    return cast("_Function", _njit(**{**_LEAN, "cache": False}, forceinline=True)(function))


def is_kept(function: Callable[..., object]) -> bool:
    """Tell whether up-to-date machine code of a marked function is kept from an earlier run."""
    dispatcher: Any = function
    return bool(dispatcher._cache._cache_file._load_index())


def _stamped(dispatcher: Any) -> Any:
    """Make kept machine code depend on all files that it may contain code or constants of.

    These are the files in the function's folder, in the folder around it, in `models` and in `models/throttles`. Numba
    by itself checks only the function's own file.
    """
    folder = Path(dispatcher.py_func.__code__.co_filename).parent
    stamp, kept = _stamp(folder), dispatcher._cache._cache_file
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
