"""Forecasts: intervals cover as often as asked, grow with the horizon, and are the seed's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from tests.models.demand.fitting.made_grids import made_grid

from trunkproof.models.demand.fitting.fit import fit_history
from trunkproof.models.demand.fitting.forecast import deviation, forecast, hour_class, tables
from trunkproof.models.demand.fitting.grid import Grid
from trunkproof.models.demand.fitting.outlook import look_ahead
from trunkproof.models.demand.fitting.trials import with_trials
from trunkproof.models.demand.history.table import History
from trunkproof.models.errors import InputError


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_intervals_cover_what_comes_as_often_as_asked(coverage: float) -> None:
    inside = []
    for seed in range(40):
        grid = made_grid(35, seed=seed)
        past, rest = grid.keep(slice(0, 28)), grid.keep(slice(28, 35))
        outlook = with_trials(look_ahead(past, np.ones((7, 24)), past.dates[-1]), past)
        hours, days = tables(outlook, list(rest.dates), coverage)
        inside.append([_covered(hours, rest.hours.ravel()), _covered(days, rest.totals)])
    seen = np.array(inside)
    error = seen.std(axis=0) / np.sqrt(len(seen))
    # Closed intervals of small counts hold more than asked.
    assert (seen.mean(axis=0) > coverage - 4.5 * error).all()
    assert (seen.mean(axis=0) < coverage + 4.5 * error + 0.03).all()


def _covered(table: object, seen: np.ndarray) -> float:  # type: ignore[type-arg]
    low, high = (table[name].to_numpy() for name in ("low", "high"))  # type: ignore[index]
    return float(((low <= seen) & (seen <= high)).mean())


def test_a_months_forecast(month: History) -> None:
    fit = fit_history(month, limit_per_minute=30)
    hours, days = forecast(fit, date(2025, 7, 7), 7)
    assert hours.columns == days.columns == ["start_local", "expected", "low", "high"]
    assert hours["start_local"].to_list()[:2] == [datetime(2025, 7, 7), datetime(2025, 7, 7, 1)]
    assert days["start_local"].to_list() == [datetime(2025, 7, 7) + timedelta(n) for n in range(7)]
    assert ((days["low"] < days["expected"]) & (days["expected"] < days["high"])).all()
    again, _ = forecast(fit, date(2025, 7, 7), 7)
    assert again.equals(hours)
    fresh, _ = forecast(fit, date(2025, 7, 7), 7, fresh=True)
    busiest = hours["expected"].arg_max()
    assert busiest is not None
    assert fresh["expected"][busiest] < hours["expected"][busiest]


def test_a_history_that_is_too_short_says_so(month: History) -> None:
    fit = replace(fit_history(month, limit_per_minute=30), outlook=None)
    with pytest.raises(InputError, match="too few complete days"):
        forecast(fit, date(2025, 7, 7), 7)


def test_counts_that_were_multiplied_are_fitted_as_they_were_filed(month: History) -> None:
    filed = replace(month, calls=None)
    grown = filed.counts.with_columns(pl.col("attempts", "refused") * 40)
    own = fit_history(filed, limit_per_minute=1_000_000)
    fit = fit_history(replace(filed, counts=grown, multiplied=40.0), limit_per_minute=30)
    np.testing.assert_allclose(fit.arrivals.rate_per_minute, 40 * own.arrivals.rate_per_minute)
    assert (fit.arrivals.day_cv, fit.arrivals.period_cv) == (own.arrivals.day_cv, own.arrivals.period_cv)
    assert fit.held_out is not None
    assert own.held_out is not None
    assert fit.held_out.seen_by_hour == own.held_out.seen_by_hour
    for large, small in zip(forecast(fit, date(2025, 8, 4), 7), forecast(own, date(2025, 8, 4), 7), strict=True):
        np.testing.assert_allclose(large["high"], 40 * small["high"])


def test_intervals_grow_with_the_horizon() -> None:
    walk = np.cumsum(np.random.default_rng(3).normal(0, 0.1, 12))
    grid: Grid = made_grid(84, day_cv=0.03, weeks=walk)
    outlook = with_trials(look_ahead(grid, np.ones((7, 24)), grid.dates[-1]), grid)
    _, days = tables(outlook, [grid.dates[-1] + timedelta(7 * n + 1) for n in (0, 12)], 0.9)
    width = ((days["high"] - days["low"]) / days["expected"]).to_numpy()
    assert width[1] > 1.5 * width[0]


def test_the_level_to_come_is_the_one_of_the_end() -> None:
    grid = made_grid(84, day_cv=0.03, weeks=np.linspace(0, 0.6, 12))
    outlook = with_trials(look_ahead(grid, np.ones((7, 24)), grid.dates[-1]), grid)
    _, days = tables(outlook, [grid.dates[-1] + timedelta(1)], 0.9)
    last = grid.totals[-7]
    assert days["expected"][0] == pytest.approx(last, rel=0.1)


def test_odd_days_that_no_trial_shows_widen_an_interval() -> None:
    grid = made_grid(35)
    outlook = with_trials(look_ahead(grid, np.ones((7, 24)), grid.dates[-1]), grid)
    assert not outlook.shows_odd
    ahead = [grid.dates[-1] + timedelta(1)]
    _, narrow = tables(outlook, ahead, 0.9)
    _, wide = tables(replace(outlook, odd_share=0.09), ahead, 0.9)
    assert wide["high"][0] - wide["low"][0] > narrow["high"][0] - narrow["low"][0]


def test_one_week_is_forecast_with_little_trust() -> None:
    grid = made_grid(7)
    outlook = with_trials(look_ahead(grid, np.ones((7, 24)), grid.dates[-1]), grid)
    assert outlook.day_scores is None
    _, days = tables(outlook, [grid.dates[-1] + timedelta(1)], 0.9)
    assert days["high"][0] - days["low"][0] > 0.6 * days["expected"][0]


def test_units_and_classes() -> None:
    assert deviation(np.array([100.0]), 0.0)[0] == pytest.approx(10)
    assert deviation(np.array([100.0]), 0.2)[0] == pytest.approx(np.sqrt(500))
    assert hour_class(np.array([0.5, 10.0, 500.0])).tolist() == [0, 1, 2]
