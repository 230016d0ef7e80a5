"""What the suite's tests share: the content of the comparison.json of a run that keeps every criterion."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.report.chromium import Browser, find_chromium
from trunkproof.experiments.validation.compare import compare_records
from trunkproof.experiments.validation.cpu import CpuComparison
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.models.plan import draw_plan
from trunkproof.models.study_file import parse_study
from trunkproof.simulator.run import simulate

STUDY = """\
name: made up
duration_s: 30
trunk:
  throttle: {policy: fixed_window, limit: 40, window_s: 12}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 240}
  holding: {kind: exponential, mean_s: 3}
"""


@pytest.fixture
def saved() -> dict[str, Any]:
    study = parse_study(STUDY).on("kamailio")
    plan = draw_plan(study)
    records = simulate(study, plan)
    content = compare_records(
        plan,
        records,
        records,
        generator=judge(Measurements()),
        provenance=Provenance.collect(study, "a test"),
        srtp=Heard(received=5000, authenticated=5000),
        cpu=CpuComparison(30.0, 2.0, 2.0, {"packet_s": 1.5, "invite_s": 0.5}, {"kamailio": 0.4, "rtpengine": 1.6}),
    ).to_json()
    return dict(json.loads(json.dumps(content)))


_AXE = Path(__file__).parents[2] / ".stacks" / "axe" / "axe.min.js"
_SERIOUS = """axe.run(document, {resultTypes: ["violations"]}).then((found) => found.violations
    .filter((one) => ["serious", "critical"].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`))"""


@pytest.fixture(scope="session")
def serious_findings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], list[str]]]:
    """What an accessibility checker holds against a page, on a phone and a desk, in light and dark and on paper."""
    if find_chromium() is None:
        pytest.skip("chromium is not installed (sudo apt-get install chromium)")
    if not _AXE.exists():
        pytest.skip("axe-core is not unpacked (make system-packages)")
    folder, checker = tmp_path_factory.mktemp("accessibility"), _AXE.read_text(encoding="utf-8")
    with Browser(folder / "profile") as browser:

        def findings(page: str) -> list[str]:
            path, found = folder / "page.html", []
            path.write_text(page, encoding="utf-8")
            for width, dark, paper in ((390, False, False), (1366, True, False), (1366, False, True)):
                browser.open(path, width=width, dark=dark)
                if paper:
                    browser.call("Emulation.setEmulatedMedia", media="print")
                browser.value(f"{checker}; null")
                found += [f"{width} px, dark {dark}, paper {paper}: {one}" for one in browser.value(_SERIOUS)]
            browser.call("Emulation.setEmulatedMedia", media="")
            return found

        yield findings
