"""Days kept out: as many as said, never seen by the fit, and covered, in made histories and in a real one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.models.demand.fitting.made_grids import made_grid

from trunkproof.models.demand.fitting.held_out import forecast_last, held_out_days, hold_out


@pytest.mark.parametrize(("days", "out"), [(3, 0), (8, 2), (30, 7), (60, 14), (181, 28), (400, 28)])
def test_a_quarter_in_whole_weeks_is_kept_out(days: int, out: int) -> None:
    assert held_out_days(days) == out


def test_too_few_days_keep_none_out() -> None:
    assert hold_out(made_grid(8)) is None
    assert hold_out(made_grid(3)) is None


@pytest.mark.parametrize(("days", "out"), [(30, 14), (181, 112), (10, 2)])
def test_folds_reach_back_two_thirds_of_the_history_at_most(days: int, out: int) -> None:
    grid = made_grid(days)
    held_out = hold_out(grid)
    assert held_out is not None
    assert [start.date() for start in held_out.days["start_local"]] == list(grid.dates[-out:])
    assert held_out.hours.height == 24 * out


def test_what_is_kept_out_does_not_change_its_forecast() -> None:
    grid = made_grid(40)
    hours = grid.hours.copy()
    hours[-7:] = 0
    first, second = forecast_last(grid, 7), forecast_last(replace(grid, hours=hours), 7)
    assert first.hours.drop("seen").equals(second.hours.drop("seen"))
    assert first.seen_by_day > 0.5
    assert second.seen_by_day == 0


def test_odd_days_are_forecast_as_often_as_they_come() -> None:
    inside = [forecast_last(made_grid(140, odd_share=0.06, seed=seed), 28).seen_by_day for seed in range(10)]
    error = np.std(inside) / np.sqrt(len(inside))
    assert 0.9 - 4.5 * error < np.mean(inside) < 0.9 + 4.5 * error
