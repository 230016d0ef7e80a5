"""Opens a history's file: what kind of file it is, its columns, and a lazy scan of its rows as text.

Says nothing about what the columns mean; that is `models.history.formats`.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import polars as pl

from models.errors import InputError, Problem
from models.history.mending import mended

SAMPLE_ROWS = 5000
_SNIFFED_BYTES = 256 * 1024
_BLOCK_BYTES = 8 * 2**20
_SEPARATORS = ",;\t|"
_OTHER_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook; save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save the sheet as CSV"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; gzip is understood"),
    (b"BZh", "compressed with bzip2; gzip is understood"),
    (b"\xfd7zXZ", "compressed with xz; gzip is understood"),
    (b"\xff\xfe", "text in UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16; save it as UTF-8"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
)
_VALUE = re.compile(r"^[\s+.-]*\d[\d.,\s]*$|\d{4,}|\d:\d\d")
"""What a heading does not have: a number, a long run of digits, a time of day."""


@dataclass(frozen=True, eq=False)
class Opened:
    """A file of rows, not yet read."""

    path: Path
    kind: str
    """`csv` or `parquet`."""
    has_heading: bool
    columns: tuple[str, ...]
    scan: pl.LazyFrame
    """All columns, and `row`: the line of the file."""
    sample: pl.DataFrame
    """The first rows."""
    first_line: int
    """Of the first row that is no heading."""
    mended_lines: tuple[int, ...] = ()
    """Lines whose quotation marks were taken away."""


class MarksError(InputError):
    """A CSV file that the reader gives up on: it may be its quotation marks, which can be mended."""


def open_history(path: Path, *, mend: bool = False) -> Opened:
    """Open a CSV (also gzipped) or Parquet file; with `mend`, without the quotation marks that do not match.

    Raises:
        MarksError: CSV that cannot be read as it is.
        InputError: it is missing, empty, a folder, or no table.
    """
    if not path.exists():
        raise refused(path, "there is no such file")
    if not path.is_file():
        raise refused(path, "is a folder, not a file" if path.is_dir() else "is no regular file")
    try:
        start = _start_of(path)
    except (OSError, EOFError, zlib.error) as error:
        raise refused(path, f"cannot be read ({getattr(error, 'strerror', None) or 'damaged gzip'})") from None
    if start.startswith(b"PAR1"):
        return _open_parquet(path)
    _refuse_other_kinds(path, start)
    return _open_csv(path, start.decode("utf-8-sig", errors="replace"), mend=mend)


def refused(path: Path, *whats: str, where: str = "file") -> InputError:
    """The error for a file that cannot be used."""
    return InputError(path.name, [Problem(where=where, what=what) for what in whats])


def _opened(path: Path) -> BinaryIO | gzip.GzipFile:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")


def _start_of(path: Path) -> bytes:
    with _opened(path) as file:
        return file.read(_SNIFFED_BYTES)


def _refuse_other_kinds(path: Path, start: bytes) -> None:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise refused(path, "is empty")
    other = next((what for magic, what in _OTHER_KINDS if start.startswith(magic)), None)
    if other is None and text[:1] == b"<":
        other = "a page or document in HTML or XML"
    if other is None and text[:1] in b"{[":
        other = "JSON"
    if other is None and b"\0" in start:
        other = "no text"
    if other is not None:
        raise refused(path, f"is {other}; a history is CSV (also gzipped) or Parquet")


def _open_parquet(path: Path) -> Opened:
    try:
        lazy = pl.scan_parquet(path, glob=False)
        names = tuple(lazy.collect_schema().names())
        sample = lazy.head(SAMPLE_ROWS).collect()
    except (pl.exceptions.PolarsError, OSError):
        raise refused(path, "is a damaged Parquet file") from None
    if sample.is_empty():
        raise refused(path, "has no rows")
    names, lazy, sample = _without_row(names, lazy, sample)
    return Opened(path, "parquet", True, names, lazy.with_row_index("row", 2), sample, 2)


def _without_row(
    names: tuple[str, ...], lazy: pl.LazyFrame, sample: pl.DataFrame
) -> tuple[tuple[str, ...], pl.LazyFrame, pl.DataFrame]:
    """A column of the file's own that is called `row` gives way to the line number."""
    if "row" not in names:
        return names, lazy, sample
    renamed = _unique(names)
    mapping = dict(zip(names, renamed, strict=True))
    return renamed, lazy.rename(mapping), sample.rename(mapping)


