"""The rate of fresh calls on each day of a history, minute by minute, with equally likely alternatives.

A history shows counts, not rates. If 12 calls came in one minute, the rate may have been 9 or 15. This module draws
rates that fit the counts: `DayRates.draw` returns one alternative for all days at once (a multiscale posterior).

How a day is drawn, with an example of a Monday with 6,000 calls:

1. The total. A Poisson count of 6,000 leaves a gamma posterior for its mean: 6,000, give or take 77.
2. The hours. On usual Mondays 10 % of the calls come from 10:00 to 11:00; on this one it was 14 %, a campaign. The
   share is drawn from a Dirichlet posterior, which lies between the two. All days together show how far shares of hours
   usually stray from the usual shape; that is the concentration a. With a = 500, the usual shape weighs as much as 500
   calls against the day's own 6,000. So the share is drawn around (500 * 10 % + 6,000 * 14 %) / 6,500 = 13.7 %.
3. Quarters of an hour, five minutes, minutes: the same again, each with a concentration of its own. A minute has few
   calls of its own. So where days are alike at this scale (a is large), the usual shape counts; where calls come in
   rushes (a is small), the day's own count does.
4. Seconds, where calls come in batches (`models.demand.fitting.within_minutes`).

So a campaign of forty minutes and a busy day stay what they were, and calls that came together stay together. Only as
much is smoothed as chance alone explains. Source: Kolaczyk, "Bayesian multiscale models for Poisson processes",
JASA 94 (1999).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl

from trunkproof.models.arrays import BoolArray, FloatArray, IntArray
from trunkproof.models.demand.fitting.grid import Grid, by_period
from trunkproof.models.demand.fitting.weekday_classes import Classes, choose_resolution, shape_of
from trunkproof.models.demand.fitting.within_minutes import MINUTE_S, WithinMinutes, fit_within_minutes

_SPLITS_S = (3600.0, 900.0, 300.0, 60.0)
_BUSY = 0.25
"""Concentrations are estimated from periods with at least this share of the calls of the busiest one."""
_LARGEST = 1e9
"""Concentration that stands for shares without any scatter."""
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Split:
    """One step of the division of a day into shorter periods."""

    length_s: float
    """Length of the shorter periods."""
    concentration: float
    """Concentration of the Dirichlet distribution of their shares: large where shares scatter little."""


@dataclass(frozen=True, eq=False)
class DayRates:
    """The counts of D days in P periods a day, and all that is needed to draw rates from them."""

    dates: tuple[date, ...]
    counts: FloatArray
    """Fresh calls, shape (D, P)."""
    period_s: float
    classes: Classes
    """Groups of weekdays that are alike in their number of calls and in their hours."""
    shape_classes: Classes
    """Groups of weekdays that are alike in the shape of their day, however many calls come."""
    shape_s: float
    """Length of the periods within which that shape is taken to be flat."""
    shapes: FloatArray
    """Share of a usual day's calls by shape class and period, shape (C, P)."""
    splits: tuple[Split, ...]
    """From hours down to the periods."""
    multiplied: float = 1.0
    """Factor from the counts of the file to the rates."""
    within_minutes: WithinMinutes | None = None
    """How calls are spread within minutes, where periods are minutes; None: evenly."""

    @property
    def weekdays(self) -> IntArray:
        """Return the weekday of each day, Monday is 0, shape (D,)."""
        return np.array([day.weekday() for day in self.dates], dtype=np.int64)

    @property
    def class_of_day(self) -> IntArray:
        """Return the index of each day's class, shape (D,)."""
        return class_of(self.classes, self.weekdays)

    def draw(self, random: np.random.Generator) -> FloatArray:
        """Draw the rates that the days may have had, in calls per minute: shape (D, P), one alternative."""
        kinds = class_of(self.shape_classes, self.weekdays)
        # The posterior of a Poisson mean under Jeffreys' prior, half a call.
        rate = random.standard_gamma(self.counts.sum(axis=1) + 0.5)[:, None]
        for children, shape, concentration in self._levels():
            rate = _split(rate, children, shape[kinds], concentration, random)
        return np.asarray(rate * (60.0 / self.period_s) * self.multiplied)

    @property
    def step_s(self) -> float:
        """Return the length of the steps of simulated rates: the periods, or the parts into which they are split."""
        return self.period_s if self.within_minutes is None else self.within_minutes.period_s

    def path(  # which stretch of which day
        self, rates: FloatArray, day: int, from_s: float, length_s: float, random: np.random.Generator
    ) -> FloatArray:
        """Return the rates of a part of a day in steps of `step_s`; before midnight they are as at midnight.

        Args:
            rates: the result of `draw`.
            day: index of `dates`.
            from_s: begin of the part, in seconds after midnight.
            length_s: length of the part.
            random: spreads calls within their minutes.
        """
        places = np.arange(math.floor(from_s / self.period_s), math.floor((from_s + length_s) / self.period_s))
        # A lead-in may begin on the day before, which may not be in the history.
        places = np.clip(places, 0, rates.shape[1] - 1)
        path = rates[day, places]
        if self.within_minutes is None:
            return np.asarray(path)
        return np.asarray((path[:, None] * self.within_minutes.draw(day, places, random)).ravel())

    def _levels(self) -> Iterator[tuple[FloatArray, FloatArray, float]]:
        """Yield, for each split, counts (D, n) and shapes (C, n) of its periods, and the concentration."""
        for split in self.splits:
            merged = round(split.length_s / self.period_s)
            yield _merge(self.counts, merged), _merge(self.shapes, merged), split.concentration

    def times(self, factor: float) -> DayRates:
        """Return the same days with calls multiplied; busy days and minutes stay as busy relative to others."""
        return replace(self, multiplied=self.multiplied * factor)


