"""Find in which form times are written, by the first rows, and make the expression that reads that form.

A time is either an instant, or a wall clock without a zone. `models.demand.history.zones` makes instants of wall
clocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

_DATES = {"%Y-%m-%d": "", "%Y/%m/%d": "", "%d/%m/%Y": "dm", "%m/%d/%Y": "md", "%d-%m-%Y": "dm", "%m-%d-%Y": "md"}
_DATES |= {"%d.%m.%Y": "", "%d %b %Y": "", "%d-%b-%Y": "", "%b %d, %Y": "", "%b %d %Y": "", "%a, %d %b %Y": ""}
# After the whole years, which two digits must not be mistaken for; `%Y` takes two digits too, as a year of antiquity.
_DATES |= {"%d/%m/%y": "dm", "%m/%d/%y": "md", "%d-%m-%y": "dm", "%m-%d-%y": "md"}
_DATES |= {"%d.%m.%y": "", "%d-%b-%y": "", "%d %b %y": "", "%y-%m-%d": ""}
_CLOCKS = ("%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
_EPOCHS_US = {"epoch_s": 1_000_000, "epoch_ms": 1000, "epoch_us": 1}
_EPOCH_S = (1e9, 4_102_444_800.0)
"""2001-09-09 to 2100-01-01. A number outside is no time in this unit: it is a telephone number, or in another unit."""
EXCEL = "epoch_excel"
_EXCEL_DAYS = (36_526.0, 73_050.0)
"""2000 to 2099, in days since 1899-12-30. Excel stores times so, and shows the number if the cell lost its format."""
_EXCEL_1970 = 25_569
_FIRST_US, _LAST_US = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000 for year in (1971, 2100))
"""A time outside is not the time of a call. Recorders write such times where there is none: 0001 (Go), 1899 (Excel),
1970-01-01 (Unix, in whatever zone), 9999 (SQL)."""
_NO_VALUE = ("null", "none", "nan", "nat", "nil", "n/a", "#n/a", "na", "\\n", "<null>", "undefined")


@dataclass(frozen=True)
class TimeForm:
    """One way to write a time."""

    text: str
    """A pattern of strptime, or the name of an epoch."""
    is_instant: bool = False
    order: str = ""
    """`dm` (day first) or `md` (month first) if day and month are both numbers; else empty."""

    def read(self, column: pl.Expr) -> pl.Expr:
        """Return the expression that reads the column in this form. It gives null for values in another form."""
        if self.text == EXCEL:
            days = column.cast(pl.Float64, strict=False)
            ms = ((days - _EXCEL_1970) * 86_400_000).round().cast(pl.Int64, strict=False)
            return pl.when(days.is_between(*_EXCEL_DAYS)).then(ms * 1000).cast(pl.Datetime("us"))
        if self.text in _EPOCHS_US:
            return epoch(column.cast(pl.Float64, strict=False), self.text)
        if self.text.endswith("Z"):
            stripped = column.str.strip_suffix("Z")
            return stripped.str.to_datetime(self.text[:-1], strict=False, time_unit="us").dt.replace_time_zone("UTC")
        if self.is_instant:
            return column.str.to_datetime(self.text, strict=False, time_unit="us", time_zone="UTC")
        return column.str.to_datetime(self.text, strict=False, time_unit="us")


def _forms() -> tuple[TimeForm, ...]:
    plain = [
        TimeForm(f"{day}{between}{clock}", order=order)
        for day, order in _DATES.items()
        for between in ((" ", "T") if day == "%Y-%m-%d" else (" ",))
        for clock in _CLOCKS
    ]
    zoned = [
        TimeForm(f"{form.text}{zone}", is_instant=True, order=form.order)
        for form in plain
        for zone in ("Z", "%z", " %z")
        if "%p" not in form.text
    ]
    packed = [TimeForm("%Y%m%d%H%M%S"), TimeForm("%Y%m%dT%H%M%S"), TimeForm("%Y-%m-%d"), TimeForm(EXCEL)]
    return (*plain, *zoned, *(TimeForm(name, is_instant=True) for name in _EPOCHS_US), *packed)


FORMS = _forms()
"""All known forms. If two read equally many values, the earlier one is taken."""


def epoch(number: pl.Expr, unit: str) -> pl.Expr:
    """Return instants, given seconds, milliseconds or microseconds since 1970. Null out of range, and for 0."""
    low, high = (bound * 1_000_000 / _EPOCHS_US[unit] for bound in _EPOCH_S)
    inside = number.is_between(low, high)
    us = (number * _EPOCHS_US[unit]).round().cast(pl.Int64, strict=False)
    return pl.when(inside).then(us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def forms_of(sample: pl.Series) -> tuple[TimeForm, ...]:
    """Return the forms that read the sample: the best one, then the best one for the remainder; three at most.

    If two forms differ only in the order of day and month and read equally many values, both orders are possible. The
    result has the first of them, and `exchanged` returns the other.
    """
    left = sample.drop_nulls().cast(pl.String).str.strip_chars()
    left = left.filter(left.str.len_chars() > 0)
    found: list[TimeForm] = []
    while left.len() and len(found) < 3:
        best, read = _best(left, {form.order for form in found} - {""})
        if best is None:
            break
        found.append(best)
        left = left.filter(read.is_null())
    return tuple(found)


def _best(values: pl.Series, orders: set[str]) -> tuple[TimeForm | None, pl.Series]:
    best, most, best_read = None, 0, values
    shapes = values.head(200)
    for form in FORMS:
        if most == values.len() and best is not None and not best.text.startswith("%d-%m-%y"):
            break  # Nothing later reads more.
        if form.order and orders - {form.order}:
            continue  # A file does not write both orders of day and month.
        if not _apply(form, shapes).is_not_null().any() and values.len() > 200:
            continue
        read = _apply(form, values)
        count = int(read.is_not_null().sum())
        # 26-11-01 to 26-11-30 is a month of 2026, not a day of thirty years.
        closer = count == most > 0 and form.text.startswith("%y-") and _days(read) < _days(best_read)
        if count > most or closer:
            best, most, best_read = form, count, read
    return best, best_read


def _apply(form: TimeForm, values: pl.Series) -> pl.Series:
    return pl.select(usual(form.read(pl.lit(values)))).to_series()


def _days(times: pl.Series) -> float:
    physical = times.drop_nulls().to_physical()
    return float(physical.max() - physical.min()) / 86_400e6 if physical.len() else 0.0  # type: ignore[operator,arg-type]


def usual(time: pl.Expr) -> pl.Expr:
    """Return the time, or null if it is outside of 1971 to 2099 and so cannot be the time of a call."""
    return pl.when(time.dt.timestamp("us").is_between(_FIRST_US, _LAST_US, closed="left")).then(time)


def has_text(column: str) -> pl.Expr:
    """Return whether the cell has something to read: it is not empty, not only zeros, not a word such as `null`."""
    text = pl.col(column).cast(pl.String).str.strip_chars(" \t0-:./")
    return (text.str.len_bytes() > 0) & ~text.str.to_lowercase().is_in(_NO_VALUE)


def exchanged(form: TimeForm) -> TimeForm:
    """Return the same form with day and month in the other order."""
    swapped = form.text.replace("%d", "%x").replace("%m", "%d").replace("%x", "%m")
    return TimeForm(swapped, is_instant=form.is_instant, order=form.order[::-1])


def is_placeholder(values: pl.Series) -> bool:
    """Return whether all values are placeholders for no time, such as 1970-01-01 in every row."""
    text = pl.lit(values.cast(pl.String).str.strip_chars())
    read = pl.select(pl.any_horizontal([form.read(text).is_not_null() for form in FORMS])).to_series()
    numbers = values.cast(pl.String).str.contains(r"^-?\d{1,12}$")
    return bool((read | numbers).all())


def reader(column: str, dtype: pl.DataType, forms: Sequence[TimeForm], timezone: str) -> pl.Expr:
    """Return the expression that reads a column: as instants in UTC if all its forms are, else as wall clocks.

    Wall clocks are those of `timezone`. Times that `usual` sets to null are read too, so that a placeholder can be told
    from a value that cannot be read.
    """
    raw = pl.col(column)
    if isinstance(dtype, pl.Datetime):
        micro = raw.dt.cast_time_unit("us")
        return micro.dt.convert_time_zone("UTC") if dtype.time_zone else micro
    if isinstance(dtype, pl.Date):
        return raw.cast(pl.Datetime("us"))
    text = raw.cast(pl.String).str.strip_chars()
    forms = sorted(forms, key=lambda form: "%y" not in form.text)  # `%Y` reads two digits too, as year 26.
    if all(form.is_instant for form in forms):
        return pl.coalesce([form.read(text) for form in forms])
    return pl.coalesce([_wall_clock(form, text, timezone) for form in forms])


def _wall_clock(form: TimeForm, text: pl.Expr, timezone: str) -> pl.Expr:
    read = form.read(text)
    return read.dt.convert_time_zone(timezone).dt.replace_time_zone(None) if form.is_instant else read


def masked(values: Sequence[str]) -> str:
    """Return what the values look like, with 9 for each digit and a for each letter: no telephone number is shown."""
    seen = dict.fromkeys(re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", value.strip()))[:40] for value in values)
    return ", ".join(f"`{shape}`" for shape in list(seen)[:3])
