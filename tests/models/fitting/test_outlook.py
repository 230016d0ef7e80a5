"""What a forecast rests on: usual days, a week's profile, the level at the end and how it drifts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.fitting.grid import FloatArray, Grid
from models.fitting.outlook import fit_levels, level, look_ahead, origins, profile, usual_days
from tests.models.fitting.made_grids import made_grid


def test_a_profile_is_the_weeks_mean_and_residuals_are_about_it() -> None:
    grid = made_grid(56, day_cv=0.0)
    base = profile(grid)
    assert base.residuals(grid).mean() == pytest.approx(0, abs=0.002)
    assert base.totals(grid).sum() == pytest.approx(grid.hours.sum())


def test_odd_days_are_left_out_on_both_sides() -> None:
    grid = made_grid(56, day_cv=0.05)
    factor = np.ones((56, 1))
    factor[10], factor[20] = 0.1, 3.0
    assert np.flatnonzero(~usual_days(replace(grid, hours=grid.hours * factor))).tolist() == [10, 20]


def test_a_steady_level_hardly_drifts() -> None:
    grid = made_grid(180, day_cv=0.05)
    levels = fit_levels(grid, usual_days(grid), 0.05)
    assert levels.drift_cv < 0.015
    assert levels.level_cv < 0.02


def test_a_wandering_level_is_followed() -> None:
    followed, drifts = [], []
    for seed in range(10):
        walk = np.cumsum(np.random.default_rng(seed).normal(0, 0.06, 26))
        grid = made_grid(182, day_cv=0.05, weeks=walk, seed=seed)
        usual = usual_days(grid)
        levels = fit_levels(grid, usual, 0.05)
        drifts.append(levels.drift_cv)
        if np.isfinite(levels.half_life_weeks):
            recent = level(grid, usual, profile(grid), levels.half_life_weeks)
            followed.append(abs(recent - profile(grid).residuals(grid)[-14:].mean()))
    assert len(followed) >= 6
    assert max(followed) < 0.1
    assert 0.03 < np.median(drifts) < 0.12


def test_a_short_history_has_no_origins_and_takes_a_level_at_its_word() -> None:
    grid = made_grid(21, day_cv=0.1)
    assert origins(grid) == []
    outlook = look_ahead(grid, np.ones((7, 24)), grid.dates[-1])
    assert outlook.level_cv == pytest.approx(np.sqrt(np.mean(outlook.day_cv**2)) / np.sqrt(21))
    assert outlook.day_degrees == 14
    assert len(outlook.day_residuals) == 0


def test_spreads_of_days_and_hours_are_found() -> None:
    grid = made_grid(180, day_cv=0.1, hour_cv=0.08)
    outlook = look_ahead(grid, np.ones((7, 24)), grid.dates[-1])
    assert outlook.day_cv == pytest.approx(np.full(7, 0.1), rel=0.4)
    assert outlook.hour_cv[8:20] == pytest.approx(np.full(12, 0.08), rel=0.3)
    assert np.std(outlook.day_residuals) == pytest.approx(1, abs=0.2)


def test_one_week_alone_still_says_that_days_differ() -> None:
    outlook = look_ahead(made_grid(7, day_cv=0.0), np.ones((7, 24)), made_grid(7).dates[-1])
    assert (outlook.day_cv >= 0.1).all()


def test_a_rising_level_is_forecast_from_where_it_stands() -> None:
    rising: FloatArray = np.linspace(0, 0.8, 26)
    grid: Grid = made_grid(182, day_cv=0.03, weeks=rising)
    outlook = look_ahead(grid, np.ones((7, 24)), grid.dates[-1])
    last = profile(grid.keep(slice(175, 182))).per_minute.sum()
    assert outlook.attempts_per_minute.sum() * np.exp(outlook.level(0)[0]) == pytest.approx(last, rel=0.1)
    assert outlook.level(26)[1] > outlook.level(1)[1]
