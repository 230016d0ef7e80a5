"""A calibration's levels, one of them on real calls, and what is left of it in files."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from trunkproof.experiments.report.calibration_page import render_calibration
from trunkproof.experiments.sizing.calibration import calibrate as module
from trunkproof.experiments.sizing.calibration.calibrate import CalibrationRun, calibrate
from trunkproof.experiments.sizing.calibration.contention import (
    contended_ladders,
    contended_packet,
    contended_work,
    is_contended,
)
from trunkproof.experiments.sizing.calibration.levels import Level, last_mos_p5, studies_of
from trunkproof.loadgen.stacks.registry import STACKS
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.costs import CostName, Costs, cost_counts, load_calibration, spend
from trunkproof.models.errors import StackError
from trunkproof.models.packets import PACKETS_PER_CALL_S
from trunkproof.models.plan import draw_plan
from trunkproof.models.quota import pauses_are_heard
from trunkproof.models.records import Direction, Disposition, Record, to_frame
from trunkproof.models.study import StackName, Study
from trunkproof.simulator.run import simulate

KNOWN = {
    "full_handshake_s": 2e-3,
    "resumed_handshake_s": 1e-3,
    "invite_s": 1.5e-3,
    "refusal_s": 5e-4,
    "bye_s": 7e-4,
    "packet_s": 2e-5,
    "idle_share": 2e-3,
    "idle_penalty": 1.0,
    "idle_penalty_decay_load": 0.02,
}


@pytest.mark.parametrize("stack", STACKS)
def test_every_kind_of_work_has_three_amounts(stack: StackName) -> None:
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
    low, high = run.calibration.intervals["throttle_decision_s"]
    assert low < 0.01 < high
    written = load_calibration(str(run.write(tmp_path)))
    assert written == run.calibration
    assert written.machine is not None
    saved = json.loads((tmp_path / "embedded-levels.json").read_text())
    assert len(saved["levels"]) == len(run.levels)
    page = render_calibration(run)
    measured = {name for name in get_args(CostName) if getattr(run.calibration.costs, name) is not None}
    assert all(name in page for name in measured - {"contended_packet_s"})


def predicted_level(work: str, amount: float, study: Study, dice: np.random.Generator) -> Level:
    """A level with the counts of the model and CPU of known costs, with 2 % of noise."""
    records = simulate(study, draw_plan(study))
    counts = cost_counts(records) | {"idle_share": study.duration_s}
    costs = Costs(**KNOWN, round_trip_s=0.002)
    cpu_s = sum(spend(costs, counts).values()) * (1 + dice.normal(0, 0.02))
    wait_s = 0.01 if work == "calls past a throttle" else 0.0
    responses = tuple(0.002 + wait_s + dice.normal(0, 1e-4, 50))
    return Level(work, amount, counts, cpu_s, Verdict.VALID, 0.0, 4.4, responses)


def test_contended_work_costs_what_the_contended_levels_say() -> None:
    dice = np.random.default_rng(5)
    run = CalibrationRun.explaining("kamailio", [predicted_level(*each, dice) for each in studies_of("kamailio")], "x")
    costs = run.calibration.costs
    audio = next(level for level in run.levels if level.work == "audio")
    calls = next(level for level in run.levels if level.work == "calls")

    def waited(level: Level, work: str, *, packet_s: float, share: float = 1.0, **values: Any) -> Level:
        """The level with packets of that cost, and signalling at that share of its own."""
        seconds = level.counts["idle_share"]
        others = {name: count for name, count in level.counts.items() if name not in ("packet_s", "idle_share")}
        others_s = sum(getattr(costs, name) * count for name, count in others.items())
        work_s = share * others_s + level.counts["packet_s"] * packet_s
        cpu_s = costs.idle_share * seconds + costs.idle_factor(work_s / seconds) * work_s
        return replace(level, work=work, cpu_s=cpu_s, **values)

    # All took a quarter longer in these minutes, in which a share of what is asked for was less of it. What broke down,
    # because of its voices or its responses, did with least.
    slow = {"packet_s": 1.25 * costs.packet_s, "share": 1.25}
    contended = [waited(audio, "the same audio, uncontended CPU", **slow)]
    contended += [
        replace(audio, work="audio, contended CPU", amount=amount, mos_p5=mos)
        for amount, mos in ((0.4, 2.5), (0.5, 4.1), (0.6, 4.4))
    ]
    contended.append(waited(calls, "the same calls, uncontended CPU", **slow))
    contended += [
        waited(
            calls,
            "calls, contended CPU",
            amount=amount,
            packet_s=0.5 * costs.packet_s,
            share=1.25 * share,
            response_s=(0.05, wait_s),
        )
        for amount, share, wait_s in ((0.5, 0.3, 9.0), (0.6, 0.6, 0.9), (0.7, 0.7, 0.4))
    ]
    packet = contended_packet(costs, contended, 0.05, asked_by=costs, is_corrected=False)
    work = contended_work(costs, 0.4 * costs.packet_s, contended, 0.05, is_corrected=False)
    assert packet is not None
    assert work is not None
    # Half of what 96 calls ask for, of which the idle programs take their share first.
    audio_per_s = 96 * PACKETS_PER_CALL_S
    cores = 0.5 * (audio_per_s * costs.packet_s + costs.idle_share) - costs.idle_share
    assert packet.value == pytest.approx(cores / costs.idle_factor_spending(cores) / audio_per_s / 1.25, rel=1e-3)
    assert work.value == pytest.approx(0.6, rel=1e-2)
    assert work.interval[0] < 0.6 < work.interval[1]
    found = run.with_contended(contended)
    assert not found.notes
    page = render_calibration(found)
    assert "<td>yes</td>" in page
    assert "<td>no</td>" in page
    # A stack that needs more where it is stopped again and again needs more.
    higher = [
        replace(level, amount=3 * level.amount) if level.work == "audio, contended CPU" else level
        for level in contended
    ]
    dear = contended_packet(costs, higher, 0.05, asked_by=costs, is_corrected=False)
    assert dear is not None
    assert dear.value > 1.5 / 1.25 * costs.packet_s
    # Where nothing holds nothing is known.
    broken = run.with_contended([replace(level, mos_p5=1.2, response_s=(9.0,)) for level in contended])
    assert broken.calibration.costs.contended_packet_s is None
    assert broken.calibration.costs.contended_work_share == 1
    assert len(broken.notes) == 2


def test_uncontended_levels_tell_the_slowdown_of_contended_ones_without_a_reference_workload() -> None:
    dice = np.random.default_rng(5)
    levels = [predicted_level(*each, dice) for each in studies_of("kamailio")]
    costs = CalibrationRun.explaining("kamailio", levels, "x").calibration.costs
    audio = [level for level in levels if level.work == "audio"][-1]
    dear = replace(audio, work="the same audio, uncontended CPU", cpu_s=1.25 * audio.cpu_s)
    contended = replace(audio, work="audio, contended CPU", amount=0.8, mos_p5=4.3)
    corrected, uncorrected = (
        contended_packet(costs, [dear, contended], 0.05, asked_by=costs, is_corrected=is_corrected)
        for is_corrected in (True, False)
    )
    assert corrected is not None
    assert uncorrected is not None
    assert corrected.value == pytest.approx(0.8 * costs.packet_s, rel=0.02)
    assert corrected.value / uncorrected.value == pytest.approx(1.25, rel=0.1)


def levels_of_a_changing_machine(dice: np.random.Generator) -> list[Level]:
    """Return levels of a machine whose speed changes by a quarter; costs grow as its time to the power 1.5."""
    plain = [predicted_level(*each, dice) for each in studies_of("embedded")]
    return [
        replace(level, cpu_s=level.cpu_s * relative**1.5, reference_s=1.2e-4 * relative)
        for level, relative in zip(plain, dice.uniform(0.8, 1.25, 24), strict=True)
    ]


def test_a_slow_minute_means_more_contention() -> None:
    """What held on less than it seems counts before what held on more."""
    run = CalibrationRun.explaining("kamailio", levels_of_a_changing_machine(np.random.default_rng(5)), "x")
    assert run.calibration.reference is not None
    typical_s = run.calibration.reference.work_s
    audio = [level for level in run.levels if level.work == "audio"][-1]
    contended = [
        replace(audio, work="audio, contended CPU", amount=amount, reference_s=slowdown ** (1 / 1.5) * typical_s)
        for amount, slowdown in ((0.8, 1.0), (0.9, 1.5))
    ]
    costs = run.with_contended(contended).calibration.costs
    # 0.9 of the CPU at a slowdown of 1.5; idle programs take 1 % of it, the fitted power may be off by a tenth.
    assert costs.contended_packet_s == pytest.approx(0.9 / 1.5 * costs.packet_s, rel=0.05)


def test_uncontended_levels_of_a_ladder_take_part_in_the_fit() -> None:
    dice = np.random.default_rng(5)
    run = CalibrationRun.explaining("kamailio", [predicted_level(*each, dice) for each in studies_of("kamailio")], "x")
    ladder = contended_ladders("kamailio", run.calibration.costs)[0]
    uncontended = [predicted_level(*ladder.uncontended, dice) for _ in range(4)]
    found = run.with_contended(uncontended)
    assert len(found.levels) == len(run.levels) + 4
    # Three levels of audio have become seven, all but as telling: by the root of 3/7 narrower.
    widths = [np.ptp(one.calibration.intervals["packet_s"]) for one in (run, found)]
    assert widths[1] < 0.8 * widths[0]


def test_voices_are_judged_by_the_calls_that_were_answered_last() -> None:
    moments = [(None, None), (4.0, 4.3), (1.0, 1.2), (2.0, 1.3), (3.0, 4.4)]
    records = [
        Record(
            row=row, call=row, attempt=0, trunk="t", direction=Direction.OUTBOUND, disposition=Disposition.COMPLETED,
            intended_s=0.0, answered_s=answered_s, mos=mos,
        )
        for row, (answered_s, mos) in enumerate(moments)
    ]  # fmt: skip
    assert last_mos_p5(to_frame(records)) == pytest.approx(4.3)
    assert last_mos_p5(to_frame(records[:1])) is None


def test_quotas_are_shares_of_the_cpu_needed() -> None:
    costs = load_calibration("kamailio").costs
    for ladder in contended_ladders("kamailio", costs):
        assert ladder.uncontended[2].pop.machine.quota is None
        quotas = [study.pop.machine.quota or 0.0 for _, _, study in ladder.rungs]
        shares = [share for _, share, _ in ladder.rungs]
        assert quotas == sorted(quotas, reverse=True)
        assert np.ptp(np.array(quotas) / shares) == pytest.approx(0, abs=1e-12)
        assert quotas[-1] > costs.idle_share
        assert "audio" not in ladder.uncontended[0] or not any(pauses_are_heard(quota) for quota in quotas)


@pytest.mark.parametrize(
    ("needs", "rungs"),
    [(0.0, 8), (0.5, 8), (0.6, 8), (0.9, 5), (1.1, 3), (2.0, 2)],
)
def test_a_ladder_ends_where_two_levels_broke_down(needs: float, rungs: int) -> None:
    ladder = contended_ladders("asterisk", load_calibration("asterisk").costs)[0]

    async def measure(work: str, amount: float, study: Study) -> Level:
        return Level(work, amount, {}, 1.0, Verdict.VALID, 0.0, 4.3 if amount > needs else 1.2, ())

    levels = asyncio.run(ladder.descend(measure))
    assert sum(map(is_contended, levels)) == rungs
    assert not is_contended(levels[0])
    assert not is_contended(levels[-1])
    assert len(levels) <= ladder.most
    if rungs == len(ladder.rungs):
        assert len(levels) == ladder.most


def test_a_change_of_the_machines_speed_is_told_from_costs() -> None:
    levels = levels_of_a_changing_machine(np.random.default_rng(5))
    run = CalibrationRun.explaining("embedded", levels, "x")
    reference = run.calibration.reference
    assert reference is not None
    assert reference.interval is not None
    assert "all costs grow as that time to the power" in render_calibration(run)
    assert reference.exponent == pytest.approx(1.5, abs=2 * (reference.interval[1] - reference.exponent))
    assert run.fit.relative_error < 0.03
    assert run.calibration.costs.packet_s == pytest.approx(KNOWN["packet_s"], rel=0.2)
    assert run.calibration.slowdown(reference.work_s) == 1
    assert run.calibration.slowdown(1.1 * reference.work_s) == pytest.approx(1.1**reference.exponent)
    # Nobody looked at the machine that the levels of others are from.
    assert (
        CalibrationRun.explaining(
            "embedded", [replace(level, reference_s=None) for level in levels], "x"
        ).calibration.reference
        is None
    )


def test_a_stack_that_is_never_cold_has_no_such_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN, "idle_penalty", 0.0)
    dice = np.random.default_rng(5)
    run = CalibrationRun.explaining("embedded", [predicted_level(*each, dice) for each in studies_of("embedded")], "x")
    assert run.calibration.costs.idle_penalty == 0
    assert "idle_penalty" not in run.calibration.intervals


def test_a_stack_that_is_cheaper_when_cold_is_calibrated_without_that_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search then ends at no cost for being cold, where nothing says what is warm."""
    monkeypatch.setitem(KNOWN, "idle_penalty", 0.0)
    dice = np.random.default_rng(5)
    levels = [predicted_level(*each, dice) for each in studies_of("embedded")]
    loads = [level.cpu_s / level.counts["idle_share"] for level in levels]
    cheaper = [
        replace(one, cpu_s=one.cpu_s * (1 - 0.3 * np.exp(-load / 0.02)))
        for one, load in zip(levels, loads, strict=True)
    ]
    run = CalibrationRun.explaining("embedded", cheaper, "x")
    assert run.calibration.costs.idle_penalty == 0
    assert run.calibration.costs.packet_s == pytest.approx(KNOWN["packet_s"], rel=0.3)


