"""Grids of counts of any length, made from factors of days, weeks and hours."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from tests.models.demand.fitting.conftest import FIRST, SHAPE, WEEK

from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.grid import Grid


def made_grid(
    days: int,
    *,
    day_cv: float = 0.1,
    hour_cv: float = 0.05,
    peak: float = 600.0,
    seed: int = 1,
    weeks: FloatArray | None = None,
    odd_share: float = 0.0,
) -> Grid:
    """Hourly counts with gamma factors; `weeks` are logs of the level by week; odd days have a tenth of their calls."""
    random = np.random.default_rng(seed)
    weekdays = np.arange(days) % 7
    by_day = random.gamma(day_cv**-2, day_cv**2, days) if day_cv else np.ones(days)
    if weeks is not None:
        by_day = by_day * np.exp(weeks[np.arange(days) // 7])
    by_day = np.where(random.random(days) < odd_share, 0.1, 1.0) * by_day
    by_hour = random.gamma(hour_cv**-2, hour_cv**2, (days, 24))
    hours = random.poisson(peak * WEEK[weekdays, None] * SHAPE * by_day[:, None] * by_hour).astype(np.float64)
    dates = tuple(FIRST.date() + timedelta(number) for number in range(days))
    return Grid(dates, weekdays, hours, np.full((days, 24), 60.0), np.repeat(hours / 4, 4, axis=1), 900.0)
