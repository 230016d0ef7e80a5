"""Response curves: an indicator of a busy hour over its load, from repetitions at a few loads; and over all hours,
what it comes to.

A curve knows how unsure it is by simulation; loads bring how unsure the input is. No simulation happens here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.interpolate import PchipInterpolator

from experiments.review.busy import LoadDraws
from models.fitting.result import Ranged, ranged
from models.streams import generator

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """One indicator under one throttle. R repetitions (2 or more) at K loads, each with the same dice at all loads."""

    nodes: FloatArray
    """Loads in calls per minute, ascending, shape (K,)."""
    seen: FloatArray
    """What the simulated hours had, shape (R, K)."""
    corrected: FloatArray
    """The same, as it would have been had as many calls been offered as expected, shape (R, K)."""
    highest: float = math.inf
    """What the indicator cannot exceed; the least is 0."""

    @classmethod
    def of(cls, nodes: FloatArray, seen: FloatArray, offered: FloatArray, highest: float = math.inf) -> Self:
        """A curve from what was seen; nodes where some hour had no such indicator are left out.

        `offered`, shape (R, K), is the fresh calls per minute that each hour really had. Its expectation is the node,
        so the indicator less slope times the surplus keeps its mean and loses most of its variance.
        Source: Law, "Simulation Modeling and Analysis" (2015), 11.4: control variates.
        """
        known = ~np.isnan(seen).any(axis=0)
        nodes, seen, offered = nodes[known], seen[:, known], offered[:, known]
        return cls(nodes, seen, seen - _slope(nodes, seen.mean(axis=0)) * (offered - nodes), highest)

    @property
    def repetitions(self) -> int:
        """R."""
        return len(self.seen)

    def at(self, per_minute: FloatArray) -> FloatArray:
        """The mean of the indicator at loads of any shape; NaN where nothing is known of it."""
        mean: FloatArray = self._smooth(self.corrected, per_minute).mean(axis=-1)
        return mean

    def means(self, loads: LoadDraws) -> FloatArray:
        """Mean over busy hours in each draw and repetition, shape (draws, R): both what is not known of the input and
        the noise of the simulation.
        """
        smooth = self._smooth(self.corrected, loads.per_minute)
        means: FloatArray = np.einsum("jhr,h->jr", smooth, loads.weights)
        return means

    def mean(self, loads: LoadDraws) -> FloatArray:
        """Mean over busy hours in each draw, shape (draws,), with the noise of the simulation added.

        The mean of a few repetitions has an error of Student's t; each draw gets one of its evenly spread quantiles.
        """
        return self._noisy(self.means(loads))

    def estimate(self, loads: LoadDraws, confidence: float = 0.95) -> Ranged:
        """The mean over busy hours, and its range for what is not known of input and simulation."""
        means = self.means(loads)
        return ranged(self._cut(self._noisy(means)), float(self._cut(means.mean())), confidence)

    def probability(self, loads: LoadDraws, bound: float, *, is_upper: bool) -> float:
        """Probability that the mean over busy hours keeps to a bound; NaN where nothing is known of the indicator."""
        means = self._cut(self.mean(loads))
        if np.isnan(means).any():
            return math.nan
        return float((means <= bound if is_upper else means >= bound).mean())

    def hours(self, loads: LoadDraws) -> FloatArray:
        """Single busy hours, equally likely, in no order: their loads differ, and so do their dice."""
        return self._cut(self._smooth(self.seen, loads.spread)).ravel()

    def band(self, loads: LoadDraws, share: float = 0.9) -> Ranged:
        """The median busy hour, and the band in which that share of busy hours lies."""
        hours = self.hours(loads)
        return ranged(hours, float(np.median(hours)), share)

    def _noisy(self, means: FloatArray) -> FloatArray:
        error = means.std(axis=1, ddof=1) / math.sqrt(self.repetitions)
        order = generator(0, "order of simulation noise").permutation(len(means))
        noise = stats.t.ppf((order + 0.5) / len(means), self.repetitions - 1)
        noisy: FloatArray = means.mean(axis=1) + noise * error
        return noisy

    def _cut(self, values: FloatArray) -> FloatArray:
        """No noise makes an indicator what it cannot be."""
        return np.clip(values, 0.0, self.highest)

    def _smooth(self, values: FloatArray, per_minute: FloatArray) -> FloatArray:
        """Each repetition's curve at these loads, shape (..., R); beyond the nodes it stays as at the last."""
        if not len(self.nodes):
            return np.full((*np.shape(per_minute), len(values)), math.nan)
        if len(self.nodes) == 1:
            return np.broadcast_to(values[:, 0], (*np.shape(per_minute), len(values)))
        inside = np.clip(per_minute, self.nodes[0], self.nodes[-1])
        return np.asarray(PchipInterpolator(self.nodes, values.T)(inside), dtype=np.float64)


def _slope(nodes: FloatArray, values: FloatArray) -> FloatArray:
    if len(nodes) < 2:
        return np.zeros(len(nodes))
    return np.asarray(PchipInterpolator(nodes, values).derivative()(nodes), dtype=np.float64)
