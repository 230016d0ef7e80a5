"""Judging attempts: what is sure, what is doubted, and what refusals look like."""

from __future__ import annotations

import json
from random import Random

import pytest
import yaml
from pydantic import TypeAdapter

from trunkproof.experiments.target.identify.attempts import Attempt, observed
from trunkproof.experiments.target.identify.habits import Habits, RetryAfter
from trunkproof.experiments.target.identify.judgement import identify_attempts, unusual
from trunkproof.experiments.target.identify.words import headline, lines, throttle_block, to_json
from trunkproof.models.throttles.decision import Admitted
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.penalty_box import PenaltyBox
from trunkproof.models.throttles.pipelimit import PipeLimit
from trunkproof.models.throttles.policy import Policy
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.throttles.shaper import Shaper
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.throttles.tandem import Tandem
from trunkproof.models.throttles.token_bucket import TokenBucket


def attempts(policy: Policy, count: int, gap_s: float, *, anchor_s: float = 0.0) -> list[Attempt]:
    """Attempts that take 2 ms to be decided, another 2 ms back, and ring after 100 ms."""
    throttle, made, sent_s = policy.make_throttle(anchor_s), [], 0.0
    random = Random(1)
    for _ in range(count):
        # At an even pace a sliding window and a fixed one decide alike.
        sent_s += 0.005 + random.expovariate(1 / gap_s)
        decision = throttle.try_admit(sent_s + 0.002)
        if isinstance(decision, Admitted):
            made.append(Attempt(sent_s, sent_s + 0.104 + decision.delay_s, admitted=True))
        else:
            made.append(Attempt(sent_s, sent_s + 0.004, False, 503, 42, 10))
    return made


def test_one_family_that_explains_everything_is_sure() -> None:
    found = identify_attempts(attempts(FixedWindow(limit=20, window_s=5), 600, 0.05, anchor_s=1.0))
    assert found.is_sure
    assert found.is_complete
    assert found.settings == FixedWindow(limit=20, window_s=5)
    assert headline(found) == "The throttle is this: 20 calls in 5 s, fixed window."


def test_nothing_refused_is_no_proof_of_no_throttle() -> None:
    found = identify_attempts(attempts(NoThrottle(), 100, 0.05))
    assert not found.is_sure
    assert "nothing was refused" in found.doubts[0]


def test_no_attempts_tell_nothing() -> None:
    found = identify_attempts([])
    assert (found.is_sure, found.settings, throttle_block(found)) == (False, None, "")
    assert "no attempts" in lines(found)[0]


def test_a_limit_that_nobody_would_set_is_doubted() -> None:
    found = identify_attempts(attempts(FixedWindow(limit=19, window_s=5), 600, 0.05))
    assert [family.policy for family in found.families] == [FixedWindow]
    assert not found.is_sure
    assert "limit 19" in found.doubts[0]
    assert unusual(FixedWindow(limit=200, window_s=60)) == []
    assert unusual(TokenBucket(limit=200, burst=97)) == ["burst 97"]


def test_calls_that_were_never_answered_leave_a_doubt() -> None:
    found = identify_attempts(attempts(FixedWindow(limit=20, window_s=5), 600, 0.05), unknown=2)
    assert not found.is_sure
    assert "2 calls were never answered" in found.doubts[0]


def test_refusals_that_no_family_explains_are_told_with_the_share_that_fits() -> None:
    seen = attempts(FixedWindow(limit=20, window_s=5), 400, 0.1)
    odd = [
        Attempt(one.sent_s, one.sent_s + 0.004, False, 503) if number % 37 == 5 else one
        for number, one in enumerate(seen)
    ]
    found = identify_attempts(odd)
    assert not found.is_sure
    assert not found.families
    assert 0.8 < found.explained < 1
    assert "explains" in headline(found)


def test_a_shaper_is_told_from_a_bucket_by_how_long_its_calls_wait() -> None:
    found = identify_attempts(attempts(Shaper(limit=60, max_delay_s=3), 400, 0.15))
    assert [family.policy for family in found.families] == [Shaper]
    assert isinstance(found.settings, Shaper)
    assert (found.settings.per_minute, found.settings.max_delay_s) == (60, 3)


def test_a_limit_that_is_our_own_pace_is_doubted() -> None:
    """100 calls, and then each call just as one leaves the window: a sliding window explains any answer to them."""
    seen = [Attempt(0.1 * number, 0.1 * number + 0.004, admitted=True) for number in range(100)]
    later = [10 + 0.1 * number + 0.0005 for number in range(60)]
    seen += [Attempt(at, at + 0.004, number % 2 == 0, 503) for number, at in enumerate(later)]
    found = identify_attempts(seen)
    assert any(family.policy is SlidingWindowAttempts for family in found.families)
    assert not found.is_sure
    assert any("our own pace" in doubt or "in tandem" in doubt or "by trying" in doubt for doubt in found.doubts)


COMPOSED: list[tuple[Policy, float, str]] = [
    (PenaltyBox(limit=30, window_s=10, penalty_s=20), 0.2, "It looks like penalty box: "),
    (PipeLimit(limit=20, window_s=10, algorithm="red"), 0.15, "It looks like pipelimit: "),
    (
        Tandem(limits=(SlidingWindowAdmitted(limit=3, window_s=1), SlidingWindowAdmitted(limit=60, window_s=60))),
        0.3,
        "It looks like 2 limits in tandem: ",
    ),
]


@pytest.mark.parametrize(("policy", "gap_s", "words"), COMPOSED, ids=lambda one: getattr(one, "label", None))
def test_what_no_search_can_prove_is_named_and_never_sure(policy: Policy, gap_s: float, words: str) -> None:
    found = identify_attempts(attempts(policy, 500, gap_s))
    assert type(found.settings) is type(policy)
    assert found.explained > 0.97
    assert not found.is_sure
    assert headline(found).startswith(words)
    assert "by trying only" in found.doubts[0]
    block = yaml.safe_load(throttle_block(found))["throttle"]
    assert TypeAdapter[Policy](ThrottleSettings).validate_python(block) == found.settings


def test_the_block_is_a_throttle_that_a_study_reads() -> None:
    found = identify_attempts(attempts(FixedWindow(limit=20, window_s=5), 600, 0.05))
    read = TypeAdapter[Policy](ThrottleSettings).validate_python(yaml.safe_load(throttle_block(found))["throttle"])
    assert read == found.settings
    assert json.loads(json.dumps(to_json(found), allow_nan=False))["families"][0]["policy"] == "fixed_window"


def test_bounds_of_decisions_use_the_order_of_one_connection() -> None:
    slow = [Attempt(0.0, 3.0, admitted=True), Attempt(0.5, 0.504, False, 503)]
    assert observed(slow, 0.0).late_s[0] == pytest.approx(0.504)
    assert observed(slow, 0.0, in_order=False).late_s[0] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("said", "habit"),
    [
        ([None, None, None], RetryAfter.ABSENT),
        ([10, 10, 10], RetryAfter.FIXED),
        ([5, 4, 3], RetryAfter.COUNTING_DOWN),
        ([5, 9, 2], RetryAfter.VARIES),
    ],
)
def test_retry_after_is_absent_fixed_counting_down_or_varying(said: list[float | None], habit: RetryAfter) -> None:
    seen = [Attempt(float(at), at + 0.01, False, 503, 42, seconds) for at, seconds in enumerate(said)]
    assert Habits.of(seen).retry_after is habit
    assert Habits.of(seen).kinds == ((503, 42, 3),)
