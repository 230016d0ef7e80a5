"""Calls into counts per interval, without gaps: the table that arrivals are fitted to.

A history that is of counts already is read by `models.demand.history.tallies`.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from trunkproof.models.demand.history.table import COUNTS_SCHEMA, CallStatus
from trunkproof.models.demand.history.zones import to_local, to_utc
from trunkproof.models.errors import InputError, Problem

MOST_INTERVALS = 20_000_000


def counted(calls: pl.DataFrame, begin: datetime, end: datetime, interval_s: float, timezone: str) -> pl.DataFrame:
    """Return the attempts and refusals per interval.

    Args:
        calls: a table with `start_utc` and `status`.
        begin: local wall clock of the first counts. Intervals begin at its midnight.
        end: local wall clock of their end, excluded.
        interval_s: length of an interval.
        timezone: of `begin` and `end`.

    Raises:
        InputError: more intervals than are reasonable.
    """
    is_refused = pl.col("status") == CallStatus.REFUSED.value
    rows = calls.lazy().select("start_utc", attempts=1, refused=is_refused.cast(pl.Int64))
    return summed(rows, begin, end, interval_s, timezone)


def summed(rows: pl.LazyFrame, begin: datetime, end: datetime, interval_s: float, timezone: str) -> pl.DataFrame:
    """Return the same as `counted`, for rows that are counts already: `start_utc`, `attempts`, `refused`."""
    midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    origin, first, last = _microseconds([midnight, begin, end], timezone)
    step = max(1, round(interval_s * 1e6))
    low, high = (first - origin) // step, -((origin - last) // step)
    if high - low > MOST_INTERVALS:
        what = f"{interval_s:g} s give {high - low} intervals; at most {MOST_INTERVALS} are counted"
        raise InputError("history", [Problem(where="history.interval_s", what=what)])
    number = (pl.col("start_utc").cast(pl.Int64) - origin) // step
    sums = rows.group_by(number.alias("number")).agg(pl.col("attempts", "refused").sum())
    whole = pl.LazyFrame({"number": pl.int_range(low, high, eager=True)})
    start = pl.from_epoch(origin + pl.col("number") * step, time_unit="us").dt.replace_time_zone("UTC")
    return (
        whole.join(sums, on="number", how="left", maintain_order="left")
        .with_columns(pl.col("attempts", "refused").fill_null(0).cast(pl.Int64), start_utc=start)
        .with_columns(start_local=to_local("start_utc", timezone))
        .select(*COUNTS_SCHEMA)
        .collect()
    )


def _microseconds(wall: list[datetime], timezone: str) -> list[int]:
    # One by one: in a column their order would be that of a file.
    return [int(to_utc(pl.Series([at], dtype=pl.Datetime("us")), timezone).utc.to_physical()[0]) for at in wall]
