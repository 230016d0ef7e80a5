"""Responses held against the quality asked for: each target at each throttle under each reading, by both witnesses and
under every course that demand may take. The worse counts.

What is judged is the mean over days' busy periods. A throttle is as sure as it is probable that all targets hold
together there. No simulation happens here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import numpy as np

from trunkproof.experiments.review.periods.horizon import Demand
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import Judged, Point
from trunkproof.experiments.review.sweep.response import Response
from trunkproof.experiments.review.sweep.sweep import Cell, Sweep, Witness
from trunkproof.experiments.review.theory.premises import Premises
from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.demand.fitting.result import Ranged

GROWTH_GRID = tuple(round(0.7 + 0.05 * step, 2) for step in range(27))
"""Growth of demand over that of the history, for the what-if."""
LOST = "customers_lost_share"
SHOWN = (
    "refused_share",
    "throttled_share",
    "customers_lost_share",
    "no_channel_share",
    "no_port_share",
    "carrier_rejected_share",
    "asr",
    "ner",
    "srd_p95_ms",
    "mos_p5",
    "mos_mean",
    "peak_concurrency",
    "peak_channels",
    "peak_ports",
    "erlang",
    "cpu_share",
    "attempts",
    "offered_per_minute",
)
"""Indicators of a point."""
_RECORDED = ("refused_share", "customers_lost_share", "peak_concurrency", "attempts")
"""What is told of the replayed record."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Holds a sweep's responses against a request."""

    request: Request
    sweep: Sweep
    courses: tuple[Demand, ...]
    """What demand may come to at the horizon; where the history drifts, with the drift going on and without."""
    lost_anyway: float = 0.0
    premises: Premises | None = None
    """For growth beyond the levels that were simulated."""

    def draws(self, response: Response, kpi: str, demand: Demand) -> FloatArray:
        """An indicator in each alternative; of customers lost, only those that the trunk's limits lose."""
        drawn = response.draws(kpi, demand)
        return np.maximum(drawn - self.lost_anyway, 0.0) if kpi == LOST else drawn

    def estimate(self, response: Response, kpi: str) -> Ranged:
        """An indicator's mean over days, with the range over every course of demand."""
        off = self.lost_anyway if kpi == LOST else 0.0
        found = [response.estimate(kpi, demand) for demand in self.courses]
        low, value, high = min(f.low for f in found), found[0].value, max(f.high for f in found)
        return Ranged(*(max(0.0, part - off) if kpi == LOST else part for part in (value, low, high)))

    def keeps(self, reading: int, limit: int, witness: Witness, demand: Demand) -> dict[str, BoolArray]:
        """Indicator of a target -> in which alternatives it holds, shape (J,). Where nothing has the indicator, such as
        a voice quality without a call, there is nothing to keep.
        """
        response = self.sweep.response(reading, limit, witness)
        found = {}
        for target in self.request.quality.targets:
            drawn = self.draws(response, target.kpi, demand)
            if not np.isnan(drawn).any():
                found[target.kpi] = target.holds(drawn)
        return found

    def together(self, readings: Sequence[int], limit: int) -> float:
        """Probability that all targets hold together under all of these readings; the least over witnesses and
        courses.
        """
        least = 1.0
        for witness in self.sweep.witnesses:
            for demand in self.courses:
                kept = [held for reading in readings for held in self.keeps(reading, limit, witness, demand).values()]
                if kept:
                    least = min(least, float(np.logical_and.reduce(kept).mean()))
        return least

    def holds(self, readings: Sequence[int], limit: int) -> bool | None:
        """Whether all targets hold under all of these readings, with the confidence asked for."""
        if self.together(readings, limit) >= self.request.confidence:
            return True
        each = [target.confidence for reading in readings for target in self._targets(reading, limit)]
        return False if min(each, default=1.0) <= 1 - self.request.confidence else None

    def point(self, reading: int, limit: int) -> Point:
        """One throttle under one reading."""
        model = self.sweep.response(reading, limit)
        demand = self.courses[0]
        known = {kpi: self.estimate(model, kpi) for kpi in SHOWN}
        known = {kpi: value for kpi, value in known.items() if not math.isnan(value.value)}
        record: Mapping[str, Ranged] = {}
        if Witness.RECORD in self.sweep.witnesses:
            replayed = self.sweep.response(reading, limit, Witness.RECORD)
            record = {kpi: self.estimate(replayed, kpi) for kpi in _RECORDED}
        return Point(
            limit_per_minute=limit,
            kpis=known,
            record=record,
            busy_hours={kpi: model.band(kpi, demand) for kpi in known},
            targets=tuple(self._targets(reading, limit)),
            confidence=self.together([reading], limit),
            holds=self.holds([reading], limit),
        )

    def least_sure(self, reading: int, limit: int) -> dict[str, tuple[float, Witness]]:
        """Return, for each target, the least confidence over witnesses and courses, and whose it is; of two who are as
        sure, the one with the worse value.
        """
        better = {target.kpi: -1.0 if target.is_upper else 1.0 for target in self.request.quality.targets}
        found: dict[str, tuple[float, float, Witness]] = {}
        for witness in self.sweep.witnesses:
            response = self.sweep.response(reading, limit, witness)
            for demand in self.courses:
                for kpi, held in self.keeps(reading, limit, witness, demand).items():
                    value = better[kpi] * float(response.estimate(kpi, demand).value)
                    said = (float(held.mean()), value, witness)
                    found[kpi] = min(found.get(kpi, said), said, key=lambda one: one[:2])
        return {kpi: (sure, witness) for kpi, (sure, _, witness) in found.items()}

    def _targets(self, reading: int, limit: int) -> list[Judged]:
        """By the witness, and under the course, that is the least sure."""
        worst = self.least_sure(reading, limit)
        found = []
        for target in self.request.quality.targets:
            if target.kpi in worst:
                sure, witness = worst[target.kpi]
                value = self.estimate(self.sweep.response(reading, limit, witness), target.kpi)
                holds = held_with(sure, self.request.confidence)
                found.append(Judged(target.kpi, target.bound, target.is_upper, value, sure, holds))
        return found

    def by_growth(self, cells: Sequence[Cell], executor: Executor | None = None) -> dict[Cell, tuple[float, ...]]:
        """Share of customers lost at each of `GROWTH_GRID`, in each cell; `executor` computes the formulas."""
        factors = np.array(GROWTH_GRID) / self.request.growth
        # Begun first: workers compute the formulas, while this process asks the simulations.
        formulas = self._by_formula(cells, factors, executor)
        found = {}
        simulated = [self.sweep.response(*cell).mean_at(LOST, self.demand, factors) for cell in cells]
        for cell, mean, formula in zip(cells, simulated, formulas, strict=True):
            lost = np.maximum(mean - self.lost_anyway, 0.0)
            beyond = len(lost) - len(formula)
            lost[beyond:] = np.maximum(lost[beyond:], formula)
            # Where formulas take over from the simulation they may begin a little below it.
            found[cell] = tuple(float(share) for share in np.maximum.accumulate(np.clip(lost, 0.0, 1.0)))
        return found

    def _by_formula(
        self, cells: Sequence[Cell], factors: FloatArray, executor: Executor | None
    ) -> Iterable[Sequence[float]]:
        """The same share at the last factors, those beyond the levels that were simulated."""
        if self.premises is None:
            return repeat((), len(cells))
        high = float(np.quantile(self.demand.relative, 0.9))
        demands = [
            [
                self.premises.demand_per_minute * float(factor)
                for factor in factors
                if factor > self.sweep.response(*cell).runs.levels[-1] / high
            ]
            for cell in cells
        ]
        tasks = [
            (self.request.readings[reading], limit, wanted)
            for (reading, limit), wanted in zip(cells, demands, strict=True)
        ]
        if executor is None:
            return [self.premises.lost_at(*task) for task in tasks]
        futures = [executor.submit(self.premises.lost_at, *task) for task in tasks]
        return (future.result() for future in futures)

    def endings(self, reading: int, limit: int) -> Mapping[str, float]:
        """Share of callers by the disposition of their last attempt."""
        response = self.sweep.response(reading, limit)
        names = [name for name in response.values if name.startswith("ends_")]
        shares = {name.removeprefix("ends_"): response.estimate(name, self.courses[0]).value for name in names}
        total = sum(shares.values()) or 1.0
        return {name: share / total for name, share in shares.items() if share > 0}

    def neighbours(self, reading: int) -> Mapping[str, tuple[Ranged, Ranged]]:
        """Other trunk -> share of its attempts refused, now and at the requested throttle."""
        limits = (self.request.now_per_minute, self.request.requested_per_minute)
        found = {}
        for other in self.request.neighbours:
            name = f"refused_share of {other.name}"
            now, requested = (self.estimate(self.sweep.response(reading, limit), name) for limit in limits)
            found[other.name] = (now, requested)
        return found

    @cached_property
    def demand(self) -> Demand:
        """The course that is told: without a drift."""
        return self.courses[0]


def held_with(probability: float, confidence: float) -> bool | None:
    """Whether something holds with that confidence; None: neither this nor its opposite does."""
    return True if probability >= confidence else False if probability <= 1 - confidence else None
