"""Arrival settings -> a rate over time, and from it the instants of the calls.

Every kind of arrivals but the replayed one is the same process seen through another clock: a unit-rate stream of
points, mapped through the inverse of the cumulated rate. Bursts and busyness factors first draw their rate, then do the
same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from trunkproof.models.arrays import FloatArray
from trunkproof.models.streams import generator, uniforms
from trunkproof.models.traffic import (
    Arrivals,
    BurstArrivals,
    ConstantArrivals,
    DiurnalArrivals,
    OverdispersedArrivals,
    PiecewiseArrivals,
    PoissonArrivals,
    RampArrivals,
    ReplayedArrivals,
    StagedArrivals,
    WeeklyArrivals,
)

_HOUR_S = 3600.0


@dataclass(frozen=True, eq=False)
class RatePath:
    """A rate that is linear on each of n segments.

    `knots_s` has shape (n + 1,) and ascends; `left_per_s` and `right_per_s` have shape (n,): the rate at both ends of
    each segment.
    """

    knots_s: FloatArray
    left_per_s: FloatArray
    right_per_s: FloatArray

    @property
    def cumulative(self) -> FloatArray:
        """Return the expected calls up to each knot, shape (n + 1,)."""
        areas = np.diff(self.knots_s) * (self.left_per_s + self.right_per_s) / 2
        return np.concatenate([[0.0], np.cumsum(areas)])

    @property
    def expected_calls(self) -> float:
        """Return the expected calls over the whole path."""
        return float(self.cumulative[-1])

    def inverse(self, expected: FloatArray) -> FloatArray:
        """Return the instants by which so many calls are expected. `expected` must lie in [0, expected_calls)."""
        cumulative = self.cumulative
        # A stretch without calls has the same value at both ends. `right` finds the segment after it: no call falls
        # into it.
        segment = np.searchsorted(cumulative, expected, side="right") - 1
        segment = np.clip(segment, 0, len(self.left_per_s) - 1)
        area = expected - cumulative[segment]
        left, right = self.left_per_s[segment], self.right_per_s[segment]
        slope = (right - left) / np.diff(self.knots_s)[segment]
        # The root of slope/2 t² + left t = area, in the form that stays exact when slope or left is 0.
        root = left + np.sqrt(np.maximum(left * left + 2 * slope * area, 0.0))
        return self.knots_s[segment] + np.divide(2 * area, root, out=np.zeros_like(area), where=root > 0)

    def rate_per_minute(self, instants_s: FloatArray) -> FloatArray:
        """Return the rate at the given instants."""
        segment = np.clip(np.searchsorted(self.knots_s, instants_s, side="right") - 1, 0, len(self.left_per_s) - 1)
        share = (instants_s - self.knots_s[segment]) / np.diff(self.knots_s)[segment]
        return 60 * (self.left_per_s[segment] * (1 - share) + self.right_per_s[segment] * share)


def _stepped(knots_s: FloatArray, per_minute: FloatArray) -> RatePath:
    return RatePath(knots_s, per_minute / 60, per_minute / 60)


@singledispatch
def rate_path(arrivals: Arrivals, duration_s: float, seed: int, trunk: int) -> RatePath:
    """Return the rate over [0, duration_s). A random rate is drawn from the seed's own stream for this trunk."""
    raise TypeError(f"{type(arrivals).__name__} has no rate")


@rate_path.register(ConstantArrivals | PoissonArrivals)
def _flat(arrivals: ConstantArrivals | PoissonArrivals, duration_s: float, seed: int, trunk: int) -> RatePath:
    return _stepped(np.array([0.0, duration_s]), np.array([arrivals.rate_per_minute]))


@rate_path.register
def _ramp(arrivals: RampArrivals, duration_s: float, seed: int, trunk: int) -> RatePath:
    ends = np.array([arrivals.from_per_minute, arrivals.to_per_minute]) / 60
    return RatePath(np.array([0.0, duration_s]), ends[:1], ends[1:])


@rate_path.register
def _piecewise(arrivals: PiecewiseArrivals, duration_s: float, seed: int, trunk: int) -> RatePath:
    at = np.array([point.at_s for point in arrivals.points])
    rates = np.array([point.rate_per_minute for point in arrivals.points])
    knots = np.unique(np.concatenate([[0.0], at[at < duration_s], [duration_s]]))
    if arrivals.shape == "linear":
        values = np.interp(knots, at, rates) / 60
        return RatePath(knots, values[:-1], values[1:])
    # Before the first point there is no traffic yet.
    index = np.searchsorted(at, knots[:-1], side="right") - 1
    return _stepped(knots, np.where(index >= 0, rates[index], 0.0))


@rate_path.register
def _staged(arrivals: StagedArrivals, duration_s: float, seed: int, trunk: int) -> RatePath:
    knots, left, right = [0.0], list[float](), list[float]()
    rounds = itertools.cycle(arrivals.stages) if arrivals.repeat else iter(arrivals.stages)
    for stage in rounds:
        if knots[-1] >= duration_s:
            break
        first = stage.calls_per_minute if stage.ramp_from_per_minute is None else stage.ramp_from_per_minute
        # The study may end within a stage. A ramp has then got as far as that.
        share = min(1.0, (duration_s - knots[-1]) / stage.for_s)
        left.append(first)
        right.append(first + share * (stage.calls_per_minute - first))
        knots.append(min(duration_s, knots[-1] + stage.for_s))
    if knots[-1] < duration_s:
        knots, left, right = [*knots, duration_s], [*left, 0.0], [*right, 0.0]
    return RatePath(np.array(knots), np.array(left) / 60, np.array(right) / 60)


