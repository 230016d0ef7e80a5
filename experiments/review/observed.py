"""What a history shows of its hours, in the indicators of `models.kpis`: attempts, refused, lost, calls at once.

Indicators that a history cannot show, such as delays below its resolution, or lost customers where it has no numbers,
are null. Whether they are as forecast is `experiments.review.score`'s to say.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from models.fitting.redials import FAILED, KNOWN, chains, fit_redials, fresh_calls
from models.fitting.settings import Assumed
from models.history.table import CallStatus, History
from models.occupancy import steps

OBSERVED = ("attempts", "refused_share", "customers_lost_share", "peak_concurrency", "calls")
"""Columns of `by_hour` beside `hour`; `calls` are fresh ones."""
_HOUR = timedelta(hours=1)


def by_hour(history: History) -> pl.DataFrame:
    """Every whole local hour of a history that is not on a closed day: `hour` (when it began) and `OBSERVED`."""
    hour = pl.col("start_local").dt.truncate("1h")
    counts = history.counts
    table = counts.group_by(hour.alias("hour")).agg(pl.col("attempts", "refused").sum()).sort("hour")
    table = table.filter(_is_whole(history), ~pl.col("hour").dt.date().is_in(list(history.closed)))
    shares = table.with_columns(refused_share=pl.col("refused") / pl.when(pl.col("attempts") > 0).then("attempts"))
    joined = shares.join(_callers(history), on="hour", how="left").join(_peaks(history), on="hour", how="left")
    return joined.select("hour", *(pl.col(name).cast(pl.Float64) for name in OBSERVED)).sort("hour")


def _is_whole(history: History) -> pl.Expr:
    """Hours that the history covers from their first to their last interval."""
    first, last = history.counts["start_local"].min(), history.counts["start_local"].max()
    until = pl.lit(last) + pl.duration(microseconds=round(history.interval_s * 1e6))
    return (pl.col("hour") >= first) & (pl.col("hour") + _HOUR <= until)


def _callers(history: History) -> pl.DataFrame:
    """Fresh calls of each hour, and the share of callers who gave up without having reached the other side: of those
    with a number, as nobody knows which attempts of the others belong together.
    """
    schema = {"hour": pl.Datetime("us"), "calls": pl.Int64(), "customers_lost_share": pl.Float64()}
    found = None if history.calls is None else chains(history.calls)
    if found is None or not found.shown:
        return pl.DataFrame(schema=schema)
    fresh = fresh_calls(found, fit_redials(found, Assumed()))
    hour = pl.col("start_local").dt.truncate("1h").alias("hour")
    calls = fresh.group_by(hour).agg(calls=pl.col("fresh").sum().round().cast(pl.Int64))
    # All attempts of one call stand together, in their order.
    known = found.attempts.filter(KNOWN)
    callers = known.group_by((pl.col("attempt") == 1).cum_sum().alias("caller_number")).agg(
        pl.col("start_local").first().dt.truncate("1h").alias("hour"),
        pl.col("status").last().is_in(FAILED).alias("lost"),
    )
    return calls.join(callers.group_by("hour").agg(customers_lost_share=pl.col("lost").mean()), on="hour", how="left")


def _peaks(history: History) -> pl.DataFrame:
    """Most calls at once in each hour: answered, and not yet ended."""
    schema = {"hour": pl.Datetime("us"), "peak_concurrency": pl.Float64()}
    if history.calls is None:
        return pl.DataFrame(schema=schema)
    up = history.calls.filter(
        (pl.col("status") == CallStatus.ANSWERED.value) & pl.col("holding_s").is_not_null()
    ).select(
        (pl.col("start_utc").dt.epoch("us") / 1e6 + pl.col("ringing_s").fill_null(0.0)).alias("from_s"),
        "holding_s",
        (pl.col("start_local").dt.epoch("us") - pl.col("start_utc").dt.epoch("us")).alias("offset_us"),
    )
    if not up.height:
        return pl.DataFrame(schema=schema)
    begin = up["from_s"].to_numpy()
    at_s, level = steps(begin, begin + up["holding_s"].to_numpy(), np.ones(up.height))
    # The level that an hour begins with counts in it too.
    hours = history.counts.group_by(pl.col("start_local").dt.truncate("1h").alias("hour")).agg(
        pl.col("start_utc").min().dt.epoch("us") / 1e6
    )
    starts_s = hours["start_utc"].to_numpy()
    first = np.maximum(np.searchsorted(at_s, starts_s, side="right") - 1, 0)
    after = np.maximum(np.searchsorted(at_s, starts_s + _HOUR.total_seconds(), side="left"), first + 1)
    bounds = np.column_stack([first, after]).ravel()
    peaks = np.maximum.reduceat(np.append(level, 0.0), bounds)[::2]
    return pl.DataFrame({"hour": hours["hour"], "peak_concurrency": peaks}, schema=schema)
