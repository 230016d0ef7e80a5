"""What one limit alone refuses in the busy hour, by the exact formulas, averaged over busier and quieter days.

Redials are in it as a fixed point: taken as Poisson, and late enough to be independent of what refused them. Nothing is
simulated here; what several limits do together is `sweep`'s to say.
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
"""Attempts per minute -> share of them refused; does not fall."""
LARGEST_PER_MINUTE = 1e7
_FACTORS = 40
_STEPS, _SETTLED = 2000, 1e-12
"""Most steps to a fixed point, and the relative change below which it is one."""
_GRID = np.concatenate(
    [np.linspace(0.01, 0.7, 24), np.linspace(0.7, 1.3, 181)[1:], np.linspace(1.3, 4, 28)[1:], [8.0, 20.0]]
)
"""Loads, in limits, at which a formula is computed; between them it is interpolated."""
_NOTHING = 1e-30
"""Of which the logarithm is taken where nothing is refused."""
_FLUID_FROM = 20_000
"""Limits beyond this refuse what exceeds them, and chance does not matter."""


@dataclass(frozen=True)
class Busyness:
    """How the hour's load differs from day to day and from period to period: gamma factors of mean 1."""

    day_cv: float = 0.0
    period_cv: float = 0.0

    @property
    def days(self) -> FloatArray:
        """Equally likely factors of a day, mean 1."""
        return gamma_factors(self.day_cv, _FACTORS)

    @property
    def periods(self) -> FloatArray:
        """Equally likely factors of a period, mean 1."""
        return gamma_factors(self.period_cv, _FACTORS)


@lru_cache(maxsize=64)
def gamma_factors(cv: float, count: int) -> FloatArray:
    """Equally likely values of a gamma distribution of mean 1: the means of its `count` equal parts; read only."""
    factors: FloatArray = np.ones(1)
    if cv > 0:
        shape, scale = cv**-2, 1 / cv**-2
        bounds = gammaincinv(shape, np.linspace(0, 1, count + 1)) * scale
        # The mean over a part is the difference of the distribution function one shape higher.
        factors = np.asarray(np.diff(gammainc(shape + 1, bounds / scale)) * count, dtype=np.float64)
    # Everybody who asks has the same array.
    factors.flags.writeable = False
    return factors


@dataclass(frozen=True)
class Callers:
    """What matters of the traffic to a limit: who tries again, after the limit refused him and otherwise."""

    redial_probability: float
    """After an attempt that the limit refused."""
    again_share: float = 0.0
    """Of attempts that pass the limit, the share that are tried again: busy, not answered, rejected beyond it."""
    rejected_probability: float | None = None
    """After an attempt that the carrier refused, where it is another."""

    @classmethod
    def of(cls, traffic: Traffic) -> Callers:
        """Of a traffic whose callers try again without end, and as often as they ever do: the harder case."""
        redial = traffic.redial
        return cls(
            min(0.99, redial.largest(Disposition.THROTTLED)),
            min(0.99, sum(share * redial.largest(reason) for reason, share in failures_of(traffic.outcomes))),
            min(0.99, redial.largest(Disposition.CARRIER_REJECTED)),
        )

    @property
    def at_carrier(self) -> Callers:
        """The same where the limit is the carrier's."""
        if self.rejected_probability is None:
            return self
        return replace(self, redial_probability=self.rejected_probability)

    def again(self, refused: FloatArray) -> FloatArray:
        """Redials per attempt, where that share of attempts is refused."""
        return refused * self.redial_probability + (1 - refused) * self.again_share

    def attempts(self, share: Share, fresh: FloatArray) -> FloatArray:
        """Attempts per minute that come of fresh calls per minute: the least that fit attempts (1 - again) = fresh.

        Where refused attempts count against the limit there may be more than one answer: a trunk that is once full of
        redials stays full. What a calm hour comes to is the least, which this climbs to from below.
        """
        attempts = fresh
        for _ in range(_STEPS):
            before = attempts
            attempts = fresh / (1 - self.again(share(before)))
            if np.all(attempts - before <= _SETTLED * before):
                break
        return attempts


