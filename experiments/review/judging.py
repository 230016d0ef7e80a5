"""The response curves held against the quality asked for: each target at each throttle under each reading.

What is judged is the mean over busy hours; its probability of keeping to a bound carries what is not known of the input
and the simulation's own noise. No simulation happens here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from experiments.review.busy import LoadDraws
from experiments.review.curves import Curve
from experiments.review.premises import Premises
from experiments.review.request import Request
from experiments.review.result import Judged, Point, ReadingResult
from experiments.review.sweep import Sweep
from experiments.review.verdict import decide
from experiments.targets import targets_of
from models.fitting.result import Ranged

FloatArray = NDArray[np.float64]
GROWTH_GRID = tuple(round(0.7 + 0.05 * step, 2) for step in range(27))
"""Growth of demand over that of the history, for the what-if."""
LOST = "customers_lost_share"
_HOURS_OF_GRID = 64
_HIDDEN = ("ends_", "refused_share of ")
"""Indicators of the sweep that are no point's: they are shown elsewhere."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Holds a sweep's curves against a request."""

    request: Request
    sweep: Sweep
    loads: LoadDraws
    """Busy hours at the planning horizon."""
    lost_anyway: float = 0.0
    premises: Premises | None = None
    """For growth beyond the loads that were simulated."""

    def curve(self, reading: int, limit: int, kpi: str) -> Curve:
        """An indicator's curve; of customers lost, only those that the trunk's limits lose."""
        curve = self.sweep.curve(reading, limit, kpi)
        if kpi != LOST or not self.lost_anyway:
            return curve
        return replace(curve, seen=curve.seen - self.lost_anyway, corrected=curve.corrected - self.lost_anyway)

    def readings(self) -> tuple[ReadingResult, ...]:
        """Every reading, in the request's order."""
        return tuple(self._reading(number) for number in range(len(self.request.readings)))

    def _reading(self, number: int) -> ReadingResult:
        points = tuple(self._point(number, limit) for limit in self.sweep.limits)
        decision, recommended = decide({point.limit_per_minute: point.holds for point in points}, self.request)
        return ReadingResult(
            reading=self.request.readings[number],
            points=points,
            decision=decision,
            recommended_per_minute=recommended,
            largest_per_minute=max((point.limit_per_minute for point in points if point.holds), default=None),
            refused_by_growth={limit: self._by_growth(number, limit) for limit in self.sweep.limits},
        )

    def _point(self, reading: int, limit: int) -> Point:
        curves = {kpi: self.curve(reading, limit, kpi) for kpi in self.shown}
        curves = {kpi: curve for kpi, curve in curves.items() if len(curve.nodes)}
        return Point(
            limit_per_minute=limit,
            kpis={kpi: curve.estimate(self.loads) for kpi, curve in curves.items()},
            busy_hours={kpi: curve.band(self.loads) for kpi, curve in curves.items()},
            targets=tuple(self._targets(reading, limit)),
        )

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """The indicators of a point."""
        return tuple(kpi for kpi in self.sweep.indicators if not kpi.startswith(_HIDDEN))

    def _targets(self, reading: int, limit: int) -> list[Judged]:
        found = []
        for kpi, bound, is_upper in targets_of(self.request.quality):
            curve = self.curve(reading, limit, kpi)
            confidence = curve.probability(self.loads, bound, is_upper=is_upper)
            # Where no hour has the indicator, such as a voice quality without a call, there is nothing to keep.
            if not math.isnan(confidence):
                holds = held(confidence, self.request.confidence)
                found.append(Judged(kpi, bound, is_upper, curve.estimate(self.loads), confidence, holds))
        return found

    @cached_property
    def _thinned(self) -> FloatArray:
        return self.loads.quantile((np.arange(_HOURS_OF_GRID) + 0.5) / _HOURS_OF_GRID)

    def _by_growth(self, reading: int, limit: int) -> tuple[float, ...]:
        curve = self.curve(reading, limit, LOST)
        factors = np.array(GROWTH_GRID) / self.request.growth
        loads = np.outer(factors, self._thinned)
        lost = curve.at(loads).mean(axis=1)
        if self.premises is not None:
            for index in np.flatnonzero(loads[:, -1] > self.sweep.nodes[-1]):
                demand = self.premises.demand_per_minute * factors[index]
                lost[index] = self.premises.lost(self.request.readings[reading], limit, demand)
        # Where formulas take over from the simulation they may begin a little below it.
        return tuple(float(share) for share in np.maximum.accumulate(np.clip(lost, 0.0, 1.0)))

    def endings(self, limit: int) -> Mapping[str, float]:
        """Share of callers by the disposition of their last attempt, under the first reading."""
        names = [name for name in self.sweep.indicators if name.startswith("ends_")]
        shares = {name.removeprefix("ends_"): self._mean(name, limit) for name in names}
        total = sum(shares.values()) or 1.0
        return {name: share / total for name, share in shares.items() if share > 0}

    def _mean(self, kpi: str, limit: int) -> float:
        return self.curve(0, limit, kpi).estimate(self.loads).value

    def neighbours(self) -> Mapping[str, tuple[Ranged, Ranged]]:
        """Other trunk -> share of its attempts refused, now and at the requested throttle, under the first reading."""
        limits = (self.request.now_per_minute, self.request.requested_per_minute)
        found = {}
        for other in self.request.neighbours:
            curves = [self.sweep.curve(0, limit, f"refused_share of {other.name}") for limit in limits]
            now, requested = (curve.estimate(self.loads) for curve in curves)
            found[other.name] = (now, requested)
        return found


def held(probability: float, confidence: float) -> bool | None:
    """Whether something holds with that confidence; None: neither this nor its opposite does."""
    return True if probability >= confidence else False if probability <= 1 - confidence else None
