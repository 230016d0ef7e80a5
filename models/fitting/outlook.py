"""Attempts by day and hour -> what a forecast needs: the level at the history's end, its drift from week to week, and
how far usual and odd days lie from it.

The level errors of many origins within the history, not a fit's own residuals, say how far a forecast strays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from scipy.optimize import nnls

from models.fitting.busyness import log_factors
from models.fitting.grid import BoolArray, FloatArray, Grid, IntArray
from models.fitting.result import Outlook

FIRST_ORIGIN_DAYS = 28
"""History that the first trial has behind it, at least."""
_HALF_LIVES_WEEKS = (1.0, 2.0, 4.0)
_MEMORIES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
_CLEARLY = 0.9
"""An error must fall below this part of the plain mean's for recent weeks to weigh more."""
_LEAST_ORIGINS = 3
_DRIFT_CV = 0.01
"""By week, at least: half a year cannot exclude that the next is 5 % off."""
_DAY_CV = 0.1
_LEAST_DEGREES = 3
"""With fewer, days are taken to spread by the figure above at least."""
_LEAST_DAYS_OF_A_WEEK = 3
_MEDIAN_COST = np.pi / 2
_LEAST_RESIDUALS = 60
_ODD_SPREADS = 4.5
_ODD_LEAST = 0.4
_LEAST_EXPECTED = 5.0
_ALIKE_DAYS = 4
"""Days' worth of the pooled spread that a weekday's own is mixed with."""


@dataclass(frozen=True, eq=False)
class Profile:
    """A usual week."""

    per_minute: FloatArray
    """Shape (7, 24)."""
    calls: FloatArray
    """What it rests on."""

    def totals(self, grid: Grid) -> FloatArray:
        """Expected by day of `grid`."""
        return np.asarray((self.per_minute[grid.weekdays] * grid.minutes).sum(axis=1))

    def residuals(self, grid: Grid) -> FloatArray:
        """Logs of days seen over days expected."""
        return np.asarray(np.log((grid.totals + 0.5) / (self.totals(grid) + 0.5)))


def usual_days(grid: Grid) -> BoolArray:
    """Days within the ordinary spread of their weekday, odd ones left out on both sides."""
    logs = log_factors(grid)
    spread = 1.4826 * float(np.median(np.abs(logs))) if len(logs) else 0.0
    return np.asarray(np.abs(logs) < max(_ODD_SPREADS * spread, _ODD_LEAST))


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


@dataclass(frozen=True, eq=False)
class Levels:
    """How the level moves; see `Outlook`."""

    half_life_weeks: float
    """Weight of the past in the level at the end; infinite: that is the level of the whole."""
    memory: float
    level_cv: float
    drift_cv: float


def level(grid: Grid, usual: BoolArray, base: Profile, half_life_weeks: float) -> float:
    """Log of the level at the end of `grid` over that of `base`."""
    if not usual.any() or not np.isfinite(half_life_weeks):
        return 0.0
    weeks = np.array([(grid.dates[-1] - day).days for day in grid.dates]) / 7
    weights = 0.5 ** (weeks / half_life_weeks) * usual
    return float((weights * base.residuals(grid)).sum() / weights.sum())


