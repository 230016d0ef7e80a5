"""Trials within a history: made where it is long enough, and a remedy for what the model leaves out."""

from __future__ import annotations

import numpy as np

from models.fitting.outlook import look_ahead
from models.fitting.trials import with_trials
from tests.models.fitting.made_grids import made_grid


def test_a_short_history_has_none() -> None:
    grid = made_grid(35)
    outlook = look_ahead(grid, np.ones((7, 24)), grid.dates[-1])
    assert with_trials(outlook, grid, 1) is outlook


def test_scores_of_a_history_like_its_model_are_about_uniform() -> None:
    grid = made_grid(182)
    outlook = with_trials(look_ahead(grid, np.ones((7, 24)), grid.dates[-1]), grid, 1)
    assert len(outlook.hour_scores) == 3
    assert (np.diff(outlook.day_scores) >= 0).all()
    busy = outlook.hour_scores[-1]
    assert abs(np.quantile(busy, 0.9) - 0.9) < 0.05
    assert abs(np.quantile(outlook.day_scores, 0.9) - 0.9) < 0.08