def class_of(classes: Classes, weekdays: IntArray) -> IntArray:
    """Return the index of each weekday's class."""
    of = np.zeros(7, dtype=np.int64)
    for number, days in enumerate(classes):
        of[list(days)] = number
    return of[weekdays]


def fit_day_rates(
    counts: pl.DataFrame, column: str, grid: Grid, interval_s: float, *, are_instants: bool = False
) -> DayRates:
    """Return the rates behind the days of `grid`.

    Args:
        counts: fresh calls in `column` by `start_local`, as single calls or by interval.
        column: the column to add up.
        grid: the days; where demand of an hour was filled in, the hour of the grid counts and not that of `counts`.
        interval_s: length of the history's intervals; no period is shorter.
        are_instants: whether `counts` are single calls at their instants, however long the history's intervals are.
    """
    period = _finest(interval_s)
    seen = by_period(counts, column, grid.dates, period)
    # Fresh calls of an interval are attempts minus expected redials, which may fall below 0.
    seen = np.maximum(seen, 0.0) * _filled_in(seen, grid)
    resolution = choose_resolution(seen, grid.weekdays, _weeks(grid), period)
    kinds = class_of(resolution.shape_classes, grid.weekdays)
    merged = round(resolution.length_s / period)
    shapes = np.array([_class_shape(seen, kinds == kind, merged) for kind in range(len(resolution.shape_classes))])
    lengths = [length for length in _SPLITS_S if length > period and length % period == 0] + [period]
    splits, parent = [], _DAY_S
    for length in lengths:
        within = round(length / period)
        # Below the chosen resolution the shape is an assumption and took no degree of freedom from the data.
        is_flat = length < resolution.length_s
        concentration = _concentration(
            _merge(seen, within), _merge(shapes, within)[kinds], round(parent / length), kinds, is_flat=is_flat
        )
        splits.append(Split(length, concentration))
        parent = length
    rows_s = None if are_instants else interval_s
    return DayRates(
        dates=grid.dates,
        counts=seen,
        period_s=period,
        classes=resolution.classes,
        shape_classes=resolution.shape_classes,
        shape_s=resolution.length_s,
        shapes=shapes,
        splits=tuple(splits),
        within_minutes=fit_within_minutes(counts, column, grid, rows_s) if period == MINUTE_S else None,
    )


