"""The whole fit: ten histories whose truth it must find, a real half-year it must forecast, and histories too poor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.models.demand.fitting.conftest import Truth, counts_only, grid_of, make_history
from tests.models.demand.fitting.test_goodness import head

from trunkproof.models.demand.fitting.fit import fit_history, variance_to_mean
from trunkproof.models.demand.fitting.held_out import forecast_last
from trunkproof.models.demand.fitting.result import Fit, Ranged
from trunkproof.models.demand.history.table import History
from trunkproof.models.traffic import OverdispersedArrivals

SEEDS = range(1, 11)


def holds(ranged: Ranged, truth: float) -> bool:
    return ranged.low <= truth <= ranged.high


@pytest.fixture(scope="module")
def ten() -> list[Fit]:
    return [fit_history(make_history(Truth(), seed), limit_per_minute=30, seed=seed) for seed in SEEDS]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["rate", "day_cv", "period_cv", "hold", "redial"])
def test_the_truth_is_in_the_intervals_of_ten_seeds(ten: list[Fit], what: str) -> None:
    truth = Truth()
    inside = [
        {
            "rate": holds(fit.arrivals.busiest_per_minute, truth.peak_per_minute),
            "day_cv": holds(fit.arrivals.day_cv, truth.day_cv),
            "period_cv": holds(fit.arrivals.period_cv, truth.period_cv),
            "hold": holds(fit.holding.mean_s, truth.mean_hold_s),
            "redial": holds(fit.redial.probability, truth.redial),
        }[what]
        for fit in ten
    ]
    # Of ten intervals of 95 % fewer than 7 hold the truth once in 1,000 times.
    assert sum(inside) >= 7, inside


def test_a_fit_of_a_month_is_a_traffic_and_is_enough(ten: list[Fit]) -> None:
    fit = ten[0]
    assert fit.is_enough
    traffic = fit.traffic()
    assert traffic.redial.attempts == Truth().most_attempts
    assert isinstance(fit.hour(25.0), OverdispersedArrivals)
    assert fit.held_out is not None
    assert fit.held_out.days.height == 14
    assert not any("held-out" in said for said in fit.warnings)


def test_the_same_seed_is_the_same_fit(month: History) -> None:
    one, two = (fit_history(month, limit_per_minute=30, seed=5) for _ in range(2))
    assert (one.arrivals.rate_draws == two.arrivals.rate_draws).all()
    assert one.holding.distribution == two.holding.distribution


@pytest.mark.parametrize("days", [0, 1, 3])
def test_a_few_days_are_refused_not_crashed_on(month: History, days: int) -> None:
    fit = fit_history(head(month, days), limit_per_minute=30)
    assert not fit.is_enough
    assert "complete day" in fit.refusals[0]
    assert fit.held_out is None
    assert fit.outlook is None


def test_counts_alone_are_fitted_with_what_is_assumed(month: History) -> None:
    fit = fit_history(counts_only(month), limit_per_minute=30)
    assert fit.is_enough
    assert fit.holding.count == 0
    assert fit.ringing is None
    assert fit.short_share is None
    assert len([said for said in fit.warnings if "is assumed" in said]) == 2


def test_variance_to_mean_is_one_for_poisson_counts(month: History) -> None:
    grid = grid_of(month)
    plain = np.random.default_rng(1).poisson(50.0, (30, 96)).astype(np.float64)
    table = variance_to_mean(replace(grid, periods=plain))
    assert table.columns == ["weekday", "second", "mean", "variance", "days"]
    assert table.height == 7 * 96
    ratio = (table["variance"] / table["mean"]).to_numpy()
    assert abs(ratio.mean() - 1) < 4.5 * ratio.std() / np.sqrt(len(ratio))


@pytest.mark.parametrize("weeks", [1, 2, 4, 8])
def test_forecasts_of_a_real_call_centre_cover(real: History, weeks: int) -> None:
    grid = grid_of(real)
    hours, days = [], []
    # Origins two weeks apart, as far back as ten weeks are left to go by.
    for end in range(len(grid), 70 + 7 * weeks, -14):
        out = forecast_last(grid.keep(slice(0, end)), 7 * weeks)
        hours.append(out.seen_by_hour)
        days.append(out.seen_by_day)
    assert 0.85 <= np.mean(hours) <= 0.95, hours
    # Some fifty to two hundred days, of which a tenth were holidays or breakdowns.
    assert 0.8 <= np.mean(days) <= 0.95, days


def test_a_real_half_year_is_fitted(real: History) -> None:
    fit = fit_history(real, limit_per_minute=200)
    assert fit.is_enough
    assert fit.arrivals.period_s == 720
    assert fit.arrivals.busiest[0] in (6, 0, 1, 2, 3)
    assert any("taken for a closed day" in said for said in fit.warnings)
    assert fit.held_out is not None
    assert 0.85 <= fit.held_out.seen_by_hour <= 0.95
    assert 0.85 <= fit.held_out.seen_by_day <= 0.95
    ratio = fit.variance_to_mean.filter(pl.col("mean") > 5).select((pl.col("variance") / pl.col("mean")).mean()).item()
    assert ratio > 1.1
