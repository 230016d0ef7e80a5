"""Test the forecast within the history: forecast each week from all others, and compare with what came.

A score is a deviation in units of the model's own deviation. The scores show how wide an interval must be. They include
odd days and everything else that the model leaves out, as far as the past shows it. Source: Barber, Candès, Ramdas and
Tibshirani, "Predictive inference with the jackknife+" (2021), here by week, because days of a week go together.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.demand.fitting.forecast import CLASSES, deviation, hour_class
from trunkproof.models.demand.fitting.grid import Grid
from trunkproof.models.demand.fitting.outlook import Ordinary, ordinary, seasonal
from trunkproof.models.demand.fitting.result import Outlook, Scores

LEAST_DAYS = 14
"""Least number of days: with two weeks, each can be forecast from the other."""
_LEAST_SCORES = 200
_LEAST_EXPECTED = 5.0
"""Hours that expect fewer calls tell nothing about the spread."""
_LEAST_CV = 0.05
_POOLED_DAYS = 20
"""Weight, in days, of the pooled spread beside an hour's own."""


def with_trials(outlook: Outlook, attempts: Grid) -> Outlook:
    """Return `outlook` with spreads and scores, or unchanged where the history is too short for trials."""
    if len(attempts) < LEAST_DAYS:
        return outlook
    history = ordinary(attempts)
    expected = _by_other_weeks(history)
    hour_cv, day_cv = _hour_cv(attempts, expected), _cv(attempts.totals, expected.sum(axis=1))
    hours = (attempts.hours - expected) / deviation(expected, hour_cv)
    days = (attempts.totals - expected.sum(axis=1)) / deviation(expected.sum(axis=1), day_cv)
    # Hours that clocks skip or repeat have no ordinary expectation.
    whole = attempts.minutes == 60
    odd = np.repeat(~history.usual[:, None], 24, axis=1)[whole]
    scores, classes = hours[whole], hour_class(expected[whole])
    every = _scores(scores, odd, outlook.odd_share)
    by_class = [classes == number for number in range(len(CLASSES) + 1)]
    return replace(
        outlook,
        day_cv=day_cv,
        hour_cv=hour_cv,
        day_scores=_scores(days, ~history.usual, outlook.odd_share),
        hour_scores=tuple(
            _scores(scores[of], odd[of], outlook.odd_share) if of.sum() >= _LEAST_SCORES else every for of in by_class
        ),
        shows_odd=not history.usual.all(),
    )


def _scores(values: FloatArray, is_odd: BoolArray, odd_share: float) -> Scores:
    """Return the scores; those of odd days together have the weight with which odd days are expected."""
    if is_odd.any() and not is_odd.all():
        # A short history may hold four holidays or none: its own share of odd days is not that of days to come.
        weights = np.where(is_odd, odd_share / is_odd.sum(), (1 - odd_share) / (~is_odd).sum())
    else:
        weights = np.full(len(values), 1 / len(values))
    order = np.argsort(values)
    return Scores(values[order], weights[order])


def _by_other_weeks(history: Ordinary) -> FloatArray:
    """Return the calls expected from the other weeks, for each week counted from the end, shape (D, 24)."""
    numbers = np.array([day.toordinal() for day in history.grid.dates])
    # Counted from the end, so that the last seven days are one whole trial.
    weeks = (numbers[-1] - numbers) // 7
    expected = np.zeros_like(history.grid.hours)
    for week in np.unique(weeks):
        out = weeks == week
        # Odd days of the other weeks do not shape the expectation, but those of the trial are scored against it.
        others = history.keep(~out).days
        if len(others) == 0:
            continue
        base = seasonal(others)
        level = float(np.median(base.residuals(others)))
        expected[out] = base.hours(history.grid.keep(out)) * np.exp(level)
    return expected


def _hour_cv(attempts: Grid, expected: FloatArray) -> FloatArray:
    """Return the spread by hour of the day, mixed with the pooled spread, shape (24,)."""
    filled = expected >= _LEAST_EXPECTED
    pooled = _cv(attempts.hours[filled], expected[filled])
    squares = np.full(24, pooled**2)
    for hour in range(24):
        own = filled[:, hour]
        if own.any():
            cv = _cv(attempts.hours[own, hour], expected[own, hour])
            squares[hour] = (own.sum() * cv**2 + _POOLED_DAYS * pooled**2) / (own.sum() + _POOLED_DAYS)
    return np.asarray(np.sqrt(squares))


def _cv(seen: FloatArray, expected: FloatArray) -> float:
    """Return the spread about expectations without Poisson noise; by the median, so that of ordinary days."""
    known = expected > 0
    if not known.any():
        return _LEAST_CV
    # 1.4826 times the median deviation is the standard deviation of normal values, and odd days do not widen it.
    spread = 1.4826 * float(np.median(np.abs(seen[known] / expected[known] - 1)))
    return float(np.sqrt(max(spread**2 - float(np.median(1 / expected[known])), _LEAST_CV**2)))
