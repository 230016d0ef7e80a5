"""Demand of the judged periods at the planning horizon: equally likely alternatives for each day of the history.

Each day of the history stands for days to come. A factor brings it from its own level to that of the horizon: drift,
growth, and the uncertainty of both. The weights of the days are drawn as well (a Bayesian bootstrap; Rubin, Annals of
Statistics 9, 1981). Days that are busier or calmer than all those seen are allowed for. No simulation happens here.
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
"""Weight, in days, of the bell curve that is mixed with the logs of the days seen."""
_FURTHEST = 5.0
"""Largest distance of a day from the middle, in standard deviations, however few days there are."""


@dataclass(frozen=True, eq=False)
class Demand:
    """J equally likely alternatives for D days of the judged periods."""

    rates_per_minute: FloatArray
    """Fresh calls per minute in each day's period, as the history has it, shape (D,)."""
    base: FloatArray
    """Middle of each day's factors over all alternatives, shape (D,)."""
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
        """Draw the alternatives.

        Args:
            rates_per_minute: fresh calls per minute in each day's period, shape (D,).
            to_horizon: factors from each day's level to that of the horizon, shape (J, D).
            growth: further factors, shape (J,).
            random: draws the weights.
            optimism: how much the log of the level may be too high, because the busiest period was chosen.
            of_days: logs of the days' totals over what is expected from their level, shape (D,). Differences of days
                make the mean level uncertain. `to_horizon` has this already, so drawn weights must not count it again.
        """
        draws, days = to_horizon.shape
        # Geometric means: factors multiply. The base keeps `relative` near 1, where the sweep's levels are.
        base = np.exp(np.log(to_horizon).mean(axis=0)) * math.exp(float(np.log(growth).mean()))
        level = rates_per_minute * base
        middle = float(np.log(np.maximum(level, 1e-9)).mean())
        differs = np.log(np.maximum(level, 1e-9)) - middle
        # Anything between none and all of the optimism may be true of this history.
        factors = to_horizon * growth[:, None] * np.exp(-optimism * random.random((draws, 1)))
        # Exponentials over their sum are a Dirichlet draw: the Bayesian bootstrap.
        weights = random.standard_exponential((draws, days))
        weights /= weights.sum(axis=1, keepdims=True)
        further = _unseen(differs, draws, random)
        # Unseen days change how much days differ. They must not move the mean level, whose uncertainty is drawn
        # already.
        factors *= np.exp(further - (weights * further).sum(axis=1, keepdims=True))
        if of_days is not None:
            factors *= np.exp(-(weights - 1 / days) @ of_days)[:, None]
        return cls(rates_per_minute, base, factors / base, weights)

    @classmethod
    def constant(cls, per_minute: float) -> Self:
        """Return a load that is known and always the same."""
        return cls(np.array([per_minute]), np.ones(1), np.ones((1, 1)), np.ones((1, 1)))

    def grown(self, factor: float) -> Self:
        """Return the same days with that many times the demand."""
        return replace(self, relative=self.relative * factor)

    def over(self, base: FloatArray) -> Self:
        """Return the same alternatives as factors over another base."""
        return replace(self, base=base, relative=self.relative * (self.base / base))

    @property
    def per_minute(self) -> FloatArray:
        """Return the fresh calls per minute of each day's period in each alternative, shape (J, D)."""
        return self.rates_per_minute * self.base * self.relative

    @property
    def mean_per_minute(self) -> Ranged:
        """Return the mean over the days, in fresh calls per minute, with its range."""
        means = (self.per_minute * self.weights).sum(axis=1)
        return ranged(means, float(means.mean()))

    @property
    def day_cv(self) -> float:
        """Return the coefficient of variation of days, over all alternatives."""
        mean = self.mean_per_minute.value
        square = float((self.per_minute**2 * self.weights).sum(axis=1).mean())
        return math.sqrt(max(0.0, square / mean**2 - 1)) if mean > 0 else 0.0


def _unseen(differs: FloatArray, draws: int, random: np.random.Generator) -> FloatArray:
    """Return how much further the logs of days are from their middle than those seen, shape (J, D).

    Drawn weights alone never give a day that is busier than all days seen. So some days are replaced by draws from a
    bell curve as wide as the days seen (a proper Bayesian bootstrap; Muliere and Secchi, Annals of the Institute of
    Statistical Mathematics 48, 1996). Days keep their order: the busiest day seen stands for even busier ones.
    """
    days = len(differs)
    if days < 2:
        return np.zeros((draws, days))
    # The bell curve weighs as five days beside the days seen: in a long history it hardly counts.
    is_new = random.random((draws, days)) < _UNSEEN_DAYS / (_UNSEEN_DAYS + days)
    new = np.clip(random.standard_t(max(days - 1, 2), (draws, days)), -_FURTHEST, _FURTHEST) * differs.std(ddof=1)
    # Ranks (argsort of argsort) give the sorted values back to the days in their old order.
    found = np.sort(np.where(is_new, new, differs), axis=1)
    return np.asarray(found[:, np.argsort(np.argsort(differs, kind="stable"))] - differs)


def lognormal(cv: float, count: int, random: np.random.Generator) -> FloatArray:
    """Return lognormal factors of mean 1 at evenly spread quantiles, in random order: less noisy than single draws."""
    # The normal's deviation that gives a lognormal this coefficient of variation; minus half its square gives mean 1.
    deviation = math.sqrt(math.log1p(cv * cv))
    normal = ndtri((random.permutation(count) + 0.5) / count)
    factors: FloatArray = np.exp(deviation * normal - deviation**2 / 2)
    return factors
