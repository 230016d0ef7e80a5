"""Describe an opened file of rows: its columns, a lazy scan of its rows, and the line of each row.

Files are opened by `models.demand.history.delimited`, `models.demand.history.workbooks`,
`models.demand.history.records` (JSON) and, for Parquet, `models.demand.history.opening`. What the columns mean is
`models.demand.history.formats`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from trunkproof.models.errors import InputError, Problem

SAMPLE_ROWS = 5000
FILE_STEP = 2**40
"""A row's number is its line, plus this times the number of its file: one integer for both, for any size of file."""


@dataclass(frozen=True, eq=False)
class Opened:
    """A file of rows, or one sheet of a workbook, not yet read."""

    path: Path
    name: str
    """The file's name in messages."""
    kind: str
    """`csv`, `parquet`, `json` or `xlsx`."""
    has_heading: bool
    columns: tuple[str, ...]
    scan: pl.LazyFrame
    """All columns, and `row`: the line in the file (JSON: the number of the record; Excel: the row of the sheet)."""
    sample: pl.DataFrame
    """The first rows."""
    number: int = 0
    """The number of this file among the files of the history, from 0."""
    mended_lines: tuple[int, ...] = ()
    """Lines whose quotation marks were removed, because they were unmatched."""
    joined: tuple[tuple[int, int], ...] = ()
    """Rows with line breaks inside quotation marks: the row as `scan` counts it, and how many more lines it has."""

    def collect(self, query: pl.LazyFrame) -> pl.DataFrame:
        """Run a query on `scan` with the streaming engine. A column `row` becomes the row's number in the history.

        Raises:
            InputError: the file cannot be read beyond its first rows.
        """
        try:
            frame = query.collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException):
            raise self.damaged() from None
        return frame.with_columns(self._placed(frame["row"])) if "row" in frame.columns else frame

    def _placed(self, rows: pl.Series) -> pl.Series:
        rows = rows.cast(pl.Int64)
        if self.joined:
            at, further = (np.array(part, dtype=np.int64) for part in zip(*self.joined, strict=True))
            before = np.concatenate([[0], np.cumsum(further)])
            rows += pl.Series(before[np.searchsorted(at, rows.to_numpy(), side="left")])
        return rows + self.number * FILE_STEP if self.number else rows

    def damaged(self) -> InputError:
        """Return the error for a file that cannot be read further."""
        words = {"csv": "cannot be read as CSV: a damaged file", "parquet": "is a damaged Parquet file"}
        return refused(self.name, words.get(self.kind, "is damaged"))


def place_of(row: int) -> tuple[int, int]:
    """Return the number of the file and the line in it, given a row's number."""
    return divmod(row, FILE_STEP)


def refused(name: str, *whats: str, where: str = "file") -> InputError:
    """Return the error for a file that cannot be used."""
    return InputError(name, [Problem(where=where, what=what) for what in whats])


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of columns for these headings: none is empty, none comes twice, none is `row` (the line)."""
    found: list[str] = []
    for i, given in enumerate(names):
        name = given.strip().strip('"').strip() or f"column {i + 1}"
        while name in found or name == "row":
            name += "_"
        found.append(name)
    return tuple(found)
