"""Coefficients of variation: right on average, inside their intervals as often as they say, 0 for plain Poisson."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from tests.models.demand.fitting.conftest import FIRST, SHAPE, WEEK

from trunkproof.models.demand.fitting.busyness import between_days, within_days
from trunkproof.models.demand.fitting.grid import Grid, lay_out
from trunkproof.models.demand.history.table import History

Z = 4.5
REPEATS = 150


def simulated(random: np.random.Generator, day_cv: float, period_cv: float, peak: float = 400.0) -> Grid:
    """Thirty days of quarter-hour counts."""
    weekdays = np.arange(30) % 7
    rates = np.repeat(peak * WEEK[weekdays, None] * SHAPE, 4, axis=1)
    days = random.gamma(day_cv**-2, day_cv**2, (30, 1)) if day_cv else 1.0
    periods = random.gamma(period_cv**-2, period_cv**2, rates.shape) if period_cv else 1.0
    counts = random.poisson(rates * days * periods).astype(np.float64)
    dates = tuple(FIRST.date() + timedelta(n) for n in range(30))
    return Grid(dates, weekdays, counts.reshape(30, 24, 4).sum(axis=2), np.full((30, 24), 60.0), counts, 900.0)


@pytest.mark.parametrize(("day_cv", "period_cv"), [(0.1, 0.1), (0.25, 0.05), (0.05, 0.2)])
def test_estimates_are_unbiased_and_intervals_cover(day_cv: float, period_cv: float) -> None:
    random = np.random.default_rng(1)
    squares, inside = np.zeros((REPEATS, 2)), np.zeros(2)
    for repeat in range(REPEATS):
        grid = simulated(random, day_cv, period_cv)
        periods = within_days(grid.periods, grid.weekdays, 200, random)
        days = between_days(grid, periods.cv.value, 200, random)
        squares[repeat] = days.cv.value**2, periods.cv.value**2
        inside += [days.cv.low <= day_cv <= days.cv.high, periods.cv.low <= period_cv <= periods.cv.high]
    error = squares.std(axis=0) / np.sqrt(REPEATS)
    # A variance of few gamma factors about their own mean is biased by the order of cv² / 4 of itself.
    bias = np.array([day_cv**4, period_cv**4])
    assert (np.abs(squares.mean(axis=0) - [day_cv**2, period_cv**2]) < Z * error + bias).all()
    assert (inside / REPEATS > 0.95 - Z * np.sqrt(0.95 * 0.05 / REPEATS)).all()


def test_poisson_counts_have_no_busyness() -> None:
    random = np.random.default_rng(2)
    grid = simulated(random, 0.0, 0.0)
    periods = within_days(grid.periods, grid.weekdays, 200, random)
    days = between_days(grid, periods.cv.value, 200, random)
    assert periods.cv.low < 0.01
    assert periods.cv.high < 0.03
    assert days.cv.low < 0.01
    assert days.cv.high < 0.03


def test_nothing_in_nothing_out(month: History) -> None:
    empty = lay_out(month.counts.head(100), "attempts", month.counts.head(100), 60)
    random = np.random.default_rng(1)
    assert within_days(empty.periods, empty.weekdays, 10, random).cv.value == 0
    assert between_days(empty, 0.0, 10, random).cv.value == 0
