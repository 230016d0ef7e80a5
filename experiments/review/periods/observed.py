"""Compute the indicators of a history's hours and judged periods: attempts, refused, lost, calls at once.

An indicator that the history cannot show is null, such as lost customers where it has no telephone numbers.
`experiments.review.score.score` compares the indicators with the forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta

import numpy as np
import polars as pl

from trunkproof.experiments.review.periods.busy import BusyPeriod
from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.redials import FAILED, KNOWN, chains, fit_redials, fresh_calls
from trunkproof.models.demand.fitting.settings import Assumed
from trunkproof.models.demand.history.table import CallStatus, History
from trunkproof.models.occupancy import steps

OBSERVED = ("attempts", "refused_share", "customers_lost_share", "peak_concurrency", "calls")
"""Columns beside `began`; `calls` are fresh ones."""
_HOUR_S = 3600.0


def by_hour(history: History) -> pl.DataFrame:
    """Return every whole local hour of a history that is not on a closed day: `began` and `OBSERVED`."""
    hours = history.counts["start_local"].dt.truncate("1h").unique().sort()
    return _shown(history, hours, _HOUR_S)


def by_period(history: History, periods: Sequence[BusyPeriod]) -> pl.DataFrame:
    """Return the same columns for the periods that a review judged, in the order of time.

    Raises:
        ValueError: periods of different lengths.
    """
    if len({period.length_s for period in periods}) > 1:
        raise ValueError("judged periods have one length")
    days = history.counts["start_local"].dt.date().unique().sort()
    begins = [
        datetime.combine(day, time()) + timedelta(seconds=period.start_s)
        for day in days
        for period in periods
        if day.weekday() in period.weekdays
    ]
    length_s = periods[0].length_s if periods else _HOUR_S
    return _shown(history, pl.Series(begins, dtype=pl.Datetime("us")).sort(), length_s)


def _shown(history: History, begins: pl.Series, length_s: float) -> pl.DataFrame:
    """Return the indicators of the spans that the history covers; no two of them overlap."""
    length = pl.duration(microseconds=round(length_s * 1e6))
    first, last = history.counts["start_local"].min(), history.counts["start_local"].max()
    # A start names the begin of its interval, which is covered to its end.
    until = pl.lit(last) + pl.duration(microseconds=round(history.interval_s * 1e6))
    spans = pl.DataFrame({"began": begins}, schema={"began": pl.Datetime("us")}).filter(
        pl.col("began") >= first,
        pl.col("began") + length <= until,
        ~pl.col("began").dt.date().is_in(list(history.closed)),
    )
    counted = _counts(history, spans, length_s)
    shares = counted.with_columns(refused_share=pl.col("refused") / pl.when(pl.col("attempts") > 0).then("attempts"))
    joined = shares.join(_callers(history, spans, length_s), on="began", how="left")
    joined = joined.join(_peaks(history, spans, length_s), on="began", how="left")
    return joined.select("began", *(pl.col(name).cast(pl.Float64) for name in OBSERVED)).sort("began")


def _within(times: pl.DataFrame, spans: pl.DataFrame, length_s: float) -> pl.DataFrame:
    """Return the rows of `times` (with `start_local`) that lie in a span, with that span's `began`."""
    found = times.sort("start_local").join_asof(
        spans.sort("began"), left_on="start_local", right_on="began", coalesce=False
    )
    return found.filter(pl.col("start_local") < pl.col("began") + pl.duration(microseconds=round(length_s * 1e6)))


