"""Drift: found where it is, not where the level only wanders, and carried to the horizon."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from tests.models.demand.fitting.made_grids import made_grid

from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.drift import find_drift, level_draws, local_level

_SEEDS = range(40)


def wandering(seed: int, weeks: int) -> FloatArray:
    """A level that remembers half of the week before."""
    random, walk = np.random.default_rng(seed), np.zeros(weeks)
    walk[0] = 0.06 * random.normal()
    for week in range(1, weeks):
        walk[week] = 0.5 * walk[week - 1] + 0.06 * np.sqrt(0.75) * random.normal()
    return walk


@pytest.mark.parametrize("days", [28, 84])
def test_a_level_that_only_wanders_hardly_ever_drifts(days: int) -> None:
    still = sum(find_drift(made_grid(days, seed=seed)).is_clear for seed in _SEEDS)
    moved = sum(find_drift(made_grid(days, seed=seed, weeks=wandering(seed, days // 7))).is_clear for seed in _SEEDS)
    assert still <= stats.binom.ppf(0.9999, len(_SEEDS), 0.05)
    assert moved <= stats.binom.ppf(0.9999, len(_SEEDS), 0.1)


@pytest.mark.parametrize(("days", "per_week"), [(28, 0.1), (84, 0.03), (126, 0.02)])
def test_a_drift_is_found_with_its_size(days: int, per_week: float) -> None:
    found = [find_drift(made_grid(days, seed=seed, weeks=per_week * np.arange(days // 7))) for seed in range(12)]
    assert sum(one.is_clear for one in found) >= 8
    assert np.median([one.per_week.value for one in found]) == pytest.approx(per_week, rel=0.5)
    clear = [one for one in found if one.is_clear]
    assert all(one.end_level.value > 0 for one in clear)
    assert "drifts" in clear[0].words


def test_a_week_drifts_nowhere() -> None:
    found = find_drift(made_grid(7))
    assert not found.is_clear
    assert found.per_week.low < 0 < found.per_week.high


def test_levels_at_the_horizon() -> None:
    grid = made_grid(84, day_cv=0.05, weeks=0.04 * np.arange(12))
    local = local_level(grid)
    assert local.shape == (84,)
    assert local[-1] - local[0] == pytest.approx(0.44, abs=0.08)
    stops = level_draws(grid, 56, 4000, np.random.default_rng(1), continues=False)
    goes_on = level_draws(grid, 56, 4000, np.random.default_rng(1), continues=True)
    assert np.median(stops) == pytest.approx(1, abs=0.08)
    assert np.median(goes_on) == pytest.approx(np.exp(0.32), rel=0.12)
    assert np.log(goes_on).std() > np.log(stops).std()


def _noise(days: int, seed: int, day_cv: float) -> FloatArray:
    grid = made_grid(days, day_cv=day_cv, seed=seed)
    return level_draws(grid, 30, 4000, np.random.default_rng(1), continues=True)


def test_a_drift_that_a_long_quiet_history_does_not_show_is_hardly_believed() -> None:
    # Without a drift, its ordinary size of 3 % a week would have moved the level by 13 % in 30 days.
    for seed in range(6):
        drawn = np.log(_noise(84, seed, 0.03))
        assert np.quantile(drawn, 0.9) < 0.13


def test_nobody_counts_on_a_fall_that_is_not_clear() -> None:
    seeds = [seed for seed in range(30) if not find_drift(made_grid(35, day_cv=0.2, seed=seed)).is_clear]
    falls = [seed for seed in seeds if find_drift(made_grid(35, day_cv=0.2, seed=seed)).per_week.value < -0.02]
    assert falls
    for seed in falls:
        # Half of the draws of a level that only wanders lie below the middle, and no fall adds to them.
        assert float((_noise(35, seed, 0.2) < 0.99).mean()) <= 0.5