def shares(share: Share, fresh: float, callers: Callers, busyness: Busyness) -> tuple[float, float]:
    """Share of attempts refused, and of callers lost by it, in a mean busy hour with so many fresh calls per minute."""
    offered = fresh * np.outer(busyness.days, busyness.periods)
    attempts = callers.attempts(share, offered)
    refused = share(attempts)
    # Lost: every attempt that fails for good. What the far side refuses anyway is not lost by the trunk.
    lost = attempts * refused * (1 - callers.redial_probability)
    by_day = (attempts * refused).sum(axis=1) / attempts.sum(axis=1)
    return float(by_day.mean()), float((lost.sum(axis=1) / offered.sum(axis=1)).mean())


@dataclass(frozen=True)
class Bounds:
    """The most that may be refused and lost; none: not asked."""

    refused: float | None
    lost: float | None

    def worst(self, refused: float, lost: float) -> float:
        """The share nearest to its bound, over it: above 1 is too much; 0 where nothing is asked."""
        pairs = ((refused, self.refused), (lost, self.lost))
        return max((_over(value, bound) for value, bound in pairs if bound is not None), default=0.0)


def _over(value: float, bound: float) -> float:
    return value / bound if bound else math.inf if value else 0.0


@lru_cache(maxsize=1024)
def largest_fresh(share: Share, callers: Callers, busyness: Busyness, bounds: Bounds) -> float | None:
    """Fresh calls per minute in the busy hour up to which a limit alone keeps the bounds; None: it always does."""
    # Kept, as a tornado turns one premise at a time and most limits do not ask for that one.

    def excess(logarithm: float) -> float:
        worst = bounds.worst(*shares(share, math.exp(logarithm), callers, busyness))
        return math.log(max(min(worst, 1e9), 1e-9))

    low, high = math.log(1e-3), math.log(LARGEST_PER_MINUTE)
    if excess(high) <= 0:
        return None
    return 0.0 if excess(low) > 0 else math.exp(float(brentq(excess, low, high, xtol=1e-5)))


@lru_cache(maxsize=256)
def throttle_share(throttle: ThrottleSettings) -> Share:
    """What a throttle refuses of Poisson attempts, as a function that takes arrays."""
    per_minute = throttle.per_minute
    if math.isinf(per_minute):
        return np.zeros_like
    rates = _GRID * per_minute
    exact = [] if throttle.size > _FLUID_FROM else [throttle.refused_share(float(rate)) for rate in rates]
    known = [share for share in exact if share is not None]
    if not known or len(known) < len(exact):
        return lambda attempts: np.maximum(0.0, 1 - per_minute / np.maximum(attempts, 1e-9))
    return _interpolated(rates, np.array(known))


def behind(first: Share, second: Share) -> Share:
    """What two limits refuse together, the second of what the first lets pass, taken as Poisson again."""

    def share(attempts: FloatArray) -> FloatArray:
        passes = 1 - first(attempts)
        return 1 - passes * (1 - second(attempts * passes))

    return share


@lru_cache(maxsize=64)
def servers_share(servers: int, mean_s: float, others_erlang: float = 0.0) -> Share:
    """What a pool of servers without a queue refuses (Erlang B), with other trunks' Erlangs in it as well."""
    if servers > _FLUID_FROM:
        return lambda attempts: np.maximum(0.0, 1 - servers / np.maximum(attempts / 60 * mean_s + others_erlang, 1e-9))
    rates = _GRID * max(1.0, servers - others_erlang) * 60 / mean_s
    offered = rates / 60 * mean_s + others_erlang
    blocking = np.ones_like(offered)
    for busy in range(1, servers + 1):
        blocking = offered * blocking / (busy + offered * blocking)
    return _interpolated(rates, blocking)


def _interpolated(rates: FloatArray, known: FloatArray) -> Share:
    """Between computed points along straight lines of the logarithm, as tails go; beyond the last one what is admitted
    stays as it is.
    """
    known = np.maximum.accumulate(known)
    logarithms = np.log(np.maximum(known, _NOTHING))
    admitted = (1 - known[-1]) * rates[-1]

    def share(attempts: FloatArray) -> FloatArray:
        beyond = 1 - admitted / np.maximum(attempts, rates[-1])
        return np.where(attempts > rates[-1], beyond, np.exp(np.interp(attempts, rates, logarithms)))

    return share
