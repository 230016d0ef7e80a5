"""How many of something are in use over time, from intervals that arrive in batches: peak and time average, exactly.

Used for calls at once, channels and ports. Memory holds only the changes after the instant up to which all intervals
are known, not the whole run.
"""

from __future__ import annotations

import numpy as np

from trunkproof.models.arrays import FloatArray

_STRETCH = 32
"""Starts that are looked at together."""


class Occupancy:
    """Level of a set of weighted intervals [start, end); an end meets a start at the same instant before it."""

    def __init__(self) -> None:
        self._starts, self._ends = _Changes(), _Changes()
        self._level = 0.0
        self.peak = 0.0
        self.usage_s = 0.0
        """Sum over all intervals of weight times length."""

    def add(self, start_s: FloatArray, end_s: FloatArray, weight: FloatArray, *, complete_until_s: float) -> None:
        """Add intervals; every interval that starts before `complete_until_s` is then known."""
        self.usage_s += float(((end_s - start_s) * weight).sum())
        starts, up = self._starts.until(start_s, weight, complete_until_s)
        # No interval ends before it starts, so the ends before that instant are all known too.
        ends, down = self._ends.until(end_s, weight, complete_until_s)
        if len(starts):
            self._look_for_peak(starts, np.cumsum(up), ends, np.concatenate([[0.0], np.cumsum(down)]))
        self._level += float(up.sum() - down.sum())

    def _look_for_peak(self, starts: FloatArray, risen: FloatArray, ends: FloatArray, gone: FloatArray) -> None:
        """Update the peak. Only starts make peaks, and an end at the same instant comes first."""
        first = np.arange(0, len(starts), _STRETCH)
        last = np.minimum(first + _STRETCH, len(starts)) - 1
        # Most stretches could not reach the peak if nothing ended in them: those need no closer look.
        most = self._level + risen[last] - gone[np.searchsorted(ends, starts[first], side="right")]
        near = np.repeat(most > self.peak, _STRETCH)[: len(starts)]
        levels = self._level + risen[near] - gone[np.searchsorted(ends, starts[near], side="right")]
        self.peak = max(self.peak, float(levels.max(initial=0.0)))


class _Changes:
    """Instants with weights that are not known to be complete yet."""

    def __init__(self) -> None:
        self._at, self._by = np.empty(0), np.empty(0)

    def until(self, at_s: FloatArray, by: FloatArray, complete_until_s: float) -> tuple[FloatArray, FloatArray]:
        """Add some, and take those before that instant out, in the order of time."""
        at, weights = np.concatenate([self._at, at_s]), np.concatenate([self._by, by])
        known = at < complete_until_s
        self._at, self._by = at[~known], weights[~known]
        at, weights = at[known], weights[known]
        # With equal weights, as of calls and channels, the instants alone are sorted: faster than an order for both.
        if len(at) and (weights == weights[0]).all():
            return np.sort(at), weights
        order = np.argsort(at)
        return at[order], weights[order]


def steps(start_s: FloatArray, end_s: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the level as a step function: instants (ascending) and the level from each on. For pictures."""
    at = np.concatenate([start_s, end_s])
    by = np.concatenate([weight, -weight])
    order = np.lexsort((by, at))
    return at[order], np.cumsum(by[order])
