"""Open Excel workbooks (.xlsx): each sheet with calls counts as a file of its own.

Cells are read as Excel stores them, not as it shows them: with all digits of a number, and dates as ISO 8601.
"""

from __future__ import annotations

from pathlib import Path

import fastexcel
import polars as pl

from trunkproof.models.demand.history.headings import table_start
from trunkproof.models.demand.history.opened import SAMPLE_ROWS, Opened, refused

_LOOKED_AT = 200


def open_workbook(path: Path, name: str, number: int) -> list[Opened]:
    """Open the sheets that have the same columns as the largest sheet. Other sheets are not part of the history.

    Raises:
        InputError: the workbook is damaged or protected, or none of its sheets has a table.
    """
    try:
        book = fastexcel.read_excel(path)
        # From the first row on, so that rows have the numbers that Excel shows.
        sheets = {
            sheet: book.load_sheet(sheet, header_row=None, skip_rows=0, dtypes="string").to_polars()
            for sheet in book.sheet_names
        }
    except (fastexcel.FastExcelError, pl.exceptions.PolarsError, OSError):
        raise refused(name, "cannot be read as an Excel workbook: damaged, or protected by a password") from None
    tables = [found for sheet, cells in sheets.items() if (found := _table(path, f"{name} [{sheet}]", cells))]
    if not tables:
        raise refused(name, "is a workbook without a sheet that has a table with rows")
    largest = max(tables, key=lambda table: table[1])[0]
    alike = [opened for opened, _ in tables if opened.columns == largest.columns]
    if len(sheets) == 1:
        alike = [_named(alike[0], name, number)]
    return [_named(opened, opened.name, number + at) for at, opened in enumerate(alike)]


def _named(opened: Opened, name: str, number: int) -> Opened:
    return Opened(
        opened.path, name, "xlsx", opened.has_heading, opened.columns, opened.scan, opened.sample, number=number
    )


def _table(path: Path, name: str, cells: pl.DataFrame) -> tuple[Opened, int] | None:
    """Return a sheet and its number of rows, or None if it has no table with rows."""
    rows = [["" if cell is None else str(cell) for cell in row] for row in cells.head(_LOOKED_AT).rows()]
    lead, has_heading, columns = table_start(rows)
    first = lead + has_heading
    if len(columns) < 2 or cells.height <= first:
        return None
    body = cells.slice(first)
    body.columns = list(columns)
    body = body.with_row_index("row", first + 1)
    body = body.filter(pl.any_horizontal(pl.exclude("row").is_not_null()))
    if body.is_empty():
        return None
    return Opened(
        path, name, "xlsx", has_heading, columns, body.lazy(), body.head(SAMPLE_ROWS).drop("row")
    ), body.height
