"""Two witnesses that do not say the same are told, with the days and minutes that it comes from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.experiments.review.known_fit import judged, known_fit
from tests.experiments.review.known_sweep import Lost, demand_of, known_sweep
from tests.experiments.review.theory.test_premises import request

from trunkproof.experiments.review.judging import Judge
from trunkproof.experiments.review.sweep.sweep import Witness
from trunkproof.experiments.review.witnesses import disagreements_of
from trunkproof.models.demand.fitting.result import Fit
from trunkproof.models.study import Quality
from trunkproof.models.throttles.fixed_window import FixedWindow

ASKED = request(interpretations=(FixedWindow(),), quality=Quality())
LIMITS = (200, 300)


def fit() -> Fit:
    """On the third day twice as many calls come from 11:30 to 11:45."""
    made = known_fit(100.0, days=4)
    counts = made.days.counts.copy()
    counts[2, 46] *= 2
    return replace(made, days=replace(made.days, counts=counts))


def judge(model: Lost, record: Lost | None) -> Judge:
    demand = demand_of(np.full(40, 250.0), days=4)
    return Judge(ASKED, known_sweep(ASKED, demand, LIMITS, model, record), (demand,))


def none(interpretation: int, limit: int, load: float) -> float:
    return 0.0


def some(interpretation: int, limit: int, load: float) -> float:
    return 0.03 if limit == 200 else 0.001


def test_a_difference_is_told_where_it_is_with_both_figures() -> None:
    found = judge(none, some)
    # On the third day, at all levels, nearly all of the refusals come.
    response = found.sweep.response(0, 200, Witness.RECORD)
    response.values["refused"][:, response.runs.day != 2] *= 0.9
    told = disagreements_of(found, [0], LIMITS, judged(4), fit())
    assert {(one.limit_per_minute, one.kpi) for one in told} == {(200, "refused_share"), (200, "customers_lost_share")}
    refused = told[0]
    assert refused.interpretation == FixedWindow()
    assert refused.model.value == 0
    assert refused.record.value > 0.02
    assert refused.hours[0].startswith("Wednesday 2026-09-09, busiest at 11:30: ")
    assert "0 by the model" in refused.hours[0]


def test_what_changes_no_decision_and_what_agrees_is_not_told() -> None:
    assert disagreements_of(judge(some, some), [0], LIMITS, judged(4), fit()) == ()
    little = judge(lambda interpretation, limit, load: 0.0, lambda interpretation, limit, load: 0.0015)
    assert disagreements_of(little, [0], LIMITS, judged(4), fit()) == ()


def test_one_witness_alone_agrees_with_itself() -> None:
    assert disagreements_of(judge(some, None), [0], LIMITS, judged(4), fit()) == ()
