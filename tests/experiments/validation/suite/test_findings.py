"""What is told about a run that differs, and the notes kept beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trunkproof.experiments.validation.suite.findings import NOTES, Note, findings, read_notes
from trunkproof.models.errors import InputError


def disagreement(predicted: str | None, measured: str | None, reason: str) -> dict[str, Any]:
    return {"predicted": predicted, "measured": measured, "reason": reason}


def test_alike_disagreements_are_counted_most_frequent_first_and_one_is_quoted(saved: dict[str, Any]) -> None:
    saved["disagreements"] = [
        disagreement(None, "completed", "a redial that the predicted side never had"),
        disagreement("throttled", "completed", "3 ms from a window boundary of the throttle"),
        disagreement("throttled", "completed", "11 ms from a window boundary of the throttle"),
        disagreement("completed", "throttled", "7 ms from a window boundary of the throttle"),
    ]
    found = findings(saved)
    assert found[0].startswith("2 predicted throttled, measured completed: for example 3 ms from")
    assert "1 predicted completed, measured throttled: 7 ms from a window boundary of the throttle" in found
    assert any(line.startswith("1 predicted no such attempt, measured completed") for line in found)


def test_everything_that_the_comparison_knows_is_told(saved: dict[str, Any]) -> None:
    saved |= {"interrupted": "the trunk is gone", "troubles": ["rtpengine died"], "warnings": ["another machine"]}
    saved["generator"] |= {"reasons": ["suspect: late"]}
    saved["kpis"]["srd_p95_ms"] |= {"predicted": 100.0, "measured": 130.0, "difference": 30.0}
    saved["meters"] = {
        "programs": {"rtpengine": {"cpu_s": 1.6, "wakings": 40_000.0}, "kamailio": {"cpu_s": None, "wakings": 7.0}}
    }
    told = "\n".join(findings(saved))
    assert "woken: rtpengine 40,000 times, 40 us each" in told
    for words in ("the trunk is gone", "trouble: rtpengine died", "another machine", "suspect: late"):
        assert words in told
    assert "95 % 100.0 / 130.0 ms" in told
    assert "CPU measured 2.00 s in 30 s (rtpengine 1.60 s, kamailio 0.40 s)" in told
    assert "CPU predicted 2.00 s (SRTP packets 1.50 s, INVITEs handed on 0.50 s)" in told
    assert "in the calibration" not in told
    for name in ("slowdown", "pace"):
        without = {key: value for key, value in saved["cpu"].items() if key != "slowdown"}
        slower = saved | {"cpu": without | {name: 1.25}}
        assert any("1.25 times as long as in the calibration" in line for line in findings(slower))


def test_cpu_that_was_not_metered_is_told(saved: dict[str, Any]) -> None:
    assert any("could not be metered" in line for line in findings(saved | {"cpu": None}))


def test_notes_are_read_and_may_be_absent(tmp_path: Path) -> None:
    assert read_notes(tmp_path) == {}
    (tmp_path / NOTES).write_text(
        "kamailio:\n  02_at:\n    started: 2026-11-30T10:00:00+00:00\n    note: >\n      shorter than\n      a packet\n"
    )
    note = Note("2026-11-30T10:00:00+00:00", "shorter than a packet")
    assert read_notes(tmp_path) == {("kamailio", "02_at"): note}


@pytest.mark.parametrize("text", ["- a list", "kamailio: text", "{", "kamailio: {02_at: only words}"])
def test_notes_that_are_no_table_are_an_error_of_the_user(tmp_path: Path, text: str) -> None:
    (tmp_path / NOTES).write_text(text)
    with pytest.raises(InputError):
        read_notes(tmp_path)
