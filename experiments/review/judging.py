"""Does a throttle keep the quality that the request asks for, and how sure is that?

An example: at most 1 % of attempts may be refused, with a confidence of 95 %. At 300 calls per minute, 388 of the 400
alternatives of demand have a mean of at most 1 % over the days' busy periods. So the confidence is 97 %, and the target
holds at 300. The rules:

1. What is judged is the mean over days' busy periods, not the worst day.
2. Every target is judged by each witness (model and record) and under each course of demand. The worst of them counts.
3. A throttle is good if all targets hold together with the confidence asked for: in so many alternatives at once. Two
   targets of 96 % each may hold together in 92 % only.
4. A throttle is bad if one target by itself fails with that confidence. Between good and bad there is "cannot tell".
5. The interpretations of the throttle are not averaged. Nobody knows which is true, so all of them must hold.

No simulation happens here.
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
from trunkproof.experiments.review.sweep.quantities import Counted, Ending, Indicator, NeighbourShare
from trunkproof.experiments.review.sweep.response import Response
from trunkproof.experiments.review.sweep.sweep import Cell, Sweep, Witness
from trunkproof.experiments.review.theory.premises import Premises
from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.demand.fitting.result import Ranged
from trunkproof.models.records import Disposition

GROWTH_GRID = tuple(round(0.7 + 0.05 * step, 2) for step in range(27))
"""Factors of growth over the demand of the history, for the what-if of the page."""
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
"""Indicators that the page and `decision.json` show for every throttle."""
_RECORDED = ("refused_share", "customers_lost_share", "peak_concurrency", "attempts")
"""Indicators that are shown for the replayed record."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Compares a sweep's responses with the quality that a request asks for."""

    request: Request
    sweep: Sweep
    courses: tuple[Demand, ...]
    """Demand at the horizon; two courses where the history drifts: the drift stops, and it goes on."""
    lost_anyway: float = 0.0
    """Share of callers whom the far side rejects however often they try. No throttle can change that."""
    premises: Premises | None = None
    """Formulas for growth beyond the simulated levels."""

    def draws(self, response: Response, kpi: Indicator, demand: Demand) -> FloatArray:
        """Return an indicator in each alternative; of customers lost, only those that the trunk's limits lose."""
        drawn = response.draws(kpi, demand)
        return np.maximum(drawn - self.lost_anyway, 0.0) if kpi == LOST else drawn

    def estimate(self, response: Response, kpi: Indicator) -> Ranged:
        """Return an indicator's mean over days, with a range that covers every course of demand."""
        off = self.lost_anyway if kpi == LOST else 0.0
        # The value is that of the first course; the range covers all of them.
        found = [response.estimate(kpi, demand) for demand in self.courses]
        low, value, high = min(f.low for f in found), found[0].value, max(f.high for f in found)
        return Ranged(*(max(0.0, part - off) if kpi == LOST else part for part in (value, low, high)))

    def keeps(self, interpretation: int, limit: int, witness: Witness, demand: Demand) -> dict[str, BoolArray]:
        """Return, by indicator of a target, in which alternatives the target holds, shape (J,).

        An indicator without any value, such as voice quality without calls, is left out.
        """
        response = self.sweep.response(interpretation, limit, witness)
        found = {}
        for target in self.request.quality.targets:
            drawn = self.draws(response, target.kpi, demand)
            if not np.isnan(drawn).any():
                found[target.kpi] = target.holds(drawn)
        return found

    def together(self, interpretations: Sequence[int], limit: int) -> float:
        """Return the probability that all targets hold together under all of these interpretations.

        It is the smallest of those by witness and course.
        """
        least = 1.0
        for witness in self.sweep.witnesses:
            for demand in self.courses:
                kept = [
                    held
                    for interpretation in interpretations
                    for held in self.keeps(interpretation, limit, witness, demand).values()
                ]
                if kept:
                    # Together in the same alternative: targets fail together when demand is high, so their confidences
                    # do not multiply.
                    least = min(least, float(np.logical_and.reduce(kept).mean()))
        return least

    def holds(self, interpretations: Sequence[int], limit: int) -> bool | None:
        """Tell whether all targets hold under all of these interpretations, as surely as asked; None: unclear.

        False only where a single target surely fails. A joint probability is low already where many targets are
        unsure, which is no proof that any fails.
        """
        if self.together(interpretations, limit) >= self.request.confidence:
            return True
        each = [
            target.confidence for interpretation in interpretations for target in self._targets(interpretation, limit)
        ]
        return False if min(each, default=1.0) <= 1 - self.request.confidence else None

    def point(self, interpretation: int, limit: int) -> Point:
        """Return all figures of one throttle under one interpretation."""
        model = self.sweep.response(interpretation, limit)
        demand = self.courses[0]
        known = {kpi: self.estimate(model, kpi) for kpi in SHOWN}
        known = {kpi: value for kpi, value in known.items() if not math.isnan(value.value)}
        record: Mapping[str, Ranged] = {}
        if Witness.RECORD in self.sweep.witnesses:
            replayed = self.sweep.response(interpretation, limit, Witness.RECORD)
            record = {kpi: self.estimate(replayed, kpi) for kpi in _RECORDED}
        return Point(
            limit_per_minute=limit,
            kpis=known,
            record=record,
            busy_hours={kpi: model.band(kpi, demand) for kpi in known},
            targets=tuple(self._targets(interpretation, limit)),
            confidence=self.together([interpretation], limit),
            holds=self.holds([interpretation], limit),
        )

    def least_sure(self, interpretation: int, limit: int) -> dict[str, tuple[float, Witness]]:
        """Return, for each target, the least confidence over witnesses and courses, and its witness.

        Of two that are equally sure, the one with the worse value counts.
        """
        # The sign that makes the smaller value the worse one, for either kind of bound.
        better = {target.kpi: -1.0 if target.is_upper else 1.0 for target in self.request.quality.targets}
        found: dict[str, tuple[float, float, Witness]] = {}
        for witness in self.sweep.witnesses:
            response = self.sweep.response(interpretation, limit, witness)
            for demand in self.courses:
                for kpi, held in self.keeps(interpretation, limit, witness, demand).items():
                    value = better[kpi] * float(response.estimate(kpi, demand).value)
                    said = (float(held.mean()), value, witness)
                    found[kpi] = min(found.get(kpi, said), said, key=lambda one: one[:2])
        return {kpi: (sure, witness) for kpi, (sure, _, witness) in found.items()}

    def _targets(self, interpretation: int, limit: int) -> list[Judged]:
        """Judge each target by the witness and the course that are the least sure of it."""
        worst = self.least_sure(interpretation, limit)
        found = []
        for target in self.request.quality.targets:
            if target.kpi in worst:
                sure, witness = worst[target.kpi]
                value = self.estimate(self.sweep.response(interpretation, limit, witness), target.kpi)
                holds = held_with(sure, self.request.confidence)
                found.append(Judged(target.kpi, target.bound, target.is_upper, value, sure, holds))
        return found

    def by_growth(self, cells: Sequence[Cell], executor: Executor | None = None) -> dict[Cell, tuple[float, ...]]:
        """Return the share of customers lost at each growth of `GROWTH_GRID`, in each cell.

        `executor` computes the formulas.
        """
        factors = np.array(GROWTH_GRID) / self.request.growth
        # Begun first: workers compute the formulas, while this process asks the simulations.
        formulas = self._by_formula(cells, factors, executor)
        found = {}
        simulated = [self.sweep.response(*cell).mean_at(LOST, self.demand, factors) for cell in cells]
        for cell, mean, formula in zip(cells, simulated, formulas, strict=True):
            lost = np.maximum(mean - self.lost_anyway, 0.0)
            beyond = len(lost) - len(formula)
            # Beyond the simulated levels a response keeps its last value, which is a lower bound. So the larger of both
            # counts.
            lost[beyond:] = np.maximum(lost[beyond:], formula)
            # Where formulas take over from the simulation they may begin a little below it.
            found[cell] = tuple(float(share) for share in np.maximum.accumulate(np.clip(lost, 0.0, 1.0)))
        return found

    def _by_formula(
        self, cells: Sequence[Cell], factors: FloatArray, executor: Executor | None
    ) -> Iterable[Sequence[float]]:
        """Return the share by formulas at the last factors: those beyond the levels that were simulated."""
        if self.premises is None:
            return repeat((), len(cells))
        # From there on a tenth of the alternatives lies beyond the simulated levels, and the simulated mean is too low.
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
            (self.request.interpretations[interpretation], limit, wanted)
            for (interpretation, limit), wanted in zip(cells, demands, strict=True)
        ]
        if executor is None:
            return [self.premises.lost_at(*task) for task in tasks]
        futures = [executor.submit(self.premises.lost_at, *task) for task in tasks]
        return (future.result() for future in futures)

    def endings(self, interpretation: int, limit: int) -> Mapping[str, float]:
        """Return the share of callers by the disposition of their last attempt, without those of share 0."""
        response = self.sweep.response(interpretation, limit)
        shares = {kind.value: response.estimate(Ending(kind), self.courses[0]).value for kind in Disposition}
        # Each share is interpolated by itself, so together they may miss 1 a little.
        total = sum(shares.values()) or 1.0
        return {name: share / total for name, share in shares.items() if share > 0}

    def neighbours(self, interpretation: int) -> Mapping[str, tuple[Ranged, Ranged]]:
        """Return the share of attempts refused of each other trunk, now and at the requested throttle."""
        limits = (self.request.now_per_minute, self.request.requested_per_minute)
        found = {}
        for other in self.request.neighbours:
            share = NeighbourShare(Counted.REFUSED, other.name)
            now, requested = (self.estimate(self.sweep.response(interpretation, limit), share) for limit in limits)
            found[other.name] = (now, requested)
        return found

    @cached_property
    def demand(self) -> Demand:
        """Return the course that the page shows first: without a drift."""
        return self.courses[0]


def held_with(probability: float, confidence: float) -> bool | None:
    """Tell whether something holds with that confidence; None where neither it nor its opposite does."""
    return True if probability >= confidence else False if probability <= 1 - confidence else None
