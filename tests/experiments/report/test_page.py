"""The page in a real browser: it draws, complains of nothing, needs no network, and hides numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from plotly.offline import get_plotlyjs_version

from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.report import sheet
from trunkproof.experiments.report.chromium import Browser
from trunkproof.experiments.report.page import render, write_report
from trunkproof.experiments.validation.compare import Comparison, compare_records
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.run_end import COMPLETED, EndKind, RunEnd
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.models.plan import dialled_number, draw_plan
from trunkproof.models.study_file import parse_study
from trunkproof.simulator.run import simulate

STUDY = """\
name: a page <with> "odd" characters & more
duration_s: 60
pop:
  incidents: [{kind: edge_restart, at_s: 20, down_s: 2}]
trunk:
  throttle: {policy: fixed_window, limit: 50, window_s: 20}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 200}
  holding: {kind: exponential, mean_s: 5}
"""


def comparison(*, lateness_s: float = 0.0, written: str = STUDY) -> Comparison:
    study = parse_study(written)
    plan = draw_plan(study)
    # Two phases of the throttle's window stand for a prediction and a reality that differ here and there.
    return compare_records(
        plan,
        simulate(study, plan, anchors={"trunk": -4.0}),
        simulate(study, plan, anchors={"trunk": -4.4}),
        generator=judge(Measurements(lateness_s=[lateness_s] * 10)),
        provenance=Provenance.collect(study, "a test"),
        prediction_intervals={"refused_share": (0.1, 0.3)},
        twin="a test has none",
        anchors={"trunk": -4.4},
    )


def own_markup(page: str) -> str:
    """The page without the text of its scripts and styles."""
    return re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)


def test_several_edges_are_told_with_their_attempts() -> None:
    edges = "pop:\n  edges: [{host: a.example}, {host: b.example, priority: 2}]"
    down = "{kind: edge_down, at_s: 20, lasts_s: 9}"
    written = STUDY.replace("pop:", edges).replace("{kind: edge_restart, at_s: 20, down_s: 2}", down)
    several = comparison(written=written)
    at = several.measured["edge"].value_counts(sort=True)
    markup = own_markup(render(several))
    for edge, count in at.iter_rows():
        assert re.search(rf"Edge {edge}, {'ab'[edge]}\.example .*: \d+ attempts predicted, {count} measured", markup)
    assert "edge down" in render(several)


def test_nothing_is_fetched_from_anywhere() -> None:
    markup = own_markup(render(comparison()))
    assert not re.search(r"(src|href)\s*=", markup)


def test_dialled_numbers_are_masked_and_text_is_escaped() -> None:
    found = comparison()
    assert found.disagreements
    page = render(found)
    assert all(dialled_number(one.row) not in page for one in found.disagreements)
    assert "a page &lt;with&gt;" in page


def test_every_disagreement_has_a_reason_in_words() -> None:
    assert all(one.reason for one in comparison().disagreements)


def test_a_void_run_shows_no_measured_figure() -> None:
    void = comparison(lateness_s=1.0)
    assert not void.valid
    assert all(pair.measured is None for pair in void.kpis.values())
    page = render(void)
    assert "VOID" in page
    assert '"name":"measured"' not in page.replace('": "', '":"')


def test_a_run_cut_short_is_compared_as_far_as_it_went() -> None:
    found = comparison()
    early = found.measured.filter(pl.col("intended_s") < 10)
    cut = compare_records(
        draw_plan(found.study),
        found.predicted,
        early,
        generator=found.generator,
        provenance=found.provenance,
        ended=RunEnd(EndKind.INTERRUPTED, 10.0),
    )
    assert cut.attempts == early.height
    assert not cut.agrees
    assert "cut short" in cut.sentence
    assert replace(cut, ended=COMPLETED, srtp=Heard(100, 100)).agrees


@pytest.mark.requires("chromium")
def test_the_page_draws_in_a_browser_without_a_complaint(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(comparison(), path)
    with Browser(tmp_path / "profile") as browser:
        browser.open(path)
        assert browser.complaints == []
        drawn = browser.value("""[...document.querySelectorAll(".plot")].map((plot) => [plot.id.slice(4),
          plot.querySelectorAll(".main-svg").length, plot.querySelectorAll(".trace").length])""")
    assert [name for name, *_ in drawn] == ["admitted", "refused", "concurrency", "ports", "srd", "mos", "endings"]
    assert all(pictures for _, pictures, _ in drawn)
    assert sum(traces for *_, traces in drawn) >= 2 * len(drawn)


def test_the_page_has_no_serious_finding_of_an_accessibility_checker(
    serious_findings: Callable[[str], list[str]],
) -> None:
    page = render(comparison())
    assert serious_findings(page) == []
    assert len(page.encode()) < 2_000_000


def test_the_plotly_of_the_pages_is_of_the_version_that_makes_the_figures() -> None:
    bundle = (Path(sheet.__file__).parent / "templates" / sheet.PLOTLY).read_text(encoding="utf-8")
    assert f"v{get_plotlyjs_version()}" in bundle[:200]
    assert "MIT license" in bundle[:200]


def test_the_accessibility_checker_finds_a_planted_fault(serious_findings: Callable[[str], list[str]]) -> None:
    pale = '<p style="color:#ccc;background:#fff">Nobody can read this.</p>'
    planted = f'<!DOCTYPE html><html lang="en"><title>t</title><main><h1>t</h1>{pale}</main></html>'
    found = serious_findings(planted)
    assert len(found) == 3
    assert all("color-contrast" in one for one in found)
