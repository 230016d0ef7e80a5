"""Estimate how calls are spread within their minute: evenly, or in batches as a dialler places them.

A minute is split into 20, 10 and 5 seconds, as an hour is into minutes (`models.demand.fitting.day_rates`). A split is
used only if held-out days become more likely by it: independent callers are spread evenly, and stay so. Shares are
drawn only for the parts of days that are simulated: a month has half a million periods of 5 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import gammaln

from trunkproof.models.arrays import BoolArray, FloatArray, IntArray
from trunkproof.models.demand.fitting.grid import Grid, by_period

MINUTE_S = 60.0
_LENGTHS_S = (20.0, 10.0, 5.0)
_GRAINS_S = (60.0, 30.0, 20.0, 15.0, 10.0, 5.0)
_ON_GRAIN = 0.99
"""Instants count as rounded if at least this share of them are whole multiples of the rounding."""
_BUSY = 0.25
"""Concentrations are estimated from hours with at least this share of the calls of the busiest hour."""
_CLEARLY = 5.0
"""Least gain in the log-likelihood of held-out days; with evenly spread calls, chance hardly ever reaches it."""
_MOST_FOLDS = 5


@dataclass(frozen=True, eq=False)
class WithinMinutes:
    """The counts of D days with M minutes of K periods each, and how shares scatter within minutes."""

    counts: FloatArray
    """Fresh calls, shape (D, M, K)."""
    concentrations: tuple[float, ...]
    """Concentration of the Dirichlet distribution of shares, for each split from the minute down to the periods."""

    @property
    def period_s(self) -> float:
        """Return the length of the periods."""
        return MINUTE_S / float(self.counts.shape[2])

    def draw(self, day: int, minutes: IntArray, random: np.random.Generator) -> FloatArray:
        """Draw how the calls of some minutes of a day may have been spread: factors of mean 1, shape (minutes, K)."""
        factors = np.ones((len(minutes), 1))
        splits = _splits(self.counts[day, minutes], _LENGTHS_S[: len(self.concentrations)])
        for children, concentration in zip(splits, self.concentrations, strict=True):
            each = children.shape[2]
            # A Dirichlet posterior with even means: the prior knows no second of the minute that is busier than
            # another.
            drawn = random.standard_gamma(concentration / each + children)
            shares = drawn / np.maximum(drawn.sum(axis=2, keepdims=True), 1e-300)
            factors = (each * factors[:, :, None] * shares).reshape(len(minutes), -1)
        return factors


def fit_within_minutes(counts: pl.DataFrame, column: str, grid: Grid, interval_s: float | None) -> WithinMinutes | None:
    """Return how calls are spread within minutes; None: evenly, as far as the history shows.

    Args:
        counts: fresh calls in `column` by `start_local`.
        column: what to add up.
        grid: the days.
        interval_s: of the counts; None: they are single calls at their instants.
    """
    lengths = _lengths_s(grain_s(counts) if interval_s is None else interval_s)
    if not lengths or len(grid) < 2:
        return None
    fine = np.maximum(by_period(counts, column, grid.dates, lengths[-1]), 0.0)
    if not fine.any():
        return None
    minutes = fine.reshape(len(grid), 1440, -1)
    is_busy = grid.hours >= _BUSY * grid.hours.max(initial=1.0)
    busy = minutes.reshape(len(grid), 24, 60, -1)[is_busy].reshape(-1, minutes.shape[2])
    # Whole days are held out: the minutes of one day are not independent of each other.
    fold = np.repeat(np.nonzero(is_busy)[0] % min(len(grid), _MOST_FOLDS), 60)
    splits = _splits(busy, lengths)
    # Summed from the coarsest on: a split into tens of seconds may only pay together with the one into fives below it.
    likelier = np.cumsum([_likelier(children, fold) for children in splits])
    depth = int(likelier.argmax()) + 1
    if likelier[depth - 1] < _CLEARLY:
        return None
    found = tuple(_concentration(children) for children in splits[:depth])
    periods = round(MINUTE_S / lengths[depth - 1])
    return WithinMinutes(minutes.reshape(*minutes.shape[:2], periods, -1).sum(axis=3), found)


def grain_s(counts: pl.DataFrame) -> float:
    """Return the seconds to which the instants `start_local` were rounded; 0 if finer than matters here."""
    # In whole microseconds: of millions of instants a remainder of floats takes seconds.
    at_us = counts["start_local"].dt.epoch("us").to_numpy()
    return next(
        (grain for grain in _GRAINS_S if len(at_us) and (at_us % round(1e6 * grain) == 0).mean() >= _ON_GRAIN), 0.0
    )


def _lengths_s(grain_s: float) -> tuple[float, ...]:
    """Return the lengths to which counts of that grain can be added up, the longest first."""
    return tuple(length for length in _LENGTHS_S if not grain_s or length % grain_s == 0)


def _splits(fine: FloatArray, lengths_s: Sequence[float]) -> list[FloatArray]:
    """Return the counts of minutes, shape (n, K), for each split: shape (n, parents, children of each)."""
    found, parents = [], 1
    for length_s in lengths_s:
        periods = round(MINUTE_S / length_s)
        found.append(fine.reshape(len(fine), periods, -1).sum(axis=2).reshape(len(fine), parents, -1))
        parents = periods
    return found


def _concentration(children: FloatArray) -> float:
    """Estimate the concentration of even shares by moments, as `day_rates`; infinite without scatter beyond chance."""
    each, totals = children.shape[2], children.sum(axis=2)
    # A single call shows nothing of how calls of one minute keep together.
    several = totals > 1
    counts, totals = children[several], totals[several]
    excess = (each * (counts**2).sum(axis=1) / totals - totals - (each - 1)).sum()
    degrees = (each - 1) * (totals - 1).sum()
    scatter = float(excess / degrees) if degrees > 0 else 0.0
    # The scatter is 1 / (a + 1), as in `day_rates`.
    return 1 / min(scatter, 0.9) - 1 if scatter > 0 else np.inf


def _likelier(children: FloatArray, fold: IntArray) -> float:
    """Return the gain in log-likelihood of held-out days if shares scatter as on the other days."""
    found = 0.0
    for number in np.unique(fold):
        out: BoolArray = fold == number
        concentration = _concentration(children[~out])
        if np.isfinite(concentration):
            found += _log_ratio(children[out], concentration)
    return found


def _log_ratio(children: FloatArray, concentration: float) -> float:
    """Return the log-likelihood of Dirichlet-multinomial counts with even means, minus that of multinomial ones."""
    each = children.shape[2]
    # Minutes have few different counts, so each is computed once.
    totals, of_total = np.unique(children.sum(axis=2), return_counts=True)
    counts, of_count = np.unique(children, return_counts=True)
    rows = gammaln(concentration) - gammaln(concentration + totals) + totals * np.log(each)
    cells = gammaln(concentration / each + counts) - gammaln(concentration / each)
    return float((of_total * rows).sum() + (of_count * cells).sum())