@rate_path.register
def _diurnal(arrivals: DiurnalArrivals, duration_s: float, seed: int, trunk: int) -> RatePath:
    hour_s = arrivals.seconds_per_hour
    first = int(arrivals.start_hour)
    changes = (np.arange(1, int(duration_s / hour_s) + 2) + first - arrivals.start_hour) * hour_s
    knots = np.concatenate([[0.0], changes[changes < duration_s], [duration_s]])
    hours = (first + np.arange(len(knots) - 1)) % 24
    return _stepped(knots, np.array(arrivals.hourly_per_minute)[hours])


@rate_path.register
def _bursts(arrivals: BurstArrivals, duration_s: float, seed: int, trunk: int) -> RatePath:
    random = generator(seed, "burst states", trunk)
    means = (arrivals.mean_quiet_s, arrivals.mean_burst_s)
    # Started in the stationary state; exponential times have no memory, so the first one is like the others.
    bursting = bool(random.random() < means[1] / sum(means))
    knots, rates = [0.0], []
    while knots[-1] < duration_s:
        rates.append(arrivals.burst_per_minute if bursting else arrivals.quiet_per_minute)
        knots.append(knots[-1] + random.exponential(means[bursting]))
        bursting = not bursting
    knots[-1] = duration_s
    return _stepped(np.array(knots), np.array(rates))


@rate_path.register
def _overdispersed(arrivals: OverdispersedArrivals, duration_s: float, seed: int, trunk: int) -> RatePath:
    knots = _boundaries(duration_s, arrivals.period_s)
    factors = _busyness(generator(seed, "busyness", trunk), arrivals.busyness_cv, len(knots) - 1)
    return _stepped(knots, arrivals.rate_per_minute * factors)


@rate_path.register
def _weekly(arrivals: WeeklyArrivals, duration_s: float, seed: int, trunk: int) -> RatePath:
    hourly = np.array(arrivals.hourly_per_minute)
    began_s = (24 * arrivals.start_weekday + arrivals.start_hour) * _HOUR_S
    periods = _boundaries(duration_s, arrivals.period_s)
    hours = np.arange(np.ceil(began_s / _HOUR_S), np.ceil((began_s + duration_s) / _HOUR_S)) * _HOUR_S - began_s
    knots = np.union1d(periods, hours)
    # A boundary lies a rounding error before or behind its hour.
    hour = np.floor((knots[:-1] + began_s) / _HOUR_S + 1e-9).astype(np.int64)
    day = hour // 24 - int(began_s // _HOUR_S) // 24
    by_day = _busyness(generator(seed, "busyness of days", trunk), arrivals.day_cv, int(day[-1]) + 1)
    by_period = _busyness(generator(seed, "busyness", trunk), arrivals.period_cv, len(periods) - 1)
    period = np.searchsorted(periods, knots[:-1], side="right") - 1
    return _stepped(knots, hourly[hour // 24 % 7, hour % 24] * by_day[day] * by_period[period])


def _boundaries(duration_s: float, period_s: float) -> FloatArray:
    return np.append(np.arange(int(np.ceil(duration_s / period_s))) * period_s, duration_s)


def _busyness(random: np.random.Generator, cv: float, count: int) -> FloatArray:
    """Return random gamma factors of mean 1."""
    # Shape times scale is the mean, 1. Poisson counts with such a rate are negative binomial, and
    # `teletraffic.overdispersed_window_refused` has the exact formula for them.
    return random.gamma(cv**-2, cv**2, count) if cv > 0 else np.ones(count)


def arrival_chunks(
    arrivals: Arrivals, duration_s: float, seed: int, trunk: int, calls_per_chunk: int
) -> Iterator[FloatArray]:
    """Return the instants of all calls in [0, duration_s), ascending, at most `calls_per_chunk` at a time."""
    if isinstance(arrivals, ReplayedArrivals):
        instants = np.sort(np.array(arrivals.instants_s))
        instants = instants[instants < duration_s]
        yield from (instants[i : i + calls_per_chunk] for i in range(0, len(instants), calls_per_chunk))
        return
    path = rate_path(arrivals, duration_s, seed, trunk)
    total, reached, start = path.expected_calls, 0.0, 0
    while True:
        if isinstance(arrivals, ConstantArrivals) or (
            isinstance(arrivals, StagedArrivals) and arrivals.spacing == "constant"
        ):
            # Evenly spaced calls are points at all whole numbers, from the first instant on.
            points = np.arange(start, start + calls_per_chunk, dtype=np.float64)
        else:
            gaps = -np.log(uniforms(seed, "arrival", trunk, start=start, count=calls_per_chunk))
            # Added one by one from where the last chunk ended: the sums then do not depend on the chunks.
            points = np.cumsum(np.concatenate([[reached], gaps]))[1:]
        # Points from the total on would lie after the end of the study.
        yield path.inverse(points[points < total])
        if points[-1] >= total:
            return
        reached, start = float(points[-1]), start + calls_per_chunk