def test_levels_that_determine_nothing_are_refused() -> None:
    work, amount, study = next(iter(studies_of("embedded")))
    level = predicted_level(work, amount, study, np.random.default_rng(1))
    with pytest.raises(StackError, match="do not determine"):
        CalibrationRun.explaining("embedded", [level] * 12, "x")


def test_a_level_is_measured_on_real_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [each for each in studies_of("embedded", level_s=3.0) if each[0] == "busy calls"][:1]
    monkeypatch.setattr(module, "studies_of", lambda *_, **__: chosen)
    measured: list[Level] = []

    def explaining(_: StackName, levels: list[Level], __: str) -> None:
        measured.extend(levels)

    monkeypatch.setattr(CalibrationRun, "explaining", explaining)
    asyncio.run(calibrate("embedded", tmp_path))
    (level,) = measured
    assert level.counts["invite_s"] == draw_plan(chosen[0][2]).calls > 5
    assert level.counts["bye_s"] == level.counts["refusal_s"] == 0
    assert level.counts["idle_share"] >= 3
    assert level.cpu_s > 0
    assert level.reference_s is not None
    # A busy call never rings: there is no round trip to see.
    assert level.response_s == ()


def test_the_page_has_no_serious_finding_of_an_accessibility_checker(
    serious_findings: Callable[[str], list[str]],
) -> None:
    dice = np.random.default_rng(5)
    levels = [predicted_level(*each, dice) for each in studies_of("embedded")]
    assert serious_findings(render_calibration(CalibrationRun.explaining("embedded", levels, "x"))) == []