def _open_csv(path: Path, text: str, *, mend: bool) -> Opened:
    if "\n" not in text and "\r" in text:
        raise refused(path, "its lines end in carriage returns alone; save it with line feeds")
    lines = [line.rstrip("\r") for line in text.split("\n")]
    lead = _leading(lines)
    separator, rows = _rows(lines[lead : lead + 200])
    width = max(map(len, rows), default=0)
    if width < 2:
        raise refused(path, "is no table: its lines have no columns separated by comma, semicolon, tab or |")
    has_heading = not any(_VALUE.search(field) for field in rows[0]) and any(field.strip() for field in rows[0])
    given = rows[0] if has_heading else []
    names = _unique([*given, *(f"column {i + 1}" for i in range(len(given), width))])
    first_line = lead + has_heading + 1
    source, wrong = _mended(path, separator, first_line - 1) if mend else (path, [])
    lazy = pl.scan_csv(
        source,
        has_header=False,
        skip_lines=0 if mend else first_line - 1,
        separator=separator,
        schema=dict.fromkeys(names, pl.String()),
        encoding="utf8-lossy",
        truncate_ragged_lines=True,
        row_index_name="row",
        row_index_offset=first_line,
        raise_if_empty=False,
        glob=False,
    )
    try:
        sample = lazy.head(SAMPLE_ROWS).collect().drop("row")
    except (pl.exceptions.PolarsError, OSError):
        raise unreadable(path) from None
    if sample.is_empty():
        raise refused(path, "has a heading and no rows")
    return Opened(path, "csv", has_heading, names, lazy, sample, first_line, tuple(wrong))


def _mended(path: Path, separator: str, skipped: int) -> tuple[bytes, list[int]]:
    try:
        with _opened(path) as file:
            return mended(file, separator, skipped)
    except (OSError, EOFError, zlib.error):
        raise refused(path, "is damaged: a compressed file cut short") from None


def unreadable(path: Path) -> MarksError:
    """The error for CSV that the reader gives up on."""
    what = "cannot be read as CSV: quotation marks that do not match, or a damaged file"
    return MarksError(path.name, [Problem(where="file", what=what)])


def _leading(lines: list[str]) -> int:
    """Lines before the table: empty ones, and the hint on the separator that Excel writes."""
    count = 0
    while count < len(lines) - 1 and (not lines[count].strip() or re.fullmatch(r"\"?sep=.\"?", lines[count].strip())):
        count += 1
    return count


def _rows(lines: list[str]) -> tuple[str, list[list[str]]]:
    """The separator that gives the most columns in the most lines, and the rows that it gives."""
    best: tuple[int, str, list[list[str]]] = (0, ",", [[]])
    for separator in _SEPARATORS:
        rows = list(_parsed(lines, separator))
        widths = sorted(len(row) for row in rows)
        typical = widths[len(widths) // 2] if widths else 0
        if typical > best[0]:
            best = (typical, separator, rows)
    return best[1], best[2]


def _parsed(lines: list[str], separator: str) -> Iterator[list[str]]:
    # Line by line: an open quotation mark must not swallow the rest of the sample.
    for line in lines:
        try:
            yield from csv.reader(io.StringIO(line), delimiter=separator, skipinitialspace=True)
        except csv.Error:
            continue


def _unique(names: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    found: list[str] = []
    for i, given in enumerate(names):
        name = given.strip().strip('"').strip() or f"column {i + 1}"
        while name in found or name == "row":
            name += "_"
        found.append(name)
    return tuple(found)


def joined_lines(opened: Opened, rows: int) -> int:
    """Lines of a CSV file that are no rows of their own, once all `rows` of it have been read."""
    if opened.kind != "csv":
        return 0
    lines, last = 0, b"\n"
    with _opened(opened.path) as file:
        while block := file.read(_BLOCK_BYTES):
            lines += block.count(b"\n")
            last = block[-1:]
    return lines + (last != b"\n") - (opened.first_line - 1) - rows
