"""Compute what one limit alone refuses in the busy hour: exact formulas, averaged over busier and quieter days.

Redials are included as a fixed point. They are taken as Poisson, and as late enough to be independent of the refusal
before them. Nothing is simulated here. Only `sweep` can say what several limits do together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammainc, gammaincinv

from trunkproof.experiments.review.theory.lost import failures_of
from trunkproof.models.arrays import FloatArray
from trunkproof.models.records import Disposition
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.traffic import Traffic

Share = Callable[[FloatArray], FloatArray]
"""A function: attempts per minute -> the share of them that is refused. It never falls."""
LARGEST_PER_MINUTE = 1e7
_FACTORS = 40
_STEPS, _SETTLED = 2000, 1e-12
"""Most steps of the iteration, and the relative change below which it has reached its fixed point."""
_GRID = np.concatenate(
    [np.linspace(0.01, 0.7, 24), np.linspace(0.7, 1.3, 181)[1:], np.linspace(1.3, 4, 28)[1:], [8.0, 20.0]]
)
"""Loads, as multiples of the limit, at which a formula is computed. Between them it is interpolated."""
_NOTHING = 1e-30
"""Stands for a share of 0, which has no logarithm."""
_FLUID_FROM = 20_000
"""A larger limit refuses what exceeds it: chance does not matter there."""


@dataclass(frozen=True)
class Busyness:
    """How the hour's load differs from day to day and from period to period: gamma factors of mean 1."""

    day_cv: float = 0.0
    period_cv: float = 0.0

    @property
    def days(self) -> FloatArray:
        """Return equally likely factors of a day, of mean 1."""
        return gamma_factors(self.day_cv, _FACTORS)

    @property
    def periods(self) -> FloatArray:
        """Return equally likely factors of a period, of mean 1."""
        return gamma_factors(self.period_cv, _FACTORS)


@lru_cache(maxsize=64)
def gamma_factors(cv: float, count: int) -> FloatArray:
    """Return equally likely values of a gamma distribution of mean 1: means of its `count` equal parts. Read only."""
    factors: FloatArray = np.ones(1)
    if cv > 0:
        shape, scale = cv**-2, 1 / cv**-2
        bounds = gammaincinv(shape, np.linspace(0, 1, count + 1)) * scale
        # The mean over a part is the difference of the distribution function one shape higher.
        factors = np.asarray(np.diff(gammainc(shape + 1, bounds / scale)) * count, dtype=np.float64)
    # The cache gives the same array to every caller, so nobody may write to it.
    factors.flags.writeable = False
    return factors


@dataclass(frozen=True)
class Callers:
    """What a limit needs to know of the traffic: how often callers try again, after its refusals and after others."""

    redial_probability: float
    """Probability of another attempt after the limit refused one."""
    again_share: float = 0.0
    """Share of the attempts that pass the limit and are tried again: busy, not answered, rejected beyond it."""
    rejected_probability: float | None = None
    """Probability of another attempt after the carrier refused one. None: as after the limit's refusals."""

    @classmethod
    def of(cls, traffic: Traffic) -> Callers:
        """Return the callers of a traffic, as if they never stopped and always tried with their largest chance.

        That is the harder case, so the formulas are on the safe side.
        """
        redial = traffic.redial
        return cls(
            min(0.99, redial.largest(Disposition.THROTTLED)),
            min(0.99, sum(share * redial.largest(reason) for reason, share in failures_of(traffic.outcomes))),
            min(0.99, redial.largest(Disposition.CARRIER_REJECTED)),
        )

    @property
    def at_carrier(self) -> Callers:
        """Return the same callers for a limit of the carrier."""
        if self.rejected_probability is None:
            return self
        return replace(self, redial_probability=self.rejected_probability)

    def again(self, refused: FloatArray) -> FloatArray:
        """Return the redials per attempt if that share of the attempts is refused."""
        return refused * self.redial_probability + (1 - refused) * self.again_share

    def attempts(self, share: Share, fresh: FloatArray) -> FloatArray:
        """Return the attempts per minute, given fresh calls per minute: the least with attempts (1 - again) = fresh.

        If refused attempts count against the limit, there may be more than one solution: a trunk that is once full of
        redials stays full. The least is that of a calm hour. The iteration climbs to it from below.
        """
        attempts = fresh
        for _ in range(_STEPS):
            before = attempts
            attempts = fresh / (1 - self.again(share(before)))
            if np.all(attempts - before <= _SETTLED * before):
                break
        return attempts


