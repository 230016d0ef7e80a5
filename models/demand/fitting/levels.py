"""Model how the level moves from day to day: a part that wanders with a memory of some days, and noise of single days.

The log of a day's calls over those expected for its weekday is modelled as a mean, perhaps a slope, an
Ornstein-Uhlenbeck process (the wandering part) and white noise. The memory of the wandering part and its share of the
variance are not chosen. Many pairs of both (a lattice) are averaged, each weighted by its restricted likelihood, so the
result does not depend on one lucky estimate. Source: Rasmussen and Williams (2006), chapters 2 and 5; Patterson and
Thompson (1971) for the restricted likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from trunkproof.models.arrays import FloatArray

_MEMORIES_DAYS = (3.0, 7.0, 14.0, 28.0, 56.0, 112.0)
_SHARES = (0.1, 0.2, 0.35, 0.5, 0.7)
"""Shares of the wandering part in the variance, for the lattice."""
_STEADY = 0.4
"""Prior probability that days are independent of each other."""
_MOST_DAYS = 400
"""Of a longer history the last days are taken: earlier ones tell nothing about the level now."""
SLOPE_PER_DAY = 0.03 / 7
"""Prior deviation of the slope: a drift of up to 3 % a week is ordinary, twice that is rare."""
_PART_OF_SPAN = 0.5
"""With a slope, the memory is at most this part of the history. Otherwise the two could not be told apart."""
_DAY_CV = 0.1
_PRIOR_DEGREES = 3.0
"""Weight, in days, of a prior variance: a single week cannot show that all days are alike."""


@dataclass(frozen=True, eq=False)
class Levels:
    """Where the level is and how it moves. All arrays but `degrees` have one entry per pair of the lattice."""

    weight: FloatArray
    """Weights of the pairs, of sum 1."""
    memory_days: FloatArray
    wandering: FloatArray
    """Variance of the wandering part."""
    terms: FloatArray
    """Level at the history's end without the wandering part, and slope per day if any, shape (entries, 1 or 2)."""
    covariance: FloatArray
    """Covariance of `terms`, shape (entries, p, p)."""
    plain_slope: FloatArray
    """Slope per day without a prior, and its standard error, shape (entries, 2); empty without slope."""
    end: FloatArray
    """Value of the wandering part at the history's end."""
    pull: FloatArray
    """How much of `terms` the wandering part at the end takes back, shape (entries, p)."""
    known: FloatArray
    """Part of `wandering` that the days explain at the history's end."""
    smooth: FloatArray
    """Smoothed level of each requested day, shape (entries, D)."""
    degrees: int

    def entries_at(
        self, days_ahead: float, *, continues: bool = False, averaged_days: float = 0.0
    ) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance of the log level so many days after the end, by entry; a slope goes on if asked.

        With `averaged_days` the wandering part is averaged over so many days: what wanders for a few days evens out in
        a month, what wanders for a season does not.
        """
        kept = np.exp(-days_ahead / self.memory_days)
        evened = averaged(averaged_days / self.memory_days)
        at = np.array([1.0, days_ahead if continues else 0.0])[: self.terms.shape[1]]
        # The terms and the wandering part were estimated from the same days: an error of the one is in part an opposite
        # error of the other.
        free = at - kept[:, None] * self.pull
        unsure = np.einsum("ep,epq,eq->e", free, self.covariance, free)
        # The variance of the process, minus what the days at the end still tell about it.
        wanders = np.maximum(self.wandering - kept**2 * self.known, 0.0) * evened
        # The wandering part decays to its mean, 0, with its memory: what is known of it at the end is forgotten.
        return self.terms @ at + kept * self.end, np.maximum(wanders + unsure, 0.0)

    def at(self, days_ahead: float) -> tuple[float, float]:
        """Return the log of the level so many days after the end, and its standard deviation."""
        means, variances = self.entries_at(days_ahead)
        mean = float(self.weight @ means)
        # The variance of a mixture: that within the pairs, and that between them.
        return mean, float(np.sqrt(self.weight @ (variances + (means - mean) ** 2)))

    def draw(
        self,
        days_ahead: float,
        draws: int,
        random: np.random.Generator,
        *,
        continues: bool = False,
        averaged_days: float = 0.0,
    ) -> FloatArray:
        """Draw equally likely log levels so many days after the end, with the arguments of `entries_at`."""
        means, variances = self.entries_at(days_ahead, continues=continues, averaged_days=averaged_days)
        chosen = random.choice(len(self.weight), draws, p=self.weight)
        # Below 3 degrees Student's t has no variance, and single draws would be absurd.
        return np.asarray(means[chosen] + np.sqrt(variances[chosen]) * random.standard_t(max(self.degrees, 3), draws))

    @property
    def local(self) -> FloatArray:
        """Return the smoothed level of each day, shape (D,)."""
        return self.weight @ self.smooth

    @property
    def wandering_variance(self) -> float:
        """Return the variance of the wandering part, averaged over the lattice."""
        return float(self.weight @ self.wandering)


def averaged(memories: FloatArray) -> FloatArray:
    """Return the variance of an Ornstein-Uhlenbeck process's mean over so many memories, over its own variance."""
    t = np.maximum(memories, 1e-6)
    return np.asarray(np.where(memories < 1e-3, 1.0, 2 / t * (1 - (1 - np.exp(-t)) / t)))


