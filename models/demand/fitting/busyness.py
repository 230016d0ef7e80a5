"""Estimate how much days and periods differ beyond chance: the coefficients of variation of their busyness factors.

The method is moments: the variance of a count is mean + cv² mean², where the first term is Poisson noise. Source of the
model: Avramidis, Deslauriers, L'Ecuyer (2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from trunkproof.models.arrays import FloatArray, IntArray
from trunkproof.models.demand.fitting.grid import Grid
from trunkproof.models.demand.fitting.result import Ranged, ranged

_LEAST_EXPECTED = 5.0
"""A slot with a smaller expected count tells nothing about the factor."""


@dataclass(frozen=True, eq=False)
class Spread:
    """A coefficient of variation with its draws."""

    cv: Ranged
    draws: FloatArray


def within_days(counts: FloatArray, weekdays: IntArray, draws: int, random: np.random.Generator) -> Spread:
    """Return the spread of the slots' factors, from counts of shape (D, slots).

    It is what remains beside the day's factor and the weekday's profile. Draws are a bootstrap over days.
    """
    if len(counts) == 0:
        return _spread(0.0, np.zeros(draws))
    # The weights depend on cv², which is to be found: begin with a small one, and repeat with what was found.
    squares, bases = _excess(counts, weekdays, 0.01)
    for _ in range(4):
        squares, bases = _excess(counts, weekdays, max(_ratio(squares, bases), 1e-8))
    # Whole days are drawn again, because the periods of a day are not independent of each other.
    chosen = random.integers(0, len(counts), (draws, len(counts)))
    drawn = squares[chosen].sum(axis=1) / np.maximum(bases[chosen].sum(axis=1), 1e-300)
    value = _ratio(squares, bases)
    # Widened about the estimate, so that the middle of the draws stays.
    return _spread(value, value + _widening(weekdays) * (drawn - value))


def _widening(weekdays: IntArray) -> float:
    """Return the factor by which a bootstrap of days is too narrow.

    Residuals of a weekday add up to 0, and days are few (Student's t).
    """
    days, degrees = len(weekdays), max(len(weekdays) - len(np.unique(weekdays)), 1)
    few = float(stats.t.ppf(0.975, degrees) / stats.norm.ppf(0.975))
    return float(np.sqrt(days / degrees * days / max(days - 1, 1))) * few


def _ratio(squares: FloatArray, bases: FloatArray) -> float:
    return float(squares.sum() / bases.sum()) if bases.sum() > 0 else 0.0


def _spread(cv2: float, drawn: FloatArray) -> Spread:
    draws = np.sqrt(np.maximum(drawn, 0.0))
    return Spread(ranged(draws, float(np.sqrt(max(cv2, 0.0)))), draws)


def _excess(counts: FloatArray, weekdays: IntArray, cv2: float) -> tuple[FloatArray, FloatArray]:
    """Return, by day, weighted sums of (N - m)² - m and of m²; their ratio is cv².

    m is the product of the day's total and the slot's share. Weights are the inverse variances under `cv2`.
    """
    squares, bases = np.zeros(len(counts)), np.zeros(len(counts))
    for weekday in np.unique(weekdays):
        of = np.flatnonzero(weekdays == weekday)
        table = counts[of]
        total = table.sum()
        if len(of) < 2 or total == 0:
            continue
        day_share, slot_share = table.sum(axis=1, keepdims=True) / total, table.sum(axis=0, keepdims=True) / total
        expected = total * day_share * slot_share
        # Expected counts are made of the same row and column sums, so residuals are too small by this factor.
        free = np.maximum((1 - day_share) * (1 - slot_share), 1e-9)
        # The inverse variance of the squared residual: with it many small slots do not drown the few that tell
        # something.
        weight = np.where(expected >= _LEAST_EXPECTED, 1 / np.maximum(expected + cv2 * expected**2, 1e-9) ** 2, 0.0)
        # Minus the mean: that is what independent callers alone make of it.
        excess = (table - expected) ** 2 / free - expected
        squares[of] = (weight * expected**2 * excess).sum(axis=1)
        bases[of] = (weight * expected**4).sum(axis=1)
    return squares, bases


def between_days(grid: Grid, period_cv: float, draws: int, random: np.random.Generator) -> Spread:
    """Return the spread of the day's factor, pooled over weekdays.

    Draws follow the chi-square law of a variance, with degrees of freedom reduced for the kurtosis of a gamma.
    """
    variance, noise, degrees = day_variance(grid, period_cv)
    if degrees == 0:
        return _spread(0.0, np.zeros(draws))
    cv2 = max(variance - noise, 0.0)
    # A gamma has the excess kurtosis 6 cv², with which a variance of few days is less certain than of normal values.
    effective = 2 / (2 / degrees + 6 * cv2 / (degrees + 1))
    drawn = variance * effective / random.chisquare(effective, draws) - noise
    return _spread(cv2, drawn)


def day_variance(grid: Grid, period_cv: float) -> tuple[float, float, int]:
    """Return the variance of a day's total over its weekday's mean, the noise in it, and its degrees of freedom.

    The noise is that of callers and of periods.
    """
    totals, squared, noise, degrees = grid.totals, 0.0, 0.0, 0
    for weekday in np.unique(grid.weekdays):
        of = grid.weekdays == weekday
        mean = totals[of].mean()
        if of.sum() < 2 or mean == 0:
            continue
        free = int(of.sum()) - 1
        slots = grid.periods[of].mean(axis=0)
        squared += float(((totals[of] / mean - 1) ** 2).sum())
        # The factors of periods are independent, so they average out over a day, but not wholly.
        noise += free * float(1 / mean + period_cv**2 * (slots**2).sum() / mean**2)
        degrees += free
    return (squared / degrees, noise / degrees, degrees) if degrees else (0.0, 0.0, 0)
