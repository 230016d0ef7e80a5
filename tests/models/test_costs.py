"""Cost calibrations: the shipped one reads, and a wrong one is answered with all that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.costs import CALIBRATIONS, load_costs
from models.errors import InputError
from models.settings import Settings


@pytest.mark.parametrize("name", [path.stem for path in CALIBRATIONS.glob("*.yaml")])
def test_every_shipped_calibration_reads(name: str) -> None:
    costs = load_costs(name)
    assert isinstance(costs, Settings)
    assert costs.full_handshake_s >= costs.resumed_handshake_s > 0


def test_a_calibration_can_be_a_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((CALIBRATIONS / "embedded.yaml").read_text().replace("bye_s: 0.0004", "bye_s: 0.5"))
    assert load_costs(str(path)).bye_s == 0.5


def test_all_mistakes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("bye_s: -1\nbey_s: 1\n")
    with pytest.raises(InputError) as caught:
        load_costs(str(path))
    assert {problem.where for problem in caught.value.problems} >= {"bye_s", "bey_s", "invite_s"}


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="known: embedded"):
        load_costs("nothing")
