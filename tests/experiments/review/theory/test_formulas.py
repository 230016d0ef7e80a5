"""What one limit alone refuses: against the plain formulas, fixed points and means by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gamma

from trunkproof.experiments.review.theory.formulas import (
    Bounds,
    Busyness,
    Callers,
    gamma_factors,
    largest_fresh,
    servers_share,
    shares,
    throttle_share,
)
from trunkproof.models.distributions import Constant
from trunkproof.models.teletraffic import (
    erlang_b,
    erlangs_carried,
    fixed_window_refused,
    overdispersed_window_refused,
    redial_load,
)
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.throttles.token_bucket import TokenBucket
from trunkproof.models.traffic import Outcomes, PoissonArrivals, Redial, Rejection, Traffic

PATIENT = Callers(0.0)
EVEN = Busyness()


@pytest.mark.parametrize("cv", [0.05, 0.3, 1.0])
def test_factors_are_the_means_of_equal_parts(cv: float) -> None:
    factors, shape = gamma_factors(cv, 40), cv**-2
    assert factors.mean() == pytest.approx(1)
    assert (np.diff(factors) > 0).all()
    draws = np.sort(gamma.ppf((np.arange(400_000) + 0.5) / 400_000, shape, scale=1 / shape)).reshape(40, -1)
    assert factors == pytest.approx(draws.mean(axis=1), rel=2e-3)


@pytest.mark.parametrize(
    ("throttle", "offered", "refused"),
    [
        (FixedWindow(), 190, 0.010109168),
        (FixedWindow(limit=3, window_s=1), 180, 0.224),
        (SlidingWindowAdmitted(), 200, 0.054352423),
        (SlidingWindowAttempts(), 190, 0.243347),
        (TokenBucket(burst=20), 190, 8.06865e-3),
        (NoThrottle(), 500, 0.0),
    ],
)
def test_a_throttle_refuses_what_the_reference_says(throttle: FixedWindow, offered: float, refused: float) -> None:
    # Interpolated between loads 0.33 % of the limit apart.
    assert throttle_share(throttle)(np.array([offered]))[0] == pytest.approx(refused, rel=2e-3)


@pytest.mark.parametrize(("erlang", "channels"), [(100, 117), (600, 644), (600, 600), (10, 10)])
def test_a_pool_refuses_what_erlang_says(erlang: float, channels: int) -> None:
    share = servers_share(channels, 180.0)(np.array([erlang / 3.0]))[0]
    assert share == pytest.approx(erlang_b(erlang, channels), rel=2e-3)


def test_other_trunks_fill_the_pool_too() -> None:
    share = servers_share(117, 180.0, others_erlang=40.0)(np.array([20.0]))[0]
    assert share == pytest.approx(0.00979007112537136, rel=2e-3)


def test_far_beyond_the_last_load_computed_what_is_admitted_stays() -> None:
    refused = throttle_share(FixedWindow())(np.array([1e6]))[0]
    assert 1e6 * (1 - refused) == pytest.approx(200, rel=1e-3)


def test_redials_are_the_fixed_point() -> None:
    expected = redial_load(220.0, 0.8, lambda offered: fixed_window_refused(offered, 200))
    refused, lost = shares(throttle_share(FixedWindow()), 220.0, Callers(0.8), EVEN)
    assert refused == pytest.approx(expected.refused_share, rel=0.01)
    assert lost == pytest.approx(expected.lost_share, rel=0.01)


def test_a_rate_that_varies_is_averaged_over() -> None:
    # One day factor, windows of one rate each: the refused calls of the mixture over its attempts, as in the reference,
    # is a mean weighted by load; ours weighs hours alike, so periods (weighted by load) are compared.
    refused, _ = shares(throttle_share(FixedWindow()), 160.0, PATIENT, Busyness(period_cv=0.2))
    assert refused == pytest.approx(1.62e-2, rel=0.02)
    assert refused == pytest.approx(overdispersed_window_refused(160.0, 0.2, 200), rel=0.02)


def test_calls_that_the_far_side_rejects_are_tried_again_but_not_lost_by_the_trunk() -> None:
    callers = Callers(0.5, again_share=0.1)
    attempts = callers.attempts(throttle_share(NoThrottle()), np.array([90.0]))[0]
    assert attempts == pytest.approx(90 / (1 - 0.1))
    assert shares(throttle_share(NoThrottle()), 90.0, callers, EVEN) == (0.0, 0.0)


def test_each_reason_of_a_traffic_has_its_own_chance() -> None:
    reasons = {"throttled": [0.6, 0.8], "carrier_rejected": 0.25, "busy": 0.3}
    traffic = Traffic(
        arrivals=PoissonArrivals(kind="poisson", rate_per_minute=90),
        holding=Constant(value_s=1.0),
        outcomes=Outcomes(busy=0.1, no_answer=0.1, rejected=(Rejection(status=404, share=0.2),)),
        redial=Redial.model_validate({"probability": 0.5, "by_reason": reasons}),
    )
    callers = Callers.of(traffic)
    assert callers.redial_probability == 0.8
    assert callers.again_share == pytest.approx(0.1 * 0.3 + 0.2 * 0.25)
    assert callers.at_carrier.redial_probability == 0.25
    assert PATIENT.at_carrier == PATIENT
    # A limit that refuses a tenth: attempts = fresh + attempts x (0.1 x 0.8 + 0.9 x 0.08).
    attempts = callers.attempts(lambda offered: np.full_like(offered, 0.1), np.array([90.0]))[0]
    assert attempts == pytest.approx(90 / (1 - 0.1 * 0.8 - 0.9 * 0.08))


def test_the_largest_load_is_the_inverse() -> None:
    found = largest_fresh(servers_share(628, 180.0), PATIENT, EVEN, Bounds(0.01, None))
    assert found == pytest.approx(erlangs_carried(628, 0.01) / 3, rel=1e-3)
    assert largest_fresh(throttle_share(NoThrottle()), PATIENT, EVEN, Bounds(0.01, 0.01)) is None


def test_factors_that_are_kept_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        gamma_factors(0.3, 40)[0] = 2.0


def test_what_is_not_allowed_at_all_leaves_nothing() -> None:
    assert largest_fresh(servers_share(0, 180.0), PATIENT, EVEN, Bounds(0.01, None)) == 0.0
    assert Bounds(0.0, None).worst(0.1, 0.0) == float("inf")
    assert Bounds(0.0, None).worst(0.0, 0.0) == 0.0


def test_vast_limits_refuse_what_exceeds_them() -> None:
    vast = throttle_share(FixedWindow(limit=1_000_000))
    assert vast(np.array([9e5, 2e6])) == pytest.approx([0.0, 0.5])
    assert servers_share(1_000_000, 60.0)(np.array([9e5, 2e6])) == pytest.approx([0.0, 0.5])
