"""The base class of everything that a study's YAML is read into.

It fixes four rules for all of them: values are immutable, unknown keys are errors, a number must be finite, and
nothing but a number is one: neither the text "200" nor `true`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema


class WrongTogetherError(ValueError):
    """A value is wrong beside others. A validator of the whole raises it, and names the key that is to blame.

    Its key is a path from the validated settings, such as `trunks[1].throttle`.
    """

    def __init__(self, key: str, what: str) -> None:
        super().__init__(what)
        self.key = key


_STRICT = frozenset({"bool", "int", "float"})


def _make_strict(part: Any) -> None:
    if isinstance(part, list | tuple):
        for item in part:
            _make_strict(item)
    elif isinstance(part, dict):
        if part.get("type") in _STRICT:
            part["strict"] = True
        for item in part.values():
            _make_strict(item)


class Settings(BaseModel):
    """Immutable, closed to unknown keys, without NaN and infinity. The text below a field is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Make numbers and truth values strict. Whole models cannot be: YAML has no dates, addresses or tuples."""
        schema = handler(source)
        _make_strict(schema)
        return schema
