"""The table on top: the columns, the witness that is told, and figures that are those of the decision's points."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from trunkproof.experiments.review.courses import Courses
from trunkproof.experiments.review.judging import Judge
from trunkproof.experiments.review.periods.busy import BusyPeriods
from trunkproof.experiments.review.periods.horizon import Demand
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import Decision, Protection, Situation
from trunkproof.experiments.review.sweep.response import Response, Runs
from trunkproof.experiments.review.sweep.sweep import Sweep, Witness
from trunkproof.experiments.review.verdict import Verdict
from trunkproof.experiments.review.words.situations import situations_of
from trunkproof.models.demand.fitting.result import Ranged
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.study import Carrier, Pop

LEVELS = np.array([0.5, 1.0, 1.5])
WANTED = 300.0
REQUEST = Request(
    name="table",
    history=HistorySettings(path=Path("none.csv")),
    now_per_minute=200,
    requested_per_minute=400,
    pop=Pop(carrier=Carrier(channels=900)),
)
NONE = Ranged(0.0, 0.0, 0.0)


class Known:
    """A fluid throttle; the record loses twice as many as the model."""

    witnesses = (Witness.MODEL, Witness.RECORD)

    def response(self, interpretation: int, limit: int, witness: Witness = Witness.MODEL) -> Response:
        calls = 60 * WANTED * LEVELS
        lost = (2.0 if witness is Witness.RECORD else 1.0) * np.maximum(calls - 60 * limit, 0.0)
        others = ("throttled", "no_channel", "no_port", "carrier_rejected", "answered", "effective", "call_s")
        sums: dict[str, Any] = {"calls": calls, "attempts": calls, "lost": lost, "refused": lost}
        sums |= dict.fromkeys(others, lost)
        names = ("srd_p95_ms", "mos_p5", "mos_mean", "peak_concurrency", "peak_channels", "peak_ports", "cpu_share")
        means = dict(zip(names, (200.0, 4.3, 4.3, 500.0, 510.0, 510.0, 0.5), strict=True))
        values = {name: np.tile(column[:, None], (1, 2)) for name, column in sums.items()}
        values |= {name: np.full((3, 2), value) for name, value in means.items()}
        runs = Runs(LEVELS, np.zeros(2, dtype=np.int64), np.arange(2), 3600.0)
        return Response(runs, values)


class Grows:
    """A tenth more in a year than at the horizon, and a tenth less today."""

    def __init__(self, later: float) -> None:
        self.later = later

    def today(self, _: BusyPeriods) -> Demand:
        return Demand.constant(WANTED).grown(0.9)

    def after_a_year(self, _: BusyPeriods) -> Demand:
        return Demand.constant(WANTED).grown(self.later)


def judge() -> Judge:
    return Judge(REQUEST, cast("Sweep", Known()), (Demand.constant(WANTED),))


def table(verdict: Verdict, later: float = 1.1) -> dict[str, Situation]:
    protection = [Protection(limit, {}, NONE, NONE, NONE, NONE, limit < 400) for limit in (200, 320, 400)]
    courses, busy = cast("Courses", Grows(later)), cast("BusyPeriods", None)
    return {one.name: one for one in situations_of(judge(), 0, verdict, courses, protection, busy)}


def test_every_choice_has_a_column_with_its_own_demand() -> None:
    found = table(Verdict(Decision.APPROVE_LOWER, 320, 300))
    assert [(one.name, one.per_minute, one.protects) for one in found.values()] == [
        ("today", 200, True), ("recommended", 320, True), ("asked for", 400, False),
        ("nothing done for a year", 200, True),
    ]  # fmt: skip
    assert [one.offered_per_minute.value for one in found.values()] == pytest.approx([270, 300, 300, 330])
    assert not any(one.beyond for one in found.values())


def test_the_witness_that_is_less_sure_is_told_and_customers_are_counted_by_it() -> None:
    # At 298 the model loses 2 of 300, which is less than 1 %, and the record 4.
    column = table(Verdict(Decision.APPROVE_LOWER, 298, 298))["recommended"]
    assert column.lost_share.value == pytest.approx(4 / 300)
    assert column.lost_per_day.value == pytest.approx(60 * 300 * 4 / 300)
    assert column.lost_per_day.low <= column.lost_per_day.value <= column.lost_per_day.high


@pytest.mark.parametrize("limit", [250, 298, 320])
def test_what_is_recommended_has_the_figures_of_the_decision(limit: int) -> None:
    column = table(Verdict(Decision.APPROVE_LOWER, limit, limit))["recommended"]
    point = judge().point(0, limit)
    told = {target.kpi: target.value for target in point.targets}
    assert column.refused_share == told["refused_share"]
    assert column.lost_share == told["customers_lost_share"]
    assert (column.peak_channels, column.cores) == (point.kpis["peak_channels"], point.kpis["cpu_share"])


def test_where_no_raise_is_needed_the_present_throttle_is_recommended() -> None:
    found = table(Verdict(Decision.NOT_NEEDED, 200, 200))
    assert (found["recommended"].per_minute, found["recommended"].offered_per_minute.value) == (200, WANTED)
    assert "recommended" not in table(Verdict(Decision.REFUSE, None, None))


def test_demand_beyond_what_was_simulated_is_told_as_such() -> None:
    found = table(Verdict(Decision.REFUSE, None, None), later=2.0)
    assert [one.beyond for one in found.values()] == [False, False, True]
