"""The verdict in a sentence, where there is little to say: a run that was stopped before its first call."""

from __future__ import annotations

from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.report.page import render
from trunkproof.experiments.validation.compare import Comparison, compare_records
from trunkproof.loadgen.run_end import EndKind, RunEnd
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import to_frame
from trunkproof.models.study_file import parse_study
from trunkproof.simulator.run import simulate

STUDY = """\
name: stopped at once
duration_s: 10
traffic:
  arrivals: {kind: constant, rate_per_minute: 60}
  holding: 1
"""


def stopped_before_the_first_call(measured: Measurements | None = None, troubles: tuple[str, ...] = ()) -> Comparison:
    study = parse_study(STUDY)
    plan = draw_plan(study)
    return compare_records(
        plan,
        simulate(study, plan),
        to_frame([]),
        generator=judge(measured or Measurements()),
        provenance=Provenance.collect(study, "a test"),
        ended=RunEnd(EndKind.INTERRUPTED, -0.5),
        troubles=troubles,
    )


def test_without_a_call_nothing_is_said_of_agreement() -> None:
    comparison = stopped_before_the_first_call()
    assert comparison.sentence == (
        "The run was cut short (interrupted before the first call). No call was placed, so there is nothing to compare."
    )
    assert not comparison.agrees


def test_the_page_says_so_too() -> None:
    page = render(stopped_before_the_first_call())
    assert "NOT RUN" in page
    assert "DIFFER" not in page


def test_a_void_run_still_tells_what_befell_the_trunk() -> None:
    died = "rtpengine killed by SIGKILL 2.6 s after plan zero"
    comparison = stopped_before_the_first_call(Measurements(never_placed=10**6), troubles=(died,))
    assert comparison.sentence.startswith("VOID")
    assert died in comparison.sentence
    assert died in render(comparison)
