"""The verdict in a sentence, where there is little to say: a run that was stopped before its first call."""

from __future__ import annotations

from experiments.provenance import Provenance
from experiments.report.page import render
from experiments.validation.compare import Comparison, compare
from loadgen.health import Measurements, judge
from models.plan import draw_plan
from models.reading import parse_study
from models.records import to_frame
from simulator.run import simulate

STUDY = """\
name: stopped at once
duration_s: 10
traffic:
  arrivals: {kind: constant, rate_per_minute: 60}
  holding: 1
"""


def stopped_before_the_first_call() -> Comparison:
    study = parse_study(STUDY)
    plan = draw_plan(study)
    return compare(
        plan,
        simulate(study, plan),
        to_frame([]),
        generator=judge(Measurements()),
        provenance=Provenance.collect(study, "a test"),
        interrupted="interrupted before the first call",
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
