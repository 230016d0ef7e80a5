"""The judgement of targets and thresholds, the verdict that follows, and what a CI and a spreadsheet are told."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.common.result_folder import ResultFolder
from trunkproof.experiments.load.exports import junit
from trunkproof.experiments.load.judge import LoadVerdict, judge_threshold
from trunkproof.experiments.load.result import LoadResult, read_load, write_load
from trunkproof.experiments.report.load_page import render
from trunkproof.loadgen.bugs import Bug
from trunkproof.loadgen.run_end import COMPLETED, EndKind, RunEnd
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.models.records import Direction, Disposition, Record, to_frame
from trunkproof.models.study import Study
from trunkproof.models.study_file import parse_study

STUDY = """\
name: judged <once> & "again"
duration_s: 120
trunks:
  - name: shop
    customer_address: 127.0.0.2
    traffic:
      arrivals: {kind: constant, rate_per_minute: 60}
      holding: 1
      callers: ["+918040001234"]
      destinations: [{number: "+918040005555", far_end: echo}, {block: "+918040010000-+918040010299", far_end: answers}]
  - name: desk
    customer_address: 127.0.0.3
    traffic: {arrivals: {kind: constant, rate_per_minute: 60}, holding: 1}
"""


def study(*thresholds: str, **more: str) -> Study:
    lines = "thresholds:\n" + "".join(f"  - {{{one}}}\n" for one in thresholds) if thresholds else ""
    return parse_study(STUDY + lines + "".join(f"{key}: {value}\n" for key, value in more.items()))


def attempt(row: int, at_s: float, disposition: Disposition = Disposition.COMPLETED, **values: object) -> Record:
    good = disposition is Disposition.COMPLETED
    known = {"trunk": "shop", "direction": Direction.OUTBOUND, "status": 200 if good else 503, "attempt": 0} | values
    record = Record(row=row, call=row, intended_s=at_s, sent_s=at_s, disposition=disposition, **known)  # type: ignore[arg-type]
    record.ended_s = at_s + 1
    if good:
        record.ringing_s, record.answered_s, record.mos = at_s + 0.1, at_s + 0.2, 4.3
    return record


def minutes(*, bad_from_s: int = 200, until_s: int = 120, **values: object) -> pl.DataFrame:
    """One attempt a second, refused from an instant on for ten seconds."""
    bad = range(bad_from_s, bad_from_s + 10)
    kinds = [Disposition.THROTTLED if second in bad else Disposition.COMPLETED for second in range(until_s)]
    return to_frame(attempt(row, float(row), kind, **values) for row, kind in enumerate(kinds))


def result_of(asked: Study, records: pl.DataFrame, end: RunEnd = COMPLETED, **more: object) -> LoadResult:
    generator = judge(Measurements())
    provenance = Provenance.collect(asked, "a test")
    return LoadResult(asked, records, generator, provenance, "foreign", end=end, **more)  # type: ignore[arg-type]


def test_a_window_is_missed_where_the_whole_run_is_kept() -> None:
    asked = study("kpi: refused_share, at_most: 0.1", "kpi: refused_share, at_most: 0.1, window_s: 30")
    whole, windowed = (judge_threshold(one, asked, minutes(bad_from_s=50)) for one in asked.thresholds)
    assert (whole.holds, windowed.holds) == (True, False)
    assert (windowed.value, windowed.at_s) == (pytest.approx(1 / 3), 60.0)


@pytest.mark.parametrize(
    ("scope", "attempts"),
    [
        ("trunk: desk", 20),
        ('number: "+918040005555"', 30),
        ('number: "+918040010007"', 10),
        ("far_end: answers", 10),
        ("far_end: echo, trunk: desk", 0),
    ],
)
def test_a_threshold_is_of_its_own_attempts(scope: str, attempts: int) -> None:
    asked = study(f"kpi: asr, at_least: 0.9, {scope}")
    records = pl.concat(
        [
            minutes(until_s=20, trunk="desk"),
            minutes(until_s=30, destination=0, far_end="echo"),
            minutes(until_s=10, destination=8, far_end="answers"),
        ]
    )
    row = judge_threshold(asked.thresholds[0], asked, records)
    assert (row.attempts, row.holds) == (attempts, True if attempts else None)


def test_what_was_never_measured_is_no_success() -> None:
    asked = study("kpi: mos_p5, at_least: 4", "kpi: mos_p5, at_least: 4, attempts_min: 500")
    silent = minutes().with_columns(mos=pl.lit(None, pl.Float64))
    assert [judge_threshold(one, asked, silent).holds for one in asked.thresholds] == [False, None]
    assert result_of(asked, silent).exit_code is ExitCode.MISSED


def test_the_verdict_follows_bug_end_generator_and_targets_in_this_order() -> None:
    good, bad, asked = minutes(), minutes(bad_from_s=10), study()
    void = {"generator": judge(Measurements(never_placed=1))}
    aborted = RunEnd(EndKind.THRESHOLD, 9.0, detail="x")
    assert result_of(asked, good).verdict is LoadVerdict.KEPT
    assert result_of(asked, bad).exit_code is ExitCode.MISSED
    assert result_of(asked, bad, aborted).exit_code is ExitCode.ABORTED
    assert result_of(asked, bad, RunEnd(EndKind.TRUNK_DIED, 9.0)).exit_code is ExitCode.NO_TRUNK
    assert result_of(asked, bad, RunEnd(EndKind.INTERRUPTED, 9.0)).exit_code is ExitCode.INTERRUPTED
    assert result_of(asked, bad, aborted, bugs=(Bug("a", "b", "c"),)).exit_code is ExitCode.BUG
    for end in (COMPLETED, aborted):
        told = LoadResult(asked, bad, void["generator"], Provenance.collect(asked, ""), "foreign", end=end)
        assert (told.exit_code, told.rows) == (ExitCode.VOID, ())
        assert ET.fromstring(junit(told)).get("errors") == "1"
    assert result_of(asked, minutes(until_s=0)).exit_code is ExitCode.MISSED


def test_the_folder_has_stand_ins_for_numbers_and_says_the_same_again(tmp_path: Path) -> None:
    asked = study(
        'kpi: asr, at_least: 0.9, number: "+918040010007"', 'kpi: asr, at_least: 0.9, number: "+918040005555"'
    )
    result = result_of(asked, minutes(destination=8, far_end="answers", bad_from_s=5))
    write_load(result, ResultFolder(tmp_path))
    assert "+91804" not in (tmp_path / "study.json").read_text() + (tmp_path / "load.json").read_text()
    again = read_load(tmp_path)
    assert again.study.thresholds[0].places_in({"shop": again.study.trunks[0].traffic.where}) == {"shop": 8}
    assert again.study.trunks[0].traffic.destinations[0].number == "+99900000000055"
    assert again.provenance.study_hash == asked.digest() != again.study.digest()
    assert [row.holds for row in again.rows] == [row.holds for row in result.rows]
    assert "80400" not in render(again)
    assert "&lt;once&gt;" in render(again)
    write_load(result, ResultFolder(tmp_path), show_numbers=True)
    assert read_load(tmp_path).study == asked


def test_reasons_are_put_together_by_values_and_not_by_words() -> None:
    dropped = [
        attempt(row, float(row), Disposition.DROPPED, status=200, reason=f"hung up after {row}.1 s", bye_cause=102)
        for row in range(3)
    ]
    busy = attempt(7, 7.0, Disposition.BUSY, status=486)
    refused = [attempt(row, float(row), Disposition.THROTTLED, cause=42) for row in (4, 9)]
    stopped = attempt(8, 8.0, Disposition.STILL_UP, status=200)
    first, second = result_of(study(), to_frame([*dropped, busy, stopped, *refused])).reasons
    assert (first.attempts, first.first_s, first.last_s, first.words) == (3, 0.0, 2.0, "hung up after 0.1 s")
    assert (second.what, second.attempts) == ("throttled, status 503, cause 42", 2)
    assert first.remedy is not None
    assert "30 s" in first.remedy.meaning
