"""Report what was recognised in a history's files: columns, forms of times and numbers, words of outcomes, owners.

The history is read as a review reads it. In addition, words and SIP statuses are counted as written in the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from trunkproof.models.demand.history import times
from trunkproof.models.demand.history.formats import Part
from trunkproof.models.demand.history.masking import shown
from trunkproof.models.demand.history.numbers import decimal_mark
from trunkproof.models.demand.history.opened import FILE_STEP, place_of
from trunkproof.models.demand.history.reading import open_parts, read_history
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.statuses import STATUS, by_code, by_word, vocabulary
from trunkproof.models.demand.history.table import History

SAMPLE = 10
_MOST_VALUES = 30
_TIMES = ("start", "answered", "end")
_DURATIONS = ("duration_s", "holding_s")
_NUMBERS = ("caller", "callee")
_PLAIN = frozenset({*_TIMES, *_DURATIONS, "status", "code", "direction", "method", "date", "calls", "refused"})
"""Roles whose values identify nobody, so they are shown unmasked."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One word or SIP status of the files, and its meaning."""

    written: str
    rows: int
    taken_for: str | None
    """A `CallStatus`, `unplaced` if it is not a call, or None if it is not known."""


@dataclass(frozen=True, kw_only=True)
class FileFound:
    """One file, or one sheet."""

    name: str
    kind: str
    form: str
    has_heading: bool
    columns: dict[str, str]
    """Role -> column."""
    unused: tuple[str, ...]
    """Columns that are not read."""
    time_forms: dict[str, tuple[str, ...]]
    """Role -> patterns of strptime, or the name of an epoch."""
    units: dict[str, str]
    """Role -> how its durations are written."""


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """One of the first rows, as written and as read."""

    place: str
    written: dict[str, str | None]
    """Role -> value, numbers and names masked."""
    read: dict[str, Any] | None
    """Start, direction, status, ringing and holding times; None where the row is not a call of the trunk."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Everything that was recognised in a history."""

    history: History
    files: tuple[FileFound, ...]
    has_zone: bool
    """Whether the times carry their zone."""
    owners: dict[str, dict[str, int]]
    """Column -> account, trunk or customer -> number of rows; telephone numbers are masked."""
    words: tuple[Outcome, ...]
    codes: tuple[Outcome, ...]
    sample: tuple[SampleRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        history = self.history
        return {
            "source": history.source,
            "format": history.format,
            "rows_read": history.rows_read,
            "attempts": history.attempts,
            "refused": int(history.counts["refused"].sum()),
            "first": str(history.first),
            "last": str(history.last),
            "days": history.days,
            "timezone": history.timezone,
            "times_carry_zone": self.has_zone,
            "interval_s": history.interval_s,
            "files": [asdict(file) for file in self.files],
            "owners": self.owners,
            "words": [asdict(word) for word in self.words],
            "codes": [asdict(code) for code in self.codes],
            "sample": [asdict(row) for row in self.sample],
            "oddities": [oddity.to_json() for oddity in history.oddities],
        }


def inspect_history(settings: HistorySettings, base: Path | None = None) -> Inspection:
    """Read a history and report what was recognised. Calls of several customers are reported, not refused.

    Raises:
        InputError: as `models.demand.history.reading.read_history`.
    """
    settings = settings.model_copy(update={"mixed": "as_one"})
    history = read_history(settings, base)
    parts = open_parts(settings, base)
    files = tuple(_file(part) for part in parts)
    forms = {form for file in files for written in file.time_forms.values() for form in written}
    return Inspection(
        history=history,
        files=files,
        has_zone=bool(forms) and all(map(_carries_zone, forms)),
        owners=_owners(parts),
        words=_words(parts, settings),
        codes=_codes(parts, settings),
        sample=tuple(_sample(parts[0], history, several=len(parts) > 1)),
    )


def _file(part: Part) -> FileFound:
    opened, layout = part.opened, part.layout
    used = {*layout.columns.values(), *layout.owners}
    time_forms = {}
    for role in _TIMES:
        if role in layout.columns and "date" not in layout.columns:
            values = opened.sample[layout.columns[role]]
            native = (str(values.dtype),) if values.dtype.is_temporal() else None
            time_forms[role] = native or tuple(form.text for form in times.forms_of(values))
    return FileFound(
        name=opened.name,
        kind=opened.kind,
        form=layout.format,
        has_heading=opened.has_heading,
        columns=dict(layout.columns),
        unused=tuple(name for name in opened.columns if name not in used),
        time_forms=time_forms,
        units={role: _unit(opened.sample[layout.columns[role]]) for role in _DURATIONS if role in layout.columns},
    )


def _unit(values: pl.Series) -> str:
    if values.cast(pl.String).str.contains(":", literal=True).any():
        return "hours:minutes:seconds"
    return "seconds, with decimal comma" if decimal_mark(values) == "," else "seconds"


def _carries_zone(form: str) -> bool:
    is_epoch = form.startswith("epoch") and form != times.EXCEL
    return is_epoch or form.endswith(("Z", "%z")) or "time_zone='" in form


def _values(parts: Iterable[Part], columns: Iterable[str | None]) -> pl.DataFrame:
    """Count how often each `value` of a column is in the files, as `rows`."""
    counts = [pl.DataFrame(schema={"value": pl.String(), "rows": pl.UInt32()})]
    for part, column in zip(parts, columns, strict=True):
        if column is not None:
            text = pl.col(column).cast(pl.String).str.strip_chars().alias("value")
            counts.append(part.opened.collect(part.opened.scan.group_by(text).agg(rows=pl.len())))
    whole = pl.concat(counts, how="vertical_relaxed").filter(pl.col("value").str.len_bytes() > 0)
    return whole.group_by("value").agg(pl.col("rows").sum()).sort("rows", "value", descending=[True, False])


def _owners(parts: Sequence[Part]) -> dict[str, dict[str, int]]:
    names = dict.fromkeys(name for part in parts for name in part.layout.owners)
    return {
        name: {
            shown(value): rows
            for value, rows in _values(parts, [name if name in part.layout.owners else None for part in parts])
            .head(_MOST_VALUES)
            .iter_rows()
        }
        for name in names
    }


def _words(parts: Sequence[Part], settings: HistorySettings) -> tuple[Outcome, ...]:
    counts = _values(parts, [part.layout.columns.get("status") for part in parts]).head(_MOST_VALUES)
    taken = counts.select(by_word("value", vocabulary(settings, counts["value"]))).to_series().to_list()
    return _outcomes(counts, taken)


def _codes(parts: Sequence[Part], settings: HistorySettings) -> tuple[Outcome, ...]:
    counts = _values(parts, [part.layout.columns.get("code") for part in parts]).head(_MOST_VALUES)
    code = pl.col("value").cast(pl.Float64, strict=False).cast(pl.Int32, strict=False)
    taken = counts.select(by_code(code, settings.refusal_codes).cast(STATUS)).to_series().to_list()
    return _outcomes(counts, taken)


def _outcomes(counts: pl.DataFrame, taken: list[str | None]) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(written=shown(value), rows=rows, taken_for=status)
        for (value, rows), status in zip(counts.iter_rows(), taken, strict=True)
    )


