"""How a throttle responds to demand: any indicator at the horizon, computed from the simulated spans.

The sweep leaves one value per quantity, level and span. For each alternative of demand, every span is read at the level
that its day would have, interpolated between the simulated levels. Then the spans are averaged. The spread over the
alternatives is the uncertainty of demand; the uncertainty of callers and of the simulation comes on top.

Sums stay sums until the last step, so a share weights each day by its calls. No simulation happens here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Self

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import stdtrit

from trunkproof.experiments.review.periods.horizon import Demand
from trunkproof.experiments.review.sweep.quantities import (
    Counted,
    Ending,
    Indicator,
    NeighbourShare,
    NeighbourSum,
    Quantity,
)
from trunkproof.models.arrays import BoolArray, FloatArray, IntArray
from trunkproof.models.demand.fitting.result import Ranged, ranged
from trunkproof.models.streams import generator

SHARES: Mapping[str, tuple[str, str]] = {
    "refused_share": ("refused", "attempts"),
    "throttled_share": ("throttled", "attempts"),
    "customers_lost_share": ("lost", "calls"),
    "asr": ("answered", "attempts"),
    "ner": ("effective", "attempts"),
    "no_channel_share": ("no_channel", "attempts"),
    "no_port_share": ("no_port", "attempts"),
    "carrier_rejected_share": ("carrier_rejected", "attempts"),
}
"""Indicator -> the sum in its numerator, and the one in its denominator."""
BLOCKED_SHARE = "blocked_share"
"""Of the attempts that the throttle admitted, the share that found no free channel or no free port."""
RATES: Mapping[str, tuple[str, float]] = {
    "attempts": ("attempts", 1.0),
    "calls": ("calls", 1.0),
    "offered_per_minute": ("calls", 60.0),
    "erlang": ("call_s", 1.0),
}
"""Indicator -> a sum and a factor; those of `_PER_LENGTH` are also divided by the span's length in seconds."""
_PER_LENGTH = ("offered_per_minute", "erlang")
PLAIN = ("srd_p95_ms", "mos_p5", "mos_mean", "peak_concurrency", "peak_channels", "peak_ports", "cpu_share")
"""Indicators that are averaged over spans."""


@dataclass(frozen=True, eq=False)
class Runs:
    """The simulated spans: I of them, each at K levels. All throttles share them."""

    levels: FloatArray
    """Factors over `Demand.base`, ascending, shape (K,)."""
    day: IntArray
    """Index of the day of `Demand`, shape (I,)."""
    repetition: IntArray
    """Shape (I,), from 0. Repetitions 2n and 2n + 1 have the same callers, so they differ by chance alone."""
    length_s: float

    @cached_property
    def by_repetition(self) -> FloatArray:
        """Return 1 where a span belongs to a repetition and else 0, shape (R, I)."""
        numbers = np.arange(int(self.repetition.max()) + 1)
        return np.asarray(np.equal.outer(numbers, self.repetition), dtype=np.float64)

    def share_of_day(self, weights: FloatArray) -> FloatArray:
        """Spread the weights of days, shape (J, D), over their spans: shape (J, I)."""
        times = np.bincount(self.day, minlength=weights.shape[1])
        # A day with more spans than another must not weigh more.
        return np.asarray(weights[:, self.day] / times[self.day])