def _counts(history: History, spans: pl.DataFrame, length_s: float) -> pl.DataFrame:
    """Return `began`, `attempts` and `refused`; an interval that lies partly in a span counts in that part."""
    counts = history.counts.group_by("start_local").agg(pl.col("attempts", "refused").sum()).sort("start_local")
    edges = counts["start_local"].dt.epoch("us").to_numpy() / 1e6
    begin_s = spans["began"].dt.epoch("us").to_numpy() / 1e6
    # A cumulative curve with a point at each end of each interval: a span that cuts an interval takes a part of it.
    at_s = np.column_stack([edges, edges + history.interval_s]).ravel()
    found = {"began": spans["began"]}
    for name in ("attempts", "refused"):
        reached = np.cumsum(counts[name].to_numpy().astype(np.float64))
        curve = np.column_stack([reached - counts[name].to_numpy(), reached]).ravel()
        found[name] = pl.Series(np.interp(begin_s + length_s, at_s, curve) - np.interp(begin_s, at_s, curve)).round(9)
    # Leave out the hour that does not exist where clocks go forward.
    seen = _within(history.counts.select("start_local"), spans, length_s)["began"].unique()
    return pl.DataFrame(found).filter(pl.col("began").is_in(seen.implode()))


def _callers(history: History, spans: pl.DataFrame, length_s: float) -> pl.DataFrame:
    """Return the fresh calls of each span, and the share of callers who gave up without reaching the other side.

    Only callers with a number count: for others nobody knows which attempts belong together.
    """
    schema = {"began": pl.Datetime("us"), "calls": pl.Int64(), "customers_lost_share": pl.Float64()}
    found = None if history.calls is None else chains(history.calls)
    if found is None or not found.shown:
        return pl.DataFrame(schema=schema)
    fresh = fresh_calls(found, fit_redials(found, Assumed()))
    within = _within(fresh, spans, length_s).group_by("began")
    calls = within.agg(calls=pl.col("fresh").sum().round().cast(pl.Int64))
    # All attempts of one call stand together, in their order.
    known = found.attempts.filter(KNOWN)
    callers = known.group_by((pl.col("attempt") == 1).cum_sum().alias("caller_number")).agg(
        pl.col("start_local").first(),
        # By the last attempt: a caller who got through at the third one is not lost.
        pl.col("status").last().is_in(FAILED).alias("lost"),
    )
    gave_up = _within(callers, spans, length_s).group_by("began").agg(customers_lost_share=pl.col("lost").mean())
    return calls.join(gave_up, on="began", how="left")


def _peaks(history: History, spans: pl.DataFrame, length_s: float) -> pl.DataFrame:
    """Return the most calls at once in each span: answered and not yet ended."""
    schema = {"began": pl.Datetime("us"), "peak_concurrency": pl.Float64()}
    if history.calls is None:
        return pl.DataFrame(schema=schema)
    up = history.calls.filter(
        (pl.col("status") == CallStatus.ANSWERED.value) & pl.col("holding_s").is_not_null()
    ).select(
        (pl.col("start_utc").dt.epoch("us") / 1e6 + pl.col("ringing_s").fill_null(0.0)).alias("from_s"), "holding_s"
    )
    if not up.height:
        return pl.DataFrame(schema=schema)
    begin = up["from_s"].to_numpy()
    at_s, level = steps(begin, begin + up["holding_s"].to_numpy(), np.ones(up.height))
    # Compare in UTC, because local hours may come twice. The offset is that of the span's first interval.
    rows = _within(history.counts.select("start_local", "start_utc"), spans, length_s)
    started = rows.sort("start_utc").group_by("began", maintain_order=True).first()
    offset_us = started["start_utc"].dt.epoch("us") - started["start_local"].dt.epoch("us")
    starts_s = ((started["began"].dt.epoch("us") + offset_us) / 1e6).to_numpy()
    # The level that a span begins with counts in it too.
    first = np.maximum(np.searchsorted(at_s, starts_s, side="right") - 1, 0)
    after = np.maximum(np.searchsorted(at_s, starts_s + length_s, side="left"), first + 1)
    peaks: FloatArray = np.maximum.reduceat(np.append(level, 0.0), np.column_stack([first, after]).ravel())[::2]
    return pl.DataFrame({"began": started["began"], "peak_concurrency": peaks}, schema=schema)