def origins(grid: Grid, step_days: int = 7) -> list[int]:
    """Rows that trials within the history begin at."""
    first = max(FIRST_ORIGIN_DAYS, len(grid) // 4)
    return list(range(first, len(grid) - 6, step_days))


@dataclass(frozen=True, eq=False)
class _Errors:
    """Of forecast levels, one entry per origin and week ahead."""

    ahead: FloatArray
    """Weeks."""
    seen: FloatArray
    """Log of the week's level over that of the days before the origin."""
    recent: FloatArray
    """The same at the origin."""
    noise: FloatArray
    """Part of a day's variance that is in `seen`."""

    def left(self, memory: float) -> FloatArray:
        """What a forecast by `recent` and `memory` misses."""
        return np.asarray(self.seen - self.recent * memory**self.ahead)

    def cost(self, memory: float) -> float:
        """Mean miss; weeks far ahead overlap each other and count less."""
        return float(np.average(np.abs(self.left(memory)), weights=1 / self.ahead))


def fit_levels(grid: Grid, usual: BoolArray, day_cv: float) -> Levels:
    """The half-life and the memory that forecast best, and the error left: at once, and growing week by week."""
    starts = origins(grid)
    least = day_cv / np.sqrt(max(int(usual.sum()), 1))
    if len(starts) < _LEAST_ORIGINS:
        return Levels(np.inf, 1.0, least, _DRIFT_CV)
    tried = {half_life: _level_errors(grid, usual, starts, half_life) for half_life in _HALF_LIVES_WEEKS}
    best, memory = min(
        ((half_life, memory) for half_life in tried for memory in _MEMORIES),
        key=lambda pair: tried[pair[0]].cost(pair[1]),
    )
    errors = tried[best]
    if errors.cost(memory) > _CLEARLY * errors.cost(0.0):
        best, memory = np.inf, 0.0
    by_week = np.unique(errors.ahead)
    squares = errors.left(memory) ** 2 - errors.noise * day_cv**2
    means = np.array([squares[errors.ahead == week].mean() for week in by_week])
    weights = np.sqrt([(errors.ahead == week).sum() / week for week in by_week])
    grown = by_week if memory in (0.0, 1.0) else (1 - memory ** (2 * by_week)) / (1 - memory**2)
    terms, _ = nnls(np.column_stack([np.ones(len(by_week)), grown]) * weights[:, None], means * weights)
    drift = max(float(np.sqrt(terms[1])), _DRIFT_CV)
    return Levels(best, memory or 1.0, max(float(np.sqrt(terms[0])), least), drift)


def _level_errors(grid: Grid, usual: BoolArray, starts: list[int], half_life_weeks: float) -> _Errors:
    rows: list[tuple[float, float, float, float]] = []
    for start in starts:
        past = grid.keep(slice(0, start))
        base = profile(past.keep(usual[:start]))
        recent = level(past, usual[:start], base, half_life_weeks)
        rest, good = base.residuals(grid.keep(slice(start, len(grid)))), usual[start:]
        for week in range(len(rest) // 7):
            of = rest[7 * week : 7 * week + 7][good[7 * week : 7 * week + 7]]
            if len(of) >= _LEAST_DAYS_OF_A_WEEK:
                rows.append((week + 1.0, float(np.median(of)), recent, _MEDIAN_COST / len(of)))
    return _Errors(*np.array(rows).reshape(-1, 4).T)


def look_ahead(attempts: Grid, fresh_share: FloatArray, last: date) -> Outlook:
    """An outlook without trials; `models.fitting.trials` adds them."""
    usual = usual_days(attempts)
    base = profile(attempts.keep(usual))
    rest = base.residuals(attempts) - _local_level(attempts, usual, base)
    spreads, degrees = _day_spreads(rest[usual], attempts.weekdays[usual])
    levels = fit_levels(attempts, usual, float(np.sqrt(np.mean(spreads**2))))
    enough = len(rest) >= _LEAST_RESIDUALS
    return Outlook(
        last=last,
        attempts_per_minute=base.per_minute,
        calls_behind=base.calls,
        fresh_share=fresh_share,
        recent=level(attempts, usual, base, levels.half_life_weeks),
        memory=levels.memory,
        level_cv=levels.level_cv,
        drift_cv=levels.drift_cv,
        day_cv=spreads,
        day_residuals=np.sort((rest / spreads[attempts.weekdays])[usual]) if enough else np.empty(0),
        day_degrees=degrees,
        odd_share=1 - float(usual.mean()),
        hour_cv=_hour_spreads(attempts.keep(usual)),
        day_scores=np.empty(0),
        hour_scores=(),
    )


def _local_level(grid: Grid, usual: BoolArray, base: Profile) -> FloatArray:
    """Level of the weeks around each day: median of the usual days within a fortnight, where the history is long."""
    residuals = base.residuals(grid)
    if len(grid) < _LEAST_RESIDUALS:
        return np.zeros(len(grid))
    numbers = np.array([day.toordinal() for day in grid.dates])
    near = (np.abs(numbers[:, None] - numbers) <= 14) & usual
    return np.array([np.median(residuals[row]) if row.any() else 0.0 for row in near])


def _day_spreads(residuals: FloatArray, weekdays: IntArray) -> tuple[FloatArray, int]:
    """By weekday, shape (7,), mixed with the pooled one; and the degrees of freedom of that."""
    kinds = np.unique(weekdays)
    degrees = max(len(residuals) - len(kinds), 1)
    centred = residuals.copy()
    for weekday in kinds:
        centred[weekdays == weekday] -= residuals[weekdays == weekday].mean()
    pooled = float((centred**2).sum()) / degrees
    if degrees < _LEAST_DEGREES:
        pooled = max(pooled, _DAY_CV**2)
    spreads = np.full(7, max(np.sqrt(pooled), 1e-3))
    for weekday in kinds:
        own = centred[weekdays == weekday]
        mixed = (float((own**2).sum()) + _ALIKE_DAYS * pooled) / (len(own) - 1 + _ALIKE_DAYS)
        spreads[weekday] = max(np.sqrt(mixed), 1e-3)
    return spreads, degrees


def _hour_spreads(grid: Grid) -> FloatArray:
    """By hour of the day, shape (24,): of an hour about its share of the day, Poisson noise taken off."""
    excess, base = np.zeros(24), np.zeros(24)
    for weekday in np.unique(grid.weekdays):
        table = grid.hours[grid.weekdays == weekday]
        total = table.sum()
        if len(table) < 2 or total == 0:
            continue
        days, shares = table.sum(axis=1, keepdims=True) / total, table.sum(axis=0, keepdims=True) / total
        expected = total * days * shares
        free = np.maximum((1 - days) * (1 - shares), 1e-9)
        counted = expected >= _LEAST_EXPECTED
        excess += (counted * ((table - expected) ** 2 / free - expected)).sum(axis=0)
        base += (counted * expected**2).sum(axis=0)
    pooled = max(excess.sum() / base.sum(), 0.0) if base.sum() > 0 else 0.0
    own = np.divide(excess, base, out=np.full(24, pooled), where=base > 0)
    return np.asarray(np.sqrt(np.maximum(own, 0.0)))
