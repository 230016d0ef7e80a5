"""How many of something are in use over time, from intervals that arrive in batches: peak and time average, exactly.

Used for calls at once, channels and ports. Memory holds only the changes after the instant up to which all intervals
are known, not the whole run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class Occupancy:
    """Level of a set of weighted intervals [start, end); an end meets a start at the same instant before it."""

    def __init__(self) -> None:
        self._at: list[FloatArray] = []
        self._by: list[FloatArray] = []
        self._level = 0.0
        self.peak = 0.0
        self.usage_s = 0.0
        """Sum over all intervals of weight times length."""

    def add(self, start_s: FloatArray, end_s: FloatArray, weight: FloatArray, *, complete_until_s: float) -> None:
        """Add intervals; every interval that starts before `complete_until_s` is then known."""
        self._at += [start_s, end_s]
        self._by += [weight, -weight]
        self.usage_s += float(((end_s - start_s) * weight).sum())
        at, by = np.concatenate(self._at), np.concatenate(self._by)
        known = at < complete_until_s
        self._settle(at[known], by[known])
        self._at, self._by = [at[~known]], [by[~known]]

    def _settle(self, at: FloatArray, by: FloatArray) -> None:
        if not len(at):
            return
        levels = self._level + np.cumsum(by[np.lexsort((by, at))])
        self.peak = max(self.peak, float(levels.max()))
        self._level = float(levels[-1])


def steps(start_s: FloatArray, end_s: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The level as a step function: instants (ascending) and the level from each on. For pictures."""
    at = np.concatenate([start_s, end_s])
    by = np.concatenate([weight, -weight])
    order = np.lexsort((by, at))
    return at[order], np.cumsum(by[order])
