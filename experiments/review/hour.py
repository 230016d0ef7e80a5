"""One busy hour, simulated under several throttles with the same dice: the work of one worker of a sweep.

Only numbers come back: one value per indicator and throttle. Which hours are run is `sweep`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from experiments.review.identical import Asked, refuses_none
from experiments.review.meter import Meter, Values, run_metered
from models.dice import CALLS_PER_CHUNK, ROWS_PER_TRUNK
from models.plan import Plan, draw_plan
from models.policies import FixedWindow, NoThrottle, ThrottleSettings
from models.rates import arrival_chunks, rate_path
from models.study import Study
from models.traffic import ReplayedArrivals
from simulator.replicate import random_anchors
from simulator.run import Engine
from simulator.standing import residual_times

__all__ = ["Hour", "HourResult", "Values", "run_hour"]

_MOST_KEPT = 1_000_000
"""Calls of a plan that is kept in memory."""
_OPEN = FixedWindow(limit=1_000_000, window_s=1e-6)
"""Refuses nothing and remembers nothing, but is asked, which takes time on some stacks."""


@dataclass(frozen=True)
class Hour:
    """A task of a worker."""

    study: Study
    """With any throttle on its first trunk."""
    throttles: tuple[ThrottleSettings, ...]
    """To put in its place, one after the other."""
    warm_up_s: float
    """Callers who come before that do not count."""
    engine: Engine = Engine.KERNEL


@dataclass(frozen=True)
class HourResult:
    """What a worker gives back."""

    values: tuple[Values, ...]
    """By throttle."""
    attempts: int
    """Simulated, those that do not count and those of neighbours included."""
    runs: int
    """Simulations that this took; the other throttles were shown to be without effect."""


def run_hour(task: Hour) -> HourResult:
    """Simulate the hour under each throttle; at the top of the module, because processes must find it by its name."""
    bench = _Bench(task)
    different = list(dict.fromkeys(task.throttles))
    found = dict(zip(different, bench.values(different), strict=True))
    return HourResult(tuple(found[throttle] for throttle in task.throttles), bench.attempts, bench.runs)


class _Bench:
    """Runs one plan under several throttles."""

    def __init__(self, task: Hour) -> None:
        self._task = task
        # One that is too long to be kept is drawn piece by piece, for all throttles at once.
        self._plan = draw_plan(task.study) if _expected_calls(task.study) <= _MOST_KEPT else None
        self._firsts = _first_calls(task.study, self._plan, task.warm_up_s)
        self.attempts, self.runs = 0, 0

    def values(self, throttles: Sequence[ThrottleSettings]) -> list[Values]:
        """The indicators of the hour under each throttle."""
        studies = [_throttled(self._task.study, throttle) for throttle in throttles]
        if self._plan is None:
            return [meter.values for meter in self._run(studies)]
        return [self._values(study) for study in studies]

    def _values(self, study: Study) -> Values:
        if self._may_be_without_effect(study) and self._is_without_effect(study):
            return self._open.values
        (meter,) = self._run([study])
        return meter.values

    def _run(self, studies: Sequence[Study], *, remembers: bool = False) -> list[Meter]:
        hour_s = self._task.study.duration_s - self._task.warm_up_s
        meters = [Meter(study, self._firsts, hour_s, remembers=remembers) for study in studies]
        run_metered(studies, meters, self._plan, self._task.engine)
        self.attempts += sum(meter.attempts for meter in meters)
        self.runs += len(studies)
        return meters

    @cached_property
    def _open(self) -> Meter:
        """The hour without a throttle."""
        policy = self._task.study.trunks[0].throttle
        open_study = _throttled(self._task.study, _OPEN.model_copy(update={"counts": policy.counts}))
        (meter,) = self._run([open_study], remembers=True)
        return meter

    def _may_be_without_effect(self, study: Study) -> bool:
        """Cheap to tell, and spares the open run where all throttles refuse."""
        throttle = study.trunks[0].throttle
        # Where there is none, none is asked, and on some stacks that is quicker.
        if isinstance(throttle, NoThrottle) or throttle.counts != self._counts:
            return False
        if study.pop.incidents or self._plan is None:
            return False
        plan = self._plan.arrays(0)
        fresh = ~np.isnan(plan.place_s) & ((self._counts == "both") | ~plan.inbound)
        return self._lets_pass(study, Asked(np.sort(plan.place_s[fresh])))

    def _is_without_effect(self, study: Study) -> bool:
        """Exact: the throttle refuses none of the attempts of the open run, and is taken to begin in the same state."""
        if not self._lets_pass(study, self._open.asked(self._counts)):
            return False
        open_study = _throttled(study, _OPEN)
        return np.array_equal(residual_times(study, 0), residual_times(open_study, 0))

    def _lets_pass(self, study: Study, asked: Asked) -> bool:
        trunk = study.trunks[0]
        return refuses_none(trunk.throttle, asked, random_anchors(study, study.seed).get(trunk.name, 0.0))

    @property
    def _counts(self) -> str:
        return self._task.study.trunks[0].throttle.counts


def _throttled(study: Study, throttle: ThrottleSettings) -> Study:
    trunk = study.trunks[0].model_copy(update={"throttle": throttle})
    return study.model_copy(update={"trunks": (trunk, *study.trunks[1:])})


def _expected_calls(study: Study) -> float:
    known = enumerate(trunk.traffic.arrivals for trunk in study.trunks)
    return sum(
        len(arrivals.instants_s)
        if isinstance(arrivals, ReplayedArrivals)
        else rate_path(arrivals, study.duration_s, study.seed, index).expected_calls
        for index, arrivals in known
    )


def _first_calls(study: Study, plan: Plan | None, from_s: float) -> dict[int, int]:
    """Trunk -> the number of its first call from then on: numbers ascend in time."""
    return {
        trunk: trunk * ROWS_PER_TRUNK + _calls_before(study, plan, trunk, from_s) for trunk in range(len(study.trunks))
    }


def _calls_before(study: Study, plan: Plan | None, trunk: int, from_s: float) -> int:
    if plan is not None:
        return int(np.count_nonzero(plan.arrays(trunk).place_s < from_s))
    before, arrivals = 0, study.trunks[trunk].traffic.arrivals
    for instants in arrival_chunks(arrivals, study.duration_s, study.seed, trunk, CALLS_PER_CHUNK):
        earlier = int(np.searchsorted(instants, from_s))
        before += earlier
        if earlier < len(instants):
            break
    return before
