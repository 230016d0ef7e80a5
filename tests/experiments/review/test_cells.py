"""What is simulated is what the request says: throttles scaled to their windows, neighbours beside the trunk."""

from __future__ import annotations

import pytest

from experiments.review.cells import candidates_of, study_at, with_limit
from experiments.review.reading import parse_request
from experiments.review.request import Request
from models.policies import FixedWindow, NoThrottle, Shaper, SlidingWindowAttempts, TokenBucket
from models.traffic import OverdispersedArrivals, PoissonArrivals
from tests.experiments.review.known_fit import known_fit


def request(more: str = "") -> Request:
    return parse_request(f"name: r\nhistory: calls.csv\nrequested_per_minute: 400\n{more}")


def test_a_limit_is_scaled_to_the_window_and_all_else_stays() -> None:
    assert with_limit(FixedWindow(), 400) == FixedWindow(limit=400)
    assert with_limit(SlidingWindowAttempts(window_s=10), 200) == SlidingWindowAttempts(window_s=10, limit=33)
    assert with_limit(TokenBucket(burst=7, retry_after_s=3), 300) == TokenBucket(burst=7, retry_after_s=3, limit=300)
    assert with_limit(Shaper(max_delay_s=5, window_s=1), 400) == Shaper(max_delay_s=5, window_s=1, limit=7)
    assert with_limit(FixedWindow(window_s=1), 1).limit == 1
    assert with_limit(NoThrottle(), 400) == NoThrottle()


@pytest.mark.parametrize(
    ("now", "wanted", "expected"),
    [
        (200, 400, (200, 250, 300, 350, 400, 450)),
        (200, 210, (200, 210, 220)),
        (200, 333, (200, 230, 270, 300, 333, 360)),
        (1, 2, (1, 2, 10)),
        (200, 1_000_000, (200, 250150, 500100, 750050, 1_000_000)),
    ],
)
def test_default_candidates(now: int, wanted: int, expected: tuple[int, ...]) -> None:
    changed = request().model_copy(update={"now_per_minute": now, "requested_per_minute": wanted})
    found = candidates_of(changed)
    assert set(expected) <= set(found)
    assert found == tuple(sorted(set(found)))
    assert len(found) <= 6


def test_named_candidates_have_now_and_requested_beside_them() -> None:
    assert candidates_of(request("candidates: [320, 280]\n")) == (200, 280, 320, 400)


def test_a_study_is_the_trunk_and_its_neighbours_on_the_same_pop() -> None:
    asked = request("""\
trunk: big
pop: {carrier: {channels: 600}}
tls: {policy: per_call}
neighbours:
  - {name: small, per_minute: 40, mean_hold_s: 60}
""")
    fit = known_fit(230.0, period_cv=0.1)
    study = study_at(asked, fit, FixedWindow(), 250, 231.0, 7)
    big, small = study.trunks
    assert (study.seed, study.duration_s, study.pop) == (7, 3660.0, asked.pop)
    assert big.throttle == FixedWindow(limit=250)
    assert isinstance(big.traffic.arrivals, OverdispersedArrivals)
    assert (big.traffic.arrivals.rate_per_minute, big.traffic.arrivals.busyness_cv) == (231.0, 0.1)
    assert big.traffic.tls.policy == "per_call"
    assert small.traffic.arrivals == PoissonArrivals(kind="poisson", rate_per_minute=40)
    assert (small.throttle, small.traffic.holding.mean()) == (FixedWindow(), 60.0)
    assert small.customer_address != big.customer_address
    # Another customer, who has channels of his own where accounts have.
    assert small.account != big.account
