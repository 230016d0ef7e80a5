"""Forecast intervals of attempts by hour and day, from a fit's outlook.

The expected value is the usual week at the level that the day will have. Trials within the history show how far days
and hours lie from it, in units of the model's own deviation. The interval is the shortest that contains the asked share
of the trials. It is not symmetric, because breakdowns and holidays lie on the low side.
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
"""Bounds of the classes of hours by expected attempts; each class has its own interval."""
_LEAST_PART = 0.3
"""Least part of the history's variance that remains when the level is better known."""
_MOST = 0.999
_UNTOLD_DEGREES = 5
_CALLS_UNSEEN = 0.5
"""Calls added to those behind an hour: an hour without a call in the history may still get one."""


def forecast(
    fit: Fit, first: date, days: int, *, coverage: float = 0.9, fresh: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return forecasts of `days` local days from `first` on, by hour and by day.

    The columns are `start_local`, `expected`, `low` and `high`. Attempts are those under the throttle of the history;
    with `fresh`, first attempts only.

    Raises:
        InputError: the history was too short for a forecast.
    """
    if fit.outlook is None:
        raise InputError("history", [Problem(where="days", what="too few complete days for a forecast")])
    hours, by_day = tables(fit.outlook, [first + timedelta(n) for n in range(days)], coverage, fresh=fresh)
    return times(hours, fit.multiplied), times(by_day, fit.multiplied)


def tables(
    outlook: Outlook, dates: list[date], coverage: float, *, fresh: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the tables of `forecast` for given dates."""
    weekdays = np.array([day.weekday() for day in dates], dtype=np.int64)
    ahead = [max((day - outlook.last).days, 0) for day in dates]
    levels, deviations = np.array([outlook.levels.at(days) for days in ahead]).reshape(-1, 2).T
    levels = levels + harmonics(dates) @ outlook.month
    # Trials forecast a week from the other weeks, so their spread has the whole variance of the wandering level. A day
    # soon after the end is known better than that, and a far one less well.
    added = deviations**2 - outlook.levels.wandering_variance
    usual = 60 * np.maximum(outlook.attempts_per_minute, _unseen(outlook)) * (outlook.fresh_share if fresh else 1.0)
    # The level is a log, so the usual week is multiplied by it.
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
    """Return the standard deviation of a count of independent callers who share a random factor."""
    return np.sqrt(np.maximum(expected, _CALLS_UNSEEN) + (cv * expected) ** 2)


def hour_class(expected: FloatArray) -> IntArray:
    """Return the index of the hour's class in `Outlook.hour_scores`."""
    return np.asarray(np.searchsorted(CLASSES, expected), dtype=np.int64)


def _plus(squares: FloatArray, added: FloatArray) -> FloatArray:
    # The level is only a part of what makes days differ: however well it is known, some spread stays.
    return np.maximum(squares + added, _LEAST_PART * squares)


def _unseen(outlook: Outlook) -> float:
    """Return the rate per minute of half a call in the whole history."""
    behind = outlook.calls_behind > 0
    if not behind.any():
        return 0.0
    return _CALLS_UNSEEN * float(np.median(outlook.attempts_per_minute[behind] / outlook.calls_behind[behind]))


def _bounds(outlook: Outlook, scores: Scores | None, coverage: float) -> tuple[float, float]:
    """Return the lowest and highest score of the interval. Odd days without a score in the trials lie outside."""
    # Where trials had no odd day, all odd days to come lie outside, so ordinary days must lie inside more often.
    wanted = min(coverage / (1 - (0.0 if outlook.shows_odd else outlook.odd_share)), _MOST)
    if scores is None:
        # No trials: Student's t with few degrees stands in for tails that nobody has seen.
        half = float(stats.t.ppf((1 + wanted) / 2, _UNTOLD_DEGREES))
        return -half, half
    return scores.shortest(wanted)


def _table(starts: list[datetime], expected: FloatArray, cv: FloatArray, bounds: FloatArray) -> pl.DataFrame:
    # Round outwards: an interval of counts covers at least the share asked for.
    spread = deviation(expected, cv)
    low = np.maximum(np.floor(expected + bounds[..., 0] * spread), 0.0)
    high = np.maximum(np.ceil(expected + bounds[..., 1] * spread), 0.0)
    return pl.DataFrame(
        {"start_local": starts, "expected": expected.ravel(), "low": low.ravel(), "high": high.ravel()},
        schema_overrides={"start_local": pl.Datetime("us")},
    )
