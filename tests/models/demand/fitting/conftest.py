"""Histories whose truth is known: a month of a trunk under a throttle, its callers redialling, made with the models'
own arrivals; and half a year of a real call centre.
"""

from __future__ import annotations

import bisect
import heapq
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.grid import Grid, lay_out
from trunkproof.models.demand.history.table import CALLS_SCHEMA, COUNTS_SCHEMA, History
from trunkproof.models.rates import arrival_chunks
from trunkproof.models.traffic import WeeklyArrivals

FIRST = datetime(2025, 6, 2)
"""A Monday."""
SHAPE = np.array([1, 1, 0.5, 0.5, 0.5, 1, 3, 8, 16, 22, 26, 27, 25, 22, 23, 24, 22, 18, 13, 9, 6, 4, 2, 1]) / 27
WEEK = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.2])
OFFSET = timedelta(hours=5, minutes=30)
REAL = Path(__file__).parents[5] / "shared" / "data" / "bank-calls-1999-h1.csv"


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a made history comes from."""

    peak_per_minute: float = 27.0
    day_cv: float = 0.1
    period_cv: float = 0.1
    days: int = 30
    limit: int = 30
    redial: float = 0.6
    delay_s: float = 20.0
    most_attempts: int = 5
    mean_hold_s: float = 180.0
    hold_cv: float = 1.3
    busy: float = 0.1
    no_answer: float = 0.15
    rejected: float = 0.02

    @property
    def rates(self) -> FloatArray:
        return self.peak_per_minute * WEEK[:, None] * SHAPE

    def arrivals(self) -> WeeklyArrivals:
        hourly = tuple(tuple(map(float, day)) for day in self.rates)
        return WeeklyArrivals(kind="weekly", hourly_per_minute=hourly, day_cv=self.day_cv, period_cv=self.period_cv)


def make_history(truth: Truth, seed: int = 1, *, pairs: bool = True) -> History:
    """Every attempt of `truth.days` days, as a reader would have read it; durations in whole seconds."""
    random = np.random.default_rng(seed)
    fresh = np.concatenate(list(arrival_chunks(truth.arrivals(), truth.days * 86400.0, seed, 0, 100_000)))
    at, caller, status = _under_the_throttle(truth, fresh, random)
    count = len(at)
    answered = status == "answered"
    sigma = np.sqrt(np.log1p(truth.hold_cv**2))
    hold = np.round(truth.mean_hold_s * np.exp(sigma * random.standard_normal(count) - sigma**2 / 2))
    local = np.datetime64(FIRST, "us") + (at * 1e6).astype("timedelta64[us]")
    codes = {"answered": 200, "busy": 486, "no_answer": 480, "refused": 503, "rejected": 404}
    numbers = caller.astype(np.uint64)
    calls = pl.DataFrame(
        {
            "row": np.arange(2, count + 2),
            "start_utc": pl.Series(local - np.timedelta64(OFFSET)).dt.replace_time_zone("UTC"),
            "start_local": local,
            "direction": np.where(caller % 5 == 0, "inbound", "outbound"),
            "status": status,
            "code": pl.Series(status.tolist()).replace_strict(codes, return_dtype=pl.Int16),
            "ringing_s": np.where(
                np.isin(status, ["refused", "rejected"]), 0.0, np.round(random.gamma(3.0, 3.0, count), 1)
            ),
            "holding_s": pl.Series(np.where(answered, hold, np.nan)).fill_nan(None),
            "caller": numbers if pairs else pl.Series([None] * count, dtype=pl.UInt64),
            "callee": numbers * np.uint64(7919) if pairs else pl.Series([None] * count, dtype=pl.UInt64),
        },
        schema=CALLS_SCHEMA,
    )
    return History("made.csv", "made", "Asia/Kolkata", count, calls, count_calls(calls, truth.days), 60.0)


def _under_the_throttle(
    truth: Truth, fresh: FloatArray, random: np.random.Generator
) -> tuple[FloatArray, np.ndarray, np.ndarray]:
    """Instants, callers and statuses of all attempts: a window of a minute, and callers who try again."""
    bounds = np.cumsum([truth.busy, truth.no_answer, truth.rejected])
    kinds = ["busy", "no_answer", "rejected", "answered"]
    waiting: list[tuple[float, int, int]] = []
    rows: list[tuple[float, int, str]] = []
    window, admitted = -1, 0
    end = truth.days * 86400.0
    luck = iter(random.random((2 * len(fresh) + 1000, 2)).tolist())
    waits = iter(random.exponential(truth.delay_s, 2 * len(fresh) + 1000).tolist())
    limits = [*bounds.tolist(), 1.0]
    events = iter([*((at, number, 1) for number, at in enumerate(fresh.tolist())), (end, -1, 0)])
    coming = next(events)
    while True:
        now, number, attempt = heapq.heappop(waiting) if waiting and waiting[0] < coming else coming
        if now >= end:
            break
        if attempt == 1:
            coming = next(events)
        if now // 60 != window:
            window, admitted = int(now // 60), 0
        refused = admitted >= truth.limit
        admitted += not refused
        chance, willing = next(luck)
        status = "refused" if refused else kinds[bisect.bisect_left(limits, chance)]
        rows.append((now, number, status))
        if status in ("refused", "rejected") and attempt < truth.most_attempts and willing < truth.redial:
            heapq.heappush(waiting, (now + next(waits), number, attempt + 1))
    at, caller, statuses = zip(*rows, strict=True)
    return np.array(at), np.array(caller), np.array(statuses)


def count_calls(calls: pl.DataFrame, days: int) -> pl.DataFrame:
    """By minute, from the first to the last."""
    minutes = pl.datetime_range(FIRST, FIRST + timedelta(days=days), "1m", closed="left", eager=True)
    grid = pl.DataFrame({"start_local": minutes})
    counted = calls.group_by(pl.col("start_local").dt.truncate("1m")).agg(
        pl.len().cast(pl.Int64).alias("attempts"), (pl.col("status") == "refused").sum().cast(pl.Int64).alias("refused")
    )
    return (
        grid.cast({"start_local": pl.Datetime("us")})
        .join(counted, on="start_local", how="left")
        .sort("start_local")
        .select(
            (pl.col("start_local") - OFFSET).dt.replace_time_zone("UTC").alias("start_utc"),
            "start_local",
            pl.col("attempts").fill_null(0),
            pl.col("refused").fill_null(0),
        )
        .cast(COUNTS_SCHEMA)  # type: ignore[arg-type]
    )


def counts_only(history: History) -> History:
    """The same, without its calls."""
    return History(history.source, "counts", history.timezone, history.rows_read, None, history.counts, 60.0)


def real_history() -> History:
    """The real call centre's half-year; skips the test where its file is not beside the repository."""
    if not REAL.exists():
        pytest.skip("the real call counts are not in ../shared/data")
    read = pl.read_csv(REAL).select(
        (pl.col("date") + " " + pl.col("start")).str.to_datetime("%Y-%m-%d %H:%M", time_unit="us").alias("start_local"),
        pl.col("calls").alias("attempts"),
    )
    slots = pl.datetime_range(datetime(1999, 1, 1), datetime(1999, 7, 1), "6m", closed="left", eager=True)
    local = pl.DataFrame({"start_local": slots}).cast({"start_local": pl.Datetime("us")})
    utc = pl.col("start_local").dt.replace_time_zone("Asia/Jerusalem", ambiguous="earliest", non_existent="null")
    counts = (
        local.join(read, on="start_local", how="left")
        .with_columns(utc.dt.convert_time_zone("UTC").alias("start_utc"), pl.lit(0).alias("refused"))
        .filter(pl.col("start_utc").is_not_null())
        .select("start_utc", "start_local", pl.col("attempts").fill_null(0), "refused")
        .cast(COUNTS_SCHEMA)  # type: ignore[arg-type]
    )
    return History(REAL.name, "counts", "Asia/Jerusalem", read.height, None, counts, 360.0)


def grid_of(history: History) -> Grid:
    """Attempts by day."""
    return lay_out(history.counts, "attempts", history.counts, history.interval_s, history.closed)


@pytest.fixture(scope="session")
def month() -> History:
    """A usual month under a throttle."""
    return make_history(Truth())


@pytest.fixture(scope="session")
def real() -> History:
    """See `real_history`."""
    return real_history()
