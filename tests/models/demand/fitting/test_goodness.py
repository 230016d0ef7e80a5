"""Warnings and refusals: each is said when it must be, and not otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
from tests.models.demand.fitting.conftest import FIRST, Truth, grid_of, make_history
from tests.models.demand.fitting.made_grids import made_grid

from trunkproof.models.demand.fitting.arrivals import fit_arrivals
from trunkproof.models.demand.fitting.goodness import (
    dispersion,
    refusals,
    warnings_of_arrivals,
    warnings_of_clock,
    warnings_of_days,
    warnings_of_durations,
    warnings_of_forecast,
)
from trunkproof.models.demand.fitting.odd_days import OddDay, OddKind
from trunkproof.models.demand.fitting.result import HeldOut
from trunkproof.models.demand.history.table import History, Oddity
from trunkproof.models.distributions import Exponential


def head(history: History, days: int) -> History:
    """Its first days."""
    until = FIRST + timedelta(days=days)
    assert history.calls is not None
    return replace(
        history,
        calls=history.calls.filter(pl.col("start_local") < until),
        counts=history.counts.filter(pl.col("start_local") < until),
    )


def test_a_month_is_enough_and_gives_no_warning_of_its_days(month: History) -> None:
    assert refusals(month, grid_of(month)) == ()
    assert list(warnings_of_days(month, grid_of(month), ())) == []


def test_three_days_are_refused_in_one_clear_sentence(month: History) -> None:
    short = head(month, 3)
    said = refusals(short, grid_of(short))
    assert len(said) == 1
    assert said[0].startswith("The history has 3 complete days; a decision needs 7 at least")


def test_a_handful_of_calls_is_refused() -> None:
    few = make_history(Truth(peak_per_minute=0.03, days=14), seed=2)
    assert few.attempts < 500
    assert "attempts; a decision needs 500" in refusals(few, grid_of(few))[0]


def test_a_busy_hour_must_be_seen_twice(month: History) -> None:
    week = head(month, 7)
    assert "in the history twice" in refusals(week, grid_of(week))[0]
    longer = head(month, 10)
    assert refusals(longer, grid_of(longer)) == ()


def test_short_and_missing_and_closed_and_odd_days_are_named(month: History) -> None:
    short = head(month, 10)
    grid = grid_of(short)
    odd = (OddDay(date(2025, 6, 5), OddKind.CLOSED, tuple(range(24)), 0.1),)
    said = " ".join(warnings_of_days(replace(short, closed=(date(2025, 6, 30),)), grid, odd))
    assert "Only 10 complete days" in said
    assert "Fewer than 2 complete days of: Thursday, Friday, Saturday, Sunday." in said
    assert "1 days were named as closed" in said
    assert "2025-06-05: 10 % of a usual day's calls, taken for a closed day." in said


def test_silence_in_a_busy_hour_may_be_a_gap(month: History) -> None:
    grid = grid_of(month)
    hours = grid.hours.copy()
    hours[4, 10:13] = 0
    said = list(warnings_of_days(month, replace(grid, hours=hours), ()))
    assert said == ["3 hours without a call, where 100 or more are usual: the history may have gaps."]


def test_a_clock_that_stepped_is_passed_on(month: History) -> None:
    stepped = Oddity(kind="clock_step", count=2, what="the clock stepped back", handled="kept as it is")
    dirt = Oddity(kind="duplicate", count=2, what="twice", handled="once")
    said = list(warnings_of_clock(replace(month, oddities=(stepped, dirt))))
    assert said == ["the clock stepped back (2): kept as it is"]


def test_drift_and_overdispersion_are_said() -> None:
    steady = made_grid(84, day_cv=0.05)
    rising = made_grid(84, day_cv=0.05, weeks=np.linspace(0, 0.4, 12))
    assert not any("drifts" in said for said in warnings_of_arrivals(steady, fit_arrivals(steady, 1)))
    said = list(warnings_of_arrivals(rising, fit_arrivals(rising, 1)))
    assert "The level drifts: +" in said[0]
    assert any("times as much as independent callers" in sentence for sentence in said)


def test_poisson_counts_pass_their_chi_square() -> None:
    grid = made_grid(30)
    plain = np.random.default_rng(1).poisson(50.0, (30, 96)).astype(np.float64)
    ratio, p_value = dispersion(replace(grid, periods=plain))
    # Chi-square over 23 x 96 degrees of freedom.
    assert abs(ratio - 1) < 4.5 * np.sqrt(2 / (23 * 96))
    assert p_value > 1e-5


def test_a_bad_duration_fit_is_said() -> None:
    seconds = np.random.default_rng(1).exponential(100, 5000)
    assert list(warnings_of_durations("Holding times", seconds, Exponential(kind="exponential", mean_s=100))) == []
    said = list(warnings_of_durations("Holding times", seconds, Exponential(kind="exponential", mean_s=150)))
    assert "Holding times follow no tried distribution well" in said[0]


def test_missed_days_are_said() -> None:
    rows = {"start_local": [FIRST] * 100, "low": [0.0] * 100, "high": [1.0] * 100, "expected": [0.5] * 100}
    good, bad = (pl.DataFrame(rows | {"seen": [value] * 100}) for value in (1.0, 2.0))
    assert list(warnings_of_forecast(HeldOut(0.9, good, good))) == []
    assert list(warnings_of_forecast(HeldOut(0.9, good, bad))) == [
        "0 % of the held-out days lie in their intervals; 90 % should."
    ]
    assert list(warnings_of_forecast(None)) == []
