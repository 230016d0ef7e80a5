"""The knee of a trunk: the largest load at which quality holds, predicted and measured by one and the same search.

A stack is put under a CPU quota that it can be made to reach; without that quota it must carry the same load, or the
knee would be another's. What one load comes to is `load`, how loads are chosen `search`, what was found `result`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from trunkproof.experiments.common.progress import Progress, silent
from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.sizing.knee.load import (
    LoadKind,
    Reading,
    at_pace,
    first_load,
    load_kind,
    measure_load,
    predict_load,
    with_quota,
)
from trunkproof.experiments.sizing.knee.result import Knee, Side, Step
from trunkproof.experiments.sizing.knee.search import RUNG, Bracket, Stop, find_bracket
from trunkproof.models.study import Study

Predict = Callable[[Study, float], Awaitable[Reading]]
Measure = Callable[[Study, float, Path], Awaitable[Reading]]
RUNS = 3
"""Of a borderline load; what most of them say is believed. So many more VOID ones than others end the search."""
_STEPS_EXPECTED = 14
"""Runs of real calls that a search takes, for the progress bar."""


async def find_knee(
    study: Study,
    out: Path,
    *,
    measure: Measure = measure_load,
    predict: Predict = predict_load,
    advance: Progress = silent,
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
    unlimited = tuple([await _without_quota(predict, study, step) for step in baseline])
    return Knee(study, kind, predicted, measured, baseline, unlimited, pace, Side(told, ()).knee, provenance)


async def _predicted(predict: Predict, study: Study, start: float, *, whole: bool) -> tuple[Bracket, _Tried]:
    model = _Tried(partial(predict, study), repeats=False)
    return await find_bracket(model.holds, start, whole=whole), model


async def _without_quota(predict: Predict, study: Study, step: Step) -> Reading:
    """What the model says of a load of the baseline."""
    free, pace = with_quota(study, None), step.shown.pace
    return await predict(free if pace is None else at_pace(free, pace), step.load)


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

    def __init__(self, study: Study, out: Path, measure: Measure, advance: Progress, *, expected: float) -> None:
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
