"""The month's cycle: callers follow paydays and bills, so the level may depend on the day of the month.

The cycle is one harmonic of the days' log residuals about their weekday. It is shrunk by its uncertainty, so a history
without a cycle, or too short for one, gets none. Source of the shrinkage: James and Stein (1961), positive part.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from datetime import date

import numpy as np

from trunkproof.models.arrays import FloatArray

LEAST_DAYS = 56
"""Fewer days have less than two cycles, which could not be told from a drift."""
_MOST_MEMORY = 0.9


def harmonics(dates: Sequence[date]) -> FloatArray:
    """Return cosine and sine of each day's phase within the month, shape (D, 2)."""
    # Over the month's own length, so that the last day of each month meets the first of the next.
    turn = [2 * np.pi * (day.day - 1) / monthrange(day.year, day.month)[1] for day in dates]
    return np.column_stack([np.cos(turn), np.sin(turn)]).reshape(-1, 2)


def month_cycle(residuals: FloatArray, dates: Sequence[date]) -> FloatArray:
    """Return the factors of `harmonics` that give the log of a day's level over the month's mean, shape (2,)."""
    if len(dates) == 0 or (dates[-1] - dates[0]).days + 1 < LEAST_DAYS or len(dates) < LEAST_DAYS // 2:
        return np.zeros(2)
    numbers = np.array([day.toordinal() for day in dates], dtype=np.float64)
    # A slope is fitted beside it, so that a drift is not taken for the cycle of two or three months.
    design = np.column_stack([harmonics(dates), np.ones(len(dates)), numbers - numbers.mean()])
    terms, *_ = np.linalg.lstsq(design, residuals, rcond=None)
    rest = residuals - design @ terms
    variance = float((rest**2).sum()) / (len(rest) - design.shape[1])
    cycle = terms[:2]
    # Made-up histories without any noise: nothing to shrink by.
    if variance == 0:
        return np.asarray(cycle)
    # Neighbouring days are alike, so they tell less than as many independent ones.
    inverse = np.linalg.inv(design.T @ design)[:2, :2] * variance * inflation(rest)
    sureness = float(cycle @ np.linalg.solve(inverse, cycle))
    # By chance alone two terms have a sureness of 2 (chi-square), which leaves nothing of the cycle.
    return np.asarray(cycle * max(1 - 2 / sureness, 0.0)) if sureness > 0 else np.zeros(2)


def inflation(rest: FloatArray) -> float:
    """Return the variance of a mean over that of independent days, by a first-order autoregression."""
    total = float((rest**2).sum())
    if len(rest) < 4 or total == 0:
        return 1.0
    # The estimate of rho is too low by about (1 + 3 rho) / n.
    memory = float((rest[1:] * rest[:-1]).sum()) / total
    memory = min(max((memory * len(rest) + 1) / max(len(rest) - 3, 1), 0.0), _MOST_MEMORY)
    return (1 + memory) / (1 - memory)
