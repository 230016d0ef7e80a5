"""The table on top: each column is of its own throttle and its own demand."""

from __future__ import annotations

import numpy as np
import pytest
from tests.experiments.review.known_fit import judged, known_fit
from tests.experiments.review.known_sweep import Lost, fluid, known_sweep
from tests.experiments.review.test_courses import no_rows
from tests.experiments.review.theory.test_premises import request

from trunkproof.experiments.review.courses import Courses
from trunkproof.experiments.review.judging import Judge
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import Decision, Protection, Situation
from trunkproof.experiments.review.verdict import Verdict
from trunkproof.experiments.review.words.situations import situations_of
from trunkproof.models.demand.fitting.result import Ranged
from trunkproof.models.study import Carrier, Pop, Quality
from trunkproof.models.throttles.fixed_window import FixedWindow

DAYS = 28
NOTHING = Ranged(0.0, 0.0, 0.0)


def asked(**changes: object) -> Request:
    values = {"interpretations": (FixedWindow(),), "quality": Quality(), "horizon_days": 28, "growth": 1.25}
    return request(**(values | {"pop": Pop(carrier=Carrier(channels=660))} | changes))


def columns(verdict: Verdict, record: Lost | None = None, **changes: object) -> dict[str, Situation]:
    """Of callers who want 240 a minute today."""
    made = asked(**changes)
    courses = Courses.of(made, no_rows(), known_fit(240.0, days=DAYS))
    demands = courses.demands(judged(DAYS))
    sweep = known_sweep(made, demands[0], (200, 330, 400), fluid, record)
    protection = [
        Protection(limit, {}, NOTHING, NOTHING, NOTHING, NOTHING, holds)
        for limit, holds in ((200, True), (330, None), (400, False))
    ]
    found = situations_of(Judge(made, sweep, demands), 0, verdict, courses, protection, judged(DAYS))
    return {one.name: one for one in found}


RAISED = Verdict(Decision.APPROVE_LOWER, 330, 300)


def test_each_column_is_of_its_throttle_and_its_demand() -> None:
    found = columns(RAISED)
    assert list(found) == ["today", "recommended", "asked for", "nothing done for a year"]
    assert [one.per_minute for one in found.values()] == [200, 330, 400, 200]
    assert [one.protects for one in found.values()] == [True, None, False, True]
    today, raised = found["today"], found["recommended"]
    assert today.offered_per_minute.value == pytest.approx(240, rel=0.06)
    # 40 of 240 are refused, more than by a mean load as what is above counts alone.
    assert today.refused_share.value == pytest.approx(1 - 200 / 240, abs=0.05)
    assert today.refused_share.low < today.refused_share.value < today.refused_share.high
    assert raised.offered_per_minute.value == pytest.approx(300, rel=0.06)
    assert raised.refused_share.value < 0.05
    assert raised.peak_concurrency.value == pytest.approx(3 * 300, rel=0.08)
    assert {one.channels for one in found.values()} == {660}
    assert found["nothing done for a year"].refused_share.value > today.refused_share.value


def test_customers_lost_a_day_are_the_share_times_the_callers() -> None:
    today = columns(RAISED)["today"]
    expected = today.lost_share.value * 60 * today.offered_per_minute.value
    assert today.lost_per_day.value == pytest.approx(expected, rel=0.02)
    assert today.lost_per_day.low <= today.lost_per_day.value <= today.lost_per_day.high


def test_the_witness_who_is_less_sure_is_told() -> None:
    worse = columns(RAISED, record=lambda interpretation, limit, load: 0.1 + fluid(interpretation, limit, load) / 2)
    plain = columns(RAISED)
    assert worse["recommended"].refused_share.value > plain["recommended"].refused_share.value + 0.05
    better = columns(RAISED, record=lambda interpretation, limit, load: 0.0)
    assert better["today"].refused_share.value == pytest.approx(plain["today"].refused_share.value)


def test_where_none_is_recommended_there_is_no_column_for_it() -> None:
    assert list(columns(Verdict(Decision.REFUSE, None, None))) == ["today", "asked for", "nothing done for a year"]
    kept = columns(Verdict(Decision.NOT_NEEDED, 200, 200))["recommended"]
    assert kept.per_minute == 200
    assert kept.offered_per_minute.value == pytest.approx(300, rel=0.06)


def test_figures_are_numbers() -> None:
    for one in columns(RAISED).values():
        told = (one.refused_share, one.lost_share, one.lost_per_day, one.peak_concurrency, one.peak_channels, one.cores)
        assert not any(np.isnan([part.low, part.value, part.high]).any() for part in told)
