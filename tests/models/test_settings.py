"""The three rules of everything that is read: immutable, closed to unknown keys, finite."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trunkproof.models.settings import Settings


class Example(Settings):
    """Something that is read."""

    length_s: float = 1.0


def test_a_value_does_not_change() -> None:
    read = Example()
    with pytest.raises(ValidationError, match="frozen"):
        read.length_s = 2.0  # type: ignore[misc]


@pytest.mark.parametrize("written", [{"lenght_s": 1.0}, {"length_s": float("nan")}, {"length_s": float("inf")}])
def test_unknown_keys_and_numbers_that_are_none_are_refused(written: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Example.model_validate(written)
