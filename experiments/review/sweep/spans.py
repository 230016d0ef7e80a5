"""Spans: several busy periods, one after the other in one simulation.

A span is a lead-in that fills the trunk, and the period that counts. Its callers come at a rate (the fitted model), or
at the instants of the history (the record). Both can be scaled to another level. This module only makes settings; it
simulates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trunkproof.models.arrays import FloatArray
from trunkproof.models.traffic import Arrivals, PiecewiseArrivals, RatePoint, ReplayedArrivals

_OFF_S = 17.3
"""Gap between two spans, so that windows of the throttle begin at another phase in each."""
_NEVER = 1e-3
_APART_S = 120.0


@dataclass(frozen=True)
class Layout:
    """Where spans lie in simulated time: span i begins at i times `pitch_s`."""

    count: int
    lead_s: float
    length_s: float

    @property
    def pitch_s(self) -> float:
        """Return the time from the begin of one span to the begin of the next."""
        return self.lead_s + self.length_s + _OFF_S

    @property
    def duration_s(self) -> float:
        """Return the duration of all spans together."""
        return self.count * self.pitch_s

    @property
    def counts_from_s(self) -> FloatArray:
        """Return the begin of each span's period, in seconds of simulated time, shape (count,)."""
        return np.asarray(np.arange(self.count) * self.pitch_s + self.lead_s, dtype=np.float64)


def from_rates(paths: Sequence[FloatArray], step_s: float, layout: Layout) -> Arrivals:
    """Return arrivals with these rates.

    Args:
        paths: calls per minute of each span, in steps from the begin of its lead-in.
        step_s: length of a step.
        layout: where the spans lie.
    """
    points: list[RatePoint] = []
    for number, path in enumerate(paths):
        begin = number * layout.pitch_s
        # A step that has the rate of the one before changes nothing.
        changes = np.flatnonzero(np.diff(path, prepend=np.nan) != 0)
        points += [RatePoint(at_s=begin + step_s * int(at), rate_per_minute=float(path[at])) for at in changes]
        # Silence until the next span: calls that come after the period would belong to none.
        points.append(RatePoint(at_s=begin + layout.lead_s + layout.length_s, rate_per_minute=0.0))
    return PiecewiseArrivals(kind="piecewise", points=tuple(points))


def from_instants(instants: Sequence[FloatArray], layout: Layout) -> Arrivals:
    """Return arrivals at these instants of each span, in seconds from the begin of its lead-in on."""
    placed = [seen + number * layout.pitch_s for number, seen in enumerate(instants)]
    every = np.concatenate(placed) if placed else np.empty(0)
    # A history without a single call still needs one instant.
    return ReplayedArrivals(kind="replay", instants_s=tuple(every.tolist()) or (_NEVER,))


def rescaled(own: FloatArray, others: Sequence[FloatArray], factor: float, random: np.random.Generator) -> FloatArray:
    """Return recorded instants at another level: calls are left out below 1, and calls of other days added above 1.

    Args:
        own: instants of this span.
        others: instants of the same period on other days, from which calls are added.
        factor: the wanted level over that of `own`.
        random: chooses the calls.
    """
    if factor <= 1 or not others:
        # Thinning: at a lower level a Poisson stream stays Poisson, and a batch stays a batch, only smaller.
        return own[random.random(len(own)) < factor]
    pool = np.concatenate(others)
    share = (factor - 1) * len(own) / max(len(pool), 1)
    # On average `share` times each, in whole calls.
    times = np.floor(share).astype(np.int64) + (random.random(len(pool)) < share % 1)
    more = np.repeat(pool, times)
    # A call that is taken more than once comes at a different time each time.
    again = np.arange(len(more)) != np.repeat(np.cumsum(times) - times, times)
    more = more + np.where(again, _APART_S * (random.random(len(more)) - 0.5), 0.0)
    return np.sort(np.concatenate([own, np.maximum(more, 0.0)]))
