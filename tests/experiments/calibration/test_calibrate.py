"""A calibration's levels, one of them on real calls, and what is left of it in files."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from experiments.calibration import calibrate as module
from experiments.calibration.calibrate import CalibrationRun, calibrate
from experiments.calibration.levels import Level, studies_of
from experiments.report.calibration_page import render_calibration
from loadgen.health import Verdict
from models.costs import CostName, cost_counts, load_calibration
from models.errors import StackError
from models.plan import draw_plan
from models.study import Stack, Study
from simulator.run import simulate

KNOWN = {
    "full_handshake_s": 2e-3,
    "resumed_handshake_s": 1e-3,
    "invite_s": 1.5e-3,
    "refusal_s": 5e-4,
    "bye_s": 7e-4,
    "packet_s": 2e-5,
    "idle_share": 2e-3,
}


@pytest.mark.parametrize("stack", get_args(Stack))
def test_every_kind_of_work_has_three_amounts(stack: Stack) -> None:
    amounts = Counter(work for work, _, _ in studies_of(stack))
    assert set(amounts.values()) == {3}
    assert len(amounts) == 8


def test_the_levels_as_the_model_plays_them_determine_every_cost(tmp_path: Path) -> None:
    dice = np.random.default_rng(5)
    run = CalibrationRun.explaining("embedded", [predicted_level(*each, dice) for each in studies_of("embedded")], "x")
    for name, cost in KNOWN.items():
        low, high = run.calibration.intervals[name]  # type: ignore[index]
        spread = (high - low) / 2
        # 95 % of intervals hold the truth; twice as wide, one of seven misses in one of ten thousand runs.
        assert abs(getattr(run.calibration.costs, name) - cost) < 2 * spread, name
    assert run.calibration.costs.round_trip_s == pytest.approx(0.002, abs=1e-4)
    low, high = run.calibration.intervals["throttle_s"]
    assert low < 0.01 < high
    written = load_calibration(str(run.write(tmp_path)))
    assert written == run.calibration
    assert written.machine is not None
    saved = json.loads((tmp_path / "embedded-levels.json").read_text())
    assert len(saved["levels"]) == len(run.levels)
    page = render_calibration(run)
    assert all(name in page for name in set(get_args(CostName)) - {"waiting_packet_s"})


def predicted_level(work: str, amount: float, study: Study, dice: np.random.Generator) -> Level:
    """A level with the counts of the model and CPU of known costs, with 2 % of noise."""
    records = simulate(study, draw_plan(study))
    counts = cost_counts(records) | {"idle_share": study.duration_s}
    cpu_s = sum(KNOWN[name] * count for name, count in counts.items()) * (1 + dice.normal(0, 0.02))
    wait_s = 0.01 if work == "calls past a throttle" else 0.0
    return Level(work, amount, counts, cpu_s, Verdict.VALID, 0.0, tuple(0.002 + wait_s + dice.normal(0, 1e-4, 50)))


def test_a_packet_that_waits_costs_what_is_left_without_a_waking() -> None:
    dice = np.random.default_rng(5)
    run = CalibrationRun.explaining("kamailio", [predicted_level(*each, dice) for each in studies_of("kamailio")], "x")
    audio = [level for level in run.levels if level.work == "audio"]
    rest = run.calibration.costs

    def level(wakings_per_packet: float) -> Level:
        counts = audio[0].counts
        other_s = sum(getattr(rest, name) * count for name, count in counts.items() if name != "packet_s")
        packets = counts["packet_s"]
        cpu_s = other_s + packets * (12e-6 + 20e-6 * wakings_per_packet)
        return replace(audio[0], cpu_s=cpu_s, wakings=packets * wakings_per_packet)

    plain = [level(0.9) if each.work == "audio" else each for each in run.levels]
    found = replace(run, levels=tuple(plain)).with_shortage([level(0.5), level(0.2), level(0.05)])
    assert found.calibration.costs.waiting_packet_s == pytest.approx(12e-6, rel=1e-3)
    assert found.calibration.costs.least_packet_s < found.calibration.costs.packet_s
    assert "where CPU is short" in render_calibration(found)


def test_levels_that_determine_nothing_are_refused() -> None:
    work, amount, study = next(iter(studies_of("embedded")))
    level = predicted_level(work, amount, study, np.random.default_rng(1))
    with pytest.raises(StackError, match="do not determine"):
        CalibrationRun.explaining("embedded", [level] * 12, "x")


def test_a_level_is_measured_on_real_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [each for each in studies_of("embedded", level_s=3.0) if each[0] == "busy calls"][:1]
    monkeypatch.setattr(module, "studies_of", lambda *_, **__: chosen)
    measured: list[Level] = []

    def explaining(_: Stack, levels: list[Level], __: str) -> None:
        measured.extend(levels)

    monkeypatch.setattr(CalibrationRun, "explaining", explaining)
    asyncio.run(calibrate("embedded", tmp_path))
    (level,) = measured
    assert level.counts["invite_s"] == 15
    assert level.counts["bye_s"] == level.counts["refusal_s"] == 0
    assert level.counts["idle_share"] >= 3
    assert level.cpu_s > 0
    # A busy call never rings: there is no round trip to see.
    assert level.response_s == ()
