"""What explains observed attempts: the truth is never left out, and what is left fits."""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models.throttles.examples import EVERY_LIMIT, words_of

from trunkproof.models.throttles.boundaries import betweens, components, find_windows
from trunkproof.models.throttles.decision import Admitted
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.intervals import bursts, find_paces, held
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.observed import (
    Observed,
    Range,
    limit_of_interval,
    round_value,
    round_window,
    spread_out,
)
from trunkproof.models.throttles.policy import Explanation, Policy
from trunkproof.models.throttles.searches import MOST_BOXES
from trunkproof.models.throttles.shaper import Shaper
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.throttles.token_bucket import TokenBucket

EXPLAINED = [one for one in EVERY_LIMIT if type(one).explain.__func__ is not Policy.explain.__func__]  # type: ignore[attr-defined]
"""Those whose policy can be told from outside."""
GAPS = st.lists(st.floats(0.02, 1.5), min_size=2, max_size=60)


def seen(policy: Policy, decided: list[float], doubt_s: float, anchor_s: float, seed: int) -> Observed:
    """What a caller sees of attempts that were decided at these instants, each known within some doubt."""
    throttle = policy.make_throttle(anchor_s)
    decisions = [throttle.try_admit(now) for now in decided]
    admitted = np.array([isinstance(decision, Admitted) for decision in decisions])
    delays = np.array([decision.delay_s if isinstance(decision, Admitted) else math.inf for decision in decisions])
    instants = np.array(decided)
    before, after = np.random.default_rng(seed).uniform(0, doubt_s, (2, len(decided)))
    early_s = np.maximum.accumulate(instants - before)
    late_s = np.minimum.accumulate((instants + after)[::-1])[::-1]
    return Observed(early_s, late_s, admitted, instants + delays + doubt_s)


def holds(explanation: Explanation, policy: Policy) -> bool:
    values = policy.model_dump() | {"interval_s": policy.model_dump()["window_s"] / policy.model_dump()["limit"]}
    if isinstance(policy, Shaper):
        # From outside the bound of the queue is a longest delay.
        values["max_delay_s"] = policy.longest_delay_s
    bounds = explanation.bounds.items()
    return all(low - 1e-9 <= values[name] <= high + 1e-9 for name, (low, high) in bounds if name in values)


