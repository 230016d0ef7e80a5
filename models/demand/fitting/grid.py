"""Arrange the counts of a history by day: hours and periods of the complete local days.

A day is complete if the history covers all of it. This module counts; it estimates nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl

from trunkproof.models.arrays import BoolArray, FloatArray, IntArray

_LEAST_MINUTES = 22.5 * 60
"""Least minutes of a complete day; the day on which clocks go forward has 23 hours."""
_PERIOD_S = 900


@dataclass(frozen=True, eq=False)
class Grid:
    """Counts on D complete days, without closed days."""

    dates: tuple[date, ...]
    weekdays: IntArray
    """Shape (D,), Monday is 0."""
    hours: FloatArray
    """Counts, shape (D, 24), by local hour."""
    minutes: FloatArray
    """Minutes of each hour: 60, but 0 or 120 where clocks changed."""
    periods: FloatArray
    """Counts, shape (D, periods of a day)."""
    period_s: float

    @property
    def totals(self) -> FloatArray:
        """Counts by day."""
        return np.asarray(self.hours.sum(axis=1))

    def keep(self, which: BoolArray | slice) -> Grid:
        """Return the grid of some of the days."""
        dates = tuple(np.array(self.dates, dtype=object)[which])
        return replace(
            self,
            dates=dates,
            weekdays=self.weekdays[which],
            hours=self.hours[which],
            minutes=self.minutes[which],
            periods=self.periods[which],
        )

    def __len__(self) -> int:
        return len(self.dates)


def period_s(interval_s: float) -> float:
    """Return a quarter of an hour, or the multiple of the interval that is nearest to it."""
    # Periods must divide the hour, or hours and periods could not be compared.
    fitting = [n * interval_s for n in range(1, 61) if (3600 / (n * interval_s)).is_integer()]
    return min(fitting, key=lambda length: abs(np.log(length / _PERIOD_S)), default=float(_PERIOD_S))


def lay_out(
    counts: pl.DataFrame, column: str, coverage: pl.DataFrame, interval_s: float, closed: tuple[date, ...] = ()
) -> Grid:
    """Return the counts `column` by `start_local`, on the days that `coverage` (`start_local`, `attempts`) covers.

    `interval_s` is the length of the intervals of both tables.
    """
    minutes = _by_slot(coverage.with_columns(pl.lit(interval_s / 60).alias("minutes")), "minutes", 3600.0)
    dates = [day for day in _complete(coverage, minutes) if day not in closed]
    length = period_s(interval_s)
    covered = _rows(minutes, dates, 24)
    partial = covered.sum(axis=1) < _LEAST_MINUTES
    # An edge day that counts as complete: on other days no calls come in the part that is missing, so its hours are
    # whole.
    covered[partial] = 60.0
    return Grid(
        dates=tuple(dates),
        weekdays=np.array([day.weekday() for day in dates], dtype=np.int64),
        hours=_rows(_by_slot(counts, column, 3600.0), dates, 24),
        minutes=covered,
        periods=_rows(_by_slot(counts, column, length), dates, round(86400 / length)),
        period_s=length,
    )


def by_period(counts: pl.DataFrame, column: str, dates: tuple[date, ...], length_s: float) -> FloatArray:
    """Return the sums of `column` by day and period of that length, shape (len(dates), periods of a day)."""
    return _rows(_by_slot(counts, column, length_s), list(dates), round(86400 / length_s))


def _by_slot(table: pl.DataFrame, column: str, length_s: float) -> pl.DataFrame:
    start = pl.col("start_local")
    second = (start - start.dt.truncate("1d")).dt.total_seconds()
    return (
        table.group_by(start.dt.date().alias("day"), (second // length_s).cast(pl.Int64).alias("slot"))
        .agg(pl.col(column).sum().cast(pl.Float64).alias("sum"))
        .sort("day", "slot")
    )


def _rows(sums: pl.DataFrame, dates: list[date], slots: int) -> FloatArray:
    laid = np.zeros((len(dates), slots))
    index = pl.DataFrame({"day": dates, "row": range(len(dates))}, schema={"day": pl.Date, "row": pl.Int64})
    found = sums.join(index, on="day")
    laid[found["row"].to_numpy(), found["slot"].to_numpy()] = found["sum"].to_numpy()
    return laid


def _complete(coverage: pl.DataFrame, minutes: pl.DataFrame) -> list[date]:
    """Return the days that are covered.

    The first and last day end where calls end. They are complete if no calls come on other days in the missing part.
    """
    by_day = minutes.group_by("day").agg(pl.col("sum").sum()).sort("day")
    full = by_day.filter(pl.col("sum") >= _LEAST_MINUTES)["day"].to_list()
    if not full:
        return []
    start = pl.col("start_local")
    busy = (
        coverage.filter(pl.col("attempts") > 0)
        .group_by(start.dt.date().alias("day"))
        .agg(start.dt.time().min().alias("first"), start.dt.time().max().alias("last"))
        .sort("day")
    )
    others = busy.filter(pl.col("day").is_in(full))
    if others.is_empty():
        return full
    # An office that opens at nine has no call at midnight: its first day is whole although the file begins at nine.
    edges = busy.filter(~pl.col("day").is_in(full))
    usual = edges.filter((pl.col("first") <= others["first"].max()) & (pl.col("last") >= others["last"].min()))
    return sorted({*full, *usual["day"].to_list()})
