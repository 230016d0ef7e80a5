"""What the judged periods may want at the planning horizon: equally likely alternatives for each day of the history.

Each day stands for days to come. Its factor brings it from its own level to that of the horizon: the drift, growth, and
what is not known of both. The weights of the days are drawn too (a Bayesian bootstrap; Rubin, Annals of Statistics 9,
1981), and days unlike those seen are reckoned with. No simulation happens here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import ndtri

from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.result import Ranged, ranged

DRAWS = 400
_UNSEEN_DAYS = 5.0
"""Worth of the bell curve that the logs of days are taken to follow, beside the days themselves."""
_FURTHEST = 5.0
"""Standard deviations from the middle, however few days there are."""


@dataclass(frozen=True, eq=False)
class Demand:
    """J equally likely alternatives for D days of the judged periods."""

    rates_per_minute: FloatArray
    """Fresh calls per minute in each day's period, as the history has it, shape (D,)."""
    base: FloatArray
    """The factor of each day that is in the middle of all alternatives, shape (D,)."""
    relative: FloatArray
    """Factors over `base`, shape (J, D)."""
    weights: FloatArray
    """How often such a day is met, shape (J, D), each row of sum 1."""

    @classmethod
    def of(  # each says something of its own
        cls,
        rates_per_minute: FloatArray,
        to_horizon: FloatArray,
        growth: FloatArray,
        random: np.random.Generator,
        *,
        optimism: float = 0.0,
        of_days: FloatArray | None = None,
    ) -> Self:
        """Draw.

        Args:
            rates_per_minute: of each day's period, shape (D,).
            to_horizon: factors from each day's level to that of the horizon, shape (J, D).
            growth: further factors, shape (J,).
            random: for the weights.
            optimism: by how much the log of the level may be too high, as the period was chosen for it.
            of_days: logs of the days' totals over what their level lets expect, shape (D,). That days differ makes the
                mean level unsure, and `to_horizon` has that already: drawn weights must not count it again.
        """
        draws, days = to_horizon.shape
        base = np.exp(np.log(to_horizon).mean(axis=0)) * math.exp(float(np.log(growth).mean()))
        level = rates_per_minute * base
        middle = float(np.log(np.maximum(level, 1e-9)).mean())
        differs = np.log(np.maximum(level, 1e-9)) - middle
        factors = to_horizon * growth[:, None] * np.exp(-optimism * random.random((draws, 1)))
        weights = random.standard_exponential((draws, days))
        weights /= weights.sum(axis=1, keepdims=True)
        further = _unseen(differs, draws, random)
        factors *= np.exp(further - (weights * further).sum(axis=1, keepdims=True))
        if of_days is not None:
            factors *= np.exp(-(weights - 1 / days) @ of_days)[:, None]
        return cls(rates_per_minute, base, factors / base, weights)

    @classmethod
    def constant(cls, per_minute: float) -> Self:
        """A load that is known and always the same."""
        return cls(np.array([per_minute]), np.ones(1), np.ones((1, 1)), np.ones((1, 1)))

    def grown(self, factor: float) -> Self:
        """Return the same days with that many times the demand."""
        return replace(self, relative=self.relative * factor)

    def over(self, base: FloatArray) -> Self:
        """Return the same alternatives, told in factors over another base."""
        return replace(self, base=base, relative=self.relative * (self.base / base))

    @property
    def per_minute(self) -> FloatArray:
        """Fresh calls per minute of each day's period in each alternative, shape (J, D)."""
        return self.rates_per_minute * self.base * self.relative

    @property
    def mean_per_minute(self) -> Ranged:
        """Over the days."""
        means = (self.per_minute * self.weights).sum(axis=1)
        return ranged(means, float(means.mean()))

    @property
    def day_cv(self) -> float:
        """Coefficient of variation of days, over all alternatives."""
        mean = self.mean_per_minute.value
        square = float((self.per_minute**2 * self.weights).sum(axis=1).mean())
        return math.sqrt(max(0.0, square / mean**2 - 1)) if mean > 0 else 0.0


def _unseen(differs: FloatArray, draws: int, random: np.random.Generator) -> FloatArray:
    """By how much the logs of days are further from their middle than those seen, shape (J, D).

    The weights alone say how unsure the spread of the days seen is, but they know of no day that was busier than all of
    them. So the days to come are those seen and some more from a bell curve as wide as they are (a proper Bayesian
    bootstrap; Muliere and Secchi, Annals of the Institute of Statistical Mathematics 48, 1996). Days keep their order,
    so that the busiest stand for those that are busier still.
    """
    days = len(differs)
    if days < 2:
        return np.zeros((draws, days))
    is_new = random.random((draws, days)) < _UNSEEN_DAYS / (_UNSEEN_DAYS + days)
    new = np.clip(random.standard_t(max(days - 1, 2), (draws, days)), -_FURTHEST, _FURTHEST) * differs.std(ddof=1)
    found = np.sort(np.where(is_new, new, differs), axis=1)
    return np.asarray(found[:, np.argsort(np.argsort(differs, kind="stable"))] - differs)


def lognormal(cv: float, count: int, random: np.random.Generator) -> FloatArray:
    """Return factors of mean 1 at evenly spread quantiles, in random order: as unsure, with less noise than single
    draws.
    """
    deviation = math.sqrt(math.log1p(cv * cv))
    normal = ndtri((random.permutation(count) + 0.5) / count)
    factors: FloatArray = np.exp(deviation * normal - deviation**2 / 2)
    return factors
