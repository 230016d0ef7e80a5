"""The grid: complete days only, by local hour, with the hours that clocks add or take."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from tests.models.demand.fitting.conftest import grid_of

from trunkproof.models.demand.fitting.grid import lay_out, period_s
from trunkproof.models.demand.history.table import History


def table(first: datetime, last: datetime, attempts: int = 1) -> pl.DataFrame:
    starts = pl.datetime_range(first, last, "30m", closed="left", eager=True)
    return pl.DataFrame({"start_local": starts, "attempts": [attempts] * len(starts)})


@pytest.mark.parametrize(("interval_s", "length"), [(60, 900), (360, 720), (900, 900), (1800, 1800), (3600, 3600)])
def test_a_period_is_made_of_whole_intervals(interval_s: float, length: float) -> None:
    assert period_s(interval_s) == length


def test_days_begun_or_left_off_in_the_middle_are_not_laid_out() -> None:
    counts = table(datetime(2025, 6, 2, 10), datetime(2025, 6, 6, 15))
    grid = lay_out(counts, "attempts", counts, 1800)
    assert grid.dates == (date(2025, 6, 3), date(2025, 6, 4), date(2025, 6, 5))
    assert grid.weekdays.tolist() == [1, 2, 3]
    assert (grid.hours == 2).all()
    assert (grid.minutes == 60).all()
    assert grid.totals.tolist() == [48, 48, 48]


def test_an_edge_before_the_first_usual_call_does_not_make_a_day_incomplete() -> None:
    counts = table(datetime(2025, 6, 2), datetime(2025, 6, 6))
    clock = pl.col("start_local").dt.hour()
    counts = counts.with_columns(pl.when(clock.is_between(9, 17)).then(1).otherwise(0).alias("attempts"))
    begun = counts.filter(pl.col("start_local") >= datetime(2025, 6, 2, 9))
    grid = lay_out(begun, "attempts", begun, 1800)
    assert len(grid) == 4
    assert (grid.minutes == 60).all()


def test_closed_days_are_left_out() -> None:
    counts = table(datetime(2025, 6, 2), datetime(2025, 6, 5))
    assert lay_out(counts, "attempts", counts, 1800, (date(2025, 6, 3),)).dates == (date(2025, 6, 2), date(2025, 6, 4))


def test_no_complete_day_is_an_empty_grid() -> None:
    counts = table(datetime(2025, 6, 2, 10), datetime(2025, 6, 2, 12))
    assert len(lay_out(counts, "attempts", counts, 1800)) == 0


def test_keeping_some_days_keeps_all_of_them(month: History) -> None:
    grid = grid_of(month)
    kept = grid.keep(grid.weekdays == 6)
    assert len(kept) == 4
    assert (kept.periods.sum(axis=1) == kept.totals).all()
    assert grid.hours.sum() == month.attempts


def test_an_hour_that_clocks_skip_has_no_minutes(real: History) -> None:
    grid = grid_of(real)
    short = grid.dates.index(date(1999, 4, 2))
    assert grid.minutes[short].tolist() == [60, 60, 0, *[60] * 21]
    assert np.delete(grid.minutes, short, axis=0).min() == 60
