"""Odd telephones call the trunk of `trunkproof serve`: each hears what it must, or the right refusal."""

from __future__ import annotations

import pytest
from tests.odd import callers  # noqa: F401  # declares its scripts
from tests.odd.play import Played
from tests.odd.scenario import CALLERS

pytestmark = pytest.mark.alone
NAMES = list(CALLERS)


@pytest.mark.parametrize(("role", "name"), [("caller", name) for name in NAMES], ids=NAMES)
def test_an_odd_telephone_calls_serve(role: str, name: str, results: dict[tuple[str, str], Played]) -> None:
    played = results[role, name]
    assert not played.fault, f"{name}: {played.fault}{played.story()}"
