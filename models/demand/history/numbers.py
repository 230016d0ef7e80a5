"""Read numbers as people and programs write them: decimal point or comma, thousands in groups, clock times."""

from __future__ import annotations

import re
from typing import Literal

import polars as pl

Mark = Literal[".", ","]
_SPACES = "[\\s\u00a0\u202f\u2009'\u2019]"
"""Separators of thousands. None of them is ever a decimal mark."""
_BY_COMMA = re.compile(r"^[+-]?[1-9]\d{0,2}(,\d{2,3})*,\d{3}$")
_BY_POINT = re.compile(r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$")
_GROUPED = {".": r"^[+-]?\d{1,3}(,\d{2,3})*,\d{3}(\.\d+)?$", ",": r"^[+-]?\d{1,3}(\.\d{3})+(,\d+)?$"}
"""Decimal mark -> pattern of a number in groups. Above the thousand, Indian groups have two digits (12,34,567)."""
_PLAIN = r"^\s*[+-]?\d*\.?\d*\s*$"
_CLOCK = r"^(?:(\d+) days? |1899-12-3[01][ T]|1900-01-(\d\d)[ T])?(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)$"
"""Hours, minutes and seconds. Excel stores a duration as a time of day in the first days of its calendar."""


def decimal_mark(sample: pl.Series) -> Mark:
    """Return the decimal mark of the column's numbers, by its first rows; the point if they do not show it."""
    if sample.dtype != pl.String:
        return "."
    values = [re.sub(_SPACES, "", value) for value in sample.drop_nulls().unique().to_list()]
    values = [value for value in values if value and not value.strip("+-0123456789.,")]
    both = [value for value in values if "." in value and "," in value]
    if both:
        return "," if 2 * sum(value.rfind(",") > value.rfind(".") for value in both) > len(both) else "."
    commas, points = ([value for value in values if mark in value] for mark in ",.")
    if commas:
        # Where every number has a comma, none is below a thousand unless the comma is a decimal one.
        return "." if all(map(_BY_COMMA.match, commas)) and len(commas) < len(values) else ","
    # Whole numbers, and others with exactly three decimals: no clock is that even.
    grouped = bool(points) and all(map(_BY_POINT.match, points)) and len(points) < len(values)
    return "," if grouped else "."


def number(column: str, mark: Mark) -> pl.Expr:
    """Return the expression that reads a number. It gives null where the cell has none."""
    text = pl.col(column).cast(pl.String).str.replace_all(_SPACES, "").str.strip_suffix("s")
    grouped = text.str.contains(_GROUPED[mark])
    if mark == ".":
        plain = pl.when(grouped).then(text.str.replace_all(",", "", literal=True)).otherwise(text)
    else:
        without = pl.when(grouped | ~text.str.contains(".", literal=True)).then(
            text.str.replace_all(".", "", literal=True)
        )
        plain = without.str.replace(",", ".", literal=True)
    read = plain.cast(pl.Float64, strict=False)
    return pl.when(read.is_finite()).then(read)


def seconds(column: str, sample: pl.Series, *, any_form: bool = False) -> pl.Expr:
    """Return the expression that reads a duration: a number of seconds, or hours, minutes and seconds.

    If the first rows have plain numbers only, the expression reads plain numbers only, which is three times as fast.
    With `any_form` it reads all forms, for the later rows that it could not read.
    """
    text = pl.col(column).cast(pl.String).str.strip_chars()
    if not any_form and decimal_mark(sample) == "." and sample.cast(pl.String).drop_nulls().str.contains(_PLAIN).all():
        plain = text.cast(pl.Float64, strict=False)
        return pl.when(plain.is_finite()).then(plain)
    read = number(column, decimal_mark(sample))
    if not any_form and not sample.cast(pl.String).str.contains(":", literal=True).any():
        return read
    parts = text.str.extract_groups(_CLOCK)
    days, excel_days, hours, minutes = (parts.struct[i].cast(pl.Float64, strict=False) for i in range(4))
    rest = parts.struct[4].str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    whole_days = pl.coalesce(days, excel_days, 0)
    return pl.coalesce(read, 86_400 * whole_days + 3600 * hours.fill_null(0) + 60 * minutes + rest)
