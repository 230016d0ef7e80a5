"""Forecast intervals of attempts by hour and day, drawn from a fit's outlook.

What is drawn: the level and its drift, the day, the hour, and callers. Trials within the history then say which
coverage an interval of usual days must be asked for so as to have the one wanted on all days.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta

import numpy as np
import polars as pl

from models.errors import InputError, Problem
from models.fitting.grid import FloatArray, IntArray
from models.fitting.result import Fit, Outlook, times

DRAWS = 2000
CLASSES = (2.0, 20.0)
"""Hours are judged apart by how many attempts they expect: bounds of the classes."""
HOLIDAYS = 10 / 365
"""Share of odd days that is reckoned with, also by a history that was too short to hold one."""
_MOST = 0.999
_LARGEST_LOG = 3.0
"""No day is more than this many e-folds off: keeps a tail finite."""


def forecast(
    fit: Fit, first: date, days: int, *, coverage: float = 0.9, seed: int = 1, fresh: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables of `days` local days from `first` on, by hour and by day: `start_local`, `expected`, `low`, `high`.

    Attempts under the throttle of the history; with `fresh`, first attempts only. An `InputError` says that the history
    was too short for it.
    """
    if fit.outlook is None:
        raise InputError("history", [Problem(where="days", what="too few complete days for a forecast")])
    hours, by_day = tables(fit.outlook, [first + timedelta(n) for n in range(days)], coverage, seed, fresh=fresh)
    return times(hours, fit.multiplied), times(by_day, fit.multiplied)


def tables(
    outlook: Outlook, dates: list[date], coverage: float, seed: int, *, fresh: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`forecast` of given dates."""
    share = outlook.fresh_share if fresh else np.ones((7, 24))
    random = np.random.default_rng([seed, 3])
    by_hour, by_day = [], []
    hours = [datetime.combine(day, time(hour)) for day in dates for hour in range(24)]
    for day, drawn in zip(dates, draw_days(outlook, dates, DRAWS, random, share), strict=True):
        usual = np.exp(outlook.level(_weeks(outlook, day))[0])
        expected = outlook.attempts_per_minute[day.weekday()] * share[day.weekday()] * 60 * usual
        by_hour.append(_rows(expected, drawn, [_asked(outlook, value, coverage) for value in expected]))
        total = drawn.sum(axis=1, keepdims=True)
        by_day.append(_rows(expected[None].sum(axis=1), total, [_level(outlook, outlook.day_scores, coverage)]))
    midnights = [datetime.combine(day, time()) for day in dates]
    return _table(hours, np.concatenate(by_hour)), _table(midnights, np.concatenate(by_day))


def draw_days(
    outlook: Outlook, dates: list[date], draws: int, random: np.random.Generator, share: FloatArray | None = None
) -> Iterator[FloatArray]:
    """For each date, attempts by hour: shape (draws, 24)."""
    gone = random.standard_normal(draws)
    shape = outlook.calls_behind + 0.5
    for day in dates:
        weekday = day.weekday()
        level, unsure_level = outlook.level(_weeks(outlook, day))
        logs = level + gone * unsure_level + outlook.day_cv[weekday] * _deviations(outlook, draws, random)
        rates = outlook.attempts_per_minute[weekday] * 60 * (1.0 if share is None else share[weekday])
        # A cell without a call may still get one: half a call is added to what it rests on.
        floor = np.where(rates > 0, rates / np.maximum(outlook.calls_behind[weekday], 1e-9), _half_call(outlook))
        unsure = random.standard_gamma(shape[weekday], (draws, 24)) * floor
        hourly = np.exp(outlook.hour_cv * random.standard_normal((draws, 24)) - outlook.hour_cv**2 / 2)
        yield random.poisson(unsure * np.exp(np.minimum(logs, _LARGEST_LOG))[:, None] * hourly).astype(np.float64)


def _weeks(outlook: Outlook, day: date) -> float:
    return max((day - outlook.last).days, 0) / 7


def _half_call(outlook: Outlook) -> float:
    """Rate per hour that a single call of the history stands for."""
    behind = outlook.calls_behind > 0
    if not behind.any():
        return 0.0
    return float(np.median(outlook.attempts_per_minute[behind] * 60 / outlook.calls_behind[behind]))


def _deviations(outlook: Outlook, draws: int, random: np.random.Generator) -> FloatArray:
    if len(outlook.day_residuals):
        chosen = random.choice(outlook.day_residuals, draws)
        # Between the residuals seen there are others.
        return np.asarray(chosen + 0.2 * random.standard_normal(draws))
    return np.asarray(random.standard_t(max(outlook.day_degrees, 3), draws))


def score(drawn: FloatArray, seen: FloatArray) -> FloatArray:
    """The least coverage whose central interval, bounds included, contains what was seen; draws are the first axis."""
    up_to, below = (drawn <= seen).mean(axis=0), (drawn < seen).mean(axis=0)
    return np.asarray(np.maximum(np.maximum(1 - 2 * up_to, 2 * below - 1), 0.0))


def hour_class(expected: FloatArray) -> IntArray:
    """Number of the class of `Outlook.hour_scores`."""
    return np.asarray(np.searchsorted(CLASSES, expected), dtype=np.int64)


def _asked(outlook: Outlook, expected: float, coverage: float) -> float:
    scores = outlook.hour_scores
    return _level(outlook, scores[int(np.searchsorted(CLASSES, expected))] if scores else np.empty(0), coverage)


def _level(outlook: Outlook, scores: FloatArray, coverage: float) -> float:
    """The coverage to be asked for: the score that this share of the trials kept below; a year's holidays, where the
    history has fewer, come on top.
    """
    if len(scores) == 0:
        return min(coverage / (1 - min(max(outlook.odd_share, HOLIDAYS), 0.5)), _MOST)
    wanted = coverage * (1 + 1 / len(scores)) / (1 - max(HOLIDAYS - outlook.odd_share, 0.0))
    return float(np.clip(np.quantile(scores, min(wanted, 1.0)), 0.0, _MOST))


def _rows(expected: FloatArray, drawn: FloatArray, asked: list[float]) -> FloatArray:
    """Columns expected, low, high."""
    half = np.array(asked) / 2
    ordered = np.sort(drawn, axis=0)
    last = len(ordered) - 1
    columns = np.arange(len(half))
    low = ordered[np.floor((0.5 - half) * last).astype(np.int64), columns]
    high = ordered[np.ceil((0.5 + half) * last).astype(np.int64), columns]
    return np.column_stack([expected, low, high])


def _table(starts: list[datetime], rows: FloatArray) -> pl.DataFrame:
    return pl.DataFrame(
        {"start_local": starts, "expected": rows[:, 0], "low": rows[:, 1], "high": rows[:, 2]},
        schema_overrides={"start_local": pl.Datetime("us")},
    )
