"""How a throttle answers to demand: what each simulated span came to at a few levels, and from it any indicator at the
horizon, over all days, with what is not known of demand, of callers, and of the simulation.

Sums stay sums until the last step, so that a share weights each day by its calls. No simulation happens here.
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
"""Indicator -> the sums whose ratio it is."""
RATES: Mapping[str, tuple[str, float]] = {
    "attempts": ("attempts", 1.0),
    "calls": ("calls", 1.0),
    "offered_per_minute": ("calls", 60.0),
    "erlang": ("call_s", 1.0),
}
"""Indicator -> the sum, and what it is multiplied with; those of `_PER_LENGTH` are divided by the span's length."""
_PER_LENGTH = ("offered_per_minute", "erlang")
PLAIN = ("srd_p95_ms", "mos_p5", "mos_mean", "peak_concurrency", "peak_channels", "peak_ports", "cpu_share")
"""Indicators of which the mean over spans is taken."""


@dataclass(frozen=True, eq=False)
class Runs:
    """Which spans were simulated: I of them, each at K levels. All throttles share them."""

    levels: FloatArray
    """Factors over `Demand.base`, ascending, shape (K,)."""
    day: IntArray
    """Index of the day of `Demand`, shape (I,)."""
    repetition: IntArray
    """Shape (I,), from 0; repetitions 2n and 2n + 1 have the same callers, and differ by chance alone."""
    length_s: float

    @cached_property
    def by_repetition(self) -> FloatArray:
        """Shape (R, I): 1 where a span belongs to a repetition."""
        numbers = np.arange(int(self.repetition.max()) + 1)
        return np.asarray(np.equal.outer(numbers, self.repetition), dtype=np.float64)

    def share_of_day(self, weights: FloatArray) -> FloatArray:
        """Spread the weights of days, shape (J, D), over their spans: shape (J, I)."""
        times = np.bincount(self.day, minlength=weights.shape[1])
        return np.asarray(weights[:, self.day] / times[self.day])


