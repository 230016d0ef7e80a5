"""Days and hours that were not ordinary: found where they are, and hardly ever where they are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.models.demand.fitting.made_grids import made_grid

from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.demand.fitting.grid import Grid
from trunkproof.models.demand.fitting.odd_days import OddKind, find_odd, usable_days, usable_hours


def changed(grid: Grid, day: int, factor: float, hours: slice = slice(0, 24)) -> Grid:
    """One day, or some hours of it, so many times as busy."""
    each = grid.periods.shape[1] // 24
    by_hour, periods = grid.hours.copy(), grid.periods.copy()
    by_hour[day, hours] *= factor
    periods[day, hours.start * each : hours.stop * each] *= factor
    return replace(grid, hours=by_hour, periods=periods)


@pytest.mark.parametrize("days", [28, 84])
def test_each_kind_is_found_and_named(days: int) -> None:
    grid = made_grid(days)
    grid = changed(grid, 1, 0.08)
    grid = changed(grid, 8, 0.02, slice(10, 12))
    grid = changed(grid, 10, 0.4, slice(14, 17))
    grid = changed(grid, 15, 2.0)
    grid = changed(grid, 17, 0.42)
    found = {grid.dates.index(one.date): one for one in find_odd(grid)}
    assert {row: one.kind for row, one in found.items()} == {
        1: OddKind.CLOSED,
        8: OddKind.OUTAGE,
        10: OddKind.OUTAGE,
        15: OddKind.BUSY,
        17: OddKind.QUIET,
    }
    assert found[8].hours == (10, 11)
    assert found[10].hours == (14, 15, 16)
    assert found[10].share == pytest.approx(0.4, abs=0.15)
    assert "10:00 to 12:00" in found[8].words


def test_a_busy_day_stays_and_a_breakdown_costs_its_hours_only() -> None:
    grid = changed(changed(changed(made_grid(28), 1, 0.05), 8, 0.0, slice(10, 12)), 15, 2.0)
    odd = find_odd(grid)
    days: BoolArray = usable_days(grid, odd)
    assert np.flatnonzero(~days).tolist() == [1]
    hours = usable_hours(grid, odd)
    assert hours[15].all()
    assert np.flatnonzero(~hours[8]).tolist() == [10, 11]
    assert not hours[1].any()


@pytest.mark.parametrize("days", [7, 14, 28, 84])
def test_ordinary_histories_have_hardly_any(days: int) -> None:
    found = [len(find_odd(made_grid(days, day_cv=0.15, hour_cv=0.1, seed=seed))) for seed in range(20)]
    assert np.mean(found) < 0.5


def test_a_level_that_doubles_makes_no_day_odd() -> None:
    rising: FloatArray = np.linspace(0, 0.7, 26)
    assert find_odd(made_grid(182, weeks=rising)) == ()


def test_hours_as_periods_will_do_and_nothing_has_nothing() -> None:
    grid = changed(made_grid(28), 8, 0.0, slice(10, 12))
    coarse = replace(grid, periods=grid.hours, period_s=3600.0)
    (one,) = find_odd(coarse)
    assert one.hours == (10, 11)
    assert find_odd(grid.keep(slice(0, 0))) == ()
