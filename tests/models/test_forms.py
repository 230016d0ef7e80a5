"""Files of any form: changes from outside, and later errors told at the keys as they were written."""

from __future__ import annotations

from pathlib import Path

import pytest

from trunkproof.models.errors import InputError, Problem
from trunkproof.models.forms import at_its_keys, parse_form, read_form
from trunkproof.models.study import STUDY

TEXT = """\
name: short
trunk:
  throttle: {policy: shaper}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 5}
  holding: 1
"""


def later(path: Path, *where: str) -> list[str]:
    path.write_text(TEXT)
    error = InputError("a stack", [Problem(where=key, what="cannot be played") for key in where])
    return [str(problem) for problem in at_its_keys(error, path, STUDY).problems]


def test_a_later_error_is_told_at_the_key_as_written_with_its_line(tmp_path: Path) -> None:
    told = later(tmp_path / "study.yaml", "trunks[0].throttle.policy", "trunks[0].traffic.holding", "name")
    assert told == [
        "line 3: trunk.throttle.policy: cannot be played",
        "line 6: traffic.holding: cannot be played",
        "line 1: name: cannot be played",
    ]


def test_what_names_no_key_of_the_file_stays(tmp_path: Path) -> None:
    assert later(tmp_path / "study.yaml", "--target", "pop.inner_address") == [
        "--target: cannot be played",
        "pop.inner_address: cannot be played",
    ]


def test_a_changed_key_has_no_line(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(TEXT)
    error = InputError("a stack", [Problem(where="trunks[0].throttle.policy", what="no")])
    changes = {("trunk", "throttle", "policy"): "shaper"}
    (problem,) = at_its_keys(error, path, STUDY, changes=changes).problems
    assert str(problem) == "trunk.throttle.policy: no"


def test_changes_give_keys_another_value(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(TEXT)
    changed = read_form(path, STUDY, changes={("traffic", "holding"): 7})
    assert changed == parse_form(TEXT.replace("holding: 1", "holding: 7"), STUDY, source="short")


def test_a_change_that_leads_nowhere_is_told() -> None:
    with pytest.raises(InputError, match=r"name\.x: what stands there has no keys"):
        parse_form(TEXT, STUDY, source="x", changes={("name", "x"): 1})
