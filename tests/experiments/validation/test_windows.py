"""Where windows begin on a run's clock, before and after an edge that forgets its throttle."""

from __future__ import annotations

import pytest

from trunkproof.experiments.validation.windows import anchor_at
from trunkproof.models.study import Study


def study(policy: str, *, forgets: bool = True) -> Study:
    incident = {"kind": "edge_restart", "at_s": 20, "down_s": 2, "forgets_throttle": forgets}
    throttle = {"policy": policy} if policy in {"none", "tandem"} else {"policy": policy, "window_s": 10}
    traffic = {"arrivals": {"kind": "constant", "rate_per_minute": 60}, "holding": 1}
    trunks = [{"throttle": throttle, "traffic": traffic}]
    return Study.model_validate({"name": "t", "pop": {"incidents": [incident]}, "trunks": trunks})


@pytest.mark.parametrize("policy", ["fixed_window", "pipelimit", "tandem"])
def test_a_restart_that_forgets_begins_a_new_sequence(policy: str) -> None:
    question = study(policy)
    assert anchor_at(question, {"trunk": -3.0}, "trunk", 21.9) == -3.0
    assert anchor_at(question, {"trunk": -3.0}, "trunk", 22.0) == 22.0
    assert anchor_at(study(policy, forgets=False), {"trunk": -3.0}, "trunk", 22.0) == -3.0


def test_where_there_are_no_windows_or_nobody_told_there_is_no_anchor() -> None:
    assert anchor_at(study("none"), {"trunk": -3.0}, "trunk", 0.0) is None
    assert anchor_at(study("token_bucket"), {"trunk": -3.0}, "trunk", 0.0) is None
    assert anchor_at(study("fixed_window"), {}, "trunk", 0.0) is None
