"""Probing: within its bounds, to the right family."""

from __future__ import annotations

import itertools

import pytest

from trunkproof.experiments.target.identify.probe import Probe, ProbeBounds
from trunkproof.experiments.target.identify.simulated import Conditions, SimulatedTrunk, probe_it
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.policy import Policy
from trunkproof.models.throttles.shaper import Shaper
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.throttles.token_bucket import TokenBucket

TOLD: list[Policy] = [
    FixedWindow(limit=30, window_s=10),
    SlidingWindowAdmitted(limit=200, window_s=60),
    SlidingWindowAttempts(limit=200, window_s=60),
    TokenBucket(limit=200, burst=20),
    Shaper(limit=200, max_delay_s=2),
]


@pytest.mark.parametrize("policy", TOLD, ids=lambda policy: policy.describe())
def test_a_known_throttle_is_told_whole_within_400_calls_and_two_minutes(policy: Policy) -> None:
    probe = Probe()
    seconds = probe_it(probe, SimulatedTrunk([policy], anchor_s=-3.0))
    found = probe.result()
    assert found.is_complete
    assert found.settings == policy
    assert len(found.attempts) <= 400
    assert seconds <= 120 + 3


def test_no_bound_is_ever_exceeded() -> None:
    bounds = ProbeBounds(calls=150, seconds=40, per_minute=90, gap_s=0.05)
    for policy in (NoThrottle(), FixedWindow(limit=20, window_s=5), TokenBucket(limit=60, burst=5)):
        probe = Probe(bounds)
        probe_it(probe, SimulatedTrunk([policy]))
        sent = [attempt.sent_s for attempt in sorted(probe.attempts, key=lambda one: one.sent_s)]
        assert len(sent) <= 150
        assert sent[-1] - sent[0] <= 40
        assert all(later - one >= 60 for one, later in zip(sent, sent[90:], strict=False))
        assert all(later - one >= 0.0499 for one, later in itertools.pairwise(sent))


def test_a_call_that_waits_long_for_its_ringing_does_not_hold_up_the_probe() -> None:
    probe = Probe(ProbeBounds(calls=60))
    probe_it(probe, SimulatedTrunk([TokenBucket(limit=60, burst=5)], conditions=Conditions(setup_s=5)))
    sent = sorted(attempt.sent_s for attempt in probe.attempts)
    assert max(later - one for one, later in itertools.pairwise(sent)) < 4


def test_an_unanswered_call_is_awaited_no_longer_once_it_is_given_up() -> None:
    probe = Probe(ProbeBounds(calls=1))
    assert probe.next_probe(0.0) == 0.0
    probe.placed(0.0)
    assert probe.next_probe(1.0) is not None
    probe.unanswered(0.0)
    assert probe.next_probe(2.0) is None
