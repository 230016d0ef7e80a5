"""An enum for states and inputs, which are looked up in tables a dozen times for each call.

Not for enums whose members are to equal anything but themselves.
"""

from __future__ import annotations

from enum import Enum


class TableKey(Enum):
    """Its members hash by identity, as they compare: Python's own enums hash their names, in Python code."""

    __hash__ = object.__hash__