@dataclass(frozen=True, eq=False)
class Response:
    """Of one throttle."""

    runs: Runs
    values: Mapping[str, FloatArray]
    """Quantity of `tally.Tally.values` -> shape (K, I)."""
    _curves: dict[str, tuple[_Curve, _Curve | None]] = field(default_factory=dict, init=False, repr=False)
    """Indicator -> numerator and denominator. They are asked for hundreds of times: made once."""
    _told: dict[tuple[str, Demand], tuple[FloatArray, FloatArray]] = field(default_factory=dict, init=False, repr=False)
    """What `_means` said, by indicator and demand."""

    @property
    def indicators(self) -> tuple[str, ...]:
        """Names of all that `estimate` knows."""
        others = [name.removeprefix("attempts of ") for name in self.values if name.startswith("attempts of ")]
        per_other = [f"{what}_share of {other}" for other in others for what in ("refused", "blocked")]
        return (*SHARES, *RATES, *PLAIN, "blocked_share", *per_other)

    def draws(self, kpi: str, demand: Demand) -> FloatArray:
        """The mean of an indicator over the days of each alternative, shape (J,): with what is not known of demand,
        of callers and of the simulation. NaN where no span has it.
        """
        means, by_repetition = self._known_means(kpi, demand)
        return _noisy(means, by_repetition, _highest(kpi))

    def estimate(self, kpi: str, demand: Demand, confidence: float = 0.95) -> Ranged:
        """The mean of an indicator over days, and its range."""
        drawn = self.draws(kpi, demand)
        means, _ = self._known_means(kpi, demand)
        if np.isnan(drawn).any():
            return Ranged(math.nan, math.nan, math.nan)
        return ranged(drawn, float(means.mean()), confidence)

    def days(self, kpi: str, demand: Demand) -> FloatArray:
        """The indicator of single days' periods, equally likely, in no order: days differ, and so does chance."""
        top, bottom = self._curves_of(kpi)
        every = max(1, len(demand.relative) // 40)
        some = Demand(demand.rates_per_minute, demand.base, demand.relative[::every], demand.weights[::every])
        upper = self._at(top, some)
        values = upper if bottom is None else upper / np.maximum(self._at(bottom, some), 1e-9)
        weights = self.runs.share_of_day(some.weights)
        known = ~np.isnan(values)
        if not known.any():
            return np.empty(0)
        order = np.argsort(values[known])
        reached = np.cumsum(weights[known][order])
        places = np.searchsorted(reached, (np.arange(400) + 0.5) / 400 * reached[-1])
        return np.asarray(np.clip(values[known][order][np.minimum(places, len(order) - 1)], 0.0, _highest(kpi)))

    def band(self, kpi: str, demand: Demand, share: float = 0.9) -> Ranged:
        """The median day's period, and the band in which that share of them lies."""
        days = self.days(kpi, demand)
        return ranged(days, float(np.median(days)), share) if len(days) else Ranged(math.nan, math.nan, math.nan)

    def mean_at(self, kpi: str, demand: Demand, growths: FloatArray) -> FloatArray:
        """The mean of an indicator were demand so many times as high, shape of `growths`."""
        return np.array([float(self._means(kpi, demand.grown(float(growth)))[0].mean()) for growth in growths])

    def _parts(self, kpi: str) -> tuple[FloatArray, FloatArray | None]:
        """Numerator and denominator, shape (K, I) each; none: the mean over spans is meant."""
        if kpi in SHARES:
            top, bottom = SHARES[kpi]
            return self.values[top], self.values[bottom]
        if kpi == "blocked_share":
            admitted = self.values["attempts"] - self.values["refused"] + self.values["blocked"]
            return self.values["blocked"], admitted
        if kpi in RATES:
            name, factor = RATES[kpi]
            per = self.runs.length_s if kpi in _PER_LENGTH else 1.0
            return factor / per * self.values[name], None
        if "_share of " in kpi:
            what, _, other = kpi.partition("_share of ")
            attempts, refused = self.values[f"attempts of {other}"], self.values[f"refused of {other}"]
            blocked = self.values[f"blocked of {other}"]
            return (refused, attempts) if what == "refused" else (blocked, attempts - refused + blocked)
        if kpi.startswith("ends_"):
            return self.values[kpi], self.values["calls"]
        return self.values[kpi], None

    def _curves_of(self, kpi: str) -> tuple[_Curve, _Curve | None]:
        found = self._curves.get(kpi)
        if found is None:
            levels, (top, bottom) = self.runs.levels, self._parts(kpi)
            found = (_Curve.through(levels, top), None if bottom is None else _Curve.through(levels, bottom))
            self._curves[kpi] = found
        return found

    def _known_means(self, kpi: str, demand: Demand) -> tuple[FloatArray, FloatArray]:
        """As `_means`, of a demand that is asked for again."""
        found = self._told.get((kpi, demand))
        if found is None:
            found = self._told[kpi, demand] = self._means(kpi, demand)
        return found

    def _means(self, kpi: str, demand: Demand) -> tuple[FloatArray, FloatArray]:
        """Means over all spans, shape (J,), and by repetition, shape (J, R)."""
        top, bottom = self._curves_of(kpi)
        weights = self.runs.share_of_day(demand.weights)
        upper = self._at(top, demand)
        known = ~np.isnan(upper)
        lower = known.astype(np.float64) if bottom is None else self._at(bottom, demand)
        upper = weights * np.where(known, upper, 0.0)
        lower = weights * lower
        groups = self.runs.by_repetition.T
        with np.errstate(invalid="ignore", divide="ignore"):
            means = upper.sum(axis=1) / lower.sum(axis=1)
            each = (upper @ groups) / (lower @ groups)
        return means, np.where(np.isnan(each), means[:, None], each)

    def _at(self, curve: _Curve, demand: Demand) -> FloatArray:
        """Values at the level that each alternative gives each span's day: shape (J, I). Beyond the levels that were
        simulated they stay as at the last.
        """
        return curve.at(np.clip(demand.relative[:, self.runs.day], self.runs.levels[0], self.runs.levels[-1]))


@dataclass(frozen=True, eq=False)
class _Curve:
    """A quantity of each span over the level, cubic between two levels."""

    levels: FloatArray
    """Shape (K,)."""
    pieces: FloatArray
    """Coefficients from the cubic one on, shape (4, K - 1, I); of a single level its values, shape (1, 1, I)."""
    missing: BoolArray
    """Spans without a value at some level, shape (I,)."""

    @classmethod
    def through(cls, levels: FloatArray, values: FloatArray) -> Self:
        """Through values, shape (K, I)."""
        if len(levels) == 1:
            return cls(levels, values[None], np.zeros(values.shape[1], dtype=np.bool_))
        # A span that lacks a value at one level lacks it everywhere: NaN would spread through the polynomials.
        pieces = PchipInterpolator(levels, np.nan_to_num(values), axis=0).c
        return cls(levels, pieces, np.asarray(np.isnan(values).any(axis=0)))

    def at(self, x: FloatArray) -> FloatArray:
        """Values at levels within those that it goes through, shape (J, I)."""
        if len(self.levels) == 1:
            return np.asarray(np.broadcast_to(self.pieces[0, 0], x.shape))
        piece = np.clip(np.searchsorted(self.levels, x, side="right") - 1, 0, len(self.levels) - 2)
        span, t = np.arange(x.shape[1]), x - self.levels[piece]
        found = self.pieces[0][piece, span]
        for power in (1, 2, 3):
            found = found * t + self.pieces[power][piece, span]
        found[:, self.missing] = np.nan
        return np.asarray(found)


def _highest(kpi: str) -> float:
    is_share = kpi in SHARES or kpi.startswith("ends_") or (kpi != "cpu_share" and "_share" in kpi)
    return 1.0 if is_share else math.inf


def _noisy(means: FloatArray, by_repetition: FloatArray, highest: float) -> FloatArray:
    """Means with what repetitions tell of the callers' own uncertainty and of the simulation's noise.

    Pairs of repetitions have the same callers: their differences are noise, what is left between pairs is the callers'.
    The mean over all repetitions has the noise divided by their number; a single truth has the callers' spread in full.
    """
    repetitions = by_repetition.shape[1]
    if repetitions < 2 or np.isnan(by_repetition).any():
        return means
    centre = by_repetition.mean(axis=0)
    pairs = centre[: repetitions // 2 * 2].reshape(-1, 2)
    noise = float(((pairs[:, 0] - pairs[:, 1]) ** 2).mean() / 2)
    between = float(pairs.mean(axis=1).var(ddof=1)) - noise / 2 if len(pairs) > 1 else 0.0
    error = math.sqrt(max(between, 0.0) * (1 + 1 / max(len(pairs), 1)) + noise / repetitions)
    level = float(means.mean())
    if level <= 0 or error == 0:
        return means
    z = _noise(len(means), max(repetitions - 1, 2))
    # Lognormal: an error that is as large as the mean makes nothing negative.
    deviation = math.sqrt(math.log1p((error / level) ** 2))
    return np.asarray(np.minimum(means * np.exp(np.clip(deviation * z, -20, 20) - deviation**2 / 2), highest))


@lru_cache(maxsize=64)
def _noise(count: int, degrees: int) -> FloatArray:
    """Student's t at evenly spread probabilities, in an order by chance that is always the same; shape (count,)."""
    order = generator(0, "order of simulation noise").permutation(count)
    return np.asarray(stdtrit(degrees, (order + 0.5) / count))