def fit_levels(numbers: FloatArray, residuals: FloatArray, every: FloatArray, *, slope: bool = False) -> Levels:
    """Fit log `residuals` of the days `numbers`, and smooth at the days `every`, of which the last ends the history.

    Days are ordinals, ascending.
    """
    if len(numbers) == 0:
        # A history without usual days: the level is taken to be that of the usual week.
        numbers, residuals = every[-1:], np.zeros(1)
    near = numbers >= numbers[-1] - _MOST_DAYS
    numbers, residuals = numbers[near], residuals[near]
    design = np.column_stack([np.ones(len(numbers)), numbers - every[-1]])[:, : 2 if slope else 1]
    apart, to_every = np.abs(numbers[:, None] - numbers), np.abs(every[:, None] - numbers)
    wide = np.column_stack([np.ones(len(every)), every - every[-1]])[:, : design.shape[1]]
    days = _Days(residuals, design, apart, wide, to_every)
    longest = _PART_OF_SPAN * (numbers[-1] - numbers[0] + 1) if slope else np.inf
    memories = [memory for memory in _MEMORIES_DAYS if memory <= max(longest, _MEMORIES_DAYS[0])]
    # The first pair has no wandering part: days are independent, and its memory does not matter.
    pairs = [(7.0, 0.0)] + [(memory, share) for memory in memories for share in _SHARES]
    entries = [_entry(days, *pair) for pair in pairs]

    prior = np.array([_STEADY] + [(1 - _STEADY) / (len(pairs) - 1)] * (len(pairs) - 1))
    logs = np.array([entry.log_likelihood for entry in entries])
    # Only ratios of likelihoods matter. Minus the largest, or all of them could underflow to 0.
    weight = prior * np.exp(logs - logs.max())
    return Levels(
        weight=weight / weight.sum(),
        memory_days=np.array([memory for memory, _ in pairs]),
        wandering=np.array([entry.wandering for entry in entries]),
        terms=np.array([entry.terms for entry in entries]),
        covariance=np.array([entry.covariance for entry in entries]),
        plain_slope=np.array([entry.plain_slope for entry in entries]),
        end=np.array([entry.end for entry in entries]),
        pull=np.array([entry.pull for entry in entries]),
        known=np.array([entry.known for entry in entries]),
        smooth=np.array([entry.smooth for entry in entries]),
        degrees=max(len(numbers) - design.shape[1], 1),
    )


@dataclass(frozen=True, eq=False)
class _Entry:
    log_likelihood: float
    wandering: float
    terms: FloatArray
    covariance: FloatArray
    plain_slope: FloatArray
    end: float
    pull: FloatArray
    known: float
    smooth: FloatArray


@dataclass(frozen=True, eq=False)
class _Days:
    """Values that all entries of the lattice share."""

    residuals: FloatArray
    design: FloatArray
    """Columns: ones; days from the end."""
    apart: FloatArray
    """Distances in days between the fitted days."""
    every: FloatArray
    """`design` of the days at which to smooth."""
    to_every: FloatArray
    """Distances in days between those and the fitted days."""


def _entry(days: _Days, memory_days: float, share: float) -> _Entry:
    residuals, design = days.residuals, days.design
    # Exponential in the distance: the covariance of an Ornstein-Uhlenbeck process. Gaps in the days cost nothing.
    correlation = share * np.exp(-days.apart / memory_days) + (1 - share) * np.eye(len(residuals))
    factor = cho_factor(correlation, lower=True)
    weighted = cho_solve(factor, design)
    information = design.T @ weighted
    # A pseudo-inverse, because a single day has no information about a slope.
    plain, degrees = np.linalg.pinv(information), len(residuals) - design.shape[1]
    free = residuals - design @ (plain @ (weighted.T @ residuals))
    squares = float(free @ cho_solve(factor, free))
    # Scaled inverse chi-square: the prior counts as that many days of an ordinary spread.
    variance = (squares + _PRIOR_DEGREES * _DAY_CV**2) / (max(degrees, 0) + _PRIOR_DEGREES)
    # With few days, the prior limits the slope.
    expected = np.diag([0.0, variance / SLOPE_PER_DAY**2][: design.shape[1]])
    covariance = np.linalg.inv(information + expected)
    terms = covariance @ (weighted.T @ residuals)
    # Kriging: the wandering part at any day is a weighted sum of what the terms leave over.
    left = cho_solve(factor, residuals - design @ terms)
    towards = share * np.exp(-days.to_every / memory_days)
    to_end = cho_solve(factor, towards[-1])
    # Restricted likelihood: the second determinant pays for the terms, or pairs with a slope would look better for
    # free.
    determinants = 2 * float(np.log(np.diag(factor[0])).sum()) + float(np.linalg.slogdet(information + expected)[1])
    slope = np.array([(plain @ (weighted.T @ residuals))[-1], np.sqrt(max(plain[-1, -1], 0.0) * variance)])
    return _Entry(
        log_likelihood=-0.5 * determinants - 0.5 * (max(degrees, 0) + _PRIOR_DEGREES) * float(np.log(variance)),
        wandering=variance * share,
        terms=terms,
        covariance=variance * covariance,
        plain_slope=slope if design.shape[1] > 1 else np.empty(0),
        end=float(towards[-1] @ left),
        pull=np.asarray(design.T @ to_end),
        known=variance * float(towards[-1] @ to_end),
        smooth=np.asarray(days.every @ terms + towards @ left),
    )
