"""Forecast intervals of attempts by hour and day, from a fit's outlook.

What is expected is the usual week at the level that the day will have. How far a day or hour may lie from that, in
units of the model's own deviation, is told by the trials within the history: the shortest interval that holds the share
asked for of what came. Breakdowns and holidays lie on the low side, so it is not symmetric.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import numpy as np
import polars as pl
from scipy import stats

from trunkproof.models.arrays import FloatArray, IntArray
from trunkproof.models.demand.fitting.month import harmonics
from trunkproof.models.demand.fitting.result import Fit, Outlook, Scores, times
from trunkproof.models.errors import InputError, Problem

CLASSES = (2.0, 20.0)
"""Hours are judged apart by how many attempts they expect: bounds of the classes."""
_LEAST_PART = 0.3
"""Of the history's variance, that a better known level leaves at least."""
_MOST = 0.999
_UNTOLD_DEGREES = 5
_CALLS_UNSEEN = 0.5
"""Calls added to what an hour rests on: one without a call may still get one."""


def forecast(
    fit: Fit, first: date, days: int, *, coverage: float = 0.9, fresh: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables of `days` local days from `first` on, by hour and by day: `start_local`, `expected`, `low`, `high`.

    Attempts under the throttle of the history; with `fresh`, first attempts only. An `InputError` says that the history
    was too short for it.
    """
    if fit.outlook is None:
        raise InputError("history", [Problem(where="days", what="too few complete days for a forecast")])
    hours, by_day = tables(fit.outlook, [first + timedelta(n) for n in range(days)], coverage, fresh=fresh)
    return times(hours, fit.multiplied), times(by_day, fit.multiplied)


def tables(
    outlook: Outlook, dates: list[date], coverage: float, *, fresh: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`forecast` of given dates."""
    weekdays = np.array([day.weekday() for day in dates], dtype=np.int64)
    ahead = [max((day - outlook.last).days, 0) for day in dates]
    levels, deviations = np.array([outlook.levels.at(days) for days in ahead]).reshape(-1, 2).T
    levels = levels + harmonics(dates) @ outlook.month
    # Trials forecast a level that wanders freely; nearby days are known better, far ones not as well.
    added = deviations**2 - outlook.levels.wandering_variance
    usual = 60 * np.maximum(outlook.attempts_per_minute, _unseen(outlook)) * (outlook.fresh_share if fresh else 1.0)
    expected = usual[weekdays] * np.exp(levels)[:, None]
    hour_cv = np.sqrt(_plus(outlook.hour_cv[None] ** 2, added[:, None]))
    day_cv = np.sqrt(_plus(np.array([outlook.day_cv**2]), added))
    bounds = np.array([_bounds(outlook, scores, coverage) for scores in outlook.hour_scores or (None,)])
    of_hours = bounds[hour_class(expected)] if outlook.hour_scores else np.broadcast_to(bounds[0], (*expected.shape, 2))
    of_days = np.broadcast_to(_bounds(outlook, outlook.day_scores, coverage), (len(dates), 2))
    starts = [datetime.combine(day, time(hour)) for day in dates for hour in range(24)]
    midnights = [datetime.combine(day, time()) for day in dates]
    totals = expected.sum(axis=1)
    return _table(starts, expected, hour_cv, of_hours), _table(midnights, totals, day_cv, of_days)


def deviation(expected: FloatArray, cv: FloatArray | float) -> FloatArray:
    """Of a count: independent callers, and a factor that they share."""
    return np.sqrt(np.maximum(expected, _CALLS_UNSEEN) + (cv * expected) ** 2)


def hour_class(expected: FloatArray) -> IntArray:
    """Number of the class of `Outlook.hour_scores`."""
    return np.asarray(np.searchsorted(CLASSES, expected), dtype=np.int64)


def _plus(squares: FloatArray, added: FloatArray) -> FloatArray:
    return np.maximum(squares + added, _LEAST_PART * squares)


def _unseen(outlook: Outlook) -> float:
    """Rate per minute that stands for half a call of the history."""
    behind = outlook.calls_behind > 0
    if not behind.any():
        return 0.0
    return _CALLS_UNSEEN * float(np.median(outlook.attempts_per_minute[behind] / outlook.calls_behind[behind]))


def _bounds(outlook: Outlook, scores: Scores | None, coverage: float) -> tuple[float, float]:
    """Lowest and highest score of what comes with that probability. Odd days that no score shows lie outside."""
    wanted = min(coverage / (1 - (0.0 if outlook.shows_odd else outlook.odd_share)), _MOST)
    if scores is None:
        half = float(stats.t.ppf((1 + wanted) / 2, _UNTOLD_DEGREES))
        return -half, half
    return scores.shortest(wanted)


def _table(starts: list[datetime], expected: FloatArray, cv: FloatArray, bounds: FloatArray) -> pl.DataFrame:
    # Rounded outwards: an interval of counts holds at least what it is asked to.
    spread = deviation(expected, cv)
    low = np.maximum(np.floor(expected + bounds[..., 0] * spread), 0.0)
    high = np.maximum(np.ceil(expected + bounds[..., 1] * spread), 0.0)
    return pl.DataFrame(
        {"start_local": starts, "expected": expected.ravel(), "low": low.ravel(), "high": high.ravel()},
        schema_overrides={"start_local": pl.Datetime("us")},
    )
