"""In which form times are written, found from the first rows, and the expression that reads that form.

Reads what is written: either an instant, or a wall clock without a zone. What a wall clock means is
`models.history.zones`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

_DATES = {"%Y-%m-%d": "", "%Y/%m/%d": "", "%d/%m/%Y": "dm", "%m/%d/%Y": "md", "%d-%m-%Y": "dm", "%m-%d-%Y": "md"}
_DATES |= {"%d.%m.%Y": "", "%d %b %Y": "", "%d-%b-%Y": "", "%b %d, %Y": "", "%b %d %Y": "", "%a, %d %b %Y": ""}
_CLOCKS = ("%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
_EPOCHS_US = {"epoch_s": 1_000_000, "epoch_ms": 1000, "epoch_us": 1}
_EPOCH_S = (1e9, 4_102_444_800.0)
"""2001-09-09 to 2100-01-01: what is outside is no time in that unit, but a telephone number or a time in another."""


@dataclass(frozen=True)
class TimeForm:
    """One way to write a time."""

    text: str
    """A pattern of strptime, or the name of an epoch."""
    is_instant: bool = False
    order: str = ""
    """`dm` or `md` where only the numbers tell day from month."""

    def read(self, column: pl.Expr) -> pl.Expr:
        """The column's values in this form; null where they are not."""
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
    packed = [TimeForm("%Y%m%d%H%M%S"), TimeForm("%Y%m%dT%H%M%S"), TimeForm("%Y-%m-%d")]
    return (*plain, *zoned, *(TimeForm(name, is_instant=True) for name in _EPOCHS_US), *packed)


FORMS = _forms()
"""All forms that are understood; of two that read a value alike the earlier one counts."""


def epoch(number: pl.Expr, unit: str) -> pl.Expr:
    """Seconds, milliseconds or microseconds since 1970 -> instants; null for 0 and for what is no time in that unit."""
    low, high = (bound * 1_000_000 / _EPOCHS_US[unit] for bound in _EPOCH_S)
    inside = number.is_between(low, high)
    us = (number * _EPOCHS_US[unit]).round().cast(pl.Int64, strict=False)
    return pl.when(inside).then(us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def forms_of(sample: pl.Series) -> tuple[TimeForm, ...]:
    """The forms that read most of the sample's values: the best one, then what reads the remainder, three at most.

    Where two forms differ only in the order of day and month, and read equally much, both orders are possible; the
    first of them is in the result, and `exchanged` is the other.
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
        if form.order and orders - {form.order}:
            continue  # A file does not write both orders of day and month.
        if not _apply(form, shapes).is_not_null().any() and values.len() > 200:
            continue
        read = _apply(form, values)
        count = int(read.is_not_null().sum())
        if count > most:
            best, most, best_read = form, count, read
    return best, best_read


def _apply(form: TimeForm, values: pl.Series) -> pl.Series:
    return pl.select(form.read(pl.lit(values))).to_series()


def exchanged(form: TimeForm) -> TimeForm:
    """The same with day and month in the other order."""
    swapped = form.text.replace("%d", "%x").replace("%m", "%d").replace("%x", "%m")
    return TimeForm(swapped, is_instant=form.is_instant, order=form.order[::-1])


def reader(column: str, dtype: pl.DataType, forms: Sequence[TimeForm], timezone: str) -> pl.Expr:
    """The expression that reads a column: instants (in UTC) where all its forms are, else wall clock of `timezone`."""
    raw = pl.col(column)
    if isinstance(dtype, pl.Datetime):
        micro = raw.dt.cast_time_unit("us")
        return micro.dt.convert_time_zone("UTC") if dtype.time_zone else micro
    if isinstance(dtype, pl.Date):
        return raw.cast(pl.Datetime("us"))
    text = raw.cast(pl.String).str.strip_chars()
    if all(form.is_instant for form in forms):
        return pl.coalesce([form.read(text) for form in forms])
    return pl.coalesce([_wall_clock(form, text, timezone) for form in forms])


def _wall_clock(form: TimeForm, text: pl.Expr, timezone: str) -> pl.Expr:
    read = form.read(text)
    return read.dt.convert_time_zone(timezone).dt.replace_time_zone(None) if form.is_instant else read


def masked(values: Sequence[str]) -> str:
    """What values look like: digits as 9 and letters as a, so that no number is shown."""
    seen = dict.fromkeys(re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", value.strip()))[:40] for value in values)
    return ", ".join(f"`{shape}`" for shape in list(seen)[:3])
