"""What callers do: how their calls end, how long they last, and whether they call again.

A distribution of durations is a table of quantiles, evenly spaced from 0 to 1. The table is the distribution itself:
its mean is exact, and no draw lies beyond its last entry.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from trunkproof.experiments.verification.review.kernel import (
    BUSY,
    NO_ANSWER,
    NO_CHANNEL,
    REJECTED,
    THROTTLED,
    UNLIMITED,
    play,
)
from trunkproof.models.arrays import FloatArray

_ENTRIES = 2049
_FURTHEST = 0.9999
"""The quantile that is a table's last entry."""
KINDS_OF_ENDING = 7


@dataclass(frozen=True, eq=False)
class Callers:
    """The behaviour of one customer's callers, as the arrays that `kernel.play` takes."""

    endings: FloatArray
    durations: FloatArray
    redial: FloatArray
    delays: FloatArray

    def play(
        self,
        fresh_s: FloatArray,
        seed: int,
        throttle: FloatArray,
        channels: int = UNLIMITED,
        period: tuple[float, float] = (0.0, 0.0),
    ) -> FloatArray:
        """Play calls and return the counts of the period, indexed by `kernel.N_ATTEMPTS` and so on."""
        counts, _ = self._played(fresh_s, seed, throttle, channels, period, np.empty((0, 6)))
        return counts

    def recorded(
        self,
        fresh_s: FloatArray,
        seed: int,
        throttle: FloatArray,
        channels: int = UNLIMITED,
        period: tuple[float, float] = (0.0, 0.0),
    ) -> tuple[FloatArray, FloatArray]:
        """Play calls and return the same counts, and every attempt, shape (attempts, 6)."""
        records = np.empty((len(fresh_s) * self.redial.shape[1], 6))
        counts, filled = self._played(fresh_s, seed, throttle, channels, period, records)
        return counts, records[:filled]

    def _played(  # noqa: PLR0917  # as `kernel.play`
        self,
        fresh_s: FloatArray,
        seed: int,
        throttle: FloatArray,
        channels: int,
        period: tuple[float, float],
        records: FloatArray,
    ) -> tuple[FloatArray, int]:
        habits = (self.endings, self.durations, self.redial, self.delays)
        return play(fresh_s, seed, throttle, channels, *habits, np.array(period), records)

    @property
    def channel_s(self) -> float:
        """Return the approximate mean time that a call occupies a channel."""
        answered = self.endings[0]
        ring_s, hold_s = self.durations[1].mean(), self.durations[0].mean()
        return float(answered * (ring_s + hold_s) + 30.0 * (self.endings[2] - self.endings[1]))


def callers(
    rng: np.random.Generator,
    *,
    hold_s: tuple[float, float] = (30.0, 120.0),
    rejected: float | None = None,
    human: bool = False,
) -> Callers:
    """Draw a customer's callers.

    Args:
        rng: the generator of random numbers.
        hold_s: range of the mean talking time.
        rejected: share of calls that the far side rejects; None draws one below 1 %.
        human: whether callers redial as people do: many times after a refusal, sometimes after busy and no answer, and
            after waits from seconds to an hour.
    """
    rejects = rng.uniform(0.0, 0.01) if rejected is None else rejected
    shares = np.array([0.0, rng.uniform(0.03, 0.08), rng.uniform(0.06, 0.14), rng.uniform(0.02, 0.05), rejects])
    shares[0] = 1.0 - shares.sum()
    durations = np.array(
        [
            lognormal_table(rng.uniform(*hold_s), rng.uniform(0.7, 1.3)),
            lognormal_table(rng.uniform(7.0, 12.0), rng.uniform(0.3, 0.6)),
            lognormal_table(rng.uniform(5.0, 9.0), rng.uniform(0.5, 0.9)),
        ]
    )
    redial, delays = _human_redials(rng) if human else _plain_redials(rng)
    return Callers(np.cumsum(shares), durations, redial, delays)


def _plain_redials(rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return one probability after every failure, and waits with a small spread."""
    redial = np.zeros((KINDS_OF_ENDING, 5))
    redial[[REJECTED, THROTTLED, NO_CHANNEL], :-1] = rng.uniform(0.35, 0.75)
    table = lognormal_table(rng.uniform(12.0, 40.0), rng.uniform(0.6, 1.0))
    return redial, np.tile(table, (KINDS_OF_ENDING, 1))


def _human_redials(rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return probabilities by reason that fall with each of at most eight attempts, and waits with a heavy tail."""
    most = 8
    first = np.zeros(KINDS_OF_ENDING)
    first[[THROTTLED, NO_CHANNEL]] = rng.uniform(0.7, 0.9)
    first[REJECTED] = rng.uniform(0.1, 0.3)
    first[BUSY] = rng.uniform(0.25, 0.5)
    first[NO_ANSWER] = rng.uniform(0.1, 0.3)
    fading = rng.uniform(0.9, 1.0) ** np.arange(most)
    redial = first[:, None] * fading
    redial[:, -1] = 0.0
    delays = np.tile(lognormal_table(rng.uniform(60.0, 120.0), rng.uniform(1.8, 2.6)), (KINDS_OF_ENDING, 1))
    delays[[THROTTLED, NO_CHANNEL]] = lognormal_table(rng.uniform(30.0, 70.0), rng.uniform(1.5, 2.2))
    return redial, delays


def lognormal_table(mean: float, cv: float) -> FloatArray:
    """Return quantiles of a lognormal distribution, scaled so that draws have exactly this mean."""
    deviation = np.sqrt(np.log1p(cv * cv))
    table = np.exp(deviation * stats.norm.ppf(np.linspace(1 - _FURTHEST, _FURTHEST, _ENTRIES)))
    return np.asarray(mean * table / ((table[1:] + table[:-1]) / 2).mean())
