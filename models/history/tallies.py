"""Reads a history of counts: calls per interval, the intervals without calls often left out.

The interval is found from the rows; a history of calls is counted by `models.history.counting` instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from models.errors import InputError, Problem
from models.history import times
from models.history.counting import summed
from models.history.days import inside_period, span
from models.history.extraction import collected
from models.history.formats import Layout
from models.history.oddities import Ledger
from models.history.opening import Opened, refused
from models.history.scaling import scaled
from models.history.settings import HistorySettings
from models.history.zones import to_local, to_utc

_USUAL = 0.02
"""Share of the steps between rows that a length must have to be the interval."""
_LONGEST_S = 3600


@dataclass(frozen=True, eq=False)
class Tallies:
    """Counts per interval, without gaps, and how they were read."""

    counts: pl.DataFrame
    interval_s: float
    rows_read: int


def read_tallies(opened: Opened, layout: Layout, settings: HistorySettings, ledger: Ledger) -> Tallies:
    """Read, clean and scale a history of counts.

    Raises:
        InputError: no times, no counts, none in the period, or intervals longer than an hour.
    """
    raw = _extracted(opened, layout, settings.timezone)
    rows = _cleaned(raw, opened, settings, ledger)
    rows = inside_period(rows, settings, ledger)
    if rows.is_empty():
        raise refused(opened.path, "has no counts between `since` and `until`", where="history.since")
    interval_s = _interval(rows, opened, settings, ledger)
    begin, end = span(rows.filter(pl.col("attempts") > 0) if rows["attempts"].sum() else rows, settings, ledger)
    begin, end = _widened(begin, end, rows["start_local"])
    counts = summed(rows.lazy(), begin, end, interval_s, settings.timezone)
    return Tallies(scaled(counts, settings.scale, ledger), interval_s, raw.height)


def _widened(begin: datetime, end: datetime, starts: pl.Series) -> tuple[datetime, datetime]:
    """To intervals that the file has and that are without calls."""
    first, last = starts.min(), starts.max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return min(begin, first), max(end, last + timedelta(microseconds=1))


def _extracted(opened: Opened, layout: Layout, timezone: str) -> pl.DataFrame:
    """`row`, `start`, `calls`, `refused` as they stand."""
    column, dtype, sample = _start(opened, layout)
    forms = () if dtype.is_temporal() else times.forms_of(sample)
    if not forms and not dtype.is_temporal():
        seen = times.masked(sample.drop_nulls().cast(pl.String).head(100).to_list()) or "nothing"
        what = f"has values like {seen}: no times; ISO 8601 and Unix epochs are understood, or a `date` beside a time"
        raise InputError(opened.path.name, [Problem(where="history.columns.start", what=what)])
    numbers = [
        pl.col(layout.columns[role]).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False).alias(role)
        for role in ("calls", "refused")
        if role in layout.columns
    ]
    query = opened.scan.with_columns(column.alias("_start")).select(
        "row", times.reader("_start", dtype, forms, timezone).alias("start"), *numbers
    )
    return collected(opened, query)


def _start(opened: Opened, layout: Layout) -> tuple[pl.Expr, pl.DataType, pl.Series]:
    """The column of times, where the day stands apart put together with it."""
    name = layout.columns["start"]
    if "date" not in layout.columns:
        return pl.col(name), opened.sample.schema[name], opened.sample[name]
    day = pl.col(layout.columns["date"]).cast(pl.String).str.strip_chars()
    clock = pl.col(name).cast(pl.String).str.strip_chars()
    both = pl.concat_str([day, clock], separator=" ")
    return both, pl.String(), opened.sample.select(both.alias("_start")).to_series()


def _cleaned(raw: pl.DataFrame, opened: Opened, settings: HistorySettings, ledger: Ledger) -> pl.DataFrame:
    """`row`, `start_utc`, `start_local`, `attempts`, `refused`; rows without a start, and repeated ones, left out."""
    ledger.note_rows("unparsable", raw, pl.col("start").is_null())
    rows = raw.filter(pl.col("start").is_not_null())
    if rows.is_empty() or rows["calls"].null_count() == rows.height:
        raise refused(opened.path, "no row has both a time and a number of calls", where="history.columns")
    whole = (pl.col("calls") >= 0) & (pl.col("calls") == pl.col("calls").round()) & (pl.col("calls") < 2**53)
    ledger.note_rows("unparsable_count", rows, ~whole.fill_null(value=False))
    told = pl.col("refused").fill_null(0).clip(lower_bound=0) if "refused" in rows.columns else pl.lit(0.0)
    rows = rows.with_columns(
        attempts=pl.when(whole.fill_null(value=False)).then("calls").otherwise(0).cast(pl.Int64),
        refused=told.round().cast(pl.Int64),
    )
    ledger.note_rows("refused_above_calls", rows, pl.col("refused") > pl.col("attempts"))
    rows = rows.with_columns(refused=pl.min_horizontal("refused", "attempts"))
    converted = to_utc(rows["start"], settings.timezone)
    for kind, mask in (("daylight_gap", converted.in_gap), ("daylight_fold", converted.in_fold)):
        if mask is not None:
            ledger.note_rows(kind, rows, mask)
    rows = rows.with_columns(start_utc=converted.utc).with_columns(start_local=to_local("start_utc", settings.timezone))
    return _without_repeats(rows, ledger).sort("start_utc")


def _without_repeats(rows: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    again = rows.select(~pl.struct("start_utc", "attempts", "refused").is_first_distinct()).to_series()
    ledger.note_rows("duplicate", rows, again)
    rows = rows.filter(~again)
    ledger.note_rows("repeated_interval", rows, ~pl.col("start_utc").is_first_distinct())
    return rows


def _interval(rows: pl.DataFrame, opened: Opened, settings: HistorySettings, ledger: Ledger) -> float:
    """The shortest of the steps between rows that are usual.

    Raises:
        InputError: longer than an hour.
    """
    steps = rows["start_utc"].unique().sort().diff().drop_nulls().dt.total_microseconds()
    steps = steps.filter(steps <= 86_400_000_000)
    if steps.is_empty():
        ledger.note("assumed_interval", 1)
        return settings.interval_s
    usual = steps.value_counts(name="times").filter(pl.col("times") >= max(1, _USUAL * steps.len()))
    interval_us = int(usual[steps.name].min())  # type: ignore[arg-type]
    if interval_us > _LONGEST_S * 1_000_000:
        what = f"rows are {interval_us / 3.6e9:g} hours apart; a history of counts needs intervals of an hour or less"
        raise refused(opened.path, what, where="history")
    since_midnight = pl.col("start_local") - pl.col("start_local").dt.truncate("1d")
    ledger.note_rows("off_grid", rows, since_midnight.dt.total_microseconds() % interval_us != 0)
    return interval_us / 1e6
