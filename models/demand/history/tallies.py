"""Read a history of counts: calls per interval; intervals without calls are often missing in the file.

The interval is found from the rows; a history of calls is counted by `models.demand.history.counting` instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from trunkproof.models.demand.history import times
from trunkproof.models.demand.history.counting import summed
from trunkproof.models.demand.history.days import inside_period, span
from trunkproof.models.demand.history.formats import Part
from trunkproof.models.demand.history.gaps import missing_days
from trunkproof.models.demand.history.numbers import decimal_mark, number
from trunkproof.models.demand.history.oddities import Ledger
from trunkproof.models.demand.history.opened import FILE_STEP, refused
from trunkproof.models.demand.history.owners import nothing_wanted, one_owner, owner_columns, wanted_rows
from trunkproof.models.demand.history.scaling import scaled
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.zones import to_local, to_utc
from trunkproof.models.errors import InputError, Problem

_USUAL = 0.02
"""Least share of the steps between rows that have the length of the interval."""
_LONGEST_S = 3600


@dataclass(frozen=True, eq=False)
class Tallies:
    """Counts per interval, without gaps, and how they were read."""

    counts: pl.DataFrame
    interval_s: float
    rows_read: int
    missing: tuple[date, ...]
    """Days between two files."""


def read_tallies(parts: Sequence[Part], source: str, settings: HistorySettings, ledger: Ledger) -> Tallies:
    """Read, clean and scale a history of counts; `source` names it in messages.

    Raises:
        InputError: no times, no counts, none in the period, of several customers, or intervals longer than an hour.
    """
    frames = [_extracted(part, settings) for part in parts]
    whole = pl.concat(frames, how="diagonal_relaxed")
    raw = whole
    if settings.where is not None:
        ledger.note_rows("outside_where", raw, ~pl.col("wanted"))
        raw = raw.filter(pl.col("wanted").fill_null(value=False)).drop("wanted")
        if raw.is_empty():
            raise nothing_wanted(settings.where, parts, source)
    raw = one_owner(raw, parts, settings, ledger)
    rows = _cleaned(raw, source, settings, ledger)
    rows = inside_period(rows, settings, ledger)
    if rows.is_empty():
        raise refused(source, "has no counts between `since` and `until`", where="history.since")
    missing = missing_days(rows, [part.opened.name for part in parts], ledger)
    interval_s = _interval(rows, source, settings, ledger)
    with_calls = rows.filter(pl.col("attempts") > 0) if rows["attempts"].sum() else rows
    begin, end = span(with_calls, settings, ledger, missing)
    begin, end = _widened(begin, end, rows["start_local"])
    counts = summed(rows.lazy(), begin, end, interval_s, settings.timezone)
    return Tallies(scaled(counts, settings.scale, ledger), interval_s, whole.height, missing)


def _widened(begin: datetime, end: datetime, starts: pl.Series) -> tuple[datetime, datetime]:
    """Extend begin and end to intervals without calls that the file has."""
    first, last = starts.min(), starts.max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return min(begin, first), max(end, last + timedelta(microseconds=1))


def _extracted(part: Part, settings: HistorySettings) -> pl.DataFrame:
    """`row`, `start`, `calls`, `refused` as they stand, whose they are, and whether they are asked for."""
    opened, layout = part.opened, part.layout
    column, dtype, sample = _start(part)
    forms = () if dtype.is_temporal() else times.forms_of(sample)
    if not forms and not dtype.is_temporal():
        seen = times.masked(sample.drop_nulls().cast(pl.String).head(100).to_list()) or "nothing"
        what = f"has values like {seen}: no times; ISO 8601 and Unix epochs are understood, or a `date` beside a time"
        raise InputError(opened.name, [Problem(where="history.columns.start", what=what)])
    given = layout.columns
    columns = [
        number(given[role], decimal_mark(opened.sample[given[role]])).alias(role)
        for role in ("calls", "refused")
        if role in given
    ]
    columns += owner_columns(part)
    if settings.where is not None:
        columns.append(wanted_rows(settings.where, opened).alias("wanted"))
    start = times.usual(times.reader("_start", dtype, forms, settings.timezone)).alias("start")
    return opened.collect(opened.scan.with_columns(column.alias("_start")).select("row", start, *columns))


def _start(part: Part) -> tuple[pl.Expr, pl.DataType, pl.Series]:
    """Return the column of times, joined with the column of days if there is one."""
    opened, layout = part.opened, part.layout
    name = layout.columns["start"]
    if "date" not in layout.columns:
        return pl.col(name), opened.sample.schema[name], opened.sample[name]
    day = pl.col(layout.columns["date"]).cast(pl.String).str.strip_chars()
    clock = pl.col(name).cast(pl.String).str.strip_chars()
    both = pl.concat_str([day, clock], separator=" ")
    return both, pl.String(), opened.sample.select(both.alias("_start")).to_series()


def _cleaned(raw: pl.DataFrame, source: str, settings: HistorySettings, ledger: Ledger) -> pl.DataFrame:
    """`row`, `start_utc`, `start_local`, `attempts`, `refused`; rows without a start, and repeated ones, left out."""
    ledger.note_rows("unparsable", raw, pl.col("start").is_null())
    rows = raw.filter(pl.col("start").is_not_null())
    if rows.is_empty() or rows["calls"].null_count() == rows.height:
        raise refused(source, "no row has both a time and a number of calls", where="history.columns")
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
    content = ("start_utc", "attempts", "refused")
    again = rows.select(~pl.struct(content).is_first_distinct()).to_series()
    file = pl.col("row") // FILE_STEP
    elsewhere = rows.select(file != file.first().over(content)).to_series()
    ledger.note_rows("overlap", rows, again & elsewhere)
    ledger.note_rows("duplicate", rows, again & ~elsewhere)
    rows = rows.filter(~again)
    ledger.note_rows("repeated_interval", rows, ~pl.col("start_utc").is_first_distinct())
    return rows


def _interval(rows: pl.DataFrame, source: str, settings: HistorySettings, ledger: Ledger) -> float:
    """Return the shortest usual step between rows.

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
        raise refused(source, what, where="history")
    since_midnight = pl.col("start_local") - pl.col("start_local").dt.truncate("1d")
    ledger.note_rows("off_grid", rows, since_midnight.dt.total_microseconds() % interval_us != 0)
    return interval_us / 1e6
