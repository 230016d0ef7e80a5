"""What is simulated is what the request says: throttles scaled to their windows, neighbours beside the trunk."""

from __future__ import annotations

from tests.experiments.review.known_fit import known_fit

from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.request_file import parse_request
from trunkproof.experiments.review.sweep.cells import study_with, with_limit
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.shaper import Shaper
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.throttles.token_bucket import TokenBucket
from trunkproof.models.traffic import PoissonArrivals


def request(more: str = "") -> Request:
    return parse_request(f"name: r\nhistory: calls.csv\nrequested_per_minute: 400\n{more}")


def test_a_limit_is_scaled_to_the_window_and_all_else_stays() -> None:
    assert with_limit(FixedWindow(), 400) == FixedWindow(limit=400)
    assert with_limit(SlidingWindowAttempts(window_s=10), 200) == SlidingWindowAttempts(window_s=10, limit=33)
    assert with_limit(TokenBucket(burst=7, retry_after_s=3), 300) == TokenBucket(burst=7, retry_after_s=3, limit=300)
    assert with_limit(Shaper(max_delay_s=5, window_s=1), 400) == Shaper(max_delay_s=5, window_s=1, limit=7)
    assert with_limit(FixedWindow(window_s=1), 1).limit == 1
    assert with_limit(NoThrottle(), 400) == NoThrottle()


def test_a_study_is_the_trunk_and_its_neighbours_on_the_same_pop() -> None:
    asked = request("""\
trunk: big
pop: {carrier: {channels: 600}}
tls: {policy: per_call}
neighbours:
  - {name: small, per_minute: 40, mean_hold_s: 60}
""")
    arrivals = PoissonArrivals(kind="poisson", rate_per_minute=231.0)
    study = study_with(asked, known_fit(230.0), arrivals, 3660.0, 7, FixedWindow(limit=250))
    big, small = study.trunks
    assert (study.seed, study.duration_s, study.pop, study.quality) == (7, 3660.0, asked.pop, asked.quality)
    assert (big.name, big.throttle, big.traffic.arrivals) == ("big", FixedWindow(limit=250), arrivals)
    assert big.traffic.tls.policy == "per_call"
    assert small.traffic.arrivals == PoissonArrivals(kind="poisson", rate_per_minute=40)
    assert (small.throttle, small.traffic.holding.mean()) == (FixedWindow(), 60.0)
    assert small.customer_address != big.customer_address
    # Another customer, who has channels of his own where accounts have.
    assert small.account != big.account
