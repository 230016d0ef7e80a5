"""`read_history`: from a customer's file to a `History`, everything odd in it counted.

Only the order of the steps; each step is a module beside this one.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from models.errors import InputError, Problem
from models.history.cleaning import attempts_only, completed, with_durations, with_statuses
from models.history.counting import counted
from models.history.days import inside_period, span
from models.history.duplicates import single
from models.history.extraction import TIMES, extract
from models.history.formats import Layout, layout
from models.history.oddities import SHOWN, Ledger
from models.history.opening import MarksError, Opened, joined_lines, open_history, refused
from models.history.order import note_steps, without_far
from models.history.pairing import paired
from models.history.settings import HistorySettings
from models.history.table import CALLS_SCHEMA, History
from models.history.tallies import read_tallies
from models.history.zones import to_local, to_utc


def read_history(settings: HistorySettings, base: Path | None = None) -> History:
    """Read a history of calls or of counts; `base` is the folder that a relative path is relative to.

    Numbers are masked while the file is scanned. 10 million calls take 3.6 GB, or 5 GB where quotation
    marks must be mended.

    Raises:
        InputError: the file is missing, empty, of another kind, in no known form, or without a single usable row.
    """
    path = base / settings.path if base is not None else settings.path
    try:
        return _read(open_history(path), settings)
    except MarksError:
        return _read(open_history(path, mend=True), settings)


def _read(opened: Opened, settings: HistorySettings) -> History:
    found = layout(opened, settings)
    ledger = Ledger()
    ledger.note("mended_marks", len(opened.mended_lines), opened.mended_lines[:SHOWN])
    if found.is_of_counts:
        tallies = read_tallies(opened, found, settings, ledger)
        calls, counts, rows, interval_s = None, tallies.counts, tallies.rows_read, tallies.interval_s
    else:
        calls, counts, rows = _read_calls(opened, found, settings, ledger)
        interval_s = settings.interval_s
    ledger.note("joined_lines", joined_lines(opened, rows))
    return History(
        source=opened.path.name,
        format=found.format,
        timezone=settings.timezone,
        rows_read=rows,
        calls=calls,
        counts=counts,
        interval_s=interval_s,
        oddities=ledger.oddities,
        closed=settings.closed,
        multiplied=max(1.0, settings.scale),
    )


def _read_calls(
    opened: Opened, found: Layout, settings: HistorySettings, ledger: Ledger
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    if settings.scale != 1:
        what = "multiplies a history of counts only; this one is of calls"
        raise InputError(opened.path.name, [Problem(where="history.scale", what=what)])
    frame = extract(opened, found, settings, ledger)
    rows = frame.height
    calls = _cleaned(frame, found, settings, ledger)
    if calls.is_empty():
        what = f"of {rows} rows none is a call of the trunk that `since` and `until` let in"
        raise refused(opened.path, what, where="history")
    begin, end = span(calls, settings, ledger)
    return calls, counted(calls, begin, end, settings.interval_s, settings.timezone), rows


def _cleaned(frame: pl.DataFrame, found: Layout, settings: HistorySettings, ledger: Ledger) -> pl.DataFrame:
    frame = _in_utc(frame, settings.timezone, ledger)
    if "method" in frame.columns:
        frame = paired(frame, ledger)
    frame = attempts_only(completed(frame), ledger)
    has_status = bool({"status", "code"} & found.columns.keys())
    frame = with_statuses(frame, ledger, has_status=has_status, by_time=found.format == "freeswitch")
    frame = with_durations(frame, ledger, has_end="end" in found.columns or "method" in found.columns)
    frame = single(frame, ledger)
    note_steps(frame, ledger)
    frame = without_far(frame.select(pl.exclude("id", "leg", "method", "end", "answered")), ledger)
    frame = frame.rename({"start": "start_utc"}).with_columns(start_local=to_local("start_utc", settings.timezone))
    return _as_calls(inside_period(frame, settings, ledger), ledger)


def _in_utc(frame: pl.DataFrame, timezone: str, ledger: Ledger) -> pl.DataFrame:
    """Times as instants, those in the hours that daylight time makes doubtful noted by their start."""
    for name in TIMES:
        if name not in frame.columns:
            continue
        converted = to_utc(frame[name], timezone)
        frame = frame.with_columns(converted.utc.alias(name))
        if name == "start":
            for kind, mask in (("daylight_gap", converted.in_gap), ("daylight_fold", converted.in_fold)):
                if mask is not None:
                    ledger.note_rows(kind, frame, mask)
    return frame


def _as_calls(frame: pl.DataFrame, ledger: Ledger) -> pl.DataFrame:
    """With the schema of calls."""
    if "direction" not in frame.columns:
        frame = frame.with_columns(direction=pl.lit(None, dtype=pl.String))
    ledger.note_rows("no_direction", frame, pl.col("direction").is_null())
    ledger.note_rows("no_number", frame, pl.col("caller").is_null() | pl.col("callee").is_null())
    frame = frame.with_columns(pl.col("direction").fill_null("outbound"))
    return frame.select(pl.col(name).cast(dtype) for name, dtype in CALLS_SCHEMA.items())
