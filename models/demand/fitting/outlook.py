"""Prepare a forecast: the usual week, the month's cycle, and how the level moves, from attempts by day and hour.

Odd days and breakdowns do not shape the usual week. But they will come again, so the scores of
`models.demand.fitting.trials` contain them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np

from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.demand.fitting.grid import Grid
from trunkproof.models.demand.fitting.levels import Levels, fit_levels
from trunkproof.models.demand.fitting.month import harmonics, month_cycle
from trunkproof.models.demand.fitting.odd_days import OddKind, find_odd
from trunkproof.models.demand.fitting.result import Outlook

_UNTOLD_CV = 0.2
"""Spread of an hour where the history is too short to estimate it: the day seen and the day to come both scatter."""


_HOLIDAYS_SHARE = 14 / 365
"""Share of odd days in an ordinary year: ten public holidays, and some breakdowns."""
_SAME_SHAPE = 0.01
"""Two weekdays count as alike up to this squared distance of the roots of their shares by hour."""
_SAME_LEVEL = 0.5
"""Two weekdays count as alike up to this difference of the logs of their calls."""
_SEASON_DAYS = 90
"""Weight, in days, of the ordinary share beside the history's own: the next season has other holidays."""


@dataclass(frozen=True, eq=False)
class Profile:
    """A usual week."""

    per_minute: FloatArray
    """Shape (7, 24)."""
    calls: FloatArray
    """Number of calls behind each rate, shape (7, 24)."""
    month: FloatArray = field(default_factory=lambda: np.zeros(2))
    """Factors of the month's cycle, as `models.demand.fitting.month.month_cycle` returns them, shape (2,)."""

    def hours(self, grid: Grid) -> FloatArray:
        """Return the expected calls by hour of `grid`, shape (D, 24)."""
        swing = np.exp(harmonics(grid.dates) @ self.month)
        return np.asarray(self.per_minute[grid.weekdays] * grid.minutes * swing[:, None])

    def totals(self, grid: Grid) -> FloatArray:
        """Return the expected calls by day of `grid`."""
        return np.asarray(self.hours(grid).sum(axis=1))

    def residuals(self, grid: Grid) -> FloatArray:
        """Return the logs of each day's calls over those expected."""
        # Half a call, so that a day without any has a logarithm.
        return np.asarray(np.log((grid.totals + 0.5) / (self.totals(grid) + 0.5)))


@dataclass(frozen=True, eq=False)
class Ordinary:
    """A history without its odd days and breakdowns."""

    grid: Grid
    """All days; hours of a breakdown have the calls that are expected from the rest of their day."""
    usual: BoolArray
    """Whether each day is neither closed, quiet nor very busy."""

    def keep(self, which: BoolArray) -> Ordinary:
        """Return the history of some of the days."""
        return Ordinary(self.grid.keep(which), self.usual[which])

    @property
    def days(self) -> Grid:
        """Return the usual days only, or all days if none is usual."""
        return self.grid.keep(self.usual) if self.usual.any() else self.grid


def ordinary(grid: Grid) -> Ordinary:
    """Mark odd days, quiet or very busy, and repair breakdowns."""
    odd = find_odd(grid)
    left = {one.date for one in odd if one.kind is not OddKind.OUTAGE}
    usual = np.array([day not in left for day in grid.dates], dtype=np.bool_)
    rows = {day: row for row, day in enumerate(grid.dates)}
    broken = np.zeros((len(grid), 24), dtype=np.bool_)
    for one in odd:
        if one.kind is OddKind.OUTAGE:
            broken[rows[one.date], list(one.hours)] = True
    if not broken.any():
        return Ordinary(grid, usual)
    # Fill in the usual week, from whole hours only, at the level of the day's other hours.
    whole = replace(grid, hours=np.where(broken, 0.0, grid.hours), minutes=np.where(broken, 0.0, grid.minutes))
    expected = profile(whole.keep(usual) if usual.any() else whole).per_minute[grid.weekdays] * grid.minutes
    # The level of the rest of the same day: a busy day with a breakdown is filled up as a busy day.
    level = whole.hours.sum(axis=1) / np.maximum(np.where(broken, 0.0, expected).sum(axis=1), 1e-9)
    mended = np.where(broken, np.maximum(expected * level[:, None], grid.hours), grid.hours)
    return Ordinary(replace(grid, hours=mended), usual)


