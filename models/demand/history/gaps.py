"""Find gaps between the files of a history: days of a file that is missing or was cut short."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

import polars as pl

from trunkproof.models.demand.history.oddities import Ledger
from trunkproof.models.demand.history.opened import FILE_STEP

_SLACK = timedelta(hours=1)
_DAY = timedelta(days=1)
_LISTED = 5


def missing_days(rows: pl.DataFrame, names: list[str], ledger: Ledger) -> tuple[date, ...]:
    """Return local days that lie mostly in a gap between two files: nobody knows what the customer did on them.

    A gap is longer than any pause within a file by more than an hour. Weekdays without a call in any file are no gap:
    the customer was closed.

    Args:
        rows: `row`, `start_local`.
        names: names of the files, by number.
        ledger: takes the gaps.
    """
    if len(names) < 2:
        return ()
    ordered = rows.select("start_local", file=pl.col("row") // FILE_STEP).sort("start_local")
    ordered = ordered.with_columns(pause=pl.col("start_local").diff(), other=pl.col("file") != pl.col("file").shift())
    inside = ordered.filter(~pl.col("other"))["pause"].max()
    usual = (inside if isinstance(inside, timedelta) else timedelta()) + _SLACK
    jumps = ordered.with_columns(before=pl.col("file").shift(), last=pl.col("start_local").shift())
    jumps = jumps.filter(pl.col("other") & (pl.col("pause") > usual))
    weekdays = set(ordered["start_local"].dt.weekday().unique().to_list())
    days: list[date] = []
    told: list[str] = []
    for last, first, before, after in jumps.select("last", "start_local", "before", "file").iter_rows():
        lost = [day for day in _covered(last, first, usual) if day.isoweekday() in weekdays]
        if lost:
            days += lost
            told.append(f"{names[before]} ends {last:%Y-%m-%d %H:%M}, {names[after]} begins {first:%Y-%m-%d %H:%M}")
    more = f"; and {len(told) - _LISTED} more" if len(told) > _LISTED else ""
    ledger.note("gap", len(told), what="; ".join(told[:_LISTED]) + more)
    return tuple(days)


def _covered(begin: datetime, end: datetime, usual: timedelta) -> Iterator[date]:
    """Yield days of which more lies in the gap than any pause explains."""
    day = begin.date()
    while day <= end.date():
        midnight = datetime.combine(day, time())
        if min(end, midnight + _DAY) - max(begin, midnight) > min(usual, _DAY - _SLACK):
            yield day
        day += _DAY
