"""An enum for states and inputs: they are looked up in tables a dozen times for each call, so hashing must be fast.

Do not use it for an enum whose members shall equal something else, such as a string.
"""

from __future__ import annotations

from enum import Enum


class TableKey(Enum):
    """An enum whose members hash by identity, which is also how they compare.

    Python's own enums hash their names, in Python code, which is slower.
    """

    __hash__ = object.__hash__
