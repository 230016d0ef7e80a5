"""Attempts by day and hour -> what a forecast needs: a usual week, the month's cycle, and how the level moves.

Odd days and breakdowns do not shape the usual week. They come again, though: the scores of
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
"""Spread of an hour of a history that is too short to tell: its own day and the one to come both scatter."""


_HOLIDAYS_SHARE = 14 / 365
"""Odd days of an ordinary year: ten public holidays, and some breakdowns."""
_SAME_SHAPE = 0.01
"""Squared distance of the roots of two weekdays' shares by hour, up to which they count as alike."""
_SAME_LEVEL = 0.5
"""Difference of the logs of their calls, likewise."""
_SEASON_DAYS = 90
"""Days' worth of that figure that a history's own share is mixed with: one season's holidays are not the next one's."""


@dataclass(frozen=True, eq=False)
class Profile:
    """A usual week."""

    per_minute: FloatArray
    """Shape (7, 24)."""
    calls: FloatArray
    """What it rests on."""
    month: FloatArray = field(default_factory=lambda: np.zeros(2))
    """See `models.demand.fitting.month.month_cycle`."""

    def hours(self, grid: Grid) -> FloatArray:
        """Expected by hour of `grid`, shape (D, 24)."""
        swing = np.exp(harmonics(grid.dates) @ self.month)
        return np.asarray(self.per_minute[grid.weekdays] * grid.minutes * swing[:, None])

    def totals(self, grid: Grid) -> FloatArray:
        """Expected by day of `grid`."""
        return np.asarray(self.hours(grid).sum(axis=1))

    def residuals(self, grid: Grid) -> FloatArray:
        """Logs of days seen over days expected."""
        return np.asarray(np.log((grid.totals + 0.5) / (self.totals(grid) + 0.5)))


@dataclass(frozen=True, eq=False)
class Ordinary:
    """A history without what was odd."""

    grid: Grid
    """All days; hours of a breakdown are filled with what the rest of their day lets expect."""
    usual: BoolArray
    """Days that are neither closed, quiet nor very busy."""

    def keep(self, which: BoolArray) -> Ordinary:
        """Some of the days."""
        return Ordinary(self.grid.keep(which), self.usual[which])

    @property
    def days(self) -> Grid:
        """The usual days only; all, where none is."""
        return self.grid.keep(self.usual) if self.usual.any() else self.grid


def ordinary(grid: Grid) -> Ordinary:
    """Leave out odd days on both sides, and mend breakdowns."""
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
    # The usual week of whole hours only, at the level of the day's other hours.
    whole = replace(grid, hours=np.where(broken, 0.0, grid.hours), minutes=np.where(broken, 0.0, grid.minutes))
    expected = profile(whole.keep(usual) if usual.any() else whole).per_minute[grid.weekdays] * grid.minutes
    level = whole.hours.sum(axis=1) / np.maximum(np.where(broken, 0.0, expected).sum(axis=1), 1e-9)
    mended = np.where(broken, np.maximum(expected * level[:, None], grid.hours), grid.hours)
    return Ordinary(replace(grid, hours=mended), usual)


def odd_share(usual: BoolArray) -> float:
    """Share of odd days that is reckoned with in days to come."""
    return float((~usual).sum() + _SEASON_DAYS * _HOLIDAYS_SHARE) / (len(usual) + _SEASON_DAYS)


def profile(grid: Grid) -> Profile:
    """The mean week of some days; a weekday that is not among them is taken to be like the others' mean."""
    calls, minutes = np.zeros((7, 24)), np.zeros((7, 24))
    np.add.at(calls, grid.weekdays, grid.hours)
    np.add.at(minutes, grid.weekdays, grid.minutes)
    rates = calls / np.maximum(minutes, 1e-9)
    seen = np.bincount(grid.weekdays, minlength=7) > 0
    if not seen.all() and seen.any():
        rates[~seen], calls[~seen] = rates[seen].mean(axis=0), calls[seen].mean(axis=0)
    return Profile(rates, calls)


def seasonal(grid: Grid) -> Profile:
    """`profile` with the month's cycle, where there is one, and with weekdays of one shape drawn together."""
    mean = profile(grid)
    joined = replace(mean, per_minute=mean.per_minute * _towards_alike(mean, grid)[:, None])
    return replace(joined, month=month_cycle(joined.residuals(grid), grid.dates))


def _towards_alike(mean: Profile, grid: Grid) -> FloatArray:
    """Shape (7,): factors that draw each weekday's level towards those of weekdays that are alike, by
    as much as their differences can be chance. Source: Efron and Morris (1975).
    """
    days = np.maximum(np.bincount(grid.weekdays, minlength=7), 1)
    totals, calls = mean.per_minute.sum(axis=1), np.maximum(mean.calls.sum(axis=1), 1.0)
    if (totals <= 0).all():
        return np.ones(7)
    roots = np.sqrt(mean.per_minute / np.maximum(totals, 1e-9)[:, None])
    logs, noise = np.log(np.maximum(totals, 1e-9)), float(mean.residuals(grid).var()) / days
    factors = np.ones(7)
    for weekday in np.flatnonzero(totals > 0):
        apart = ((roots - roots[weekday]) ** 2).sum(axis=1)
        by_chance = 23 / 4 * (1 / calls + 1 / calls[weekday])
        near = np.abs(logs - logs[weekday]) < _SAME_LEVEL
        alike = (apart < _SAME_SHAPE + by_chance) & near & (totals > 0)
        if alike.sum() < 2:
            continue
        between = max(float(logs[alike].var(ddof=1) - noise[alike].mean()), 0.0)
        own = between / (between + noise[weekday]) if between + noise[weekday] > 0 else 1.0
        factors[weekday] = np.exp((own - 1) * (logs[weekday] - logs[alike].mean()))
    return factors


def levels_of(history: Ordinary, base: Profile, *, slope: bool = False) -> Levels:
    """How the level moves about `base`; smoothed at all days of the history, odd ones included."""
    numbers = np.array([day.toordinal() for day in history.grid.dates], dtype=np.float64)
    usual = history.usual if history.usual.any() else np.ones(len(numbers), dtype=np.bool_)
    return fit_levels(numbers[usual], base.residuals(history.grid)[usual], numbers, slope=slope)


def look_ahead(attempts: Grid, fresh_share: FloatArray, last: date) -> Outlook:
    """An outlook without trials; `models.demand.fitting.trials` adds them."""
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
