"""Several files are one history: found by list, folder or pattern; what two share counts once; gaps are told."""

from __future__ import annotations

import gzip
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from trunkproof.models.demand.history.files import find_files, names_of
from trunkproof.models.demand.history.reading import read_history
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.table import History, Oddity
from trunkproof.models.errors import InputError

HEADING = "CallSid,DateCreated,From,To,Direction,Status,StartTime,EndTime,Duration,ConversationDuration\n"
FIRST = datetime(2026, 5, 4)


def row(day: int, hour: int, sid: str = "") -> str:
    start = FIRST + timedelta(days=day, hours=hour)
    number = 24 * day + hour
    answered, end = start + timedelta(seconds=9), start + timedelta(seconds=69)
    numbers = f"+9120{number:08d},+9170{number:08d}"
    return f"{sid or f's{number}'},{start},{numbers},inbound,completed,{answered},{end},69,60\n"


def days(first: int, last: int) -> str:
    return HEADING + "".join(row(day, hour) for day in range(first, last + 1) for hour in range(24))


def read(*paths: Path) -> History:
    return read_history(HistorySettings(path=paths if len(paths) > 1 else paths[0]))


def kinds(history: History) -> dict[str, Oddity]:
    return {oddity.kind: oddity for oddity in history.oddities}


@pytest.fixture
def two(tmp_path: Path) -> Path:
    (tmp_path / "calls-2.csv").write_text(days(0, 6))
    (tmp_path / "calls-10.csv.gz").write_bytes(gzip.compress(days(7, 13).encode()))
    return tmp_path


def test_a_folder_a_pattern_and_a_list_are_one_history(two: Path) -> None:
    (two / "notes.md").write_text("no history")
    for paths in ([two], [two / "calls-*"], [two / "calls-2.csv", two / "calls-10.csv.gz"]):
        history = read(*paths)
        assert history.attempts == history.rows_read == 14 * 24
        assert history.days == 14
        assert history.oddities == ()
        assert history.source == "2 files, calls-2.csv to calls-10.csv.gz"


def test_files_are_found_in_the_order_of_their_numbers_and_once(two: Path) -> None:
    found = find_files((two, two / "calls-2.csv"))
    assert [file.name for file in found] == ["calls-2.csv", "calls-10.csv.gz"]
    assert names_of([Path("a/x.csv"), Path("b/x.csv"), Path("b/y.csv")]) == ["a/x.csv", "b/x.csv", "y.csv"]


def test_paths_that_stand_for_nothing_are_all_told(two: Path) -> None:
    (two / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        find_files((Path("none.csv"), Path("empty"), Path("x*.csv")), two)
    said = [str(problem) for problem in caught.value.problems]
    assert [text.split(":")[0] for text in said] == [f"history.path[{i}]" for i in range(3)]
    assert "no such file" in said[0]
    assert "a folder without" in said[1]
    assert "no file has such a name" in said[2]


def test_calls_that_two_files_share_count_once_and_are_told_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(days(0, 7))
    (tmp_path / "b.csv").write_text(days(7, 13))
    history = read(tmp_path)
    oddity = kinds(history)["overlap"]
    assert (oddity.count, oddity.rows[0], oddity.files[0], oddity.places[0]) == (24, 2, "b.csv", "b.csv:2")
    assert history.attempts == 14 * 24
    assert set(kinds(history)) == {"overlap"}


def test_days_of_a_file_that_is_not_there_are_told_and_not_fitted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(days(0, 6))
    (tmp_path / "c.csv").write_text(days(9, 13))
    history = read(tmp_path)
    oddity = kinds(history)["gap"]
    assert oddity.count == 1
    assert "a.csv ends 2026-05-10 23:00, c.csv begins 2026-05-13 00:00" in oddity.what
    assert history.closed == (date(2026, 5, 11), date(2026, 5, 12))
    assert "days_without_calls" not in kinds(history)


def test_a_weekday_on_which_nobody_calls_is_no_gap(tmp_path: Path) -> None:
    for week in range(3):
        (tmp_path / f"{week}.csv").write_text(days(7 * week, 7 * week + 4))
    history = read(tmp_path)
    assert "gap" not in kinds(history)
    assert history.closed == ()


def test_a_bad_row_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(days(0, 6))
    (tmp_path / "b.csv").write_text(days(7, 13) + "Total,,,,,,,,999,9\n")
    assert kinds(read(tmp_path))["unparsable"].places == ("b.csv:170",)


def test_each_file_has_an_order_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(days(7, 13))
    (tmp_path / "b.csv").write_text(days(0, 6))
    assert read(tmp_path).oddities == ()


def test_all_files_that_are_none_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("")
    (tmp_path / "b.csv").write_bytes(b"%PDF")
    (tmp_path / "c.csv").write_text(days(0, 0))
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    assert [problem.where for problem in caught.value.problems] == ["a.csv", "b.csv"]


def test_files_of_two_forms_are_no_history(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(days(0, 0))
    (tmp_path / "b.csv").write_text("start,calls\n2026-05-04 10:00,3\n2026-05-04 10:06,4\n")
    with pytest.raises(InputError, match=r"a\.csv is of the form `operator`, b\.csv is of the form `counts`"):
        read(tmp_path)


def test_counts_in_several_files_are_added_and_repeated_ones_not(tmp_path: Path) -> None:
    text = "start,calls\n" + "".join(f"2026-05-0{{}} {hour:02d}:00,{hour + 1}\n" for hour in range(24))
    for name, day in (("a", 4), ("b", 5), ("c", 5)):
        (tmp_path / f"{name}.csv").write_text(text.replace("{}", str(day)))
    history = read(tmp_path)
    assert history.attempts == 600
    assert kinds(history)["overlap"].places[0] == "c.csv:2"


def test_one_file_tells_day_from_month_for_all(tmp_path: Path) -> None:
    heading = "Sid,Status,StartTime,Duration\n"
    (tmp_path / "a.csv").write_text(heading + "".join(f"a{n},busy,0{n}/05/2026 10:00:00,0\n" for n in range(1, 8)))
    (tmp_path / "b.csv").write_text(heading + "".join(f"b{n},busy,{n}/05/2026 10:00:00,0\n" for n in range(10, 20)))
    history = read(tmp_path)
    assert history.days == 19
    assert "day_before_month" not in kinds(history)
