"""Trials within a history: made where it is long enough, spreads found, odd days kept among the scores."""

from __future__ import annotations

import numpy as np
import pytest
from tests.models.demand.fitting.made_grids import made_grid

from trunkproof.models.demand.fitting.outlook import look_ahead
from trunkproof.models.demand.fitting.result import Outlook, Scores
from trunkproof.models.demand.fitting.trials import with_trials


def tried(days: int, **made: float) -> Outlook:
    grid = made_grid(days, **made)  # type: ignore[arg-type]
    return with_trials(look_ahead(grid, np.ones((7, 24)), grid.dates[-1]), grid)


def test_a_week_has_none() -> None:
    assert tried(13).day_scores is None


def test_spreads_of_days_and_hours_are_found() -> None:
    outlook = tried(182, day_cv=0.1, hour_cv=0.08)
    assert outlook.day_cv == pytest.approx(0.1, rel=0.3)
    assert outlook.hour_cv[8:20] == pytest.approx(np.full(12, np.hypot(0.1, 0.08)), rel=0.3)


def test_scores_of_a_history_like_its_model_are_about_normal() -> None:
    outlook = tried(182)
    assert outlook.day_scores is not None
    assert len(outlook.hour_scores) == 3
    assert np.std(outlook.hour_scores[-1].values) == pytest.approx(1, abs=0.15)
    low, high = outlook.day_scores.shortest(0.9)
    assert -2.2 < low < -1.2
    assert 1.2 < high < 2.2


def test_odd_days_stay_among_the_scores_with_the_weight_they_are_reckoned_with() -> None:
    outlook = tried(84, odd_share=0.06)
    assert outlook.shows_odd
    assert outlook.day_scores is not None
    far = outlook.day_scores.values < -5
    assert outlook.day_scores.weights[far].sum() == pytest.approx(outlook.odd_share)


def test_the_shortest_interval_leaves_out_the_far_tail() -> None:
    scores = Scores(np.concatenate([np.linspace(-50, -40, 5), np.linspace(-1, 1, 95)]), np.full(100, 0.01))
    low, high = scores.shortest(0.9)
    assert low >= -1
    assert high <= 1
    assert Scores(np.array([-1.0, 0.0, 1.0]), np.full(3, 1 / 3)).shortest(0.9) == (-1.0, 1.0)
