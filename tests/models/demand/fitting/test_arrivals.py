"""Rates: their intervals contain the truth as often as they say, at the busiest hour too, which the data pick."""

from __future__ import annotations

import numpy as np
from tests.models.demand.fitting.conftest import SHAPE, WEEK
from tests.models.demand.fitting.test_busyness import REPEATS, Z, simulated

from trunkproof.models.demand.fitting.arrivals import fit_arrivals

PEAK = 400.0


def test_intervals_of_rates_cover_the_truth() -> None:
    random = np.random.default_rng(3)
    truth = PEAK * 4 / 60 * WEEK[:, None] * SHAPE
    inside, busiest, off = np.zeros((7, 24)), 0, np.zeros((REPEATS, 7, 24))
    for repeat in range(REPEATS):
        fit = fit_arrivals(simulated(random, 0.1, 0.1, PEAK), seed=repeat)
        low, high = np.quantile(fit.rate_draws, [0.025, 0.975], axis=0)
        inside += (low <= truth) & (truth <= high)
        off[repeat] = fit.rate_per_minute / truth
        rate = fit.busiest_per_minute
        busiest += rate.low <= truth.max() <= rate.high
    slack = Z * np.sqrt(0.95 * 0.05 / REPEATS)
    assert busiest / REPEATS > 0.95 - slack
    assert (inside / REPEATS).min() > 0.95 - slack
    # Intervals that are never wrong would be too wide to decide by.
    assert inside.mean() / REPEATS < 0.99
    error = off.std(axis=0) / np.sqrt(REPEATS)
    assert (np.abs(off.mean(axis=0) - 1) < Z * error + 0.005).all()


def test_draws_are_positive_of_the_shape_promised_and_the_seeds_own() -> None:
    grid = simulated(np.random.default_rng(4), 0.1, 0.1, PEAK)
    fit = fit_arrivals(grid, seed=1)
    assert fit.rate_draws.shape == (400, 7, 24)
    assert fit.day_cv_draws.shape == fit.period_cv_draws.shape == (400,)
    assert (fit.rate_draws > 0).all()
    assert (fit_arrivals(grid, seed=1).rate_draws == fit.rate_draws).all()
    assert (fit_arrivals(grid, seed=2).rate_draws != fit.rate_draws).any()


def test_a_weekday_that_is_missing_is_like_the_others() -> None:
    grid = simulated(np.random.default_rng(5), 0.1, 0.1, PEAK)
    fit = fit_arrivals(grid.keep(grid.weekdays != 2), seed=1)
    others = np.delete(fit.rate_per_minute, 2, axis=0)
    assert np.allclose(fit.rate_per_minute[2], others.mean(axis=0))