def _finest(interval_s: float) -> float:
    """Return a minute, or else the shortest multiple of the interval that divides an hour."""
    fitting = [n * interval_s for n in range(1, 61) if n * interval_s >= 60 and (3600 / (n * interval_s)).is_integer()]
    return min(fitting, default=3600.0)


def _filled_in(seen: FloatArray, grid: Grid) -> FloatArray:
    """Return the factor by which the demand of each period was raised: that of its hour."""
    by_hour = seen.reshape(len(seen), 24, seen.shape[1] // 24).sum(axis=2)
    raised = np.divide(grid.hours, by_hour, out=np.ones_like(by_hour), where=by_hour > 0)
    # Elsewhere both are sums of the same calls, but for rounding.
    raised[np.abs(raised - 1) < 1e-9] = 1.0
    return np.asarray(np.repeat(raised, seen.shape[1] // 24, axis=1))


def _weeks(grid: Grid) -> IntArray:
    first = min((day.toordinal() for day in grid.dates), default=0)
    return np.array([(day.toordinal() - first) // 7 for day in grid.dates], dtype=np.int64)


def _class_shape(seen: FloatArray, of: BoolArray, merged: int) -> FloatArray:
    return shape_of(seen[of] if of.any() else seen, merged)


def _merge(values: FloatArray, merged: int) -> FloatArray:
    return np.asarray(values.reshape(len(values), values.shape[1] // merged, merged).sum(axis=2))


def _concentration(children: FloatArray, shapes: FloatArray, each: int, kinds: IntArray, *, is_flat: bool) -> float:
    """Estimate the concentration by moments: how far shares scatter beyond multinomial chance, over all busy periods.

    Of n calls over K shares with concentration a, Pearson's statistic has the mean (K - 1)(1 + (n - 1) / (a + 1)). A
    shape that was estimated from D days itself takes one part in D of that, unless it is flat.
    """
    if not len(children):
        return _LARGEST
    counts = children.reshape(len(children), -1, each)
    priors = shapes.reshape(counts.shape)
    inner = priors / np.maximum(priors.sum(axis=2, keepdims=True), 1e-300)
    totals = counts.sum(axis=2)
    expected = totals[:, :, None] * inner
    # Pearson's statistic is wild where next to nothing is expected. Quiet hours would decide with their noise.
    known = (expected > 0.05).all(axis=2) & (totals >= _BUSY * totals.max(initial=0.0)) & (totals > 1)
    if not known.any():
        return _LARGEST
    pearson = ((counts - expected) ** 2 / np.maximum(expected, 1e-300)).sum(axis=2)
    days = np.bincount(kinds, minlength=kinds.max() + 1)[kinds]
    told = np.ones(len(days)) if is_flat else 1 - 1 / np.maximum(days, 2)
    degrees = (each - 1) * told[:, None] * np.ones_like(totals)
    excess = float((pearson - degrees)[known].sum())
    scatter = excess / float((degrees * (totals - 1))[known].sum())
    # The scatter is 1 / (a + 1). At 1 or more all calls lie in one share, and a concentration of 0 could not be drawn
    # from.
    return min(_LARGEST, 1 / scatter - 1) if 0 < scatter < 1 else _LARGEST if scatter <= 0 else 0.5


def _split(
    parents: FloatArray, children: FloatArray, shapes: FloatArray, concentration: float, random: np.random.Generator
) -> FloatArray:
    """Draw how much of each parent (D, n) goes to its children (D, m), m a multiple of n."""
    each = children.shape[1] // parents.shape[1]
    counts = children.reshape(len(children), -1, each)
    priors = shapes.reshape(counts.shape)
    inner = priors / np.maximum(priors.sum(axis=2, keepdims=True), 1e-300)
    # A Dirichlet posterior: the usual shape counts like `concentration` calls beside the day's own.
    drawn = random.standard_gamma(concentration * inner + counts) if concentration < _LARGEST else inner
    shares = drawn / np.maximum(drawn.sum(axis=2, keepdims=True), 1e-300)
    return np.asarray((parents[:, :, None] * shares).reshape(len(children), -1))