@dataclass(frozen=True, eq=False)
class Response:
    """What the simulated spans of one throttle came to, and any indicator made of it."""

    runs: Runs
    values: Mapping[Quantity, FloatArray]
    """Quantity of `tally.Tally.values` -> shape (K, I)."""
    _curves: dict[Indicator, tuple[_Curve, _Curve | None]] = field(default_factory=dict, init=False, repr=False)
    """Indicator -> numerator and denominator. A review asks for each hundreds of times, so they are kept."""
    _told: dict[tuple[Indicator, Demand], tuple[FloatArray, FloatArray]] = field(
        default_factory=dict, init=False, repr=False
    )
    """Results of `_means`, by indicator and demand."""

    @property
    def indicators(self) -> tuple[Indicator, ...]:
        """Return all indicators that `estimate` knows, except shares of endings."""
        others = [one.trunk for one in self.values if isinstance(one, NeighbourSum) and one.counted is Counted.ATTEMPTS]
        shares = [NeighbourShare(of, other) for other in others for of in (Counted.REFUSED, Counted.BLOCKED)]
        return (*SHARES, *RATES, *PLAIN, BLOCKED_SHARE, *shares)

    def draws(self, kpi: Indicator, demand: Demand) -> FloatArray:
        """Return the mean of an indicator over days, in each alternative, shape (J,); NaN where no span has it.

        Its spread is the uncertainty of demand, of callers and of the simulation.
        """
        means, by_repetition = self._known_means(kpi, demand)
        return _noisy(means, by_repetition, _highest(kpi))

    def estimate(self, kpi: Indicator, demand: Demand, confidence: float = 0.95) -> Ranged:
        """Return the mean of an indicator over days, with its range."""
        drawn = self.draws(kpi, demand)
        means, _ = self._known_means(kpi, demand)
        if np.isnan(drawn).any():
            return Ranged(math.nan, math.nan, math.nan)
        return ranged(drawn, float(means.mean()), confidence)

    def days(self, kpi: Indicator, demand: Demand) -> FloatArray:
        """Return the indicator of 400 single busy periods, equally likely: days differ, and so does chance."""
        top, bottom = self._curves_of(kpi)
        # 40 of the alternatives are enough: each has all spans, and quantiles are taken over both.
        every = max(1, len(demand.relative) // 40)
        some = Demand(demand.rates_per_minute, demand.base, demand.relative[::every], demand.weights[::every])
        upper = self._at(top, some)
        # Here a share of each single period, not of all: a band shows single periods.
        values = upper if bottom is None else upper / np.maximum(self._at(bottom, some), 1e-9)
        weights = self.runs.share_of_day(some.weights)
        known = ~np.isnan(values)
        if not known.any():
            return np.empty(0)
        order = np.argsort(values[known])
        reached = np.cumsum(weights[known][order])
        places = np.searchsorted(reached, (np.arange(400) + 0.5) / 400 * reached[-1])
        return np.asarray(np.clip(values[known][order][np.minimum(places, len(order) - 1)], 0.0, _highest(kpi)))

    def band(self, kpi: Indicator, demand: Demand, share: float = 0.9) -> Ranged:
        """Return the median of single busy periods, and the band that contains that share of them."""
        days = self.days(kpi, demand)
        return ranged(days, float(np.median(days)), share) if len(days) else Ranged(math.nan, math.nan, math.nan)

    def mean_at(self, kpi: Indicator, demand: Demand, growths: FloatArray) -> FloatArray:
        """Return the mean of an indicator if demand were multiplied by each of `growths`, same shape."""
        return np.array([float(self._means(kpi, demand.grown(float(growth)))[0].mean()) for growth in growths])

    def _parts(self, kpi: Indicator) -> tuple[FloatArray, FloatArray | None]:
        """Return numerator and denominator, shape (K, I) each; without a denominator, spans are averaged."""
        if isinstance(kpi, Ending):
            return self.values[kpi], self.values["calls"]
        if isinstance(kpi, NeighbourShare):
            attempts, refused, blocked = (self.values[NeighbourSum(counted, kpi.trunk)] for counted in Counted)
            return (refused, attempts) if kpi.counted is Counted.REFUSED else (blocked, attempts - refused + blocked)
        if kpi in SHARES:
            top, bottom = SHARES[kpi]
            return self.values[top], self.values[bottom]
        if kpi == BLOCKED_SHARE:
            admitted = self.values["attempts"] - self.values["refused"] + self.values["blocked"]
            return self.values["blocked"], admitted
        if kpi in RATES:
            name, factor = RATES[kpi]
            per = self.runs.length_s if kpi in _PER_LENGTH else 1.0
            return factor / per * self.values[name], None
        return self.values[kpi], None

    def _curves_of(self, kpi: Indicator) -> tuple[_Curve, _Curve | None]:
        found = self._curves.get(kpi)
        if found is None:
            levels, (top, bottom) = self.runs.levels, self._parts(kpi)
            found = (_Curve.through(levels, top), None if bottom is None else _Curve.through(levels, bottom))
            self._curves[kpi] = found
        return found

    def _known_means(self, kpi: Indicator, demand: Demand) -> tuple[FloatArray, FloatArray]:
        """Return `_means`, kept for the next request of the same indicator and demand."""
        found = self._told.get((kpi, demand))
        if found is None:
            found = self._told[kpi, demand] = self._means(kpi, demand)
        return found

    def _means(self, kpi: Indicator, demand: Demand) -> tuple[FloatArray, FloatArray]:
        """Return means over all spans, shape (J,), and by repetition, shape (J, R)."""
        top, bottom = self._curves_of(kpi)
        weights = self.runs.share_of_day(demand.weights)
        upper = self._at(top, demand)
        known = ~np.isnan(upper)
        lower = known.astype(np.float64) if bottom is None else self._at(bottom, demand)
        upper = weights * np.where(known, upper, 0.0)
        lower = weights * lower
        groups = self.runs.by_repetition.T
        # Sums over spans before the division: a span weighs as its calls. A repetition without a call gives 0 / 0.
        with np.errstate(invalid="ignore", divide="ignore"):
            means = upper.sum(axis=1) / lower.sum(axis=1)
            each = (upper @ groups) / (lower @ groups)
        # The overall mean adds nothing to the spread between repetitions.
        return means, np.where(np.isnan(each), means[:, None], each)

    def _at(self, curve: _Curve, demand: Demand) -> FloatArray:
        """Return values at the level that each alternative gives each span's day, shape (J, I).

        Beyond the simulated levels the value of the outermost level stays.
        """
        # A cubic must not be continued beyond its levels: it may go anywhere.
        return curve.at(np.clip(demand.relative[:, self.runs.day], self.runs.levels[0], self.runs.levels[-1]))


@dataclass(frozen=True, eq=False)
class _Curve:
    """A quantity of each span as a function of the level; monotone cubic pieces between levels."""

    levels: FloatArray
    """Shape (K,)."""
    pieces: FloatArray
    """Coefficients, the cubic one first, shape (4, K - 1, I); of a single level its values, shape (1, 1, I)."""
    missing: BoolArray
    """Spans without a value at some level, shape (I,)."""

    @classmethod
    def through(cls, levels: FloatArray, values: FloatArray) -> Self:
        """Interpolate values of shape (K, I)."""
        if len(levels) == 1:
            return cls(levels, values[None], np.zeros(values.shape[1], dtype=np.bool_))
        # Monotone pieces: between two levels a share neither overshoots nor falls below 0, as other cubics would.
        # A span that lacks a value at one level lacks it everywhere: NaN would spread through the polynomials.
        pieces = PchipInterpolator(levels, np.nan_to_num(values), axis=0).c
        return cls(levels, pieces, np.asarray(np.isnan(values).any(axis=0)))

    def at(self, x: FloatArray) -> FloatArray:
        """Return values at levels `x` within the range of `levels`, shape (J, I)."""
        if len(self.levels) == 1:
            return np.asarray(np.broadcast_to(self.pieces[0, 0], x.shape))
        piece = np.clip(np.searchsorted(self.levels, x, side="right") - 1, 0, len(self.levels) - 2)
        span, t = np.arange(x.shape[1]), x - self.levels[piece]
        # Horner's rule, by hand: SciPy would evaluate every level for every span, and here each span has its own.
        found = self.pieces[0][piece, span]
        for power in (1, 2, 3):
            found = found * t + self.pieces[power][piece, span]
        found[:, self.missing] = np.nan
        return np.asarray(found)


def _highest(kpi: Indicator) -> float:
    """Return the largest value that the indicator can have. `cpu_share` is no share: it counts cores."""
    is_share = isinstance(kpi, Ending | NeighbourShare) or kpi in SHARES or kpi == BLOCKED_SHARE
    return 1.0 if is_share else math.inf


def _noisy(means: FloatArray, by_repetition: FloatArray, highest: float) -> FloatArray:
    """Add to the means the uncertainty of callers and the noise of the simulation, as repetitions show both.

    The two repetitions of a pair have the same callers, so their difference is noise. What differs between pairs beyond
    noise comes from callers. Averaging over repetitions reduces noise. It does not reduce the callers' part: the true
    callers are one of the alternatives, not their mean.
    """
    repetitions = by_repetition.shape[1]
    if repetitions < 2 or np.isnan(by_repetition).any():
        return means
    centre = by_repetition.mean(axis=0)
    pairs = centre[: repetitions // 2 * 2].reshape(-1, 2)
    # The squared difference of two repetitions has twice the variance of one.
    noise = float(((pairs[:, 0] - pairs[:, 1]) ** 2).mean() / 2)
    # The mean of a pair has half the noise of one repetition.
    between = float(pairs.mean(axis=1).var(ddof=1)) - noise / 2 if len(pairs) > 1 else 0.0
    # The callers' part stays in full, plus the error of its own mean; the noise of all repetitions averages out.
    error = math.sqrt(max(between, 0.0) * (1 + 1 / max(len(pairs), 1)) + noise / repetitions)
    level = float(means.mean())
    if level <= 0 or error == 0:
        return means
    # Few repetitions: the error itself is uncertain, which Student's t allows for. The order is always the same, so two
    # throttles that are compared have the same noise in the same alternative.
    z = _noise(len(means), max(repetitions - 1, 2))
    # Lognormal: an error that is as large as the mean makes nothing negative.
    deviation = math.sqrt(math.log1p((error / level) ** 2))
    return np.asarray(np.minimum(means * np.exp(np.clip(deviation * z, -20, 20) - deviation**2 / 2), highest))


@lru_cache(maxsize=64)
def _noise(count: int, degrees: int) -> FloatArray:
    """Return Student's t at evenly spread probabilities, in a random order that is always the same, shape (count,)."""
    order = generator(0, "order of simulation noise").permutation(count)
    return np.asarray(stdtrit(degrees, (order + 0.5) / count))