@pytest.mark.parametrize("policy", EXPLAINED, ids=words_of)
@given(gaps=GAPS, doubt_s=st.sampled_from([0.0, 0.005, 0.05]), anchor_s=st.floats(-2, 2), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_the_truth_is_never_left_out(
    policy: Policy, gaps: list[float], doubt_s: float, anchor_s: float, seed: int
) -> None:
    observed = seen(policy, list(accumulate(gaps)), doubt_s, anchor_s, seed)
    if observed.admitted.all():
        assert len(NoThrottle.explain(observed)) == 1
    else:
        assert any(holds(explanation, policy) for explanation in type(policy).explain(observed))
        assert NoThrottle.explain(observed) == []


@given(gaps=GAPS, anchor_s=st.floats(-2, 2))
@settings(max_examples=40, deadline=None)
def test_a_boundary_that_fits_is_among_the_rectangles(gaps: list[float], anchor_s: float) -> None:
    observed = seen(FixedWindow(limit=3, window_s=2), list(accumulate(gaps)), 0.0, anchor_s, 0)
    pairs = betweens(observed, observed.admitted, 3)
    assert pairs is not None
    boxes = find_windows(pairs, 0.002)
    assert len(boxes) <= 2 * MOST_BOXES + 128
    assert sum(map(len, components(boxes))) == len(boxes)
    if pairs.has_boundary.any():
        fits = boxes[(boxes[:, 0] <= 2) & (boxes[:, 1] >= 2)]
        numbers = np.round((fits[:, 2:].mean(axis=1) - anchor_s) / 2)
        nearest = anchor_s + 2 * numbers
        assert ((fits[:, 2] - 1e-9 <= nearest) & (nearest <= fits[:, 3] + 1e-9)).any()


def steps(count: int, gap_s: float, begins_s: float = 0.0) -> list[float]:
    return [begins_s + gap_s * number for number in range(count)]


def test_two_filled_windows_tell_the_window_and_a_slower_sliding_one_is_disproved() -> None:
    decided = list(accumulate(np.random.default_rng(1).exponential(0.03, 400).tolist()))
    observed = seen(FixedWindow(limit=20, window_s=2), decided, 0.002, 0.3, 1)
    (explanation,) = FixedWindow.explain(observed)
    assert explanation.settings == FixedWindow(limit=20, window_s=2)
    assert explanation.bounds["window_s"].within(0.01)
    assert SlidingWindowAdmitted.explain(observed) == []
    assert SlidingWindowAttempts.explain(observed) == []
    assert TokenBucket.explain(observed) == []


def test_a_drained_bucket_tells_its_pace_and_its_burst() -> None:
    observed = seen(TokenBucket(limit=200, burst=20), steps(1000, 0.05), 0.002, 0.0, 1)
    (explanation,) = TokenBucket.explain(observed)
    assert explanation.settings == TokenBucket(limit=200, burst=20)
    (paces,) = find_paces(observed, holds=False, whole=True)
    assert paces.interval.within(0.001)
    assert set(bursts(paces).ravel()) == {20}


def test_a_shaper_lets_no_call_go_on_before_its_slot() -> None:
    shaper = Shaper(limit=60, max_delay_s=3)
    decided = steps(60, 0.3)
    observed = seen(shaper, decided, 0.001, 0.0, 1)
    (explanation,) = Shaper.explain(observed)
    assert explanation.held_s is not None
    assert explanation.held_s == pytest.approx(held(observed, 1.0))
    assert explanation.held_s.max() == pytest.approx(3, abs=0.3)
    at_once = Observed(observed.early_s, observed.late_s, observed.admitted, observed.late_s)
    assert Shaper.explain(at_once) == []
    assert TokenBucket.explain(at_once) != []


def test_a_throttle_opens_again_where_its_own_code_admits_the_next_call() -> None:
    for policy in EXPLAINED:
        decided = steps(40, 0.15)
        observed = seen(policy, decided, 0.0, 0.0, 0)
        throttle = policy.make_throttle(0.0)
        for now in decided:
            throttle.try_admit(now)
        if observed.admitted[-1]:
            continue
        after = decided[-1]
        opened = next(now for now in (after + step / 1000 for step in range(1, 4000)) if _admits(policy, decided, now))
        ranges = np.concatenate([one.reopens_s for one in type(policy).explain(observed) if holds(one, policy)])
        assert ranges[:, 0].min() - 0.002 <= opened <= ranges[:, 1].max() + 0.002, words_of(policy)


def _admits(policy: Policy, decided: list[float], now: float) -> bool:
    throttle = policy.make_throttle(0.0)
    for instant in decided:
        throttle.try_admit(instant)
    return isinstance(throttle.try_admit(now), Admitted)


def test_values_are_as_round_as_their_bounds_allow() -> None:
    assert round_value(29.5, 30.6) == 30
    assert round_value(0.29, 0.31) == pytest.approx(0.3)
    assert round_value(58.9, 60.8) == 60
    assert round_value(61.3, 61.3) == 61.3
    assert round_window(Range(9.9, 10.3)) == 10
    assert round_window(Range(40, math.inf)) == 60
    assert limit_of_interval(Range(0.2995, 0.3005)) == (200, 60)
    limit, window_s = limit_of_interval(Range(6.9999, 7.0001))
    assert window_s / limit == pytest.approx(7, abs=1e-4)
    with pytest.raises(ValueError, match="no positive number"):
        round_value(-2, -1)


def test_parts_of_a_range_cover_it() -> None:
    parts = spread_out(1.0, 60.0, 60.0)
    assert (parts[0, 0], parts[-1, 1]) == (1.0, pytest.approx(60))
    assert (parts[1:, 0] == parts[:-1, 1]).all()
    assert Range(1, math.inf).within(0.5) is False
    assert Range(0.0, 2.0).widened(Range(1.0, 3.0)) == Range(0.0, 3.0)
