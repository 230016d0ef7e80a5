"""`trunkproof history` as its user meets it: a history looked into, a request written, a history made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.experiments.test_cli import trunkproof

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.review.request_file import read_request
from trunkproof.models.demand.history.reading import read_history

HEADING = "CallSid,DateCreated,From,To,AccountSid,Direction,Status,StartTime,EndTime,Duration,ConversationDuration\n"


def export(day: int, account: str = "PN1") -> str:
    rows = []
    for hour in range(24):
        at, number = f"2026-05-{day:02d} {hour:02d}", f"0981234{day:02d}{hour:02d}"
        status = "failed" if hour == 12 else "completed"
        rows.append(
            f"c{day}-{hour},{at}:00:00,{number},08047100000,{account},inbound,{status},{at}:00:09,{at}:01:09,69,60\n"
        )
    return HEADING + "".join(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "calls").mkdir()
    for day in range(4, 8):
        (tmp_path / "calls" / f"day-{day}.csv").write_text(export(day))
    return tmp_path


def test_inspect_says_what_is_recognised_and_writes_a_request(folder: Path) -> None:
    result = trunkproof("history", "inspect", folder / "calls", "--write", folder / "request.yaml")
    assert result.returncode == ExitCode.OK
    said = result.stdout
    assert "4 files, day-4.csv to day-7.csv: 96 rows, 96 attempts in 4 days" in said
    assert "start = DateCreated (%Y-%m-%d %H:%M:%S" in said
    assert "failed -> refused (4)" in said
    assert "day-4.csv:2: start 2026-05-04 00:00:00" in said
    assert "0981234" not in said
    request = read_request(folder / "request.yaml")
    assert request.name == "request"
    assert read_history(request.history, folder).attempts == 96
    assert request.history.refusal_words == ("failed",)
    assert "0981234" not in (folder / "request.yaml").read_text()


def test_a_request_that_is_there_is_not_written_over(folder: Path) -> None:
    (folder / "request.yaml").write_text("mine")
    result = trunkproof("history", "inspect", folder / "calls", "--write", folder / "request.yaml")
    assert result.returncode == ExitCode.WRONG_INPUT
    assert "File exists" in result.stderr
    assert (folder / "request.yaml").read_text() == "mine"


def test_inspect_gives_all_in_json_and_tells_customers_instead_of_refusing(folder: Path) -> None:
    (folder / "calls" / "day-7.csv").write_text(export(7, "PN2"))
    result = trunkproof("history", "inspect", folder / "calls" / "*.csv", "--write", folder / "r.yaml", "--json")
    values = json.loads(result.stdout)
    assert values["owners"] == {"AccountSid": {"PN1": 72, "PN2": 24}}
    assert values["words"][0] == {"written": "completed", "rows": 92, "taken_for": "answered"}
    assert values["files"][0]["columns"]["answered"] == "StartTime"
    assert values["files"][0]["units"] == {"duration_s": "seconds", "holding_s": "seconds"}
    assert len(values["sample"]) == 10
    assert values["sample"][0]["read"]["status"] == "answered"
    assert values["times_carry_zone"] is False
    assert "mixed_owners" in {oddity["kind"] for oddity in values["oddities"]}
    # Whose calls are to be reviewed is the user's to say: until then the review asks.
    asked = trunkproof("review", folder / "r.yaml", "--out", folder / "out")
    assert asked.returncode == ExitCode.WRONG_INPUT
    assert "mixed: as_one" in asked.stderr


def test_what_the_history_shows_wrong_is_told_with_the_line_of_its_key(folder: Path) -> None:
    text = "requested_per_minute: 400\nhistory:\n  path: calls\n  timezone: Asia/Kolkata\n  where:\n    Account: acme\n"
    (folder / "request.yaml").write_text(text)
    result = trunkproof("review", folder / "request.yaml", "--out", folder / "out")
    assert result.returncode == ExitCode.WRONG_INPUT
    assert "line 6: history.where.Account: the file has no column `Account`" in result.stderr
    (folder / "request.yaml").write_text(text.replace("Kolkata", "Kolkta").replace("path", "paht"))
    said = trunkproof("review", folder / "request.yaml", "--out", folder / "out").stderr
    assert "line 4: history.timezone: no such time zone" in said
    assert "line 3: history.paht: unknown key; did you mean `path`?" in said


def test_files_that_are_none_are_told_without_a_traceback(folder: Path) -> None:
    (folder / "calls" / "day-5.csv").write_bytes(b"PK\x03\x04")
    result = trunkproof("history", "inspect", folder / "calls")
    assert result.returncode == ExitCode.WRONG_INPUT
    assert "day-5.csv: is a damaged ZIP archive" in result.stderr
    result = trunkproof("history", "inspect", folder / "calls", "--timezone", "Nowhere")
    assert "no such time zone" in result.stderr


def test_a_truth_is_made_into_a_history_with_and_without_the_word(folder: Path) -> None:
    truth = Path(__file__).parents[2] / "experiments" / "requests" / "histories" / "three_days.yaml"
    for words in (["history"], ["history", "make"]):
        out = folder / f"{words[-1]}.csv"
        assert trunkproof(*words, truth, "--out", out).returncode == ExitCode.OK
        assert out.stat().st_size > 1000
