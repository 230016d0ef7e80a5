"""Calls within a minute: batches stay batches in the draws, and independent callers stay evenly spread."""

from __future__ import annotations

from datetime import datetime, time, timedelta

import numpy as np
import polars as pl
import pytest
from tests.models.demand.fitting.conftest import FIRST
from tests.models.demand.fitting.test_day_rates import grid_of

from trunkproof.models.demand.fitting.day_rates import DayRates, fit_day_rates
from trunkproof.models.demand.fitting.within_minutes import WithinMinutes, fit_within_minutes

DAYS = 14
BUSY = slice(9, 12)
"""Hours in which calls come."""
PER_MINUTE = 20.0


def placed(size: float, within_s: float, seed: int = 1) -> list[np.ndarray]:
    """Instants of each day, in seconds after midnight: batches of a geometric size, each spread over some seconds."""
    random = np.random.default_rng(seed)
    begin, end = 3600.0 * BUSY.start, 3600.0 * BUSY.stop
    days = []
    for _ in range(DAYS):
        begins = random.uniform(begin, end - 60, random.poisson(PER_MINUTE / size * (end - begin) / 60))
        begins = np.repeat(begins, random.geometric(1 / size, len(begins)))
        days.append(np.sort(begins + within_s * random.random(len(begins))))
    return days


def single_calls(days: list[np.ndarray]) -> pl.DataFrame:
    midnights = [datetime.combine(FIRST.date() + timedelta(day), time()) for day in range(len(days))]
    starts = [at + timedelta(seconds=float(second)) for at, day in zip(midnights, days, strict=True) for second in day]
    return pl.DataFrame({"start_local": starts, "calls": np.ones(len(starts))})


def by_length(days: list[np.ndarray], length_s: float) -> np.ndarray:
    edges = np.arange(0.0, 86_400.0 + length_s / 2, length_s)
    return np.array([np.histogram(day, edges)[0] for day in days], dtype=np.float64)


def fitted(days: list[np.ndarray]) -> DayRates:
    return fit_day_rates(single_calls(days), "calls", grid_of(by_length(days, 60.0)), 60.0, are_instants=True)


def scatter(fine: np.ndarray, length_s: float, day_s: float = 86_400.0) -> np.ndarray:
    """By day: variance of the counts of a length within their minutes, over their mean; `fine` has shape (D, n)."""
    of_minutes = fine.reshape(len(fine), 24, 60, -1)[:, BUSY].reshape(len(fine), 180, round(60 / length_s), -1)
    counts = of_minutes.sum(axis=3)
    return np.asarray(counts.var(axis=2, ddof=1).mean(axis=1) / counts.mean(axis=(1, 2)))


def made_again(rates: DayRates, seed: int) -> np.ndarray:
    """Counts of 5 s that come of one alternative, shape (D, 17280)."""
    random = np.random.default_rng(seed)
    drawn = rates.draw(random)
    paths = np.array([rates.path(drawn, day, 0.0, 86_400.0, random) for day in range(DAYS)])
    return random.poisson(np.repeat(paths, round(rates.step_s / 5), axis=1) / 12).astype(np.float64)


@pytest.mark.parametrize("within_s", [5.0, 25.0])
def test_a_drawn_minute_of_a_history_of_batches_scatters_as_the_history_does(within_s: float) -> None:
    days = placed(6.0, within_s)
    rates = fitted(days)
    assert rates.within_minutes is not None
    assert rates.period_s == 60.0
    assert rates.step_s == 5.0
    for length_s in (5.0, 20.0):
        seen = scatter(by_length(days, 5.0), length_s)
        made = np.mean([scatter(made_again(rates, seed), length_s) for seed in range(8)], axis=0)
        # Independent callers have 1. What days differ by tells how well the history knows its own.
        error = seen.std(ddof=1) / np.sqrt(DAYS)
        assert seen.mean() > 1.5
        assert made.mean() == pytest.approx(seen.mean(), abs=4.5 * np.sqrt(1 + 1 / 8) * error)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_independent_callers_stay_evenly_spread_over_their_minute(seed: int) -> None:
    rates = fitted(placed(1.0, 0.0, seed))
    assert rates.within_minutes is None
    assert rates.step_s == rates.period_s == 60.0


