"""Read a customer's files into a `History`, and count everything odd in them.

This module only has the order of the steps; each step is a module beside this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl

from trunkproof.models.demand.history.cleaning import attempts_only, completed, with_durations, with_statuses
from trunkproof.models.demand.history.clocks import on_one_clock
from trunkproof.models.demand.history.counting import counted
from trunkproof.models.demand.history.days import inside_period, span
from trunkproof.models.demand.history.duplicates import single
from trunkproof.models.demand.history.extraction import TIMES, all_time_forms, extract
from trunkproof.models.demand.history.files import find_files
from trunkproof.models.demand.history.formats import STARTS, Part, layout
from trunkproof.models.demand.history.gaps import missing_days
from trunkproof.models.demand.history.masking import Mask
from trunkproof.models.demand.history.oddities import SHOWN, Ledger
from trunkproof.models.demand.history.opened import FILE_STEP, refused
from trunkproof.models.demand.history.opening import open_histories
from trunkproof.models.demand.history.order import note_steps, without_far
from trunkproof.models.demand.history.owners import nothing_wanted, one_owner
from trunkproof.models.demand.history.pairing import paired
from trunkproof.models.demand.history.records import bare
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.table import CALLS_SCHEMA, History
from trunkproof.models.demand.history.tallies import read_tallies
from trunkproof.models.demand.history.zones import to_local, to_utc
from trunkproof.models.errors import InputError, Problem


def read_history(settings: HistorySettings, base: Path | None = None) -> History:
    """Read a history of calls or of counts; `base` is the folder that a relative path is relative to.

    Numbers are masked while a file is scanned. 10 million calls take 2.1 GB, and the size of the file more where
    quotation marks must be mended.

    Raises:
        InputError: a file is missing, empty, of another kind or in no known form; the calls are of several customers;
            or no row is usable.
    """
    parts = open_parts(settings, base)
    names = [part.opened.name for part in parts]
    source = names[0] if len(parts) == 1 else f"{len(parts)} files, {names[0]} to {names[-1]}"
    ledger = Ledger(names)
    for part in parts:
        opened, place = part.opened, part.opened.number * FILE_STEP
        ledger.note("mended_marks", len(opened.mended_lines), [place + line for line in opened.mended_lines[:SHOWN]])
        ledger.note("joined_lines", len(opened.joined))
    if parts[0].layout.is_of_counts:
        tallies = read_tallies(parts, source, settings, ledger)
        calls, counts, rows, missing = None, tallies.counts, tallies.rows_read, tallies.missing
        interval_s = tallies.interval_s
    else:
        calls, counts, rows, missing = _read_calls(parts, source, settings, ledger)
        interval_s = settings.interval_s
    return History(
        source=source,
        format=parts[0].layout.format,
        timezone=settings.timezone,
        rows_read=rows,
        calls=calls,
        counts=counts,
        interval_s=interval_s,
        oddities=ledger.oddities,
        closed=tuple(sorted({*settings.closed, *missing})),
        multiplied=max(1.0, settings.scale),
    )


def open_parts(settings: HistorySettings, base: Path | None = None) -> list[Part]:
    """Open every file of a history and find out which column says what.

    Raises:
        InputError: as `read_history`, as far as that can be told before all rows are read.
    """
    starts = STARTS | ({bare(settings.columns.start)} if settings.columns is not None else set())
    found: list[Part] = []
    problems: list[Problem] = []
    files = open_histories(find_files(settings.path, base), starts)
    for opened in files:
        try:
            found.append(Part(opened, layout(opened, settings)))
        except InputError as error:
            if len(files) == 1:
                raise
            problems += [Problem(where=p.where, what=f"{opened.name}: {p.what}") for p in error.problems]
    forms = {part.layout.format: part.opened.name for part in reversed(found)}
    if len(forms) > 1 and not problems:
        told = ", ".join(f"{name} is of the form `{form}`" for form, name in reversed(forms.items()))
        problems.append(Problem(where="history.path", what=f"files of one history have one form; {told}"))
    if problems:
        raise InputError(f"history of {len(files)} files", problems)
    return found


def _read_calls(
    parts: Sequence[Part], source: str, settings: HistorySettings, ledger: Ledger
) -> tuple[pl.DataFrame, pl.DataFrame, int, tuple[date, ...]]:
    if settings.scale != 1:
        what = "only a history of counts can be scaled; this one is of calls"
        raise InputError(source, [Problem(where="history.scale", what=what)])
    frame, rows = _extracted(parts, settings, ledger)
    if frame.is_empty() and settings.where is not None:
        raise nothing_wanted(settings.where, parts, source)
    frame = one_owner(frame, parts, settings, ledger)
    calls = _cleaned(frame, parts, settings, ledger)
    if calls.is_empty():
        what = f"none of its {rows} rows is a call of the trunk between `since` and `until`"
        raise refused(source, what, where="history")
    missing = missing_days(calls, [part.opened.name for part in parts], ledger)
    begin, end = span(calls, settings, ledger, missing)
    return calls, counted(calls, begin, end, settings.interval_s, settings.timezone), rows, missing


def _extracted(parts: Sequence[Part], settings: HistorySettings, ledger: Ledger) -> tuple[pl.DataFrame, int]:
    """Return the compact tables of all files as one, with times in UTC, and the number of rows in the files."""
    mask = Mask()  # One for all files: a caller has one key in all of them.
    frames = []
    rows = 0
    for part, forms in zip(parts, all_time_forms(parts, ledger), strict=True):
        frame, height = extract(part, forms, settings, mask, ledger)
        rows += height
        frames.append(_in_utc(frame, settings.timezone, ledger))
    return pl.concat(frames, how="diagonal_relaxed", rechunk=False), rows


def _cleaned(frame: pl.DataFrame, parts: Sequence[Part], settings: HistorySettings, ledger: Ledger) -> pl.DataFrame:
    given = {role for part in parts for role in part.layout.columns}
    if "method" in frame.columns:
        frame = paired(frame, ledger)
    frame = attempts_only(completed(frame), ledger)
    has_status = bool({"status", "code"} & given)
    by_time = parts[0].layout.format == "freeswitch"
    frame = with_statuses(frame, ledger, has_status=has_status, by_time=by_time)
    frame = on_one_clock(frame, ledger)
    frame = with_durations(frame, ledger, has_end=bool({"end", "method"} & given))
    frame = single(frame, ledger)
    note_steps(frame, ledger)
    frame = without_far(frame.select(pl.exclude("id", "leg", "method", "end", "answered", "internal")), ledger)
    frame = frame.rename({"start": "start_utc"}).with_columns(start_local=to_local("start_utc", settings.timezone))
    return _as_calls(inside_period(frame, settings, ledger), ledger)


def _in_utc(frame: pl.DataFrame, timezone: str, ledger: Ledger) -> pl.DataFrame:
    """Return the table with times in UTC. Note the starts in hours that daylight saving time makes doubtful."""
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
    """Return the table with the schema of calls."""
    if "direction" not in frame.columns:
        frame = frame.with_columns(direction=pl.lit(None, dtype=pl.String))
    ledger.note_rows("no_direction", frame, pl.col("direction").is_null())
    ledger.note_rows("no_number", frame, pl.col("caller").is_null() | pl.col("callee").is_null())
    frame = frame.with_columns(pl.col("direction").fill_null("outbound"))
    return frame.select(pl.col(name).cast(dtype) for name, dtype in CALLS_SCHEMA.items())
