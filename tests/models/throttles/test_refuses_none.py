"""A throttle that is said to refuse nothing refuses nothing, asked call by call, whenever exactly it was asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkproof.models.throttles.decision import Refused
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.pipelimit import PipeLimit
from trunkproof.models.throttles.policy import Asked
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.throttles.shaper import Shaper
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.throttles.token_bucket import TokenBucket

KINDS = (FixedWindow, PipeLimit, SlidingWindowAdmitted, SlidingWindowAttempts, TokenBucket)


def throttle_of(kind: type[ThrottleSettings], limit: int) -> ThrottleSettings:
    more = {"burst": max(1, limit // 2)} if kind is TokenBucket else {}
    return kind(limit=limit, window_s=10.0, **more)


def really_refuses(throttle: ThrottleSettings, instants: np.ndarray, anchor_s: float) -> bool:
    asked = throttle.make_throttle(anchor=anchor_s)
    return any(isinstance(asked.try_admit(float(now)), Refused) for now in instants)


@pytest.mark.parametrize("kind", [*KINDS, "red"])
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), limit=st.integers(1, 40), within_s=st.sampled_from([0.0, 0.1, 3.0]))
def test_what_is_said_to_refuse_nothing_does_not(
    kind: type[ThrottleSettings] | str, seed: int, limit: int, within_s: float
) -> None:
    throttle = PipeLimit(algorithm="red", limit=limit, window_s=10.0) if kind == "red" else throttle_of(kind, limit)
    rng = np.random.default_rng(seed)
    early = np.sort(rng.uniform(0, 60, rng.integers(0, 100)))
    anchor_s = -float(rng.uniform(0, 10))
    said = throttle.refuses_none(Asked(early, within_s), anchor_s)
    refuses = really_refuses(throttle, np.sort(early + rng.uniform(0, within_s, len(early))), anchor_s)
    assert not (said and refuses)
    if within_s == 0 and kind is not TokenBucket and kind != "red":
        assert said != refuses  # nothing is given away where all is known


def test_a_token_bucket_is_told_apart_at_its_burst() -> None:
    together = np.zeros(5)
    assert TokenBucket(limit=60, burst=6).refuses_none(Asked(together))
    assert not TokenBucket(limit=60, burst=4).refuses_none(Asked(together))
    assert not TokenBucket(limit=60, burst=6).refuses_none(Asked(together, within_s=2.0))


def test_a_shaper_delays_and_no_throttle_does_not() -> None:
    assert NoThrottle().refuses_none(Asked(np.zeros(1000)))
    assert not Shaper(limit=1000).refuses_none(Asked(np.arange(10.0)))


@pytest.mark.parametrize("kind", [FixedWindow, PipeLimit, SlidingWindowAdmitted, SlidingWindowAttempts])
def test_evenly_spaced_calls_at_the_limit_are_known_to_pass(kind: type[FixedWindow]) -> None:
    instants = np.arange(20_000) * 0.3
    assert kind().refuses_none(Asked(instants))
    assert not really_refuses(kind(), instants, 0.0)
    # One more among them is one too many.
    assert not kind().refuses_none(Asked(np.sort(np.append(instants, 3000.1))))
