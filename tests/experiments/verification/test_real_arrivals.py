"""The forecast on real arrivals, and on made ones: it holds what comes, at widths that naive quantiles do not reach."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from trunkproof.experiments.verification.real_arrivals import made_history, read_grid, score_split, split

REAL = Path(__file__).parents[4] / "shared" / "data" / "bank-calls-1999-h1.csv"


def test_january_to_march_forecasts_april_to_june() -> None:
    if not REAL.exists():
        pytest.skip("the real call counts are not in ../shared/data")
    parts = split(read_grid(REAL), date(1999, 1, 1), date(1999, 4, 1), date(1999, 7, 1))
    by_hour, by_day = score_split(*parts)
    assert 0.85 <= by_hour.covered <= 0.95
    assert 0.85 <= by_day.covered <= 0.95
    # A tenth of these days were holidays or breakdowns, and naive intervals hold .78 of the hours and .74 of the days.
    assert by_hour.width < by_hour.naive_matched_width
    assert by_day.width < by_day.naive_width < by_day.naive_matched_width


def test_made_histories_are_covered() -> None:
    inside = []
    for seed in range(1, 5):
        grid = made_history(42, seed, peak_per_minute=2.0)
        inside.append([one.covered for one in score_split(grid.keep(slice(0, 28)), grid.keep(slice(28, 42)))])
    hours, days = np.mean(inside, axis=0)
    # Days of one history share its level: the error is that of some twenty days.
    error = np.sqrt(0.9 * 0.1 / 20)
    assert abs(days - 0.9) < 4.5 * error
    assert 0.85 < hours < 0.99
