"""What a forecast rests on: ordinary days, a week's profile, the month's cycle and the level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.models.demand.fitting.made_grids import made_grid

from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.grid import Grid
from trunkproof.models.demand.fitting.month import harmonics
from trunkproof.models.demand.fitting.outlook import look_ahead, odd_share, ordinary, profile, seasonal


def scaled(grid: Grid, factors: FloatArray) -> Grid:
    """Every day so many times as busy."""
    return replace(grid, hours=grid.hours * factors[:, None], periods=grid.periods * factors[:, None])


def test_a_profile_is_the_weeks_mean_and_residuals_are_about_it() -> None:
    grid = made_grid(56, day_cv=0.0)
    base = profile(grid)
    assert base.residuals(grid).mean() == pytest.approx(0, abs=0.002)
    assert base.totals(grid).sum() == pytest.approx(grid.hours.sum())


def test_odd_days_are_left_out_on_both_sides() -> None:
    factors = np.ones(56)
    factors[10], factors[23] = 0.1, 3.0
    history = ordinary(scaled(made_grid(56, day_cv=0.05), factors))
    assert np.flatnonzero(~history.usual).tolist() == [10, 23]
    assert len(history.days) == 54


def test_hours_of_a_breakdown_are_filled_in() -> None:
    grid = made_grid(56, day_cv=0.05)
    hours, periods = grid.hours.copy(), grid.periods.copy()
    hours[9, 10:13], periods[9, 40:52] = 0, 0
    history = ordinary(replace(grid, hours=hours, periods=periods))
    assert history.usual.all()
    np.testing.assert_allclose(history.grid.hours[9, 10:13], grid.hours[9, 10:13], rtol=0.3)


def test_a_months_cycle_is_found_where_there_is_one() -> None:
    grid = made_grid(182, day_cv=0.1)
    swing = harmonics(grid.dates) @ np.array([0.0, 0.12])
    np.testing.assert_allclose(seasonal(scaled(grid, np.exp(swing))).month, [0.0, 0.12], atol=0.04)
    assert np.abs(seasonal(grid).month).max() < 0.03
    assert not seasonal(made_grid(42)).month.any()


def test_weekdays_of_one_shape_are_drawn_together() -> None:
    grids = [made_grid(28, day_cv=0.2, seed=seed) for seed in range(10)]
    own = [profile(grid).per_minute.sum(axis=1) for grid in grids]
    joined = [seasonal(grid).per_minute.sum(axis=1) for grid in grids]
    # Monday to Friday are the same.
    assert np.mean([one[:5].std() for one in joined]) < 0.7 * np.mean([one[:5].std() for one in own])


def test_a_season_without_holidays_is_no_year_without() -> None:
    none, many = np.ones(28, dtype=np.bool_), np.arange(60) >= 8
    assert 0.01 < odd_share(none) < 0.03
    assert 0.03 < odd_share(many) < 8 / 60


def test_a_rising_level_is_forecast_from_where_it_stands() -> None:
    rising: FloatArray = np.linspace(0, 0.8, 26)
    grid: Grid = made_grid(182, day_cv=0.03, weeks=rising)
    outlook = look_ahead(grid, np.ones((7, 24)), grid.dates[-1])
    last = profile(grid.keep(slice(175, 182))).per_minute.sum()
    assert outlook.attempts_per_minute.sum() * np.exp(outlook.level(0)[0]) == pytest.approx(last, rel=0.1)
    assert outlook.level(26)[1] > outlook.level(1)[1]