def _sample(part: Part, history: History, *, several: bool) -> Iterable[SampleRow]:
    roles = {role: name for role, name in part.layout.columns.items() if role not in {"context", "lastdata"}}
    roles |= {name: name for name in part.layout.owners}
    query = part.opened.scan.head(SAMPLE).select("row", *(pl.col(name).alias(role) for role, name in roles.items()))
    read = _as_read(history, part.opened.number)
    for row in part.opened.collect(query).iter_rows(named=True):
        line = place_of(row["row"])[1]
        written = {role: _masked(role, row[role]) for role in roles}
        place = f"{part.opened.name}:{line}" if several else str(line)
        yield SampleRow(place=place, written=written, read=read.get(row["row"]))


def _as_read(history: History, number: int) -> dict[int, dict[str, Any]]:
    if history.calls is None:
        return {}
    first = number * FILE_STEP
    near = history.calls.filter(pl.col("row").is_between(first, first + 10_000)).sort("row").head(SAMPLE)
    columns = ("start_local", "direction", "status", "code", "ringing_s", "holding_s")
    return {row["row"]: {name: _plain(row[name]) for name in columns} for row in near.iter_rows(named=True)}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _masked(role: str, value: Any) -> str | None:
    """Mask a value: numbers lose their middle, letters become `a`."""
    if value is None or role in _PLAIN:
        return None if value is None else str(value)
    text = str(value).strip()
    if role in _NUMBERS:
        text = re.sub(r"[^\W\d_]", "a", text)
    return re.sub(r"\d{5,}", lambda run: f"{run[0][:2]}{'*' * (len(run[0]) - 4)}{run[0][-2:]}", text)
