"""The pages of a load test and of two runs, in a real browser: drawn, in themselves, and no wider than the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.load.compare import ComparedRun, compare_runs
from trunkproof.experiments.load.result import LoadResult
from trunkproof.experiments.report.chromium import Browser
from trunkproof.experiments.report.compare_page import write_compare_page
from trunkproof.experiments.report.load_page import write_load_page
from trunkproof.loadgen.run_end import COMPLETED
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.models.study_file import parse_study
from trunkproof.simulator.run import simulate

STUDY = parse_study("""\
name: a load test
duration_s: 60
trunk: {throttle: {policy: fixed_window, limit: 20, window_s: 10}}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 200}
  holding: {kind: exponential, mean_s: 3}
  ringing: 0.5
thresholds: [{kpi: refused_share, at_most: 0.1, window_s: 20}]
""")
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
DRAWN = "[...document.querySelectorAll('.plot')].map((plot) => plot.querySelectorAll('.trace path').length)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, records, health = tmp_path_factory.mktemp("pages"), simulate(STUDY), judge(Measurements())
    result = LoadResult(STUDY, records, health, Provenance.collect(STUDY, "a test"), "foreign")
    write_load_page(result, folder / "load.html")
    void = LoadResult(STUDY, records, judge(Measurements(never_placed=1)), result.provenance, "foreign")
    write_load_page(void, folder / "void.html")
    run = ComparedRun(folder, STUDY, records, health, COMPLETED, "")
    write_compare_page(compare_runs(run, run), folder / "compare.html")
    return sorted(folder.glob("*.html"))


@pytest.mark.requires("chromium")
@pytest.mark.parametrize("width", [390, 1366])
def test_no_page_is_wider_than_its_screen_and_all_figures_are_drawn(
    browser: Browser, pages: list[Path], width: int
) -> None:
    for page in pages:
        browser.open(page, width=width)
        assert browser.complaints == []
        assert all(url.startswith(("file:", "data:", "blob:")) for url in browser.fetched)
        full, screen = browser.value(WIDTHS)
        assert full <= screen == width, page.name
        drawn = browser.value(DRAWN)
        assert all(drawn)
        # Of a VOID run no figure is shown.
        assert bool(drawn) is (page.stem == "load")


def test_the_pages_have_no_serious_finding_of_an_accessibility_checker(
    pages: list[Path], serious_findings: Callable[[str], list[str]]
) -> None:
    for page in pages:
        text = page.read_text()
        assert serious_findings(text) == [], page.name
        assert len(text.encode()) < 2_000_000
