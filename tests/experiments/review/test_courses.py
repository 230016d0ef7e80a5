"""How demand goes on after the history: a stated growth, a drift that stops or goes on, and what follows from it."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from tests.experiments.review.known_fit import MONDAY, judged, known_fit
from tests.experiments.review.known_sweep import demand_of, known_sweep
from tests.experiments.review.theory.test_premises import request as request_with

from trunkproof.experiments.review.courses import Courses
from trunkproof.experiments.review.judging import Judge
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import Decision
from trunkproof.experiments.review.verdict import Verdict, decide
from trunkproof.models.demand.fitting.settings import ThrottleChange
from trunkproof.models.demand.history.table import COUNTS_SCHEMA, History
from trunkproof.models.study import Quality
from trunkproof.models.throttles.fixed_window import FixedWindow

DAYS = 42


def request(**changes: object) -> Request:
    return request_with(**({"interpretations": (FixedWindow(),), "quality": Quality(), "horizon_days": 28} | changes))


def change(first: date, per_minute: int) -> ThrottleChange:
    return ThrottleChange.model_validate({"from": first, "per_minute": per_minute})


def no_rows() -> History:
    """Courses look in it for a change of the throttle only."""
    table = pl.DataFrame(schema=dict(COUNTS_SCHEMA))
    return History("x.csv", "counts", "Asia/Kolkata", 0, None, table, 60.0, (), ())


def courses(weekly: float = 0.0, **changes: object) -> Courses:
    """Of six weeks whose calls grow by that much a week."""
    random = np.random.default_rng(1)
    level = 200 * np.exp(weekly * np.arange(DAYS) / 7 + 0.02 * random.standard_normal(DAYS))
    return Courses.of(request(**changes), no_rows(), known_fit(np.outer(level, np.ones(24)), days=DAYS))


def test_a_level_that_stays_has_one_course_at_that_level() -> None:
    found = courses()
    assert not found.drifts
    (demand,) = found.demands(judged(DAYS))
    mean = demand.mean_per_minute
    assert mean.low < 200 < mean.high
    assert mean.value == pytest.approx(200, rel=0.05)
    assert found.to_end == pytest.approx(np.ones(DAYS), abs=0.1)


def test_a_clear_drift_has_two_courses_that_part_at_the_history_s_end() -> None:
    found = courses(0.05)
    assert found.drifts
    stops, goes_on = found.demands(judged(DAYS))
    end = 200 * math.exp(0.05 * 6)
    assert stops.mean_per_minute.value == pytest.approx(end, rel=0.05)
    assert goes_on.mean_per_minute.value == pytest.approx(end * math.exp(0.05 * 4), rel=0.06)
    # Both are told over one base, so that one sweep serves both.
    assert goes_on.base == pytest.approx(stops.base)
    # Early days are brought up to the end: all are alike there.
    assert stops.day_cv < 0.1


def test_a_stated_growth_stands_for_the_drift() -> None:
    found = courses(0.05, growth=1.3)
    assert found.drifts
    (demand,) = found.demands(judged(DAYS))
    assert demand.mean_per_minute.value == pytest.approx(1.3 * 200 * math.exp(0.05 * 6), rel=0.06)
    (one,) = courses(0.05, growth=1.0).demands(judged(DAYS))
    assert one.mean_per_minute.value == pytest.approx(200 * math.exp(0.05 * 6), rel=0.06)


def test_growth_that_is_not_sure_widens_the_range_and_is_never_quite_sure() -> None:
    def width(**changes: object) -> float:
        mean = courses(growth=1.0, **changes).demands(judged(DAYS))[0].mean_per_minute
        return (mean.high - mean.low) / mean.value

    sure, unsure = width(), width(growth_cv=0.3)
    assert 0.03 < sure < unsure
    assert unsure > 2 * 1.96 * 0.25


def test_today_and_a_year_later() -> None:
    steady = courses(growth=1.1)
    today = steady.today(judged(DAYS)).mean_per_minute.value
    assert today == pytest.approx(200, rel=0.05)
    year = steady.after_a_year(judged(DAYS)).mean_per_minute.value
    assert year / today == pytest.approx(1.1, rel=0.05)
    drifting = courses(0.05)
    assert drifting.today(judged(DAYS)).mean_per_minute.value == pytest.approx(200 * math.exp(0.3), rel=0.05)
    later = drifting.after_a_year(judged(DAYS)).mean_per_minute.value
    assert later > 5 * drifting.today(judged(DAYS)).mean_per_minute.value
    base = drifting.demands(judged(DAYS))[0].base
    assert drifting.today(judged(DAYS)).base == pytest.approx(base)


def settled(loads: tuple[float, ...]) -> tuple[Verdict, Verdict]:
    """The joint verdict, and what it settles to; a fluid throttle loses what exceeds it."""
    limits = (200, 300, 400)
    asked = request(headroom=0.0)
    demands = tuple(demand_of(np.full(40, 250.0)).grown(load / 250) for load in loads)
    judge = Judge(asked, known_sweep(asked, demands[0], limits), demands)
    protects = dict.fromkeys(limits, True)
    holds = {limit: judge.holds([0], limit) for limit in limits}
    joint = decide(holds, protects, asked)
    found = Courses(asked, known_fit(), np.zeros(14), courses().drift, None, {})
    return joint, found.settled(joint, judge, [0], limits, protects)


def test_courses_that_decide_differently_cannot_be_told() -> None:
    joint, found = settled((190.0, 290.0))  # enough at present, or not
    assert joint.decision is Decision.APPROVE_LOWER
    assert found == Verdict(Decision.CANNOT_TELL, None, 300)
    joint, found = settled((290.0, 450.0))
    assert joint.decision is Decision.REFUSE
    assert found.decision is Decision.CANNOT_TELL


def test_courses_that_decide_alike_keep_the_joint_verdict() -> None:
    for loads in ((250.0, 290.0), (150.0, 190.0), (450.0, 480.0), (250.0,)):
        joint, found = settled(loads)
        assert found == joint


def test_the_throttle_of_each_day_is_the_present_one_unless_something_else_is_said() -> None:
    days = [MONDAY + timedelta(number) for number in range(DAYS)]
    assert courses().limits == dict.fromkeys(days, 200)
    changes = (change(MONDAY, 100), change(days[7], 150))
    said = courses(throttle_history=changes).limits
    assert [said[day] for day in (days[0], days[6], days[7], days[41])] == [100, 100, 150, 150]
    later = courses(throttle_history=(change(days[3], 150),)).limits
    assert [later[day] for day in (days[2], days[3])] == [200, 150]


def plateau(limits: list[int]) -> History:
    """Counts by minute of days that want 40 a minute for ten hours, cut at these limits."""
    random = np.random.default_rng(1)
    rows: list[tuple[datetime, int, int]] = []
    for number, limit in enumerate(limits):
        midnight = datetime.combine(MONDAY + timedelta(number), datetime.min.time())
        wanted = random.poisson(40, 600)
        rows += [
            (midnight + timedelta(minutes=480 + at), int(calls), max(0, int(calls) - limit))
            for at, calls in enumerate(wanted)
        ]
    local = [at for at, _, _ in rows]
    utc = [at - timedelta(hours=5, minutes=30) for at in local]
    frame = pl.DataFrame(
        {
            "start_utc": pl.Series(utc).dt.replace_time_zone("UTC"),
            "start_local": local,
            "attempts": [calls for _, calls, _ in rows],
            "refused": [refused for *_, refused in rows],
        }
    )
    table = frame.select(pl.col(name).cast(kind) for name, kind in COUNTS_SCHEMA.items())
    return History("x.csv", "counts", "Asia/Kolkata", len(rows), None, table, 60.0, (), ())


def test_a_change_of_the_throttle_that_the_history_shows_is_found() -> None:
    history = plateau([30] * 7 + [36] * 7)
    fit = known_fit(np.full((14, 24), 40.0), days=14)
    asked = request(now_per_minute=36, requested_per_minute=60)
    found = Courses.of(asked, history, fit)
    assert found.step is not None
    assert found.step.first_day == date(2026, 9, 14)
    days = [MONDAY + timedelta(number) for number in range(14)]
    assert [found.limits[day] for day in (days[0], days[6])] == pytest.approx([30, 30], abs=1)
    assert [found.limits[day] for day in days[7:]] == [36] * 7
    stated = request(now_per_minute=36, requested_per_minute=60, throttle_history=(change(MONDAY, 36),))
    assert Courses.of(stated, history, fit).step is None


def of_weekdays(level: list[float], day_cv: float) -> Courses:
    """Of six weeks whose weekdays have these levels."""
    random = np.random.default_rng(2)
    calls = np.tile(level, DAYS // 7) * np.exp(day_cv * random.standard_normal(DAYS))
    return Courses.of(request(), no_rows(), known_fit(np.outer(calls, np.ones(24)), days=DAYS))


def weekday_means(found: Courses) -> np.ndarray:
    """Logs of what each weekday of the history wants at the horizon."""
    (demand,) = found.demands(judged(DAYS))
    logs = np.log(demand.rates_per_minute * demand.base)
    return np.array([logs[day::7].mean() for day in range(7)])


def test_weekdays_that_differ_by_chance_are_drawn_together() -> None:
    found = weekday_means(of_weekdays([200.0] * 7, 0.2))
    # Of six days each, chance alone makes 0.2 / sqrt(6) = 0.08.
    assert found.std(ddof=1) < 0.04


def test_weekdays_that_really_differ_stay_apart() -> None:
    level = [200.0, 220.0, 240.0, 230.0, 210.0, 20.0, 10.0]
    found = weekday_means(of_weekdays(level, 0.02))
    assert found - found[0] == pytest.approx(np.log(np.array(level) / 200), abs=4.5 * 0.02 * math.sqrt(2 / 6))
