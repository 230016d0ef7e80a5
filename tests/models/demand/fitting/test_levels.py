"""The level: found where days are noisy, wide where it wanders, and what wanders evens out over a month."""

from __future__ import annotations

import numpy as np
import pytest

from trunkproof.models.demand.fitting.levels import averaged, fit_levels


def wandering(random: np.random.Generator, days: int, memory_days: float, deviation: float) -> np.ndarray:
    """An Ornstein-Uhlenbeck process seen each day."""
    kept = np.exp(-1 / memory_days)
    steps = random.standard_normal(days) * deviation * np.sqrt(1 - kept**2)
    level = [deviation * float(random.standard_normal())]
    for step in steps[1:]:
        level.append(kept * level[-1] + float(step))
    return np.array(level)


def test_days_that_only_scatter_have_a_level_as_sure_as_their_mean() -> None:
    random, days = np.random.default_rng(1), np.arange(84.0)
    levels = fit_levels(days, 0.1 * random.standard_normal(84), days)
    mean, deviation = levels.at(14.0)
    assert abs(mean) < 4.5 * 0.1 / np.sqrt(84)
    # At least the error of a mean, and not the scatter of a day.
    assert 0.1 / np.sqrt(84) < deviation < 0.05


def test_a_level_that_wanders_is_less_sure_ahead_than_at_the_end() -> None:
    random, days = np.random.default_rng(2), np.arange(180.0)
    seen = wandering(random, 180, 28.0, 0.2) + 0.05 * random.standard_normal(180)
    levels = fit_levels(days, seen, days)
    assert levels.at(0.0)[1] < levels.at(28.0)[1]
    assert np.corrcoef(levels.local, seen)[0, 1] > 0.9


@pytest.mark.parametrize("memories", [0.5, 3.0, 20.0])
def test_a_mean_over_days_varies_as_the_formula_says(memories: float) -> None:
    """By the double integral of exp(-|s - t|) over the square, done in steps."""
    at = (np.arange(2000) + 0.5) / 2000 * memories
    exact = float(np.exp(-np.abs(at[:, None] - at)).mean())
    assert averaged(np.array([memories]))[0] == pytest.approx(exact, rel=1e-3)
    assert averaged(np.array([0.0]))[0] == 1.0


def test_what_wanders_for_days_evens_out_over_a_month() -> None:
    random, days = np.random.default_rng(3), np.arange(180.0)
    levels = fit_levels(days, wandering(random, 180, 3.0, 0.2), days)
    single, month = (levels.draw(30.0, 4000, np.random.default_rng(4), averaged_days=n).std() for n in (0.0, 30.0))
    assert month < 0.7 * single
