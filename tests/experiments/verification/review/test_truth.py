"""The truth against an exact formula, and how sure it says it is."""

from __future__ import annotations

import numpy as np
import pytest

from trunkproof.experiments.verification.review.callers import Callers, lognormal_table
from trunkproof.experiments.verification.review.enforced import FIXED_WINDOW, Policy
from trunkproof.experiments.verification.review.mechanism import Mechanism
from trunkproof.experiments.verification.review.traffic import Traffic, Trend
from trunkproof.experiments.verification.review.truth import Bounds, Share, truth
from trunkproof.models.teletraffic import erlang_b, fixed_window_refused

JUDGED = ((1, 36_000.0, 39_600.0), (2, 36_000.0, 39_600.0))
BOUNDS = Bounds(refused=0.01, lost=0.01)
Z = 4.5


def always(per_minute: float, a_week: float | None = None) -> Mechanism:
    """Poisson calls at one rate, each 60 s long, nobody calls again."""
    tables = np.array([lognormal_table(mean, 0.5) for mean in (60.0, 1e-6, 1e-6)])
    callers = Callers(np.ones(5), tables, np.zeros((7, 2)), np.tile(tables[0], (7, 1)))
    week = np.full((7, 1440), per_minute)
    traffic = Traffic(week=week) if a_week is None else Trend(week=week, a_week=a_week)
    return Mechanism(kind="always", traffic=traffic, callers=callers)


def test_shares_are_exact_under_each_interpretation_and_limit() -> None:
    policies = (FIXED_WINDOW, Policy("sliding_window_admitted"))
    found = truth(always(18.0), JUDGED, policies, (19, 24), bounds=BOUNDS, seed=1, horizon_days=7)
    for limit in (19, 24):
        exact = (fixed_window_refused(18.0, limit), erlang_b(18.0, limit))
        for index, share in enumerate(exact):
            cell = found[index, limit]
            assert abs(cell.refused.value - share) < Z * cell.refused.error
            assert cell.lost == cell.refused  # nobody calls again
            assert cell.refused.error < 0.05 * share


def test_channels_refuse_behind_a_throttle_that_does_not() -> None:
    found = truth(
        always(18.0), JUDGED, (FIXED_WINDOW,), (60,), bounds=BOUNDS, seed=1, horizon_days=7, channels=25, most_days=120
    )
    refused = found[0, 60].refused
    assert abs(refused.value - erlang_b(18.0, 25)) < Z * refused.error


def test_a_trend_goes_on_to_the_horizon() -> None:
    """28 days of history and 29 more, at 7 % a week: the last day has 1.07^8 times the calls of the first."""
    mechanism = always(18.0 / 1.07**8, a_week=0.07)
    found = truth(mechanism, JUDGED, (FIXED_WINDOW,), (19,), bounds=BOUNDS, seed=1, horizon_days=29)
    refused = found[0, 19].refused
    assert abs(refused.value - fixed_window_refused(18.0, 19)) < Z * refused.error


@pytest.mark.parametrize(
    ("value", "error", "holds"), [(0.005, 0.001, True), (0.009, 0.001, None), (0.02, 0.001, False), (0.0, 0.0, True)]
)
def test_what_is_close_to_the_target_is_not_told(value: float, error: float, *, holds: bool | None) -> None:
    assert Share(value, error).holds(0.01) is holds
