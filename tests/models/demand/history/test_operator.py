"""The operator's call export in each of its forms says the same: months of CSV, Excel, and the API's JSON."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.table import History

Read = Callable[..., History]
Problems = Callable[..., list[str]]
HEADING = [
    "CallSid", "DateCreated", "From", "To", "PhoneNumberSid", "Direction", "Status", "StartTime", "EndTime", "Duration",
    "ConversationDuration", "Price", "Currency", "RecordingUrl", "FlowId",
]  # fmt: skip
FIRST = datetime(2026, 5, 4, 10)
ENDS = [("completed", 60), ("busy", 0), ("no-answer", 0), ("failed", 0), ("canceled", 0), ("completed", 90)]
DIRECTIONS = ["inbound", "outbound-api", "outbound-dial"]
STATUSES = ["answered", "busy", "no_answer", "refused", "abandoned", "answered"]


def rows() -> list[dict[str, str]]:
    found = []
    for number, (status, talk_s) in enumerate(ENDS * 5):
        placed = FIRST + timedelta(minutes=number)
        end = placed + timedelta(seconds=12 + talk_s)
        values = [
            f"c{number}", str(placed), f"0{9000000000 + number}", "08047100000", "PN1", DIRECTIONS[number % 3], status,
            str(placed + timedelta(seconds=12)) if talk_s else "", str(end), str(12 + talk_s), str(talk_s), "0.5",
            "INR", "", "",
        ]  # fmt: skip
        found.append(dict(zip(HEADING, values, strict=True)))
    return found


def as_csv(separator: str = ",") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADING, delimiter=separator)
    writer.writeheader()
    writer.writerows(rows())
    return text.getvalue()


def as_json() -> list[dict[str, Any]]:
    """As the API has it: nulls, and some fields inside `Details`."""
    found: list[dict[str, Any]] = []
    for row in rows():
        record: dict[str, Any] = {key: value or None for key, value in row.items()}
        talk_s = int(record.pop("ConversationDuration"))
        found.append(record | {"Details": {"ConversationDuration": talk_s, "Leg1Status": row["Status"]}, "Legs": []})
    return found


def says_the_same(history: History, *odd: str) -> None:
    calls = history.calls
    assert calls is not None
    assert history.format == "operator"
    assert calls["start_local"].to_list() == [FIRST + timedelta(minutes=n) for n in range(30)]
    assert calls["status"].to_list() == STATUSES * 5
    assert calls["ringing_s"].to_list() == [12.0] * 30
    assert calls["holding_s"].to_list() == [60.0, None, None, None, None, 90.0] * 5
    assert calls["direction"].to_list() == ["inbound", "outbound", "outbound"] * 10
    assert calls["caller"].n_unique() == 30
    assert {oddity.kind for oddity in history.oddities if "partial" not in oddity.kind} == set(odd)


MARK = {"Metadata": {"Total": 30, "PageSize": 30, "StartTime": "2026-05-04"}}
PAGES = [MARK | {"Calls": as_json()[:20]}, MARK | {"Calls": as_json()[20:]}]
LINES = "\n".join(map(json.dumps, as_json())) + "\n"
FORMS: dict[str, str | bytes] = {
    "csv": as_csv(),
    "semicolons, as Excel writes them": "sep=;\r\n" + as_csv(";"),
    "tabs in UTF-16": as_csv("\t").encode("utf-16"),
    "a byte order mark": "\ufeff" + as_csv(),
    "a title": "Calls of May\n\nfrom,2026-05-01,to,2026-05-31\n" + as_csv(),
    "one page": json.dumps(PAGES[0] | {"Calls": as_json()}),
    "an object of pages": json.dumps({"pages": PAGES}, indent=2),
    "a list": json.dumps([{"Call": record} for record in as_json()]),
    "lines": LINES,
    "pages in lines": "\n".join(map(json.dumps, PAGES)),
    "lines, gzipped": gzip.compress(LINES.encode()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_export_says_the_same(read: Read, form: str) -> None:
    says_the_same(read(FORMS[form]))


def workbook(path: Path, *, title: bool) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    if title:
        sheet.append(["Calls of May"])
        sheet.append([])
    sheet.append(HEADING)
    for row in rows():
        times = {key: datetime.fromisoformat(row[key]) for key in ("DateCreated", "StartTime", "EndTime") if row[key]}
        # Numbers and durations as numbers: Excel shows such a number as 9E+09 and keeps all digits.
        numbers = {key: int(row[key]) for key in ("From", "To", "Duration", "ConversationDuration")}
        sheet.append(list(({key: value or None for key, value in row.items()} | times | numbers).values()))
    if title:
        sheet.append(["Total", None, None, None, None, None, None, None, None, 999])
        book.create_sheet("Summary").append(["calls", 30])
    book.save(path)


def test_a_workbook_says_the_same(tmp_path: Path) -> None:
    workbook(tmp_path / "calls.xlsx", title=False)
    history = read_history(HistorySettings(path=tmp_path / "calls.xlsx"))
    says_the_same(history)
    assert history.source == "calls.xlsx"


def test_titles_totals_and_other_sheets_of_a_workbook_do_no_harm(tmp_path: Path) -> None:
    workbook(tmp_path / "calls.xlsx", title=True)
    history = read_history(HistorySettings(path=tmp_path / "calls.xlsx"))
    says_the_same(history, "unparsable")
    (total,) = (oddity for oddity in history.oddities if oddity.kind == "unparsable")
    assert total.rows == (34,)


def test_pages_in_several_files_are_one_history(tmp_path: Path) -> None:
    for number, page in enumerate(PAGES):
        (tmp_path / f"page-{number}.json").write_text(json.dumps(page))
    says_the_same(read_history(HistorySettings(path=tmp_path / "page-*.json")))


def test_a_line_of_json_that_is_spoilt_costs_one_row(read: Read) -> None:
    lines = LINES.splitlines()
    history = read("\n".join([*lines[:4], lines[4][:30], *lines[4:]]))
    says_the_same(history, "unparsable")
    assert next(o.rows for o in history.oddities if o.kind == "unparsable") == (5,)


def test_the_older_form_has_no_other_beginning_than_its_start(read: Read) -> None:
    text = "sid,start_time,end_time,direction,from,to,status,duration\n"
    text += "a,2026-11-01T10:00:00,2026-11-01T10:00:30,inbound,+91980,+91900,completed,25\n"
    calls = read(text).calls
    assert calls is not None
    assert calls["start_local"].to_list() == [datetime(2026, 11, 1, 10)]
    assert calls.row(0, named=True)["holding_s"] == 25.0
    assert calls.row(0, named=True)["ringing_s"] == 5.0


def test_a_workbook_that_is_none_is_told(tmp_path: Path, problems: Problems) -> None:
    workbook(tmp_path / "whole.xlsx", title=False)
    content = (tmp_path / "whole.xlsx").read_bytes()
    assert "damaged ZIP archive or Excel workbook" in problems(content[:3000], "cut.xlsx")[0]
    assert "is empty" in problems(b"", "none.xlsx")[0]
    openpyxl.Workbook().save(tmp_path / "blank.xlsx")
    assert "without a sheet" in problems((tmp_path / "blank.xlsx").read_bytes(), "blank.xlsx")[0]