def test_a_busy_minute_is_not_taken_for_a_batch() -> None:
    """Minutes that differ, of callers who come independently within each."""
    random = np.random.default_rng(5)
    days = []
    for _ in range(DAYS):
        minutes = np.repeat(np.arange(540, 720), random.poisson(PER_MINUTE * random.gamma(2.0, 0.5, 180)))
        days.append(np.sort(60.0 * (minutes + random.random(len(minutes)))))
    assert fitted(days).within_minutes is None


def test_paths_keep_what_each_minute_wanted() -> None:
    rates = fitted(placed(6.0, 10.0))
    random = np.random.default_rng(1)
    drawn = rates.draw(random)
    path = rates.path(drawn, 3, 3600.0 * 9, 7200.0, random)
    assert path.shape == (1440,)
    assert path.reshape(120, 12).mean(axis=1) == pytest.approx(drawn[3, 540:660])
    assert rates.times(2).within_minutes is rates.within_minutes


def test_a_batch_stays_where_it_was() -> None:
    days = placed(1.0, 0.0)
    for number, day in enumerate(days):
        batches = np.repeat(np.arange(9 * 3600.0, 12 * 3600.0, 600.0) + 40, 50)
        days[number] = np.sort(np.concatenate([day, batches + 2 * np.random.default_rng(number).random(len(batches))]))
    rates = fitted(days)
    assert rates.within_minutes is not None
    random = np.random.default_rng(1)
    path = rates.path(rates.draw(random), 2, 3600.0 * 9, 3600.0, random).reshape(6, 10, 60 // round(rates.step_s), -1)
    in_batch = path[:, 0, 40 // round(rates.step_s)].sum() / path[:, 0].sum()
    # Of some 70 calls of such a minute 50 come in the batch, and a few beside it in the same seconds.
    assert 0.6 < in_batch < 0.8


@pytest.mark.parametrize(("grain_s", "expected_s"), [(1, 5.0), (5, 5.0), (10, 10.0), (15, None), (60, None)])
def test_instants_that_were_rounded_are_not_taken_for_batches(grain_s: int, expected_s: float | None) -> None:
    days = [np.floor(day / grain_s) * grain_s for day in placed(8.0, 5.0)]
    found = fit_within_minutes(single_calls(days), "calls", grid_of(by_length(days, 60.0)), None)
    assert (None if found is None else found.period_s) == expected_s
    independent = [np.floor(day / grain_s) * grain_s for day in placed(1.0, 0.0)]
    assert fit_within_minutes(single_calls(independent), "calls", grid_of(by_length(independent, 60.0)), None) is None


@pytest.mark.parametrize(("interval_s", "expected_s"), [(5.0, 5.0), (10.0, 10.0), (6.0, None), (60.0, None)])
def test_counts_are_split_as_far_as_their_intervals_go(interval_s: float, expected_s: float | None) -> None:
    days = placed(8.0, 5.0)
    counts = by_length(days, interval_s)
    starts = [
        datetime.combine(FIRST.date() + timedelta(day), time()) + timedelta(seconds=interval_s * number)
        for day in range(DAYS)
        for number in range(counts.shape[1])
    ]
    table = pl.DataFrame({"start_local": starts, "calls": counts.ravel()})
    found = fit_within_minutes(table, "calls", grid_of(by_length(days, 60.0)), interval_s)
    assert (None if found is None else found.period_s) == expected_s


def test_one_day_alone_or_without_calls_says_nothing() -> None:
    alone = placed(8.0, 5.0)[:1]
    assert fit_within_minutes(single_calls(alone), "calls", grid_of(by_length(alone, 60.0)), None) is None
    none = [np.empty(0)] * DAYS
    empty = pl.DataFrame(schema={"start_local": pl.Datetime("us"), "calls": pl.Float64})
    assert fit_within_minutes(empty, "calls", grid_of(by_length(none, 60.0)), None) is None


def test_calls_of_which_only_part_is_fresh_are_split_too() -> None:
    days = placed(6.0, 5.0)
    table = single_calls(days).with_columns(pl.col("calls") * 0.7)
    found = fit_within_minutes(table, "calls", grid_of(0.7 * by_length(days, 60.0)), None)
    assert isinstance(found, WithinMinutes)
    assert found.counts.sum() == pytest.approx(0.7 * sum(map(len, days)))
