"""Find the days of a history: those that the request asks for, days without calls, incomplete first and last days."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, time, timedelta

import polars as pl

from trunkproof.models.demand.history.oddities import Ledger
from trunkproof.models.demand.history.settings import HistorySettings

_SLACK = timedelta(hours=1)
_DAY = timedelta(days=1)
_LISTED = 10


def inside_period(frame: pl.DataFrame, settings: HistorySettings, ledger: Ledger) -> pl.DataFrame:
    """Return the rows (with `row`, `start_local`) from `since` to `until`, both included."""
    day = pl.col("start_local").dt.date()
    outside = pl.lit(value=False)
    if settings.since is not None:
        outside |= day < settings.since
    if settings.until is not None:
        outside |= day > settings.until
    if settings.since is None and settings.until is None:
        return frame
    mask = frame.select(out=outside).to_series()
    days = frame.filter(mask)["start_local"].dt.date().n_unique()
    ledger.note_rows("outside_period", frame, mask, what=f"{days} days")
    return frame.filter(~mask)


def span(
    rows: pl.DataFrame, settings: HistorySettings, ledger: Ledger, missing: Collection[date] = ()
) -> tuple[datetime, datetime]:
    """Return begin and end of the counts in local wall clock; the end is excluded.

    They are whole days, unless the first or the last day is incomplete. It is if it begins an hour later, or ends an
    hour earlier, than any other day of its kind (working day, Saturday, Sunday; without one, than any other day).

    Args:
        rows: `start_local`, in any order; at least one row.
        settings: `since` and `until`.
        ledger: takes days without calls, and partial ones.
        missing: days that lie between two files, which have been reported already.
    """
    by_day = (
        rows.lazy()
        .group_by(day=pl.col("start_local").dt.date())
        .agg(first=pl.col("start_local").min(), last=pl.col("start_local").max())
        .sort("day")
        .collect()
    )
    _note_empty(by_day["day"], missing, ledger)
    first, last = by_day.row(0, named=True), by_day.row(-1, named=True)
    begin = datetime.combine(first["day"], time())
    end = datetime.combine(last["day"], time()) + _DAY
    if _late(first["first"], by_day) and settings.since != first["day"]:
        ledger.note("partial_first_day", 1, what=f"{first['day']} from {first['first']:%H:%M}")
        begin = first["first"]
    if _early(last["last"], by_day) and settings.until != last["day"]:
        ledger.note("partial_last_day", 1, what=f"{last['day']} to {last['last']:%H:%M}")
        end = last["last"] + timedelta(microseconds=1)
    return begin, end


def _note_empty(days: pl.Series, missing: Collection[date], ledger: Ledger) -> None:
    whole = pl.select(pl.date_range(days.min(), days.max())).to_series()  # type: ignore[arg-type]
    empty = whole.filter(~whole.is_in(days.implode()) & ~whole.is_in(list(missing)))
    listed = ", ".join(map(str, empty.head(_LISTED).to_list())) + (", ..." if empty.len() > _LISTED else "")
    ledger.note("days_without_calls", empty.len(), what=listed)


def _kind(day: date) -> int:
    return max(4, day.weekday())


def _others(at: datetime, by_day: pl.DataFrame) -> pl.DataFrame:
    """Return the days to compare with, as clock times; the first and the last only if there are no others."""
    rest = by_day.filter(pl.col("day") != at.date())
    inner = rest.filter(pl.col("day").is_between(by_day["day"][0], by_day["day"][-1], closed="none"))
    rest = inner if inner.height else rest
    alike = rest.filter(pl.col("day").map_elements(_kind, return_dtype=pl.Int64) == _kind(at.date()))
    return alike if alike.height else rest


def _since_midnight(column: str) -> pl.Expr:
    return pl.col(column) - pl.col(column).dt.truncate("1d")


def _late(first: datetime, by_day: pl.DataFrame) -> bool:
    others = _others(first, by_day).select(_since_midnight("first").max()).item() or timedelta()
    return bool(first - datetime.combine(first.date(), time()) > others + _SLACK)


def _early(last: datetime, by_day: pl.DataFrame) -> bool:
    others = _others(last, by_day).select(_since_midnight("last").min()).item() or _DAY
    return bool(last - datetime.combine(last.date(), time()) < others - _SLACK)
