"""Rates of single days: what is real stays in the draws, what is chance goes, and totals are kept."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest
from tests.models.demand.fitting.conftest import FIRST, SHAPE

from trunkproof.models.demand.fitting.day_rates import DayRates, class_of, fit_day_rates
from trunkproof.models.demand.fitting.grid import Grid

DAYS = 28
FLAT = np.full(24, 60.0)
"""Calls in each hour."""


def counted(rates: np.ndarray, interval_s: float, seed: int = 1) -> tuple[pl.DataFrame, np.ndarray]:
    """Poisson counts of these rates, shape (days, intervals of a day), as a table."""
    counts = np.random.default_rng(seed).poisson(rates).astype(np.float64)
    midnights = [datetime.combine(FIRST.date() + timedelta(day), time()) for day in range(len(rates))]
    starts = [at + timedelta(seconds=interval_s * n) for at in midnights for n in range(rates.shape[1])]
    return pl.DataFrame({"start_local": starts, "calls": counts.ravel()}), counts


def grid_of(counts: np.ndarray) -> Grid:
    days = len(counts)
    hours = counts.reshape(days, 24, -1).sum(axis=2)
    dates: tuple[date, ...] = tuple(FIRST.date() + timedelta(day) for day in range(days))
    weekdays = np.array([day.weekday() for day in dates], dtype=np.int64)
    return Grid(dates, weekdays, hours, np.full((days, 24), 60.0), np.repeat(hours / 4, 4, axis=1), 900.0)


def fitted(hourly: np.ndarray, interval_s: float = 60.0, seed: int = 1) -> tuple[DayRates, np.ndarray]:
    """Of calls by hour, one day of 24 or by day; and the counts."""
    by_day = np.broadcast_to(hourly, (DAYS, 24)) if hourly.ndim == 1 else hourly
    within = round(3600 / interval_s)
    table, counts = counted(np.repeat(by_day, within, axis=1) / within, interval_s, seed)
    return fit_day_rates(table, "calls", grid_of(counts), interval_s), counts


def hourly(rates: DayRates, seed: int = 1) -> np.ndarray:
    """One alternative: calls a minute by day and hour."""
    drawn = rates.draw(np.random.default_rng(seed))
    return np.asarray(drawn.reshape(len(drawn), 24, -1).mean(axis=2))


def test_a_poisson_day_has_hardly_any_scatter_left() -> None:
    rates, counts = fitted(FLAT)
    seen = counts.reshape(DAYS, 24, 60).sum(axis=2) / 60
    drawn = hourly(rates)
    # Hours of 60 calls scatter by an eighth; rates that make them do not scatter at all.
    assert seen.std() == pytest.approx(1 / math.sqrt(60), rel=0.1)
    assert drawn.std() < 0.45 * seen.std()
    minutes = rates.draw(np.random.default_rng(1))
    assert minutes.mean() == pytest.approx(1.0, rel=4.5 / math.sqrt(counts.sum()) * math.sqrt(2))
    assert minutes.std() < 0.2 < counts.std()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_spike_of_some_days_is_there_in_the_draws_of_those_days(seed: int) -> None:
    has_spike = np.random.default_rng(seed).random(DAYS) < 0.4
    profile = 100 * SHAPE / SHAPE.max() * 27
    by_day = np.tile(profile, (DAYS, 1))
    by_day[has_spike, 11] *= 1.9
    rates, _ = fitted(by_day, seed=seed)
    usual = profile[11] / 60
    drawn = np.mean([hourly(rates, number) for number in range(20)], axis=0)[:, 11]
    assert has_spike.sum() > 4
    # An hour of some 2,700 calls is known to 2 %; shrinking towards the shape of all days takes little off.
    assert drawn[has_spike].mean() == pytest.approx(1.9 * usual, rel=0.05)
    assert drawn[has_spike].min() > 1.7 * usual
    assert drawn[~has_spike].max() < 1.15 * usual


@pytest.mark.parametrize("cv", [0.1, 0.3])
def test_days_scatter_in_the_draws_as_they_do_in_truth(cv: float) -> None:
    random = np.random.default_rng(3)
    factors = random.gamma(cv**-2, cv**2, DAYS)
    rates, counts = fitted(np.outer(factors, np.full(24, 300.0)))
    truth = factors.var(ddof=1)
    drawn = np.array([rates.draw(np.random.default_rng(number)).mean(axis=1) / 5 for number in range(40)])
    # Of each day's factor only Poisson noise of its 7,200 calls is not known, in the count and once more in the draw.
    noise = 2 / counts.sum(axis=1).mean()
    error = 2 * math.sqrt(truth * noise / DAYS) + noise
    assert drawn.var(axis=1, ddof=1).mean() == pytest.approx(truth, abs=4.5 * error)


def test_periods_scatter_in_the_draws_as_they_do_in_truth() -> None:
    """Factors of single hours, with a coefficient of variation of a quarter; the fit is told only the counts."""
    random = np.random.default_rng(4)
    factors = random.gamma(16, 1 / 16, (DAYS, 24))
    rates, _ = fitted(300 * factors)
    share_true = factors / factors.mean(axis=1, keepdims=True)
    drawn = np.mean([hourly(rates, number) for number in range(20)], axis=0)
    share_drawn = drawn / drawn.mean(axis=1, keepdims=True)
    # An hour's 300 calls say its factor to 6 %; what is real is four times that.
    assert share_drawn.std() == pytest.approx(share_true.std(), rel=4.5 / math.sqrt(2 * DAYS * 24) + 0.03)
    assert np.corrcoef(share_true.ravel(), share_drawn.ravel())[0, 1] > 0.95


def test_a_day_keeps_its_total() -> None:
    rates, counts = fitted(40 * SHAPE)
    totals = np.array([rates.draw(np.random.default_rng(number)).sum(axis=1) for number in range(200)])
    seen = counts.sum(axis=1)
    # The posterior of a Poisson mean: a gamma of the count and a half.
    assert totals.mean(axis=0) == pytest.approx(seen + 0.5, abs=4.5 * math.sqrt(seen.max() / 200))
    assert (totals.var(axis=0) / seen).mean() == pytest.approx(1.0, abs=4.5 * math.sqrt(2 / 200 / DAYS))


def test_a_campaign_of_forty_minutes_stays_one_and_its_edges_sharp() -> None:
    per_minute = np.repeat(10 * SHAPE / SHAPE.max(), 60)
    per_minute[600:640] += 60
    table, counts = counted(np.tile(per_minute, (DAYS, 1)), 60.0)
    rates = fit_day_rates(table, "calls", grid_of(counts), 60.0)
    drawn = np.mean([rates.draw(np.random.default_rng(number)) for number in range(10)], axis=0).mean(axis=0)
    assert drawn[600:640].mean() == pytest.approx(per_minute[600:640].mean(), rel=0.03)
    assert drawn[590:600].mean() < 0.25 * drawn[600:610].mean()
    assert drawn[640:650].mean() < 0.25 * drawn[630:640].mean()


def test_times_multiplies_rates_and_leaves_what_was_counted() -> None:
    rates, counts = fitted(FLAT)
    more = rates.times(2.5).times(2)
    assert more.multiplied == 5
    assert (more.counts == counts).all()
    one, other = (each.draw(np.random.default_rng(1)) for each in (rates, more))
    assert other == pytest.approx(5 * one)


@pytest.mark.parametrize(
    ("interval_s", "period_s"), [(6.0, 60.0), (60.0, 60.0), (240.0, 240.0), (900.0, 900.0), (3600.0, 3600.0)]
)
def test_intervals_of_any_length_make_periods_that_divide_an_hour(interval_s: float, period_s: float) -> None:
    rates, counts = fitted(np.full(24, 240.0), interval_s)
    assert rates.period_s == period_s
    assert rates.counts.shape == (DAYS, round(86_400 / period_s))
    assert rates.counts.sum() == counts.sum()
    assert rates.shapes.sum(axis=1) == pytest.approx(np.ones(len(rates.shape_classes)))
    assert [split.length_s for split in rates.splits][-1] == period_s
    drawn = rates.draw(np.random.default_rng(1))
    assert drawn.shape == rates.counts.shape
    assert drawn.mean() == pytest.approx(4.0, rel=4.5 * math.sqrt(2 / counts.sum()))


def test_demand_that_was_filled_in_counts() -> None:
    """Hours that stood at the limit have more demand in the grid than in the counts."""
    table, counts = counted(np.tile(np.repeat(FLAT, 60) / 60, (DAYS, 1)), 60.0)
    grid = grid_of(counts)
    grid.hours[3, 10] *= 2
    rates = fit_day_rates(table, "calls", grid, 60.0)
    assert rates.counts[3, 600:660].sum() == pytest.approx(2 * counts[3, 600:660].sum())
    assert (rates.counts[4] == counts[4]).all()


def test_an_hour_in_which_nobody_ever_calls_has_next_to_no_rate() -> None:
    profile = np.where(np.arange(24) < 8, 0.0, 120.0)
    rates, _ = fitted(profile)
    drawn = rates.draw(np.random.default_rng(1))
    assert drawn[:, :480].mean() < 0.02
    assert np.isfinite(drawn).all()


def test_a_path_is_the_stretch_of_the_day_and_before_midnight_it_is_as_at_midnight() -> None:
    days, random = fitted(FLAT, 900.0)[0], np.random.default_rng(1)
    rates = np.arange(2 * 96.0).reshape(2, 96)

    def stretch(day: int, from_s: float, length_s: float) -> list[float]:
        return list(days.path(rates, day, from_s, length_s, random))

    assert stretch(0, 9000.0, 2700.0) == [10, 11, 12]
    assert stretch(0, -1800.0, 3600.0) == [0, 0, 0, 1]
    assert stretch(1, 95 * 900.0, 1800.0) == [191, 191]


def test_classes_by_weekday() -> None:
    assert class_of(((0, 1, 2, 3, 4), (5,), (6,)), np.array([6, 0, 5, 3])).tolist() == [2, 0, 1, 0]
