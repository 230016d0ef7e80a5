"""The knee of a trunk: the largest load at which quality holds, predicted and measured by one and the same search.

A stack is put under a CPU quota that it can be made to reach; without that quota it must carry the same load, or the
knee would be another's. What one load comes to is `knee_run`, how loads are chosen `search`.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from experiments.knee.load import (
    LoadKind,
    Reading,
    at_pace,
    first_load,
    load_kind,
    measure_load,
    predict_load,
    with_quota,
)
from experiments.knee.search import RUNG, Bracket, Stop, find_bracket
from experiments.provenance import Provenance
from loadgen.health import Verdict
from models.quota import longest_pause_s, pauses_are_heard
from models.study import Study

Predict = Callable[[Study, float], Awaitable[Reading]]
Measure = Callable[[Study, float, Path], Awaitable[Reading]]
Advance = Callable[[float, str], None]
AGREEMENT = 0.15
"""Predicted and measured knee agree within this share of the measured one."""
RUNS = 3
"""Of a borderline load; what most of them say is believed. So many more VOID ones than others end the search."""
KNEE, PAGE = "knee.json", "knee.html"
_STEPS_EXPECTED = 14
"""Runs of real calls that a search takes, for the progress bar."""


@dataclass(frozen=True)
class Step:
    """One load, run once or, where that was borderline or VOID, several times."""

    runs: tuple[Reading, ...]
    """All of them; those that are VOID are shown and not counted."""

    @property
    def load(self) -> float:
        """Calls per minute, or calls at once."""
        return self.runs[0].load

    @property
    def counted(self) -> tuple[Reading, ...]:
        """The runs that say something about the trunk."""
        return tuple(run for run in self.runs if run.generator is not Verdict.VOID)

    @property
    def holds(self) -> bool:
        """What most runs say."""
        return 2 * sum(run.holds for run in self.counted) > len(self.counted)

    @property
    def shown(self) -> Reading:
        """The first run that says what most say."""
        return next((run for run in self.counted if run.holds is self.holds), self.runs[0])

    def to_json(self) -> dict[str, Any]:
        """All runs, ready for `json.dumps`."""
        return {"load": self.load, "holds": self.holds, "runs": [run.to_json() for run in self.runs]}


@dataclass(frozen=True)
class Side:
    """What one side's search found, and every load that it tried."""

    bracket: Bracket
    steps: tuple[Step, ...]

    @property
    def knee(self) -> float | None:
        """The largest load that held below one that did not; `None` where the search did not get so far."""
        return self.bracket.low if self.bracket.high is not None and self.bracket.stopped is None else None

    def to_json(self) -> dict[str, Any]:
        """All values, ready for `json.dumps`."""
        steps = sorted(self.steps, key=lambda step: step.load)
        return {"knee": self.knee, **asdict(self.bracket), "steps": [step.to_json() for step in steps]}


