"""`decision.json`: the keys that are promised, values that are the review's, and nothing that is no JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.experiments.report.review_example import not_needed, review, undecided

from trunkproof.experiments.review import decision_json
from trunkproof.experiments.review.decision_json import names_of, plain, to_json, write_decision
from trunkproof.experiments.review.result import Decision, Resource
from trunkproof.models.demand.fitting.result import Ranged
from trunkproof.models.throttles.fixed_window import FixedWindow

PROMISED = [
    "decision", "requested_per_minute", "recommended_per_minute", "confidence", "per_interpretation", "binding_now",
    "binding_next", "kpis", "history", "provenance",
]  # fmt: skip


def test_the_promised_keys_come_first_and_say_what_the_review_says(tmp_path: Path) -> None:
    made = review()
    saved = json.loads(write_decision(made, tmp_path).read_text())
    assert list(saved)[: len(PROMISED)] == PROMISED
    assert saved["decision"] == made.decision.value
    assert saved["requested_per_minute"] == made.request.requested_per_minute
    assert saved["recommended_per_minute"] == made.recommended_per_minute
    assert list(saved["per_interpretation"]) == [result.interpretation.policy for result in made.interpretations]
    assert set(saved["kpis"]) == {"now", "requested", "recommended"}
    assert set(saved["kpis"]["now"]["refused_share"]) == {"value", "low", "high"}
    assert saved["history"]["oddities"] == {odd.kind: odd.count for odd in made.history.oddities}
    assert saved["provenance"]["seed"] == made.provenance.seed


def test_everything_that_a_review_found_is_in_it() -> None:
    made = review()
    saved = to_json(made)
    json.dumps(saved, allow_nan=False)
    assert saved["busy_hour"]["periods"] == [
        {"weekdays": [0, 1, 2, 3, 4], "start_s": 38_700.0, "length_s": 3600.0, "level_per_minute": 352.0}
    ]
    assert [one["reproduces"] for one in saved["backcast"]] == [True] * 4 + [False]
    assert {"scope", "seen", "expected", "p_value", "reproduced"} <= set(saved["backcast"][0]["rows"][0])
    assert saved["contradicted"] == [made.contradicted[0].describe()]
    assert saved["disagreements"][0]["hours"] == list(made.disagreements[0].hours)
    assert [one["name"] for one in saved["situations"]] == [one.name for one in made.situations]
    assert saved["situations"][-1]["beyond"] is True
    assert saved["protection"][0]["blocked"].keys() == {"support", "sales"}
    assert saved["two_states"][0]["collapsed"]["value"] == made.states[0].collapsed.value
    point = saved["per_interpretation"]["fixed_window"]["points"][0]
    assert set(point) == {"per_minute", "holds", "confidence", "targets", "kpis", "record", "busy_hours"}
    # Every key is explained where the file is made.
    assert all(key in (decision_json.__doc__ or "") for key in saved)


def test_no_raise_is_a_recommendation_of_the_present_throttle() -> None:
    saved = to_json(not_needed())
    assert (saved["decision"], saved["recommended_per_minute"], saved["rollout"]) == ("not_needed", 200, [])


def test_figures_to_hold_against_the_truth_have_their_ranges() -> None:
    fit = to_json(review())["fit"]
    for name in ("offered_per_minute", "day_cv", "period_cv", "mean_hold_s", "redial_probability"):
        assert fit[name]["low"] <= fit[name]["value"] <= fit[name]["high"]


def test_a_review_without_a_sweep_has_the_same_keys() -> None:
    saved = to_json(undecided())
    assert list(saved)[: len(PROMISED)] == PROMISED
    assert saved["decision"] == Decision.CANNOT_TELL.value
    assert saved["kpis"] == {"now": None, "requested": None, "recommended": None}
    json.dumps(saved, allow_nan=False)


def test_two_interpretations_of_one_policy_have_two_keys() -> None:
    one = review().interpretations[0]
    results = [
        replace(one, interpretation=FixedWindow()),
        replace(one, interpretation=FixedWindow(limit=10, window_s=3)),
    ]
    assert names_of(results) == ["fixed_window 1", "fixed_window 2"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, None),
        (Ranged(1.0, math.nan, math.inf), {"value": 1.0, "low": None, "high": None}),
        (Resource.PORTS, "ports"),
        ({Resource.PORTS: (1, 2)}, {"ports": [1, 2]}),
        (np.array([[1.0, math.nan]]), [[1.0, None]]),
        (np.float64(2.0), 2.0),
        (pl.DataFrame({"at": [datetime(2026, 9, 7, 10)], "n": [1]}), [{"at": "2026-09-07T10:00", "n": 1}]),
    ],
)
def test_any_value_becomes_json(value: object, written: object) -> None:
    assert plain(value) == written
