"""`trunkproof load` calls an odd trunk: each call gets its right disposition, reason and figures."""

from __future__ import annotations

import pytest
from tests.odd import called  # noqa: F401  # declares its scripts
from tests.odd.judging import judge_called
from tests.odd.play import Played
from tests.odd.scenario import CALLED

pytestmark = pytest.mark.alone
NAMES = [name for name, one in CALLED.items() if "trunk" in one.roles]


@pytest.mark.parametrize(("role", "name"), [("trunk", name) for name in NAMES], ids=NAMES)
def test_load_calls_an_odd_trunk(role: str, name: str, results: dict[tuple[str, str], Played]) -> None:
    judge_called(CALLED[name], results[role, name])