@dataclass(frozen=True, eq=False)
class Knee:
    """The largest load that a study's trunk carries, on both sides."""

    study: Study
    kind: LoadKind
    predicted: Side
    """Its steps are those of its own search and the loads that the other side tried."""
    measured: Side
    baseline: tuple[Step, ...]
    """The same loads for real, without the quota."""
    pace: float | None
    """How much longer than in the calibration work took while loads near the knee were played, by a gauge beside the
    trunk. The prediction is for that pace; `None`: for that of the study, as the calibration knows of no gauge.
    """
    calibrated: float | None
    """The knee that was predicted before anything was played, at the pace that the study says."""
    provenance: Provenance

    @property
    def difference_share(self) -> float | None:
        """Predicted minus measured, as a share of what was measured."""
        predicted, measured = self.predicted.knee, self.measured.knee
        return None if predicted is None or measured is None else (predicted - measured) / measured

    @property
    def agrees(self) -> bool:
        """Whether the prediction is proven."""
        return self.difference_share is not None and abs(self.difference_share) <= AGREEMENT

    @property
    def is_void(self) -> bool:
        """Whether the load generator ended the search: at one load no run said anything about the trunk."""
        return any(not step.counted for step in (*self.measured.steps, *self.baseline))

    @property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against the result, other than the load generator."""
        quota = self.study.pop.machine.quota
        if quota is None or not pauses_are_heard(quota):
            return ()
        pause = f"{1000 * longest_pause_s(quota):.0f} ms"
        return (
            f"a quota of {quota:g} of a core stops programs for up to {pause}: calls hear that, not a small machine",
        )

    @cached_property
    def sentence(self) -> str:
        """The result, in one sentence."""
        told = [f"{name} {_told(side)}" for name, side in (("predicted", self.predicted), ("measured", self.measured))]
        share = self.difference_share
        difference = "" if share is None else f": {100 * share:+.0f} % off"
        quota = self.study.pop.machine.quota
        where = self.study.pop.stack + ("" if quota is None else f" on {quota:g} of a core")
        pace = "" if self.pace is None else f" (work took {self.pace:.2f} times as long as in the calibration)"
        return f"The most that {where} carries at quality, in {self.kind}: {', '.join(told)}{difference}{pace}."

    def to_json(self) -> dict[str, Any]:
        """The content of `knee.json`."""
        return {
            "study": self.study.name,
            "stack": self.study.pop.stack,
            "quota": self.study.pop.machine.quota,
            "load": self.kind.value,
            "sentence": self.sentence,
            "doubts": list(self.doubts),
            "agrees": self.agrees,
            "difference_share": self.difference_share,
            "predicted": self.predicted.to_json(),
            "measured": self.measured.to_json(),
            "baseline": [step.to_json() for step in self.baseline],
            "pace": self.pace,
            "calibrated": self.calibrated,
            "provenance": self.provenance.to_json(),
        }

    def write(self, folder: Path) -> None:
        """Leave it as JSON."""
        (folder / KNEE).write_text(json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def __repr__(self) -> str:
        return f"<Knee of {self.study.name!r}: {self.sentence}>"


def _told(side: Side) -> str:
    low, why = side.bracket.low, side.bracket.stopped
    if side.knee is not None:
        return f"{side.knee:.4g}"
    return f"{'nothing' if low is None else f'{low:.4g} or more'} ({why})"


async def find_knee(
    study: Study,
    out: Path,
    *,
    measure: Measure = measure_load,
    predict: Predict = predict_load,
    advance: Advance = lambda share, words: None,
    command: str = "",
) -> Knee:
    """Search for the knee on the model, then for real.

    Args:
        study: one trunk with constant arrivals, whose rate is where the search begins.
        out: folder for what the trunks leave.
        measure: runs one load for real.
        predict: runs one load on the model.
        advance: is told of the progress.
        command: what makes the result again.

    Source: RFC 7501 and 7502 (benchmarking of SIP devices): the session establishment rate, which is the largest rate
    of attempts of which none fails, after the same for the test bed itself.

    Raises:
        InputError: no knee can be searched for with this study.
        StackError: a trunk did not start, or died.
    """
    start, kind = first_load(study), load_kind(study)
    whole = kind is LoadKind.AT_ONCE
    provenance = Provenance.collect(study, command)
    told, _ = await _predicted(predict, study, start, whole=whole)
    expected = _rung_beyond(start, told.low)
    real = _Reality(study, out, measure, advance, expected=round(expected) if whole else expected)
    found = await find_bracket(real.holds, start, whole=whole)
    pace = _pace_near(found, real.steps)
    there = study if pace is None else at_pace(study, pace)
    paced, model = await _predicted(predict, there, start, whole=whole)
    for load in real.steps.keys() - model.steps.keys():
        await model.holds(load)
    predicted, measured = Side(paced, tuple(model.steps.values())), Side(found, tuple(real.steps.values()))
    baseline = tuple(real.baseline.steps.values())
    return Knee(study, kind, predicted, measured, baseline, pace, Side(told, ()).knee, provenance)


async def _predicted(predict: Predict, study: Study, start: float, *, whole: bool) -> tuple[Bracket, _Tried]:
    model = _Tried(partial(predict, study), repeats=False)
    return await find_bracket(model.holds, start, whole=whole), model


def _pace_near(found: Bracket, steps: Mapping[float, Step]) -> float | None:
    """The machine's, while it played the loads of the bracket and those beside it.

    The host of a virtual machine gives it now more, now less: the same calls were seen to take half as much again
    within minutes. What they take without a quota tells little of it: a call costs the less the more of them there are.
    """
    low, high = found.low or 0.0, found.high or math.inf
    paces = [
        run.pace
        for load, step in steps.items()
        if low / RUNG <= load <= high * RUNG
        for run in step.counted
        if run.pace is not None
    ]
    return statistics.fmean(paces) if paces else None


def _rung_beyond(start: float, knee: float | None) -> float:
    """The first load of the ladder that the model says is too much."""
    load = start
    while knee is not None and load <= knee:
        load *= RUNG
    return load


class _Tried:
    """Runs loads, and again where that is borderline; remembers all."""

    def __init__(self, run: Callable[[float], Awaitable[Reading]], *, repeats: bool = True) -> None:
        self._run, self._repeats = run, repeats
        self.steps: dict[float, Step] = {}

    async def holds(self, load: float) -> bool:
        """Try one load.

        Raises:
            Stop: the load generator was out of breath, run after run.
        """
        step = await self.until_counted(load, 1)
        if self._repeats and step.counted[0].is_borderline:
            step = await self.until_counted(load, RUNS)
        return step.holds

    async def until_counted(self, load: float, wanted: int) -> Step:
        """Try one load until so many runs say something about the trunk.

        A passing disturbance of this machine makes a run VOID; a load that is too much for it makes all of them.

        Raises:
            Stop: as `holds`.
        """
        step = self.steps.get(load, Step(()))
        while len(step.counted) < wanted:
            if len(step.runs) - 2 * len(step.counted) == RUNS:
                why = "; ".join(step.runs[-1].reasons)
                raise Stop(f"the generator or this machine is the limit at {load:.4g}: {why}")
            self.steps[load] = step = Step((*step.runs, await self._run(load)))
        return step


class _Reality:
    """The real side: every load beyond those proven without the quota is tried without it first."""

    def __init__(self, study: Study, out: Path, measure: Measure, advance: Advance, *, expected: float) -> None:
        self._study, self._out, self._measure, self._advance = study, out, measure, advance
        self._expected, self._proven, self._runs = expected, 0.0, 0
        self._under_quota = _Tried(partial(self._play, study))
        self.baseline = _Tried(partial(self._play, with_quota(study, None)))

    @property
    def steps(self) -> dict[float, Step]:
        """Every load under the quota."""
        return self._under_quota.steps

    async def holds(self, load: float) -> bool:
        """Try one load for real; raises `Stop`."""
        await self._prove(load)
        return await self._under_quota.holds(load)

    async def _prove(self, load: float) -> None:
        if load > self._proven and self._study.pop.machine.quota is not None:
            self._proven = max(load, self._expected)
            if not await self.baseline.holds(self._proven):
                self._proven, failed = 0.0, self._proven
                raise Stop(f"without a quota, {failed:.4g} fails too: it is not the quota that is measured")

    async def _play(self, study: Study, load: float) -> Reading:
        self._runs += 1
        self._advance(min(0.95, self._runs / _STEPS_EXPECTED), f"{load:.4g} {load_kind(study)}")
        return await self._measure(study, load, self._out / f"{self._runs:02}")
