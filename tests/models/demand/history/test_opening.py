"""A file that is no history gets one clear answer, whatever it is, and never shows a number."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.models.demand.history.mending import mended
from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.table import History
from trunkproof.models.errors import InputError

Read = Callable[..., History]
Problems = Callable[..., list[str]]
HEADING = "Sid,From,To,Direction,Status,StartTime,EndTime,Duration\n"
ROW = "s1,+912012345678,+917098765432,inbound,completed,2024-05-06 10:00:00,2024-05-06 10:02:00,120\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n\r\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "PNG"),
        (b"<!DOCTYPE html><html><body>Sid,From</body></html>", "HTML"),
        (b'{"calls": [{"sid": "s1"}]}', "JSON without calls"),
        (b'{"calls": [{"sid": "s1"', "damaged JSON"),
        (b"PK\x03\x04workbook", "damaged ZIP"),
        (b"\xff\xfeS\0i\0d", "UTF-16"),
        (b"\x01\0\x02\0\x03", "no text"),
        (b"PAR1 but no more", "damaged Parquet"),
        (b"\x1f\x8b\x08\0damaged", "damaged gzip"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (gzip.compress(ROW.encode() * 40_000, mtime=0)[:2000], "damaged"),
        (b"one column\nof words\n", "is no table"),
        (HEADING.encode(), "has a heading and no rows"),
        ((HEADING + ROW).replace("\n", "\r").encode(), "carriage returns"),
    ],
)
def test_what_is_no_history_is_named(problems: Problems, content: bytes, said: str) -> None:
    (found,) = problems(content)
    assert said in found


def test_missing_files_and_folders_are_told(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.csv", "no such file"), (tmp_path, "a folder without .csv")):
        with pytest.raises(InputError, match=said):
            read_history(HistorySettings(path=path))


def test_a_parquet_file_without_rows_is_told(tmp_path: Path) -> None:
    pl.DataFrame({"start": [], "calls": []}).write_parquet(tmp_path / "none.parquet")
    with pytest.raises(InputError, match="has no rows"):
        read_history(HistorySettings(path=tmp_path / "none.parquet"))


def test_a_compressed_file_cut_short_far_inside_is_told(problems: Problems) -> None:
    text = HEADING + "".join(ROW.replace("s1", f"s{i * 7919 % 99991}") for i in range(60_000))
    whole = gzip.compress(text.encode())
    (found,) = problems(whole[: len(whole) * 3 // 4], "calls.csv.gz")
    assert "damaged" in found


def test_times_that_are_none_are_described_without_their_digits(problems: Problems) -> None:
    (found,) = problems(HEADING + ROW.replace("2024-05-06 10:00:00", "+912012345678"))
    assert "`StartTime` has values like `+999999999999`" in found
    assert "2012345678" not in found


def test_excel_marks_semicolons_windows_lines_and_bytes_that_are_no_text(read: Read) -> None:
    text = "\ufeffsep=;\r\n" + (HEADING + ROW + ROW.replace("s1", "s2\xff")).replace(",", ";").replace("\n", "\r\n")
    history = read(text.encode("latin-1", errors="ignore").replace(b"\xff", b"\xfe"))
    assert history.rows_read == 2
    calls = history.calls
    assert calls is not None
    assert calls["row"].to_list()[0] == 3


def test_lines_inside_quotation_marks_are_counted(read: Read) -> None:
    text = HEADING + ROW + ROW.replace("s1", '"s\n2"').replace("10:00", "10:01") + ROW.replace("10:00", "10:03")
    text = text.replace(
        "s1,+912012345678,+917098765432,inbound,completed,2024-05-06 10:03", "s3,+91,+92,,busy,2024-05-06 10:03"
    )
    history = read(text)
    assert history.rows_read == 3
    assert next((oddity.kind, oddity.count) for oddity in history.oddities) == ("joined_lines", 1)
    assert history.calls is not None
    assert history.calls["row"].to_list() == [2, 3, 5]


def test_marks_that_do_not_match_cost_no_other_row(read: Read) -> None:
    rows = [ROW.replace("s1", f'"s{i}"') for i in range(50)]
    rows[10] = rows[10].replace('"s10"', '"s10')
    rows[20] = '"s20","+9120'
    rows[30] = rows[30].replace('"s30"', '"s30"x')
    text = HEADING + "".join(row.rstrip("\n") + "\n" for row in rows)
    for content in (text.encode(), gzip.compress(text.encode())):
        history = read(content)
        told = {oddity.kind: oddity.rows for oddity in history.oddities}
        assert history.rows_read == 50
        assert told["mended_marks"] == (12, 22, 32)
        assert told["unparsable"] == (22,)
        assert "joined_lines" not in told


def test_two_open_marks_do_not_swallow_the_rows_between(read: Read) -> None:
    """A reader takes them for one row, silently: their number is even."""
    rows = [ROW.replace("s1", f'"s{i}"').replace("10:00:00", f"10:{i:02d}:00") for i in range(50)]
    rows[10] = rows[10].replace('"s10"', '"s10')
    rows[11] = rows[11].replace('"s11"', '"s\n11"')
    rows[30] = rows[30].replace('"s30"', '"s30')
    history = read(HEADING + "".join(rows))
    told = {oddity.kind: (oddity.count, oddity.rows) for oddity in history.oddities}
    assert history.attempts == history.rows_read == 50
    assert told["mended_marks"] == (2, (12, 33))
    assert told["joined_lines"] == (1, ())
    assert history.calls is not None
    assert history.calls["row"].to_list() == [*range(2, 14), *range(15, 53)]


@pytest.mark.parametrize("at", [0.02, 0.5])
def test_parquet_that_is_damaged_inside_is_told(tmp_path: Path, at: float) -> None:
    """Over more than a page: a few wrong bytes in a page without a checksum are other values, which nobody can tell."""
    rng = np.random.default_rng(1)
    rows = 20_000
    times = pl.Series(rng.integers(1_700_000_000_000_000, 1_700_100_000_000_000, rows)).cast(pl.Datetime("us"))
    table = pl.DataFrame({"Sid": np.arange(rows), "Status": ["busy"] * rows, "StartTime": times})
    table.write_parquet(tmp_path / "calls.parquet", row_group_size=4000)
    content = bytearray((tmp_path / "calls.parquet").read_bytes())
    first = int(at * len(content))
    content[first : first + len(content) // 3] = rng.bytes(len(content) // 3)
    (tmp_path / "calls.parquet").write_bytes(content)
    with pytest.raises(InputError, match="damaged Parquet"):
        read_history(HistorySettings(path=tmp_path / "calls.parquet"))


@given(st.lists(st.text("ab\",'", max_size=12), max_size=20))
def test_mending_keeps_every_line_and_leaves_right_ones_alone(lines: list[str]) -> None:
    found = mended(io.BytesIO("".join(f"{line}\n" for line in lines).encode()), ",", 0, 3)
    result = found.content.decode().split("\n")[:-1]
    further = dict(found.joined)
    assert len(result) + sum(further.values()) == len(lines)
    at = 0
    for number, after in enumerate(result, start=1):
        whole = lines[at : at + 1 + further.get(number, 0)]
        at += len(whole)
        assert after == (whole[0].replace('"', "") if at in found.wrong else " ".join(whole))
        if at not in found.wrong:
            assert len(list(csv.reader([after], strict=True))) == 1
