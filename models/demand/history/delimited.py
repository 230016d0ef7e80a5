"""Open CSV, also gzipped or in UTF-16: find its separator and heading, and scan its rows lazily as text."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import polars as pl

from trunkproof.models.demand.history.headings import table_start
from trunkproof.models.demand.history.mending import Mended, mended
from trunkproof.models.demand.history.opened import SAMPLE_ROWS, Opened, refused

_SNIFFED_BYTES = 256 * 1024
_SNIFFED_LINES = 200
_BLOCK_BYTES = 8 * 2**20
_SEPARATORS = ",;\t|"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks."""


def opened_bytes(path: Path) -> BinaryIO | gzip.GzipFile:
    """Open a file as bytes; gzip is recognised by content and unpacked."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")


def start_of(path: Path, name: str) -> bytes:
    """Return the first bytes of a file.

    Raises:
        InputError: they cannot be read.
    """
    try:
        with opened_bytes(path) as file:
            return file.read(_SNIFFED_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise refused(name, f"cannot be read ({getattr(error, 'strerror', None) or 'damaged gzip'})") from None


def open_delimited(path: Path, name: str, number: int, start: bytes) -> Opened:
    """Open a CSV file whose first bytes are given. Rows of several lines are joined.

    Raises:
        InputError: it is not a table, has no rows, or is damaged.
    """
    whole = _from_utf_16(path, name) if start.startswith(UTF_16) else None
    text = (whole[:_SNIFFED_BYTES] if whole is not None else start).decode("utf-8-sig", errors="replace")
    if "\n" not in text and "\r" in text:
        raise refused(name, "its lines end in carriage returns alone; save it with line feeds")
    separator, rows = _rows([line.rstrip("\r") for line in text.split("\n")[:_SNIFFED_LINES]])
    lead, has_heading, columns = table_start(rows)
    if len(columns) < 2:
        raise refused(name, "is no table: its lines have no columns separated by comma, semicolon, tab or |")
    first_line = lead + has_heading + 1
    lines, has_marks = _counted(path, whole, name)
    source = path if whole is None else whole
    scan = _scan(source, first_line - 1, separator, columns, first_line)
    fixed = Mended(b"", (), ())
    if has_marks and not _is_a_row_per_line(scan, lines - first_line + 1):
        with opened_bytes(path) if whole is None else io.BytesIO(whole) as file:
            fixed = mended(file, separator, first_line - 1, len(columns))
        scan = _scan(fixed.content, 0, separator, columns, first_line)
    try:
        sample = scan.head(SAMPLE_ROWS).collect().drop("row")
    except (pl.exceptions.PolarsError, OSError):
        raise refused(name, "cannot be read as CSV: a damaged file") from None
    if sample.is_empty():
        raise refused(name, "has a heading and no rows")
    return Opened(
        path, name, "csv", has_heading, columns, scan, sample, number, mended_lines=fixed.wrong, joined=fixed.joined
    )


def _from_utf_16(path: Path, name: str) -> bytes:
    try:
        with opened_bytes(path) as file:
            return file.read().decode("utf-16").encode()
    except UnicodeDecodeError:
        raise refused(name, "is damaged: it begins as text in UTF-16, but further on it is not") from None


def _scan(
    source: Path | bytes, skipped: int, separator: str, columns: tuple[str, ...], first_line: int
) -> pl.LazyFrame:
    return pl.scan_csv(
        source,
        has_header=False,
        skip_lines=skipped,
        separator=separator,
        schema=dict.fromkeys(columns, pl.String()),
        encoding="utf8-lossy",
        truncate_ragged_lines=True,
        row_index_name="row",
        row_index_offset=first_line,
        raise_if_empty=False,
        glob=False,
    )


def _counted(path: Path, whole: bytes | None, name: str) -> tuple[int, bool]:
    """Return the number of lines of the file, and whether it has quotation marks.

    Raises:
        InputError: it is compressed and incomplete.
    """
    lines, last, has_marks = 0, b"\n", False
    try:
        with opened_bytes(path) if whole is None else io.BytesIO(whole) as file:
            while block := file.read(_BLOCK_BYTES):
                lines += block.count(b"\n")
                has_marks = has_marks or b'"' in block
                last = block[-1:]
    except (OSError, EOFError, zlib.error):
        raise refused(name, "is damaged: a compressed file cut short") from None
    return lines + (last != b"\n"), has_marks


def _is_a_row_per_line(scan: pl.LazyFrame, lines: int) -> bool:
    """Tell whether no line break is inside quotation marks. With unmatched marks polars gives up or joins lines."""
    try:
        return int(scan.select(pl.len()).collect(engine="streaming").item()) == lines
    except (pl.exceptions.PolarsError, OSError):
        return False


def _rows(lines: list[str]) -> tuple[str, list[list[str]]]:
    """Return the separator that gives the most columns in the most lines, and the rows that it gives."""
    hint = next((line.strip().strip('"') for line in lines if line.strip()), "")
    hinted = hint[4:5] if hint.lower().startswith("sep=") and len(hint) == 5 else ""
    best: tuple[int, str, list[list[str]]] = (0, ",", [[]])
    for separator in hinted or _SEPARATORS:
        rows = list(_parsed(lines, separator))
        widths = sorted(len(row) for row in rows)
        typical = widths[len(widths) // 2] if widths else 0
        if typical > best[0]:
            best = (typical, separator, rows)
    return best[1], best[2]


def _parsed(lines: list[str], separator: str) -> Iterator[list[str]]:
    # Parse line by line, so that an open quotation mark does not swallow the rest of the sample.
    for line in lines:
        try:
            yield next(csv.reader(io.StringIO(line), delimiter=separator, skipinitialspace=True), [])
        except csv.Error:
            yield []
