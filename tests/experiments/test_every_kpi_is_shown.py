"""An indicator is declared once and then shown everywhere: console, page, JSON, repetitions, targets."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from rich.console import Console

from trunkproof.experiments.cli.console import kpi_table
from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.common.targets import JudgedTarget
from trunkproof.experiments.report.page import render
from trunkproof.experiments.validation.compare import Comparison, compare_records
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.models.kpis import DEFINITIONS, Better, Count, KpiDefinition, Mean, Quantile, Share, Total, Values
from trunkproof.models.plan import draw_plan
from trunkproof.models.study_file import parse_study
from trunkproof.models.targets import Operator, Target
from trunkproof.simulator.replicate import replicate
from trunkproof.simulator.run import simulate

STUDY = parse_study("""\
name: some calls
duration_s: 30
trunk:
  throttle: {policy: fixed_window, limit: 30, window_s: 20}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 200}
  holding: {kind: exponential, mean_s: 5}
""")
_LATE = Total(lambda records: int(np.count_nonzero(records.intended_s >= 15)))
_HOLD = Values(lambda records: records.bye_s - records.answered_s)
TOYS = {
    "toy_count": KpiDefinition("Toy count", "1", "attempts of the second half", Count(_LATE), Better.NEITHER),
    "toy_share": KpiDefinition("Toy share", "share", "of all attempts", Share(_LATE, Total(len)), Better.HIGHER),
    "toy_mean": KpiDefinition("Toy mean", "s", "from answer to BYE", Mean(_HOLD), Better.NEITHER),
    "toy_median": KpiDefinition("Toy median", "s", "as above", Quantile(_HOLD, 0.5), Better.LOWER),
}


@pytest.fixture(autouse=True)
def _declared() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, toy in TOYS.items():
            patch.setitem(DEFINITIONS, name, toy)
        yield


@pytest.fixture(name="comparison")
def _comparison() -> Comparison:
    plan = draw_plan(STUDY)
    return compare_records(
        plan,
        simulate(STUDY, plan),
        simulate(STUDY, plan, anchors={"trunk": -4.0}),
        generator=judge(Measurements(lateness_s=[0.0] * 10)),
        provenance=Provenance.collect(STUDY, "a test"),
    )


def test_what_is_declared_is_computed_as_it_is_declared(comparison: Comparison) -> None:
    table, kpis = comparison.measured, comparison.measured_kpis
    late = (table["intended_s"] >= 15).sum()
    assert kpis["toy_count"] == late
    assert kpis["toy_share"] == late / table.height
    assert kpis.weights["toy_share"] == table.height
    held_s = (table["bye_s"] - table["answered_s"]).drop_nulls()
    assert kpis["toy_mean"] == pytest.approx(held_s.mean())
    assert kpis["toy_median"] == pytest.approx(held_s.quantile(0.5, "lower"), rel=1e-3)


@pytest.mark.parametrize("name", [*DEFINITIONS, *TOYS])
def test_the_console_shows_it(comparison: Comparison, name: str) -> None:
    console = Console(width=150)
    with console.capture() as shown:
        console.print(kpi_table(comparison.measured_kpis))
    definition, value = DEFINITIONS[name], comparison.measured_kpis[name]
    assert any(
        definition.title in line and line.rstrip().endswith(formatted(value, definition.unit))
        for line in shown.get().splitlines()
    )
    assert value is not None or name not in TOYS


@pytest.mark.parametrize("name", [*DEFINITIONS, *TOYS])
def test_comparison_json_holds_it(comparison: Comparison, name: str) -> None:
    pair = json.loads(json.dumps(comparison.to_json()))["kpis"][name]
    assert pair["measured"] == comparison.measured_kpis[name]
    assert pair["unit"] == DEFINITIONS[name].unit
    assert pair["measured"] is not None or name not in TOYS


def test_the_page_shows_all(comparison: Comparison) -> None:
    page = render(comparison)
    for name, definition in DEFINITIONS.items():
        assert definition.title in page
        assert formatted(comparison.measured_kpis[name], definition.unit) in page


def test_repetitions_estimate_all() -> None:
    found = replicate(STUDY, replications=3)
    assert list(found.samples) == list(DEFINITIONS)
    assert set(TOYS) <= set(found.estimates)
    assert found.weights["toy_share"] == [float(count or 0) for count in found.samples["attempts"]]
    # A declared unit bounds what a further repetition can reach.
    assert found.prediction_intervals["toy_share"][1] <= 1


def test_a_target_may_ask_for_it(comparison: Comparison) -> None:
    target = Target("toy_median", Operator.AT_MOST, 60.0)
    judged = JudgedTarget(target, comparison.measured_kpis[target.kpi])
    assert judged.holds
    assert str(judged).startswith("kept: Toy median at most 60.0 s (")
