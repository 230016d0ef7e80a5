"""One busy hour, simulated under several throttles with the same dice: the work of one worker of a sweep.

Only numbers come back: one value per indicator and throttle. Which hours are run is `sweep`'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from experiments.review.identical import Asked, refuses_none
from models.costs import CostName, cost_counts, costs_of, spend
from models.kpis import KpiAccumulator
from models.plan import ROWS_PER_TRUNK, Plan, draw_plan
from models.policies import FixedWindow, NoThrottle, ThrottleSettings
from models.records import Direction, Disposition
from models.study import Study
from simulator.replicate import random_anchors
from simulator.run import Start, simulate_in_batches
from simulator.standing import residual_times

Values = dict[str, float]
"""Indicator -> value; NaN where the hour has none, such as a delay without calls."""
_POP_WIDE = ("peak_ports", "peak_channels")
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
    found: dict[ThrottleSettings, Values] = {}
    for throttle in task.throttles:
        if throttle not in found:
            found[throttle] = bench.values(throttle)
    return HourResult(tuple(found[throttle] for throttle in task.throttles), bench.attempts, bench.runs)


class _Bench:
    """Runs one plan under one throttle after the other."""

    def __init__(self, task: Hour) -> None:
        self._task = task
        self._plan = draw_plan(task.study)
        self._firsts = _first_calls(self._plan, task.warm_up_s)
        self.attempts, self.runs = 0, 0

    def values(self, throttle: ThrottleSettings) -> Values:
        """The indicators of the hour under that throttle."""
        study = _throttled(self._task.study, throttle)
        if self._may_be_without_effect(study) and self._is_without_effect(study):
            return self._open.values
        return self._run(study).values

    def _run(self, study: Study) -> _Meter:
        meter = _Meter(study, self._firsts, study.duration_s - self._task.warm_up_s)
        # All of them are handed over, or nobody could say what the throttle was asked.
        simulate_in_batches(
            study,
            meter.add,
            self._plan,
            anchors=random_anchors(study, study.seed),
            start=Start.STATIONARY,
            counts_from_s=0.0,
        )
        self.attempts, self.runs = self.attempts + meter.attempts, self.runs + 1
        return meter

    @cached_property
    def _open(self) -> _Meter:
        """The hour without a throttle."""
        policy = self._task.study.trunks[0].throttle
        return self._run(_throttled(self._task.study, _OPEN.model_copy(update={"counts": policy.counts})))

    def _may_be_without_effect(self, study: Study) -> bool:
        """Cheap to tell, and spares the open run where all throttles refuse."""
        throttle = study.trunks[0].throttle
        # Where there is none, none is asked, and on some stacks that is quicker.
        if isinstance(throttle, NoThrottle) or throttle.counts != self._counts:
            return False
        if study.pop.incidents:
            return False
        fresh = self._plan.table.filter((pl.col("trunk") == 0) & pl.col("place_s").is_not_null())
        return self._lets_pass(study, _asked(fresh, "place_s", "place_s", self._counts))

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


class _Meter:
    """Takes records in batches and makes the hour's indicators of them."""

    def __init__(self, study: Study, firsts: Mapping[int, int], hour_s: float) -> None:
        self._study, self._hour_s = study, hour_s
        self._counts = pl.any_horizontal(
            [
                (pl.col("call") >= first) & (pl.col("call") < (trunk + 1) * ROWS_PER_TRUNK)
                for trunk, first in firsts.items()
            ]
        )
        self._trunks = {trunk.name: KpiAccumulator() for trunk in study.trunks}
        self._pop = KpiAccumulator() if len(study.trunks) > 1 else self._trunks[study.trunks[0].name]
        self._own: list[pl.DataFrame] = []
        self._last = dict.fromkeys(Disposition, 0)
        self._work: dict[CostName, float] = {"idle_share": hour_s}
        self._call_s = 0.0
        self.attempts = 0

    def add(self, records: pl.DataFrame, complete_until_s: float) -> None:
        """As `simulate_in_batches` hands them over."""
        self.attempts += records.height
        own = pl.col("trunk") == self._study.trunks[0].name
        self._own.append(records.filter(own).select("direction", "sent_s", "ringing_s", "answered_s", "ended_s"))
        counted = records.filter(self._counts)
        for name, accumulator in self._trunks.items():
            accumulator.add(counted.filter(pl.col("trunk") == name), complete_until_s)
        if len(self._trunks) > 1:
            self._pop.add(counted, complete_until_s)
        for work, times in cost_counts(counted).items():
            self._work[work] = self._work.get(work, 0.0) + times
        self._sum_up(counted.filter(own))

    def _sum_up(self, own: pl.DataFrame) -> None:
        self._call_s += float((own["bye_s"] - own["answered_s"]).sum())
        for name, count in own.filter(~pl.col("redialled"))["disposition"].value_counts().iter_rows():
            self._last[Disposition(name)] += count

    @cached_property
    def values(self) -> Values:
        """The indicators; see `sweep.Sweep` for those that `models.kpis` does not define."""
        name = self._study.trunks[0].name
        own, pop = self._trunks[name].result(), self._pop.result()
        calls = max(1.0, own["calls"] or 0.0)
        shares = {
            f"{kind.value}_share": own.dispositions[kind] / max(1.0, own["attempts"] or 0.0)
            for kind in (Disposition.NO_CHANNEL, Disposition.NO_PORT, Disposition.CARRIER_REJECTED)
        }
        ends = {f"ends_{kind.value}": count / calls for kind, count in self._last.items()}
        others = {
            f"refused_share of {trunk}": accumulator.result()["refused_share"]
            for trunk, accumulator in self._trunks.items()
            if trunk != name
        }
        # What the hour's callers keep up between them, over the hour: the mean in a trunk that is always as busy.
        offered = {"offered_per_minute": 60 * (own["calls"] or 0.0) / self._hour_s}
        cpu_s = sum(spend(costs_of(self._study.pop), self._work).values())
        flows = {"erlang": self._call_s / self._hour_s, "cpu_share": cpu_s / self._hour_s}
        shared = {kpi: pop[kpi] for kpi in _POP_WIDE}
        found = {**own.values, **shared, **shares, **ends, **others, **offered, **flows}
        del found["mean_concurrency"]  # Over the drain too: not the hour's.
        return {kpi: math.nan if value is None else float(value) for kpi, value in found.items()}

    def asked(self, counts: str) -> Asked:
        """When the first trunk's throttle was asked: after the INVITE was sent, and before its first response."""
        own = pl.concat(self._own).with_columns(heard_s=pl.coalesce("ringing_s", "answered_s", "ended_s"))
        return _asked(own, "sent_s", "heard_s", counts)


def _asked(attempts: pl.DataFrame, early: str, late: str, counts: str) -> Asked:
    if counts == "outbound":
        attempts = attempts.filter(pl.col("direction") == Direction.OUTBOUND.value)
    sent = attempts.drop_nulls(early).sort(early)
    longest = (sent[late] - sent[early]).max()
    return Asked(sent[early].to_numpy(), float(longest) if isinstance(longest, float) else 0.0)


def _throttled(study: Study, throttle: ThrottleSettings) -> Study:
    trunk = study.trunks[0].model_copy(update={"throttle": throttle})
    return study.model_copy(update={"trunks": (trunk, *study.trunks[1:])})


def _first_calls(plan: Plan, from_s: float) -> dict[int, int]:
    """Trunk -> the number of its first call from then on: numbers ascend in time."""
    later = plan.table.filter(pl.col("place_s") >= from_s)
    found = dict(later.group_by("trunk").agg(pl.col("call").min()).iter_rows())
    return {trunk: found.get(trunk, (trunk + 1) * ROWS_PER_TRUNK) for trunk in range(len(plan.study.trunks))}
