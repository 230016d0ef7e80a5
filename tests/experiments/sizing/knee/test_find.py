"""The knee on both sides: the same search, majorities, a generator that cannot keep up, the model and theory."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trunkproof.experiments.common.targets import JudgedTarget
from trunkproof.experiments.report.knee_page import render_knee
from trunkproof.experiments.sizing.knee.find import find_knee
from trunkproof.experiments.sizing.knee.load import (
    LoadKind,
    Reading,
    at_load,
    at_slowdown,
    first_load,
    load_kind,
    measure_load,
    predict_load,
    with_quota,
)
from trunkproof.experiments.sizing.knee.result import KNEE, Knee
from trunkproof.experiments.sizing.knee.search import RESOLUTION
from trunkproof.experiments.sizing.knee.throttling import throttling_of
from trunkproof.loadgen.system.quota import cpu_quota
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.costs import load_calibration
from trunkproof.models.errors import InputError, StackError
from trunkproof.models.plan import draw_plan
from trunkproof.models.quota import pauses_are_heard
from trunkproof.models.study import Study
from trunkproof.models.study_file import read_study
from trunkproof.models.targets import Operator, Target
from trunkproof.models.voice import MOUTH_TO_EAR_MS, mos, r_factor

STUDIES = Path(__file__).parents[4] / "experiments" / "studies" / "knee"
QUOTA = 0.05


def _shipped(name: str) -> Study:
    return read_study(STUDIES / f"{name}.yaml").on("kamailio")


def _study(name: str = "knee_calls", **machine: Any) -> Study:
    study = _shipped(name) if name != "knee_calls" else at_load(_shipped(name), 300)
    pop = study.pop.model_copy(update={"machine": study.pop.machine.model_copy(update=machine)})
    return study.model_copy(update={"pop": pop})


def _reading(load: float, srd_ms: float, bound_ms: float = 1000.0, **values: Any) -> Reading:
    target = JudgedTarget(Target("srd_p95_ms", Operator.AT_MOST, bound_ms), srd_ms)
    rest = {"wanted": 100, "failures": 0, "mos_p5": 4.4, "cpu_share": None} | values
    return Reading(load=load, targets=(target,), srd_p95_ms=srd_ms, **rest)


class _Stack:
    """Answers fast up to its knee and slowly beyond; without a quota, up to another one."""

    def __init__(self, knee: float, whole_machine: float = 1e9, **beyond: Any) -> None:
        self._knee, self._whole, self._beyond = knee, whole_machine, beyond
        self.ran: list[tuple[bool, float]] = []

    async def measure(self, study: Study, load: float, _: Path) -> Reading:
        limited = study.pop.machine.quota is not None
        self.ran.append((limited, load))
        if load <= (self._knee if limited else self._whole):
            return _reading(load, 60)
        return _reading(load, 9000, **self._beyond)

    async def predict(self, study: Study, load: float) -> Reading:
        return await self.measure(study, load, Path())


def _find(study: Study, real: _Stack, model: _Stack, out: Path) -> Knee:
    return asyncio.run(find_knee(study, out, measure=real.measure, predict=model.predict))


def test_both_sides_find_their_knee_within_the_resolution(tmp_path: Path) -> None:
    knee = _find(_study(), real := _Stack(1000), _Stack(1100), tmp_path)
    assert knee.measured.knee is not None
    assert knee.predicted.knee is not None
    assert knee.measured.knee <= 1000 < knee.measured.knee * (1 + RESOLUTION)
    assert knee.predicted.knee <= 1100 < knee.predicted.knee * (1 + RESOLUTION)
    assert knee.agrees
    # Every load under the quota was within what was proven without it, and that came first.
    assert not real.ran[0][0]
    assert max(load for limited, load in real.ran if limited) <= max(load for limited, load in real.ran if not limited)
    # Every load that was tried for real was tried on the model too.
    assert {step.load for step in knee.measured.steps} <= {step.load for step in knee.predicted.steps}


def test_a_slower_machine_is_seen_and_predicted_for(tmp_path: Path) -> None:
    async def measure(study: Study, load: float, _: Path) -> Reading:
        # What it was on the way up does not count.
        slowdown = 1.25 if load > 1000 else 1.0
        return replace(await predict_load(at_slowdown(study, 1.25), load), slowdown=slowdown)

    study = _study(calibration=_calibration(tmp_path, invite_s=0.002, idle_share=0.01))
    knee = asyncio.run(find_knee(study, tmp_path, measure=measure))
    assert knee.slowdown == pytest.approx(1.25)
    assert knee.predicted.knee == knee.measured.knee
    assert knee.calibrated is not None
    assert knee.measured.knee is not None
    assert knee.calibrated > 1.1 * knee.measured.knee
    assert "1.25 times as long" in knee.sentence


def test_without_a_reference_workload_the_prediction_is_for_the_slowdown_of_the_study(tmp_path: Path) -> None:
    async def measure(study: Study, load: float, _: Path) -> Reading:
        return await predict_load(study, load)

    study = _study(slowdown=1.5, calibration=_calibration(tmp_path, invite_s=0.002, idle_share=0.01))
    knee = asyncio.run(find_knee(study, tmp_path, measure=measure))
    assert knee.slowdown is None
    assert knee.predicted.knee == knee.calibrated == knee.measured.knee
    assert "times as long" not in knee.sentence


def test_far_apart_knees_do_not_agree(tmp_path: Path) -> None:
    knee = _find(_study(), _Stack(1000), _Stack(1400), tmp_path)
    assert not knee.agrees
    assert knee.difference_share is not None
    assert abs(knee.difference_share - 0.4) <= 2 * RESOLUTION * 1.4


def test_a_stack_that_fails_without_a_quota_has_no_knee(tmp_path: Path) -> None:
    knee = _find(_study(), _Stack(1000, whole_machine=800), _Stack(1000), tmp_path)
    assert knee.measured.knee is None
    assert "without a quota" in knee.sentence
    assert not knee.agrees


def test_a_generator_that_cannot_keep_up_ends_the_search(tmp_path: Path) -> None:
    void: dict[str, Any] = {"generator": Verdict.VOID, "reasons": ("void: CPU",)}
    knee = _find(_study(), _Stack(500, **void), _Stack(500), tmp_path)
    assert knee.is_void
    assert knee.measured.knee is None
    assert "450 or more (the generator or this machine is the limit" in knee.sentence


def test_a_run_that_was_disturbed_is_made_again_and_not_counted(tmp_path: Path) -> None:
    stack, disturbed = _Stack(1000), itertools.cycle((True, False))

    async def measure(study: Study, load: float, out: Path) -> Reading:
        if next(disturbed):
            return _reading(load, 9000, generator=Verdict.VOID)
        return await stack.measure(study, load, out)

    knee = asyncio.run(find_knee(_study(), tmp_path, measure=measure, predict=_Stack(1000).predict))
    assert knee.agrees
    assert not knee.is_void
    assert all(len(step.runs) == 2 for step in knee.measured.steps)


def test_a_borderline_load_is_run_three_times_and_most_runs_are_believed(tmp_path: Path) -> None:
    runs: Counter[float] = Counter()

    async def measure(_: Study, load: float, __: Path) -> Reading:
        # At 450 calls per minute: held, missed, missed; below, held; above, missed by far.
        runs[load] += 1
        near = 990 if runs[load] == 1 else 1010
        return _reading(load, 60 if load < 450 else near if load == 450 else 9000)

    study = _study(quota=None)
    knee = asyncio.run(find_knee(study, tmp_path, measure=measure, predict=_Stack(450).predict))
    (step,) = (step for step in knee.measured.steps if step.load == 450)
    assert runs[450] == 3
    assert [run.holds for run in step.runs] == [True, False, False]
    assert not step.holds
    assert not step.shown.holds
    assert all(len(step.runs) == 1 for step in knee.measured.steps if step.load != 450)


@pytest.mark.parametrize(
    ("reading", "borderline"),
    [
        (_reading(1, 60), False),
        (_reading(1, 900), True),
        (_reading(1, 1100), True),
        (_reading(1, 9000), False),
        (_reading(1, 60, failures=1), True),
        (_reading(1, 60, failures=50), False),
        (_reading(1, 9000, failures=1), False),
    ],
)
def test_borderline_is_what_another_run_may_contradict(reading: Reading, *, borderline: bool) -> None:
    assert reading.is_borderline is borderline


def test_the_shipped_studies_load_what_they_say() -> None:
    calls, audio = _shipped("knee_calls"), _shipped("knee_audio")
    assert (load_kind(calls), first_load(calls)) == (LoadKind.PER_MINUTE, 900)
    assert (load_kind(audio), first_load(audio)) == (LoadKind.AT_ONCE, 30)
    for study in (calls, audio):
        assert study.pop.machine.quota is not None
        assert not pauses_are_heard(study.pop.machine.quota)
    table = draw_plan(at_load(audio, 30)).table
    begins, ends = table["place_s"], table["place_s"] + table["hold_s"]
    assert table.height == 30
    # All are up at once for most of the run.
    assert float(ends.to_numpy().min()) - float(begins.to_numpy().max()) > audio.duration_s / 2


def test_a_study_without_a_knee_to_search_for_is_refused() -> None:
    study = _study()
    poisson = study.trunks[0].traffic.model_copy(
        update={"arrivals": read_study(STUDIES.parent / "above.yaml").trunks[0].traffic.arrivals}
    )
    wrong = study.model_copy(update={"trunks": (study.trunks[0].model_copy(update={"traffic": poisson}),) * 2})
    with pytest.raises(InputError) as caught:
        first_load(wrong.on("embedded"))
    assert len(caught.value.problems) == 3


def _calibration(tmp_path: Path, **costs: float) -> str:
    """A calibration in which nothing costs anything but what is given."""
    names = load_calibration("kamailio").costs.model_dump()
    path = tmp_path / "costs.yaml"
    content = {
        "stack": "kamailio",
        "measured": "2026-01-01",
        "costs": dict.fromkeys(names, 0.0)
        | {"contended_packet_s": None, "contended_work_share": 1.0, "idle_penalty_decay_load": 1.0}
        | costs,
    }
    path.write_text(json.dumps(content))
    return str(path)


def _predicted(study: Study, out: Path) -> float:
    async def measure(changed: Study, load: float, _: Path) -> Reading:
        return await predict_load(changed, load)

    knee = asyncio.run(find_knee(study, out, measure=measure))
    assert knee.predicted.knee is not None
    # One search, one criterion: where reality is the model itself, both find the same.
    assert knee.measured.knee == knee.predicted.knee
    return knee.predicted.knee


def test_the_predicted_knee_of_signalling_is_where_its_cost_meets_the_quota(tmp_path: Path) -> None:
    cost_s, idle, bound_s = 0.002, 0.01, 1.0
    calibration = _calibration(tmp_path, invite_s=cost_s, idle_share=idle)
    study = _study(quota=QUOTA, calibration=calibration).model_copy(update={"duration_s": 60.0})
    capacity = 60 * (QUOTA - idle) / cost_s
    # Beyond the capacity c the wait grows by 1 - c/rate in every second, until 95 % of the run it may reach the bound.
    highest = capacity / (1 - bound_s / (0.95 * study.duration_s))
    assert capacity / (1 + RESOLUTION) <= _predicted(study, tmp_path) <= highest


def test_the_predicted_knee_of_audio_is_where_its_packets_meet_the_quota(tmp_path: Path) -> None:
    packet_s, idle = 0.00001, 0.01
    study = _study("knee_audio", quota=QUOTA, calibration=_calibration(tmp_path, packet_s=packet_s, idle_share=idle))
    capacity = (QUOTA - idle) / (100 * packet_s)
    # The loss at which the target is just kept; a call that sees the ramp loses less, for 7.5 of its 10 s at least all.
    loss = next(n / 1000 for n in itertools.count() if mos(r_factor(MOUTH_TO_EAR_MS, n / 1000)) < 4.0)
    assert capacity / (1 + RESOLUTION) - 1 <= _predicted(study, tmp_path) <= capacity / (1 - loss / 0.7)


def test_the_page_shows_both_knees_and_every_load(tmp_path: Path) -> None:
    knee = _find(_study(), _Stack(1000), _Stack(1100), tmp_path)
    knee.write(tmp_path)
    saved = json.loads((tmp_path / KNEE).read_text())
    page = render_knee(knee)
    assert knee.sentence in page
    runs = sum(len(step["runs"]) for side in ("predicted", "measured") for step in saved[side]["steps"])
    baseline = sum(len(step["runs"]) for step in saved["baseline"])
    assert page.count('<tr><th scope="row">') == runs + baseline
    assert (saved["predicted"]["knee"], saved["measured"]["knee"]) == (knee.predicted.knee, knee.measured.knee)


def test_a_quota_whose_pauses_would_be_heard_is_told(tmp_path: Path) -> None:
    knee = _find(_study(quota=0.04), _Stack(1000), _Stack(1100), tmp_path)
    (doubt,) = knee.doubts
    assert "up to 96 ms" in doubt
    assert doubt in render_knee(knee)
    assert knee.to_json()["doubts"] == [doubt]
    assert _find(_study(quota=None), _Stack(1000), _Stack(1100), tmp_path).doubts == ()


def test_costs_that_are_off_without_a_quota_too_are_told(tmp_path: Path) -> None:
    async def measure(study: Study, load: float, _: Path) -> Reading:
        reading = await predict_load(study, load)
        return replace(reading, cpu_share=1.3 * (reading.cpu_share or 0.0), slowdown=1.25)

    study = _study(calibration=_calibration(tmp_path, invite_s=0.002, idle_share=0.01))
    knee = asyncio.run(find_knee(study, tmp_path, measure=measure))
    # What took 1.3 times as long on a machine that is said to take 1.25 times as long is as predicted, within 15 %.
    assert knee.doubts == ()
    without_slowdown = replace(knee, unlimited=tuple(asyncio.run(_predicted_all(study, knee))))
    (doubt,) = without_slowdown.doubts
    assert "(+30 %)" in doubt
    assert doubt in render_knee(without_slowdown)


async def _predicted_all(study: Study, knee: Knee) -> list[Reading]:
    return [await predict_load(with_quota(study, None), step.load) for step in knee.baseline]


@pytest.fixture
def may_set_quotas() -> None:
    """Skips where the machine or the user cannot."""
    try:
        with cpu_quota(0.5):
            pass
    except StackError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("may_set_quotas")
def test_what_the_quota_did_is_read_from_the_process() -> None:
    assert throttling_of(os.getpid()) is None
    # So little that a busy loop asks for more even on a machine that is busy with others.
    with cpu_quota(0.05) as group:
        seen = asyncio.run(_throttled_inside(group.prefix))
    assert seen is not None
    assert seen > 0


async def _throttled_inside(prefix: tuple[str, ...]) -> int | None:
    process = await asyncio.create_subprocess_exec(*prefix, "sh", "-c", "while :; do :; done")
    try:
        await asyncio.sleep(1.0)
        found = throttling_of(process.pid)
    finally:
        process.kill()
        await process.wait()
    return None if found is None else found.throttled_periods


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.requires("kamailio", "kamailio kamailio-tls-modules")
@pytest.mark.requires("rtpengine", "rtpengine-daemon")
@pytest.mark.usefixtures("may_set_quotas")
def test_a_real_stack_far_beyond_its_quota_fails_where_it_holds_without_one(tmp_path: Path) -> None:
    values = _study().model_dump(mode="json") | {"duration_s": 4.0}
    values["pop"] |= {"address": "127.0.72.1", "inner_address": "127.0.72.2", "machine": {"quota": QUOTA}}
    values["pop"]["carrier"]["address"] = "127.0.72.3"
    values["trunks"][0]["customer_address"] = "127.0.72.4"
    limited = Study.model_validate(values)
    held = asyncio.run(measure_load(with_quota(limited, None), 6000, tmp_path / "free"))
    failed = asyncio.run(measure_load(limited, 6000, tmp_path / "limited"))
    assert held.holds, held
    assert not failed.holds, failed
    assert failed.throttled_share is not None
    assert failed.throttled_share > 0.5
    assert held.throttled_share is None


def test_the_page_has_no_serious_finding_of_an_accessibility_checker(
    tmp_path: Path, serious_findings: Callable[[str], list[str]]
) -> None:
    assert serious_findings(render_knee(_find(_study(), _Stack(1000), _Stack(1100), tmp_path))) == []
