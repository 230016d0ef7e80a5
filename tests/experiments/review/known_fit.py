"""A fit whose every value is chosen, and judged periods to go with it, for tests of what is made of a fit."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import numpy as np
import polars as pl

from trunkproof.experiments.review.periods.busy import BusyPeriod, BusyPeriods
from trunkproof.models.demand.fitting.day_rates import DayRates, Split
from trunkproof.models.demand.fitting.grid import Grid
from trunkproof.models.demand.fitting.result import ArrivalFit, Censoring, DurationFit, Fit, Fresh, Ranged, RedialFit
from trunkproof.models.distributions import Constant, Distribution
from trunkproof.models.traffic import Outcomes, Redial

MONDAY = date(2026, 9, 7)
NO_SCATTER = 1e9
"""Concentration of shares of a day that are the same on all days."""


def known_days(hourly: np.ndarray | float, days: int = 14, period_s: float = 900.0) -> DayRates:
    """`hourly`: calls a minute, one for every hour, of shape (7, 24) by weekday, or of shape (days, 24) by day. All
    weekdays are of one class; the shape of a day is that of the first.
    """
    within = round(3600 / period_s)
    rates = np.asarray(hourly, dtype=np.float64)
    by_day = rates[np.arange(days) % len(rates)] if rates.ndim == 2 else np.broadcast_to(rates, (days, 24))
    counts = np.repeat(by_day, within, axis=1) * period_s / 60
    total = counts[0].sum()
    shape = counts[0] / total if total else np.full(24 * within, 1 / (24 * within))
    splits = (Split(3600.0, NO_SCATTER), Split(period_s, NO_SCATTER))
    dates = tuple(MONDAY + timedelta(number) for number in range(days))
    every = (tuple(range(7)),)
    return DayRates(
        dates=dates,
        counts=counts,
        period_s=period_s,
        classes=every,
        shape_classes=every,
        shape_s=period_s,
        shapes=shape[None],
        splits=splits,
    )


def known_fit(
    hourly: np.ndarray | float = 200.0,
    *,
    days: int = 14,
    holding: Distribution | None = None,
    day_cv: float = 0.0,
    period_cv: float = 0.0,
    outcomes: Outcomes | None = None,
    redial: Redial | None = None,
    fresh: Fresh | None = None,
) -> Fit:
    """`hourly`: as in `known_days`."""
    seen = known_days(hourly, days)
    by_hour = seen.counts.reshape(days, 24, -1).sum(axis=2)
    weekdays = np.array([day.weekday() for day in seen.dates], dtype=np.int64)
    holding = holding or Constant(value_s=1.0)
    nothing = np.zeros(0)
    week = by_hour[np.arange(7) % days] / 60
    return Fit(
        arrivals=ArrivalFit(
            rate_per_minute=week,
            rate_draws=week[None],
            day_cv=Ranged(day_cv, day_cv, day_cv),
            day_cv_draws=np.full(1, day_cv),
            period_cv=Ranged(period_cv, period_cv, period_cv),
            period_cv_draws=np.full(1, period_cv),
            period_s=900.0,
        ),
        grid=Grid(seen.dates, weekdays, by_hour, np.full((days, 24), 60.0), seen.counts, 900.0),
        odd=(),
        days=seen,
        fresh=fresh or evenly(seen),
        holding=DurationFit(holding, Ranged(holding.mean(), holding.mean(), holding.mean()), (), nothing, nothing, 0),
        ringing=DurationFit(Constant(value_s=0.0), Ranged(0, 0, 0), (), nothing, nothing, 0),
        outcomes=outcomes or Outcomes(),
        redial=RedialFit(redial or Redial(), Ranged(0, 0, 0.2), observed=False),
        short_share=None,
        short_s=6.0,
        inbound_share=0.0,
        censoring=Censoring(0.0, np.zeros((7, 24)), 0.0, 0),
        held_out=None,
        outlook=None,
        variance_to_mean=pl.DataFrame(),
    )


def evenly(days: DayRates) -> Fresh:
    """The calls of these days as counts by period."""
    periods = days.counts.shape[1]
    starts = [
        datetime.combine(day, time()) + timedelta(seconds=days.period_s * number)
        for day in days.dates
        for number in range(periods)
    ]
    return Fresh(pl.DataFrame({"start_local": starts, "fresh": days.counts.ravel()}), "fresh", days.period_s)


def judged(days: int = 14, hour: int = 11, per_minute: float = 200.0) -> BusyPeriods:
    """The same hour of all days."""
    period = BusyPeriod(tuple(range(7)), 3600.0 * hour, 3600.0, per_minute)
    return BusyPeriods((period,), np.arange(days), np.zeros(days, dtype=np.int64), 0.0)