def odd_share(usual: BoolArray) -> float:
    """Return the share of odd days that is expected in days to come."""
    return float((~usual).sum() + _SEASON_DAYS * _HOLIDAYS_SHARE) / (len(usual) + _SEASON_DAYS)


def profile(grid: Grid) -> Profile:
    """Return the mean week of some days; a missing weekday gets the mean of the others."""
    calls, minutes = np.zeros((7, 24)), np.zeros((7, 24))
    np.add.at(calls, grid.weekdays, grid.hours)
    np.add.at(minutes, grid.weekdays, grid.minutes)
    rates = calls / np.maximum(minutes, 1e-9)
    seen = np.bincount(grid.weekdays, minlength=7) > 0
    if not seen.all() and seen.any():
        # Without this a forecast of a weekday that the history lacks would be 0.
        rates[~seen], calls[~seen] = rates[seen].mean(axis=0), calls[seen].mean(axis=0)
    return Profile(rates, calls)


def seasonal(grid: Grid) -> Profile:
    """Return `profile` with the month's cycle, if any, and with weekdays of one shape drawn towards each other."""
    mean = profile(grid)
    # Levels only: the shape of each weekday's day stays its own.
    joined = replace(mean, per_minute=mean.per_minute * _towards_alike(mean, grid)[:, None])
    return replace(joined, month=month_cycle(joined.residuals(grid), grid.dates))


def _towards_alike(mean: Profile, grid: Grid) -> FloatArray:
    """Return factors that draw each weekday's level towards those of similar weekdays, shape (7,).

    They remove that part of the differences which chance explains. Source: Efron and Morris (1975).
    """
    days = np.maximum(np.bincount(grid.weekdays, minlength=7), 1)
    totals, calls = mean.per_minute.sum(axis=1), np.maximum(mean.calls.sum(axis=1), 1.0)
    if (totals <= 0).all():
        return np.ones(7)
    # The square root of a share of n calls has a variance of about 1 / (4 n), whatever the share is.
    roots = np.sqrt(mean.per_minute / np.maximum(totals, 1e-9)[:, None])
    logs, noise = np.log(np.maximum(totals, 1e-9)), float(mean.residuals(grid).var()) / days
    factors = np.ones(7)
    for weekday in np.flatnonzero(totals > 0):
        apart = ((roots - roots[weekday]) ** 2).sum(axis=1)
        # The sum of that over 24 hours, less one because shares add up to 1.
        by_chance = 23 / 4 * (1 / calls + 1 / calls[weekday])
        near = np.abs(logs - logs[weekday]) < _SAME_LEVEL
        alike = (apart < _SAME_SHAPE + by_chance) & near & (totals > 0)
        if alike.sum() < 2:
            continue
        # What levels differ beyond the noise of their days. If that is nothing, all take the common mean.
        between = max(float(logs[alike].var(ddof=1) - noise[alike].mean()), 0.0)
        own = between / (between + noise[weekday]) if between + noise[weekday] > 0 else 1.0
        factors[weekday] = np.exp((own - 1) * (logs[weekday] - logs[alike].mean()))
    return factors


def levels_of(history: Ordinary, base: Profile, *, slope: bool = False) -> Levels:
    """Fit how the level moves about `base`, smoothed at all days of the history, including odd ones."""
    numbers = np.array([day.toordinal() for day in history.grid.dates], dtype=np.float64)
    usual = history.usual if history.usual.any() else np.ones(len(numbers), dtype=np.bool_)
    return fit_levels(numbers[usual], base.residuals(history.grid)[usual], numbers, slope=slope)


def look_ahead(attempts: Grid, fresh_share: FloatArray, last: date) -> Outlook:
    """Return an outlook without trials; `models.demand.fitting.trials` adds them."""
    history = ordinary(attempts)
    base = seasonal(history.days)
    return Outlook(
        last=last,
        attempts_per_minute=base.per_minute,
        calls_behind=base.calls,
        fresh_share=fresh_share,
        month=base.month,
        levels=levels_of(history, base),
        odd_share=odd_share(history.usual),
        day_cv=_UNTOLD_CV,
        hour_cv=np.full(24, _UNTOLD_CV),
        day_scores=None,
        hour_scores=(),
        shows_odd=False,
    )
