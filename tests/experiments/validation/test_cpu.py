"""CPU predicted from records against CPU measured, and what speaks against a calibration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from trunkproof.experiments.common.provenance import fingerprint
from trunkproof.experiments.validation.cpu import CpuComparison, calibration_warnings, compare_cpu
from trunkproof.loadgen.meters.report import MeterReport, ProgramReport
from trunkproof.models.costs import CALIBRATIONS, ReferenceSpeed, cpu_seconds, load_calibration
from trunkproof.models.study import Study
from trunkproof.simulator.run import simulate


def study(calibration: str | None = None) -> Study:
    traffic = {"arrivals": {"kind": "constant", "rate_per_minute": 120}, "holding": 2}
    pop = {"machine": {"calibration": calibration}}
    return Study.model_validate({"name": "t", "duration_s": 10, "pop": pop, "trunks": [{"traffic": traffic}]})


def meters(**cpu_s: float | None) -> MeterReport:
    programs = {name: ProgramReport(cpu_s=spent, increases={}) for name, spent in cpu_s.items()}
    return MeterReport(from_s=0.0, to_s=15.0, programs=programs)


def test_both_sides_add_up() -> None:
    predicted = simulate(study())
    found = compare_cpu(study(), predicted, meters(relay=0.5, edge=0.25))
    assert found is not None
    assert found.measured_s == 0.75
    assert found.predicted_s == pytest.approx(cpu_seconds(load_calibration("embedded").costs, predicted, 15.0))
    assert found.predicted_s == pytest.approx(sum(found.breakdown.values()))
    assert found.difference_share == pytest.approx((0.75 - found.predicted_s) / 0.75)
    assert CpuComparison.from_json(found.to_json()) == found


def test_the_prediction_is_for_the_slowdown_of_the_machine(tmp_path: Path) -> None:
    reference = ReferenceSpeed(work_s=1e-4, exponent=2.0)
    path = calibration(tmp_path / "reference.yaml", reference=reference.model_dump())
    predicted = simulate(study())

    def cpu(reference_s: float | None) -> CpuComparison:
        found = compare_cpu(study(path), predicted, replace(meters(edge=0.25), reference_s=reference_s))
        assert found is not None
        return found

    assert cpu(None).slowdown == cpu(1e-4).slowdown == 1
    assert cpu(1.2e-4).slowdown == pytest.approx(1.44)
    assert cpu(1.2e-4).predicted_s == pytest.approx(1.44 * cpu(None).predicted_s)
    saved = cpu(1.2e-4).to_json()
    assert CpuComparison.from_json(saved) == cpu(1.2e-4)
    older = {"pace" if name == "slowdown" else name: value for name, value in saved.items()}
    assert CpuComparison.from_json(older) == cpu(1.2e-4)


EARLY = replace(meters(edge=0.1), from_s=8.0, to_s=5.0)
"""A run that Ctrl-C ended three seconds before its first call was due."""


@pytest.mark.parametrize("unseen", [None, meters(), meters(remote=None), EARLY])
def test_what_nobody_could_meter_is_not_compared(unseen: MeterReport | None) -> None:
    assert compare_cpu(study(), simulate(study()), unseen) is None


def calibration(path: Path, **changes: object) -> str:
    content = yaml.safe_load((CALIBRATIONS / "embedded.yaml").read_text()) | changes
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_a_calibration_of_this_machine_and_stack_warns_of_nothing(tmp_path: Path) -> None:
    here = calibration(tmp_path / "here.yaml", machine=fingerprint().model_dump())
    assert calibration_warnings(study(here)) == ()


def test_another_machine_or_another_stack_is_a_warning(tmp_path: Path) -> None:
    there = fingerprint().model_copy(update={"processor": "Other CPU"}).model_dump()
    elsewhere = calibration(tmp_path / "there.yaml", machine=there, stack="kamailio")
    other_stack, other_machine = calibration_warnings(study(elsewhere))
    assert "kamailio" in other_stack
    assert "Other CPU" in other_machine
    (unknown,) = calibration_warnings(study(calibration(tmp_path / "nowhere.yaml", machine=None)))
    assert "does not say" in unknown