def shares(share: Share, fresh: float, callers: Callers, busyness: Busyness) -> tuple[float, float]:
    """Return the share of attempts refused and of callers lost by it, in a mean busy hour; `fresh` is per minute."""
    offered = fresh * np.outer(busyness.days, busyness.periods)
    attempts = callers.attempts(share, offered)
    refused = share(attempts)
    # Lost: every attempt that fails for good. What the far side refuses anyway is not lost by the trunk.
    lost = attempts * refused * (1 - callers.redial_probability)
    by_day = (attempts * refused).sum(axis=1) / attempts.sum(axis=1)
    return float(by_day.mean()), float((lost.sum(axis=1) / offered.sum(axis=1)).mean())


@dataclass(frozen=True)
class Bounds:
    """The largest shares that may be refused and lost. None: no bound was asked for."""

    refused: float | None
    lost: float | None

    def worst(self, refused: float, lost: float) -> float:
        """Return the larger of both shares over its bound. Above 1 a bound is broken; 0 if there are no bounds."""
        pairs = ((refused, self.refused), (lost, self.lost))
        return max((_over(value, bound) for value, bound in pairs if bound is not None), default=0.0)


def _over(value: float, bound: float) -> float:
    return value / bound if bound else math.inf if value else 0.0


@lru_cache(maxsize=1024)
def largest_fresh(share: Share, callers: Callers, busyness: Busyness, bounds: Bounds) -> float | None:
    """Return the fresh calls per minute in the busy hour up to which a limit alone keeps the bounds. None: always."""
    # Cached: a tornado changes one premise at a time, and most limits do not depend on that one.

    def excess(logarithm: float) -> float:
        worst = bounds.worst(*shares(share, math.exp(logarithm), callers, busyness))
        return math.log(max(min(worst, 1e9), 1e-9))

    low, high = math.log(1e-3), math.log(LARGEST_PER_MINUTE)
    if excess(high) <= 0:
        return None
    return 0.0 if excess(low) > 0 else math.exp(float(brentq(excess, low, high, xtol=1e-5)))


@lru_cache(maxsize=256)
def throttle_share(throttle: ThrottleSettings) -> Share:
    """Return the share of Poisson attempts that a throttle refuses, as a function of arrays."""
    per_minute = throttle.per_minute
    if math.isinf(per_minute):
        return np.zeros_like
    rates = _GRID * per_minute
    passed = np.vectorize(lambda attempts: throttle.passed(attempts, 60.0), otypes=[np.float64])
    exact = [] if throttle.size > _FLUID_FROM else [throttle.refused_share(float(rate)) for rate in rates]
    known = [share for share in exact if share is not None]
    if not known or len(known) < len(exact):
        return lambda attempts: 1 - passed(np.maximum(attempts, 1e-9)) / np.maximum(attempts, 1e-9)
    return _interpolated(rates, np.array(known))


def behind(first: Share, second: Share) -> Share:
    """Return what two limits refuse together. The second meets what the first passes, taken as Poisson again."""

    def share(attempts: FloatArray) -> FloatArray:
        passes = 1 - first(attempts)
        return 1 - passes * (1 - second(attempts * passes))

    return share


@lru_cache(maxsize=64)
def servers_share(servers: int, mean_s: float, others_erlang: float = 0.0) -> Share:
    """Return what a pool of servers without a queue refuses (Erlang B), which also carries other trunks' Erlangs."""
    if servers > _FLUID_FROM:
        return lambda attempts: np.maximum(0.0, 1 - servers / np.maximum(attempts / 60 * mean_s + others_erlang, 1e-9))
    # The grid is relative to what is left beside the neighbours: there the curve bends.
    rates = _GRID * max(1.0, servers - others_erlang) * 60 / mean_s
    offered = rates / 60 * mean_s + others_erlang
    blocking = np.ones_like(offered)
    for busy in range(1, servers + 1):
        blocking = offered * blocking / (busy + offered * blocking)
    return _interpolated(rates, blocking)


def _interpolated(rates: FloatArray, known: FloatArray) -> Share:
    """Interpolate between computed points, linearly in the logarithm, as tails fall.

    Beyond the last point the admitted calls per minute stay as they are there.
    """
    # A share must not fall, or the iteration for redials would not climb to its fixed point.
    known = np.maximum.accumulate(known)
    logarithms = np.log(np.maximum(known, _NOTHING))
    admitted = (1 - known[-1]) * rates[-1]

    def share(attempts: FloatArray) -> FloatArray:
        beyond = 1 - admitted / np.maximum(attempts, rates[-1])
        return np.where(attempts > rates[-1], beyond, np.exp(np.interp(attempts, rates, logarithms)))

    return share
