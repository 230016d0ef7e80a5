"""Stretches of the busy period, one after the other in one simulation: each with a lead-in that fills the trunk.

A span is a lead-in and the period that counts. Its callers come from a rate (the fitted model), or at the instants that
the history recorded; scaled to another level either way. Settings in, settings out; nothing is run here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trunkproof.models.arrays import FloatArray
from trunkproof.models.traffic import Arrivals, PiecewiseArrivals, RatePoint, ReplayedArrivals

_OFF_S = 17.3
"""Between two spans, so that windows of the throttle begin at another phase in each."""
_NEVER = 1e-3
_APART_S = 120.0


@dataclass(frozen=True)
class Layout:
    """How spans lie in simulated time: span i begins at i times `pitch_s`."""

    count: int
    lead_s: float
    length_s: float

    @property
    def pitch_s(self) -> float:
        """From the begin of one span to that of the next."""
        return self.lead_s + self.length_s + _OFF_S

    @property
    def duration_s(self) -> float:
        """Of all of them."""
        return self.count * self.pitch_s

    @property
    def counts_from_s(self) -> FloatArray:
        """When the period of each span begins, shape (count,)."""
        return np.asarray(np.arange(self.count) * self.pitch_s + self.lead_s, dtype=np.float64)


def from_rates(paths: Sequence[FloatArray], step_s: float, layout: Layout) -> Arrivals:
    """Return arrivals with these rates.

    Args:
        paths: calls per minute of each span, by steps from the begin of its lead-in on.
        step_s: length of the steps.
        layout: where the spans lie.
    """
    points: list[RatePoint] = []
    for number, path in enumerate(paths):
        begin = number * layout.pitch_s
        # A step that has the rate of the one before changes nothing.
        changes = np.flatnonzero(np.diff(path, prepend=np.nan) != 0)
        points += [RatePoint(at_s=begin + step_s * int(at), rate_per_minute=float(path[at])) for at in changes]
        points.append(RatePoint(at_s=begin + layout.lead_s + layout.length_s, rate_per_minute=0.0))
    return PiecewiseArrivals(kind="piecewise", points=tuple(points))


def from_instants(instants: Sequence[FloatArray], layout: Layout) -> Arrivals:
    """Return arrivals at these instants of each span, in seconds from the begin of its lead-in on."""
    placed = [seen + number * layout.pitch_s for number, seen in enumerate(instants)]
    every = np.concatenate(placed) if placed else np.empty(0)
    # A span without a call still is one.
    return ReplayedArrivals(kind="replay", instants_s=tuple(every.tolist()) or (_NEVER,))


def rescaled(own: FloatArray, others: Sequence[FloatArray], factor: float, random: np.random.Generator) -> FloatArray:
    """Return recorded instants at another level: thinned below 1; above it, calls of other days come on top.

    Args:
        own: instants of this span.
        others: instants of the same period on other days, of which calls are taken.
        factor: the level wanted, over that of `own`.
        random: chooses.
    """
    if factor <= 1 or not others:
        return own[random.random(len(own)) < factor]
    pool = np.concatenate(others)
    share = (factor - 1) * len(own) / max(len(pool), 1)
    times = np.floor(share).astype(np.int64) + (random.random(len(pool)) < share % 1)
    more = np.repeat(pool, times)
    # A call that is taken more than once comes at another moment each time.
    again = np.arange(len(more)) != np.repeat(np.cumsum(times) - times, times)
    more = more + np.where(again, _APART_S * (random.random(len(more)) - 0.5), 0.0)
    return np.sort(np.concatenate([own, np.maximum(more, 0.0)]))
