"""Open a history's files: find the kind of each, its columns, and a lazy scan of its rows.

`models.demand.history.formats` says what the columns mean.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from trunkproof.models.demand.history.delimited import UTF_16, open_delimited, start_of
from trunkproof.models.demand.history.files import names_of
from trunkproof.models.demand.history.opened import SAMPLE_ROWS, Opened, refused, unique_names
from trunkproof.models.demand.history.records import open_records
from trunkproof.models.demand.history.workbooks import open_workbook
from trunkproof.models.errors import InputError, Problem

_OTHER_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook, or one with a password; save it as .xlsx or CSV without one"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; gzip is understood"),
    (b"BZh", "compressed with bzip2; gzip is understood"),
    (b"\xfd7zXZ", "compressed with xz; gzip is understood"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
)
_UNDERSTOOD = "a history is CSV or JSON (also gzipped), Excel (.xlsx) or Parquet"
_ZIP = b"PK\x03\x04"


def open_histories(files: Sequence[Path], starts: frozenset[str]) -> list[Opened]:
    """Open every file. A workbook gives one `Opened` per sheet.

    Args:
        files: the paths.
        starts: headings of a start, in lower case without punctuation. They find the records of calls in JSON.

    Raises:
        InputError: some files are empty or no table. Lists all of them.
    """
    found: list[Opened] = []
    problems: list[Problem] = []
    names = names_of(list(files))
    for path, name in zip(files, names, strict=True):
        try:
            found += _open(path, name, len(found), starts)
        except InputError as error:
            problems += [
                Problem(where=name if len(files) > 1 else problem.where, what=problem.what, line=problem.line)
                for problem in error.problems
            ]
    if problems:
        raise InputError(names[0] if len(files) == 1 else f"history of {len(files)} files", problems)
    return found


def _open(path: Path, name: str, number: int, starts: frozenset[str]) -> list[Opened]:
    start = start_of(path, name)
    if start.startswith(b"PAR1"):
        return [_open_parquet(path, name, number)]
    if start.startswith(_ZIP):
        return _open_zip(path, name, number)
    text = start.decode("utf-16", errors="replace").encode() if start.startswith(UTF_16) else start
    text = text.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        raise refused(name, "is empty")
    other = next((what for magic, what in _OTHER_KINDS if start.startswith(magic)), None)
    if other is None and text[:1] == b"<":
        other = "a page or document in HTML or XML"
    if other is None and b"\0" in text:
        other = "no text"
    if other is not None:
        raise refused(name, f"is {other}; {_UNDERSTOOD}")
    if text[:1] in b"{[":
        return [open_records(path, name, number, starts)]
    return [open_delimited(path, name, number, start)]


def _open_zip(path: Path, name: str, number: int) -> list[Opened]:
    try:
        with zipfile.ZipFile(path) as archive:
            inside = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        raise refused(name, "is a damaged ZIP archive or Excel workbook") from None
    if any(part.startswith("xl/") for part in inside):
        return open_workbook(path, name, number)
    raise refused(name, f"is a ZIP archive; unpack it: {_UNDERSTOOD}")


def _open_parquet(path: Path, name: str, number: int) -> Opened:
    try:
        lazy = pl.scan_parquet(path, glob=False)
        names = tuple(lazy.collect_schema().names())
        sample = lazy.head(SAMPLE_ROWS).collect()
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException):
        raise refused(name, "is a damaged Parquet file") from None
    if sample.is_empty():
        raise refused(name, "has no rows")
    if "row" in names:
        # A column of the file's own that is called `row` gives way to the line number.
        mapping = dict(zip(names, unique_names(names), strict=True))
        names, lazy, sample = tuple(mapping.values()), lazy.rename(mapping), sample.rename(mapping)
    return Opened(path, name, "parquet", True, names, lazy.with_row_index("row", 2), sample, number)
