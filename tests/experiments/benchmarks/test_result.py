"""Rows and their report: ratios are above 1 where ours is better, and come first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trunkproof.experiments.benchmarks.result import Missing, Report, figure, higher_is_better, lower_is_better, rounded

RATE = higher_is_better("a.rate", 300.0, "calls/s", baseline=100.0, command="c", note="why")
COST = lower_is_better("a.cost", 300.0, "us", baseline=100.0, command="c")
ALONE = figure("a.alone", 1234.5, "ms", command="c")
MISSING = Missing("a.missing", "no such program")


@pytest.fixture
def report() -> Report:
    return Report.of([ALONE, MISSING, RATE, COST], load_average=(0.5, 1.5), quick=False)


def test_more_of_what_is_to_be_large_is_better() -> None:
    assert RATE.ratio == 3.0


def test_less_of_what_is_to_be_small_is_better() -> None:
    assert COST.ratio == pytest.approx(1 / 3)


def test_json_has_the_rows_the_machine_and_the_date(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "kept" / "latest.json")
    kept = json.loads((tmp_path / "kept" / "latest.json").read_text())
    assert [row["name"] for row in kept["rows"]] == ["a.alone", "a.rate", "a.cost"]
    assert set(kept["rows"][0]) >= {"name", "value", "unit", "baseline", "ratio", "command"}
    assert kept["missing"] == [{"name": "a.missing", "why": "no such program"}]
    assert kept["machine"]["processor"]
    assert kept["versions"]["numba"]
    assert kept["date"]
    assert kept["load_average"] == [0.5, 1.5]


def test_the_page_shows_ratios_before_other_figures(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "latest.json")
    page = (tmp_path / "latest.md").read_text()
    assert page.index("`a.rate`") < page.index("`a.alone`") < page.index("`a.missing`: no such program")
    assert "| **3** | `a.rate` | 300 | 100 | calls/s | why | `c` |" in page
    assert "Do not quote its figures" not in page


def test_a_quick_run_says_that_it_is_none_to_quote() -> None:
    assert "Do not quote its figures" in Report.of([ALONE], load_average=(0, 0), quick=True).to_markdown()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (0.012345, "0.0123"), (12.345, "12.3"), (1234.5, "1,230"), (2_345_678.0, "2,350,000")],
)
def test_three_digits_are_shown(value: float | None, shown: str) -> None:
    assert rounded(value) == shown
