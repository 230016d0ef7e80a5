"""Draw the whole case of one examination: a customer, and the raise that they ask for.

About half of the cases are close calls: the throttle that is just enough lies close to a candidate or to the present
throttle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trunkproof.experiments.verification.review.enforced import FIXED_WINDOW, Enforced, Policy
from trunkproof.experiments.verification.review.export import write_export
from trunkproof.experiments.verification.review.kernel import UNLIMITED
from trunkproof.experiments.verification.review.kinds import mechanism as make_mechanism
from trunkproof.experiments.verification.review.mechanism import Mechanism
from trunkproof.experiments.verification.review.traffic import MINUTES
from trunkproof.experiments.verification.review.truth import Bounds, Period, future_day, truth

BUSY = 0.9
"""A weekday counts if its busiest hour has at least this share of the week's busiest."""
_DAYS_OF_MEANS, _TRIED_DAYS = 30, 100


@dataclass(frozen=True, eq=False)
class Scenario:
    """A customer and what they ask for."""

    mechanism: Mechanism
    seed: int
    interpretations: tuple[Policy, ...]
    """The interpretations of the throttle that the request names."""
    now: int
    requested: int
    candidates: tuple[int, ...]
    channels: int
    bounds: Bounds
    just_enough: int
    """About the smallest throttle that keeps every target under every interpretation, without a channel limit."""

    @property
    def named_candidates(self) -> tuple[int, ...]:
        """Return the candidates that the request names. In half of the cases it names none."""
        return self.candidates if self.seed // 5 % 2 == 0 else ()

    @property
    def enforced_interpretation(self) -> int | None:
        """Return the index of the true interpretation; None where the request does not name it."""
        policy = self.mechanism.enforced
        return self.interpretations.index(policy) if policy in self.interpretations else None

    @property
    def enforced(self) -> Enforced:
        """Return how the throttle worked during the history."""
        limits: tuple[tuple[int, int], ...] = ((0, self.now),)
        if self.mechanism.limit_before is not None:
            before = max(1, round(self.mechanism.limit_before * self.now))
            limits = ((0, before), (self.mechanism.days // 2, self.now))
        anchor_s = float(np.random.default_rng([self.seed, 5]).uniform(0, 60))
        return Enforced(self.mechanism.enforced, limits, anchor_s)

    def draws(self) -> np.random.Generator:
        """Return a new generator for the history. It gives the same draws each time."""
        return np.random.default_rng([self.seed, 3, *self.mechanism.kind.encode()])

    def write_history(self, path: Path) -> float:
        """Write the customer's file. Return the share of all attempts of the history that were refused."""
        made = write_export(self.mechanism, self.enforced, path, self.draws(), self.channels)
        return float((made[:, 3] >= 5).mean())


def scenario(kind: str, seed: int, horizon_days: int) -> Scenario:
    """Draw the scenario of that kind and seed.

    Raises:
        KeyError: there is no such kind.
    """
    mechanism = make_mechanism(kind, seed)
    rng = np.random.default_rng([seed, 1, *kind.encode()])
    interpretations = _interpretations(rng)
    bounds = Bounds(refused=float(rng.choice([0.01, 0.01, 0.02])), lost=0.01)
    judged = busiest(mechanism, horizon_days)
    enough = just_enough(mechanism, judged, interpretations, bounds, horizon_days, seed)
    now, requested, candidates = _limits(rng, seed, enough)
    return Scenario(
        mechanism=mechanism,
        seed=seed,
        interpretations=interpretations,
        now=now,
        requested=requested,
        candidates=candidates,
        channels=_channels(rng, mechanism, horizon_days, judged),
        bounds=bounds,
        just_enough=enough,
    )


def _interpretations(rng: np.random.Generator) -> tuple[Policy, ...]:
    """Draw interpretations: a fixed window always, and some of the others."""
    others = [
        Policy("sliding_window_admitted"),
        Policy("token_bucket", burst=int(rng.integers(10, 25))),
        Policy("sliding_window_attempts"),
        Policy("shaper", max_delay_s=float(rng.integers(10, 25))),
    ]
    chances = (0.8, 0.8, 0.25, 0.25)
    chosen = [other for other, chance in zip(others, chances, strict=True) if rng.random() < chance]
    return (FIXED_WINDOW, *chosen)


def _limits(rng: np.random.Generator, seed: int, enough: int) -> tuple[int, int, tuple[int, ...]]:
    """Draw the present throttle, the requested one and the candidates, in five kinds of cases by the seed."""

    def near(low: float, high: float) -> int:
        return max(2, round(enough * rng.uniform(low, high)))

    match seed % 5:
        case 0:  # more than enough is asked for
            now, requested = near(0.65, 0.85), near(1.25, 1.6)
            between = [near(0.9, 1.0), near(1.05, 1.2)]
        case 1:  # enough lies between two candidates that are close
            now, requested = near(0.7, 0.85), near(1.15, 1.3)
            between = [near(0.93, 0.99), near(1.01, 1.06)]
        case 2:  # not enough is asked for
            now, requested = near(0.65, 0.75), near(0.85, 0.97)
            between = [near(0.76, 0.84)]
        case 3:  # the present one is enough
            now, requested = near(1.1, 1.4), near(1.5, 2.0)
            between = [near(1.41, 1.49)]
        case _:  # the present one is just enough, or just not
            now, requested = near(0.95, 1.08), near(1.3, 1.6)
            between = [near(1.09, 1.15), near(1.16, 1.25)]
    requested = max(requested, now + 1)
    return now, requested, tuple(sorted({value for value in between if now < value < requested}))


def _channels(rng: np.random.Generator, mechanism: Mechanism, horizon_days: int, judged: Sequence[Period]) -> int:
    """Draw a channel limit for two in five customers: from about 1 % of calls blocked to none."""
    if rng.random() < 0.6:
        return UNLIMITED
    weekday, begin_s, end_s = judged[0]
    rates = _mean_rates(mechanism, weekday, horizon_days)[int(begin_s // 60) : int(end_s // 60)]
    erlang = float(rates.mean()) * mechanism.callers.channel_s / 60
    return math.ceil(erlang + rng.uniform(2.0, 5.0) * math.sqrt(erlang))


def _mean_rates(mechanism: Mechanism, weekday: int, horizon_days: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    rng = np.random.default_rng([weekday, 11])
    days = [future_day(mechanism, weekday, horizon_days, rng) for _ in range(_DAYS_OF_MEANS)]
    return np.asarray(np.mean([mechanism.traffic.rates(rng, day) for day in days], axis=0))


def busiest(mechanism: Mechanism, horizon_days: int) -> tuple[Period, ...]:
    """Return the busiest clock hour of every weekday that has a busy one, the busiest first."""
    hours = np.array(
        [_mean_rates(mechanism, day, horizon_days).reshape(24, MINUTES // 24).mean(axis=1) for day in range(7)]
    )
    peaks = hours.max(axis=1)
    days = [int(day) for day in np.argsort(-peaks) if peaks[day] >= BUSY * peaks.max()]
    return tuple((day, 3600.0 * float(hours[day].argmax()), 3600.0 * float(hours[day].argmax() + 1)) for day in days)


def just_enough(  # noqa: PLR0917  # in the order in which one would say it
    mechanism: Mechanism,
    judged: Sequence[Period],
    interpretations: Sequence[Policy],
    bounds: Bounds,
    horizon_days: int,
    seed: int,
) -> int:
    """Return the smallest throttle that keeps the targets on some fresh days, by bisection over the same days."""

    def is_enough(limit: int) -> bool:
        found = truth(
            mechanism, judged, interpretations, [limit], bounds=bounds, seed=seed + 1_000_000,
            horizon_days=horizon_days, most_days=_TRIED_DAYS,
        )  # fmt: skip
        return all(cell.refused.value <= bounds.refused and cell.lost.value <= bounds.lost for cell in found.values())

    low, high = 1, 16
    while not is_enough(high):
        low, high = high, 2 * high
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
