"""A throttle that counts refused attempts is full of redials once it is full; another one recovers."""

from __future__ import annotations

import numpy as np
from tests.experiments.review.known_fit import judged, known_fit
from tests.experiments.review.known_sweep import demand_of
from tests.experiments.review.theory.test_premises import request

from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.sweep.states import two_states
from trunkproof.models.demand.fitting.result import Fit
from trunkproof.models.distributions import Constant, Exponential
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.traffic import Redial

DAYS = 8
LIMIT = 60


def asked() -> Request:
    interpretations = (FixedWindow(), SlidingWindowAttempts())
    return request(now_per_minute=LIMIT, requested_per_minute=120, interpretations=interpretations, pop={})


def callers(per_minute: float, chance: float) -> Fit:
    again = Redial(
        probability=chance,
        attempts=20,
        delay=Exponential(kind="exponential", mean_s=20.0),
        obeys_retry_after=False,
    )
    return known_fit(per_minute, days=DAYS, holding=Constant(value_s=30.0), redial=again)


def test_near_its_limit_the_collapsed_state_lies_far_above_the_calm_one() -> None:
    demand = demand_of(np.full(4, 30.0), days=DAYS)
    (found,) = two_states(asked(), callers(30.0, 0.9), judged(DAYS, per_minute=30.0), demand, [0, 1], LIMIT)
    assert found.interpretation == SlidingWindowAttempts()
    assert found.limit_per_minute == LIMIT
    assert found.calm.low <= found.calm.value <= found.calm.high
    assert found.calm.value < 0.05
    # 30 callers a minute who try nine times each: the window is full of attempts for good.
    assert found.collapsed.value > 0.5
    assert found.collapsed.low > found.calm.high


def test_well_below_the_limit_and_without_redials_a_rush_passes() -> None:
    demand = demand_of(np.full(4, 30.0), days=DAYS)
    (found,) = two_states(asked(), callers(30.0, 0.0), judged(DAYS, per_minute=30.0), demand, [1], LIMIT)
    assert found.collapsed.value < 0.02
    assert found.calm.value < 0.001


def test_other_throttles_have_one_state() -> None:
    demand = demand_of(np.full(4, 30.0), days=DAYS)
    assert two_states(asked(), callers(30.0, 0.9), judged(DAYS), demand, [0], LIMIT) == ()
