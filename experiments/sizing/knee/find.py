"""The knee of a trunk: the largest load at which quality holds, predicted and measured by the same search.

The stack runs under a CPU quota that calls can exhaust. Every load must also hold without the quota: otherwise the
generator or the machine is the limit, and not the quota. `load` runs one load, `search` chooses loads, `result` holds
what was found.

The search has these steps:

1. Predict the knee on the model, at the slowdown that the study gives. It says how far to prove loads without a quota.
2. Search with real calls. Each load beyond those proven without the quota is first run without it.
3. Predict again at the slowdown that the machine had during the runs near the measured knee.
4. Run the model at every measured load that its own search did not try, so that both sides can be compared.
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
    at_slowdown,
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
"""A borderline load is run until this many of its runs count, and their majority decides. The search gives up on a load
when its VOID runs are this many more than the runs that count.
"""
_STEPS_EXPECTED = 14
"""Runs of real calls that a typical search takes, for the progress bar."""


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
        measure: runs one load with real calls.
        predict: runs one load on the model.
        advance: called with the share done (0 to 1) and a few words.
        command: the command that makes the result again.

    Source: RFC 7501 and 7502 (benchmarking of SIP devices). Their session establishment rate is the largest rate at
    which no attempt fails; the test bed itself is measured first.

    Raises:
        InputError: this study does not suit a search for the knee.
        StackError: a trunk did not start, or died.
    """
    start, kind = first_load(study), load_kind(study)
    whole = kind is LoadKind.AT_ONCE
    provenance = Provenance.collect(study, command)
    told, _ = await _predicted(predict, study, start, whole=whole)
    # The ladder will try the first load that is too large, so that one must be proven too.
    expected = _rung_beyond(start, told.low)
    real = _Reality(study, out, measure, advance, expected=round(expected) if whole else expected)
    found = await find_bracket(real.holds, start, whole=whole)
    slowdown = _slowdown_near(found, real.steps)
    there = study if slowdown is None else at_slowdown(study, slowdown)
    slowed, model = await _predicted(predict, there, start, whole=whole)
    # A page that compares load by load needs the model at every measured load.
    for load in real.steps.keys() - model.steps.keys():
        await model.holds(load)
    predicted, measured = Side(slowed, tuple(model.steps.values())), Side(found, tuple(real.steps.values()))
    baseline = tuple(real.baseline.steps.values())
    unlimited = tuple([await _without_quota(predict, study, step) for step in baseline])
    return Knee(study, kind, predicted, measured, baseline, unlimited, slowdown, Side(told, ()).knee, provenance)


async def _predicted(predict: Predict, study: Study, start: float, *, whole: bool) -> tuple[Bracket, _Tried]:
    # The model is no measurement: another run of the same load would say the same.
    model = _Tried(partial(predict, study), repeats=False)
    return await find_bracket(model.holds, start, whole=whole), model


async def _without_quota(predict: Predict, study: Study, step: Step) -> Reading:
    """Predict a load of the baseline, at the slowdown that the machine had in that run."""
    free, slowdown = with_quota(study, None), step.shown.slowdown
    return await predict(free if slowdown is None else at_slowdown(free, slowdown), step.load)


def _slowdown_near(found: Bracket, steps: Mapping[float, Step]) -> float | None:
    """Return the machine's mean slowdown during the runs of the bracket's loads and of those one rung beside it.

    The host of a virtual machine gives it more CPU at one time and less at another: the same calls were measured to
    take half as much again within minutes. Runs without the quota say little about this, because a call costs less
    where there are more calls.
    """
    low, high = found.low or 0.0, found.high or math.inf
    slowdowns = [
        run.slowdown
        for load, step in steps.items()
        if low / RUNG <= load <= high * RUNG
        for run in step.counted
        if run.slowdown is not None
    ]
    return statistics.fmean(slowdowns) if slowdowns else None


def _rung_beyond(start: float, knee: float | None) -> float:
    """Return the first load of the ladder that is too large by the model."""
    load = start
    while knee is not None and load <= knee:
        load *= RUNG
    return load


class _Tried:
    """Runs loads, borderline ones several times, and remembers all runs."""

    def __init__(self, run: Callable[[float], Awaitable[Reading]], *, repeats: bool = True) -> None:
        self._run, self._repeats = run, repeats
        self.steps: dict[float, Step] = {}

    async def holds(self, load: float) -> bool:
        """Try one load.

        Raises:
            Stop: the load generator could not keep up, run after run.
        """
        step = await self.until_counted(load, 1)
        # Only a borderline load is worth two more runs. A clear result would not change.
        if self._repeats and step.counted[0].is_borderline:
            step = await self.until_counted(load, RUNS)
        return step.holds

    async def until_counted(self, load: float, wanted: int) -> Step:
        """Try one load until `wanted` of its runs count, which are those that are not VOID.

        A passing disturbance of this machine makes one run VOID. A load that is too large for the generator makes all
        of them VOID.

        Raises:
            Stop: too many runs of this load were VOID.
        """
        step = self.steps.get(load, Step(()))
        while len(step.counted) < wanted:
            # VOID runs minus runs that count.
            if len(step.runs) - 2 * len(step.counted) == RUNS:
                why = "; ".join(step.runs[-1].reasons)
                raise Stop(f"the generator or this machine is the limit at {load:.4g}: {why}")
            self.steps[load] = step = Step((*step.runs, await self._run(load)))
        return step


class _Reality:
    """The real side: a load beyond those proven without the quota is first run without it."""

    def __init__(self, study: Study, out: Path, measure: Measure, advance: Progress, *, expected: float) -> None:
        self._study, self._out, self._measure, self._advance = study, out, measure, advance
        self._expected, self._proven, self._runs = expected, 0.0, 0
        self._under_quota = _Tried(partial(self._play, study))
        self.baseline = _Tried(partial(self._play, with_quota(study, None)))

    @property
    def steps(self) -> dict[float, Step]:
        """Return every load that was run under the quota."""
        return self._under_quota.steps

    async def holds(self, load: float) -> bool:
        """Try one load with real calls, without the quota first where that is not proven; raises `Stop`."""
        await self._prove(load)
        return await self._under_quota.holds(load)

    async def _prove(self, load: float) -> None:
        if load > self._proven and self._study.pop.machine.quota is not None:
            # Prove at once as far as the model expects the search to go: this spares a run for each rung.
            self._proven = max(load, self._expected)
            if not await self.baseline.holds(self._proven):
                # Nothing is proven by a run that failed.
                self._proven, failed = 0.0, self._proven
                raise Stop(f"without a quota, {failed:.4g} fails too: this machine is the limit, not the quota")

    async def _play(self, study: Study, load: float) -> Reading:
        self._runs += 1
        # Never 100 % before the end: nobody knows how many runs a search takes.
        self._advance(min(0.95, self._runs / _STEPS_EXPECTED), f"{load:.4g} {load_kind(study)}")
        return await self._measure(study, load, self._out / f"{self._runs:02}")
