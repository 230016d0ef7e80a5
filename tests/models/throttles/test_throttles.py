"""Throttles: what they promise of any trace of calls; what they refuse of Poisson traffic, against exact formulas."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tests.models.throttles.examples import EVERY_THROTTLE, words_of

from trunkproof.models.teletraffic import (
    fixed_window_refused,
    fixed_window_standard_error,
    shaper_refused,
    sliding_admitted_refused,
    sliding_attempts_refused,
    token_bucket_refused,
)
from trunkproof.models.throttles.decision import ADMITTED, SAME_INSTANT_S, Admitted, Refused, Throttle
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.penalty_box import PenaltyBox
from trunkproof.models.throttles.pipelimit import PipeLimit
from trunkproof.models.throttles.policy import Limited
from trunkproof.models.throttles.registry import POLICIES, ThrottleSettings
from trunkproof.models.throttles.shaper import Shaper
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.throttles.tandem import Tandem
from trunkproof.models.throttles.token_bucket import TokenBucket

READ = TypeAdapter[ThrottleSettings](ThrottleSettings)
LIMITED = tuple(policy for policy in POLICIES if issubclass(policy, Limited))
ASKED = tuple(policy for policy in POLICIES if policy.is_asked)


def admitted(throttle: Throttle, instants: Iterable[float]) -> list[float]:
    return [now for now in instants if isinstance(throttle.try_admit(now), Admitted)]


# Instants on a grid of 1/64 s: sums and differences are exact, so that "at exactly T" means it.
GRID = 64
TRACES = st.lists(st.integers(0, 3 * GRID), max_size=150).map(lambda gaps: [total / GRID for total in accumulate(gaps)])
LIMITS = st.integers(1, 12)
WINDOWS = st.integers(1, 10).map(float)


# ---- settings


def test_the_documented_throttle_is_the_default() -> None:
    settings = FixedWindow()
    assert (settings.limit, settings.window_s, settings.refusal_status) == (200, 60, 503)
    assert (settings.retry_after_s, settings.counts) == (10, "both")
    assert (TokenBucket().burst, Shaper().max_delay_s) == (20, 2)


@pytest.mark.parametrize(
    ("policy", "kind"),
    [
        ("fixed_window", FixedWindow),
        ("pipelimit", PipeLimit),
        ("sliding_window_admitted", SlidingWindowAdmitted),
        ("sliding_window_attempts", SlidingWindowAttempts),
        ("token_bucket", TokenBucket),
        ("shaper", Shaper),
        ("penalty_box", PenaltyBox),
        ("tandem", Tandem),
        ("none", NoThrottle),
    ],
)
def test_a_policy_is_read_by_its_name(policy: str, kind: type) -> None:
    settings = READ.validate_python({"policy": policy, "retry_after_s": None})
    assert isinstance(settings, kind)
    assert settings.retry_after_s is None


@pytest.mark.parametrize(
    "written",
    [
        {"limit": 200},
        {"policy": "leaky"},
        {"policy": "fixed_window", "limit": 0},
        {"policy": "fixed_window", "window_s": 0},
        {"policy": "fixed_window", "burst": 20},
        {"policy": "fixed_window", "refusal_status": 302},
        {"policy": "fixed_window", "retry_after_s": -1},
        {"policy": "fixed_window", "counts": "inbound"},
        {"policy": "pipelimit", "algorithm": "feedback"},
        {"policy": "pipelimit", "window_s": 1.5},
        {"policy": "token_bucket", "burst": 0},
        {"policy": "shaper", "max_delay_s": -1},
        {"policy": "shaper", "queue_size": -1},
        {"policy": "penalty_box", "penalty_s": 0},
        {"policy": "penalty_box", "window": "none"},
        {"policy": "tandem", "limits": []},
        {"policy": "tandem", "limits": [{"policy": "none"}]},
        {"policy": "tandem", "limits": [{"policy": "tandem"}]},
        {"policy": "tandem", "limits": [{"policy": "shaper"}] * 2},
        {"policy": "tandem", "limits": [{"policy": "shaper"}, {"policy": "fixed_window", "counts": "outbound"}]},
        {"policy": "tandem", "limit": 200},
        {"policy": "none", "limit": 200},
    ],
)
def test_what_is_no_throttle_is_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        READ.validate_python(written)


def test_descriptions_read_like_a_phrase() -> None:
    phrases = [kind().describe() for kind in (*ASKED, NoThrottle)]
    assert phrases == [
        "200 calls in 60 s, fixed window",
        "200 calls in 60 s, pipelimit with taildrop",
        "200 calls in 60 s, sliding window over admitted calls",
        "200 calls in 60 s, sliding window over attempts",
        "200 calls in 60 s, token bucket of 20",
        "200 calls in 60 s, shaper that delays by 2 s at most",
        "200 calls in 60 s, sliding window with a penalty of 60 s",
        "tandem of 10 calls in 1 s, fixed window, then 200 calls in 60 s, fixed window",
        "no throttle",
    ]


# ---- single decisions


@pytest.mark.parametrize("kind", LIMITED)
def test_a_refusal_carries_the_status_and_retry_after_of_the_study(kind: type[FixedWindow]) -> None:
    settings = READ.validate_python(
        {"policy": kind().policy, "limit": 1, "refusal_status": 480, "retry_after_s": 7}
        | ({"burst": 1} if kind is TokenBucket else {"max_delay_s": 0} if kind is Shaper else {})
    )
    throttle = settings.make_throttle()
    assert throttle.try_admit(0.0) is ADMITTED
    assert throttle.try_admit(0.0) == Refused(480, 7)


def test_a_fixed_window_starts_again_at_each_boundary_from_its_anchor() -> None:
    throttle = FixedWindow(limit=2, window_s=10).make_throttle(anchor=1003.0)
    assert throttle.phase_s == 3
    assert admitted(throttle, [2.9, 2.95, 2.99, 3.0, 3.0, 12.9, 13.0]) == [2.9, 2.95, 3.0, 3.0, 13.0]


@pytest.mark.parametrize("settings", [*EVERY_THROTTLE, PenaltyBox(window="fixed"), Tandem()], ids=words_of)
def test_only_windows_that_begin_at_fixed_instants_have_a_phase(settings: ThrottleSettings) -> None:
    window_s, phase_s = settings.fixed_window_s, settings.make_throttle(anchor=63.0).phase_s
    assert (window_s is None) == (phase_s is None)
    assert phase_s is None or phase_s in {63.0 % 60, 63.0 % 2, 63.0 % 1}


def test_pipelimit_with_red_decides_as_kamailio_does() -> None:
    # Kamailio 5.6.3 with a limit of 4 in 5 s: what it let in (A) and refused (-) in successive windows.
    measured = ["AAAAAA", "AAAAAAA", "AAAAAAAA", "-A-A-A-A-A-A-", "--A--A--A--A--A--A--", "----A" * 4, "", "AAAAA"]
    throttle = PipeLimit(limit=4, window_s=5, algorithm="red").make_throttle(anchor=2.0)
    decided = [
        "".join("A" if throttle.try_admit(2 + 5 * window + k / 8) is ADMITTED else "-" for k in range(len(calls)))
        for window, calls in enumerate(measured)
    ]
    assert decided == measured


def test_a_sliding_window_over_admitted_calls_forgets_a_call_after_exactly_its_length() -> None:
    throttle = SlidingWindowAdmitted(limit=2, window_s=10).make_throttle()
    assert admitted(throttle, [0, 4, 5, 9.99, 10, 13.99, 14]) == [0, 4, 10, 14]


def test_a_sliding_window_over_attempts_punishes_those_who_keep_trying() -> None:
    throttle = SlidingWindowAttempts(limit=2, window_s=10).make_throttle()
    assert admitted(throttle, [0, 4, 5, 10, 14, 15, 24, 24, 25]) == [0, 4, 24]


def test_a_token_bucket_admits_a_burst_and_then_at_its_rate() -> None:
    throttle = TokenBucket(limit=1, window_s=2, burst=3).make_throttle()
    assert admitted(throttle, [0, 0, 0, 0, 1.99, 2, 2, 6, 6, 6]) == [0, 0, 0, 2, 6, 6]


def test_a_shaper_delays_to_the_next_slot_and_refuses_too_long_a_wait() -> None:
    throttle = Shaper(limit=1, window_s=2, max_delay_s=3).make_throttle()
    decisions = [throttle.try_admit(now) for now in (0, 0, 0, 1, 6, 7)]
    assert decisions == [ADMITTED, Admitted(2), Refused(503, 10), Admitted(3), ADMITTED, Admitted(1)]


def test_no_throttle_admits_everything() -> None:
    throttle = NoThrottle().make_throttle()
    assert all(throttle.try_admit(0.0) is ADMITTED for _ in range(1000))
    assert throttle.used(0.0) == 0


@pytest.mark.parametrize(
    ("settings", "used"),
    [
        (FixedWindow(limit=3, window_s=10), {4: 3, 9: 3, 10: 0}),
        (PipeLimit(limit=3, window_s=10), {4: 6, 9: 6, 10: 0}),
        (SlidingWindowAdmitted(limit=3, window_s=10), {4: 3, 9: 3, 10: 2, 13: 2, 14: 0}),
        (SlidingWindowAttempts(limit=3, window_s=10), {4: 3, 10: 3, 13: 3, 14: 0}),
        (TokenBucket(limit=1, window_s=2, burst=3), {4: 3, 5: 3, 6: 2, 9: 1, 10: 0, 100: 0}),
        (Shaper(limit=1, window_s=2, max_delay_s=5), {4: 3, 6: 2, 9: 1, 10: 0, 100: 0}),
        (PenaltyBox(limit=3, window_s=10), {4: 3, 9: 3, 10: 2, 13: 2, 14: 0}),
        (Tandem(limits=(FixedWindow(limit=9, window_s=5), SlidingWindowAdmitted(limit=3, window_s=10))), {4: 6, 9: 3}),
        (NoThrottle(), {4: 0}),
    ],
)
def test_what_is_used_of_the_limit(settings: ThrottleSettings, used: dict[float, int]) -> None:
    throttle = settings.make_throttle()
    assert throttle.used(0.0) == 0
    throttle.try_admit(0.0)
    for _ in range(5):
        throttle.try_admit(4.0)
    assert {now: throttle.used(now) for now in used} == used


def test_asking_what_is_used_changes_nothing() -> None:
    trace = [k * 0.2 for k in range(200)]
    for kind in LIMITED:
        plain, watched = (kind(limit=4, window_s=2).make_throttle() for _ in range(2))
        for now in trace:
            watched.used(now)
            assert watched.try_admit(now) == plain.try_admit(now)


@pytest.mark.parametrize("kind", LIMITED)
def test_a_copy_goes_its_own_way(kind: type[FixedWindow]) -> None:
    throttle = kind(limit=5, window_s=10).make_throttle()
    trace = [k / 4 for k in range(400)]
    admitted(throttle, trace[:150])
    twin = copy.deepcopy(throttle)
    assert admitted(twin, trace[150:]) == admitted(throttle, trace[150:])


# ---- penalties, queues and tandems


def test_a_penalty_begins_with_the_excess_and_ends_after_its_length() -> None:
    throttle = PenaltyBox(limit=2, window_s=10, penalty_s=20).make_throttle()
    assert admitted(throttle, [0, 1, 2, 3, 15, 21.99, 22, 22, 22]) == [0, 1, 22, 22]
    # The excess at 22 begins another penalty, although the attempts during the first did not.
    assert admitted(throttle, [41.99, 42]) == [42]


def test_a_prolonged_penalty_ends_when_the_caller_keeps_still() -> None:
    throttle = PenaltyBox(limit=2, window_s=10, penalty_s=20, prolonged=True).make_throttle()
    assert admitted(throttle, [0, 1, 2, 21, 40, 59.99, 79.99]) == [0, 1, 79.99]


def test_a_penalty_shorter_than_the_window_may_follow_another() -> None:
    sliding = PenaltyBox(limit=2, window_s=10, penalty_s=3).make_throttle()
    # At 8 the third penalty begins: it keeps out the call at 10, for which the window had room.
    assert admitted(sliding, [0, 1, 2, 5, 8, 10, 11]) == [0, 1, 11]
    fixed = PenaltyBox(limit=2, window_s=10, penalty_s=3, window="fixed").make_throttle(anchor=4.0)
    assert admitted(fixed, [0, 1, 2, 4, 5, 6]) == [0, 1, 5, 6]


@given(trace=TRACES, limit=LIMITS, window_s=WINDOWS, queue=st.integers(0, 8))
def test_no_more_calls_wait_than_the_queue_holds(trace: list[float], limit: int, window_s: float, queue: int) -> None:
    throttle = Shaper(limit=limit, window_s=window_s, max_delay_s=1000, queue_size=queue).make_throttle()
    leaves: list[float] = []
    for now in trace:
        waiting = sum(at > now + SAME_INSTANT_S for at in leaves)
        decision = throttle.try_admit(now)
        assert waiting <= queue
        if isinstance(decision, Refused):
            assert waiting == queue
        else:
            leaves.append(now + decision.delay_s)


@pytest.mark.parametrize("once", [True, False])
@given(trace=TRACES)
def test_a_tandem_of_one_is_that_one(trace: list[float], once: bool) -> None:
    for settings in (limit for limit in EVERY_THROTTLE if limit.is_asked and not isinstance(limit, Tandem)):
        tandem = Tandem.model_validate({"limits": [settings], "refused_later_counts": once})
        alone, throttle = settings.make_throttle(), tandem.make_throttle()
        assert [throttle.try_admit(now) for now in trace] == [alone.try_admit(now) for now in trace]
        assert tandem.refused_share(80) == settings.refused_share(80)


@given(trace=TRACES, first=LIMITS, second=LIMITS)
def test_a_tandem_passes_on_to_the_next_what_the_first_admits(trace: list[float], first: int, second: int) -> None:
    limits = FixedWindow(limit=first, window_s=1), SlidingWindowAttempts(limit=second, window_s=7)
    throttle, (one, two) = Tandem(limits=limits).make_throttle(), (limit.make_throttle() for limit in limits)
    assert admitted(throttle, trace) == admitted(two, admitted(one, trace))


def counts_where_all_admit(settings: Tandem, trace: list[float]) -> list[float]:
    """Decide with copies that are asked first, and the throttles themselves only about calls that all admit."""
    parts = [limit.make_throttle() for limit in settings.limits]
    let_in = []
    for now in trace:
        if all(isinstance(copy.deepcopy(part).try_admit(now), Admitted) for part in parts):
            let_in.append(now)
            for part in parts:
                part.try_admit(now)
    return let_in


@given(trace=TRACES, sizes=st.tuples(LIMITS, LIMITS, LIMITS), order=st.permutations(range(5)))
def test_calls_may_count_only_where_all_limits_admit(
    trace: list[float], sizes: tuple[int, int, int], order: list[int]
) -> None:
    one, two, three = sizes
    limits = (
        FixedWindow(limit=one, window_s=2),
        SlidingWindowAdmitted(limit=two, window_s=5),
        TokenBucket(limit=three, window_s=3, burst=2),
        Shaper(limit=one, window_s=3, max_delay_s=1),
        SlidingWindowAdmitted(limit=three, window_s=9),
    )
    settings = Tandem(limits=tuple(limits[index] for index in order), refused_later_counts=False)
    assert admitted(settings.make_throttle(), trace) == counts_where_all_admit(settings, trace)


def test_each_limit_of_a_tandem_refuses_in_its_own_way() -> None:
    settings = READ.validate_python(
        {
            "policy": "tandem",
            "refusal_status": 480,
            "limits": [
                {"policy": "fixed_window", "limit": 2, "window_s": 1},
                {"policy": "fixed_window", "limit": 3, "refusal_status": 429, "retry_after_s": None},
            ],
        }
    )
    throttle = settings.make_throttle()
    assert [throttle.try_admit(now) for now in (0, 0, 0, 1, 1)] == [
        ADMITTED, ADMITTED, Refused(480, 10), ADMITTED, Refused(429, None)
    ]  # fmt: skip
    assert {rule.status for rule in settings.refusal_rules} == {480, 429, 503}


def test_another_limit_of_a_tandem_is_that_of_its_tightest() -> None:
    settings = Tandem()
    assert (settings.per_minute, settings.size) == (200, 10)
    raised = settings.with_limit(400)
    assert [limit.per_minute for limit in raised.limits] == [600, 400]
    # More than the other limit lets pass: it has to be raised too.
    assert [limit.per_minute for limit in settings.with_limit(900).limits] == [900, 900]
    assert [limit.per_minute for limit in settings.with_limit(100).limits] == [600, 100]


# ---- what holds for every trace


@given(before=TRACES, other=TRACES, after=TRACES, limit=LIMITS, window_s=WINDOWS)
def test_windows_remember_no_longer_than_they_say(
    before: list[float], other: list[float], after: list[float], limit: int, window_s: float
) -> None:
    red = PipeLimit(limit=limit, window_s=window_s, algorithm="red")
    admitting = SlidingWindowAdmitted(limit=limit, window_s=window_s)
    for settings in (*(kind(limit=limit, window_s=window_s) for kind in (FixedWindow, PipeLimit)), red, NoThrottle()):
        pasts = [settings.make_throttle() for _ in range(2)]
        begin_s = max([*before, *other, 0.0])
        for throttle, past in zip(pasts, (before, other), strict=True):
            admitted(throttle, past)
        # Every attempt from the beginning on is the same for both; decisions agree once that is all they remember.
        instants = [begin_s + instant for instant in after]
        decided = [[throttle.try_admit(now) for now in instants] for throttle in pasts]
        late = [now >= begin_s + settings.memory_s for now in instants]
        assert all(one == two for one, two, counts in zip(*decided, late, strict=True) if counts)
    assert (admitting.memory_s, red.memory_s, NoThrottle().memory_s) == (window_s, 2 * window_s, 0.0)


@given(trace=TRACES, before=TRACES, limit=LIMITS, window_s=WINDOWS)
def test_a_throttle_whose_process_restarted_is_a_new_one_whose_window_begins_then(
    trace: list[float], before: list[float], limit: int, window_s: float
) -> None:
    now = before[-1] if before else 0.0
    later = [now + instant for instant in trace]
    red = PipeLimit(limit=limit, window_s=window_s, algorithm="red")
    for settings in (*(kind(limit=limit, window_s=window_s) for kind in LIMITED), red, NoThrottle()):
        old, new = settings.make_throttle(), settings.make_throttle(anchor=now)
        admitted(old, before)
        old.restart(now)
        assert (old.used(now), old.phase_s) == (0, new.phase_s)
        assert [old.try_admit(instant) for instant in later] == [new.try_admit(instant) for instant in later]


@given(trace=TRACES, limit=LIMITS, window_s=WINDOWS, anchor=st.integers(-20, 20))
def test_pipelimit_with_taildrop_is_a_fixed_window(
    trace: list[float], limit: int, window_s: float, anchor: int
) -> None:
    pipe, fixed = (kind(limit=limit, window_s=window_s).make_throttle(anchor) for kind in (PipeLimit, FixedWindow))
    assert admitted(pipe, trace) == admitted(fixed, trace)


@given(trace=TRACES, limit=LIMITS, window_s=WINDOWS)
def test_pipelimit_with_red_lets_in_its_share_of_a_window_and_everything_after_a_quiet_one(
    trace: list[float], limit: int, window_s: float
) -> None:
    throttle = PipeLimit(limit=limit, window_s=window_s, algorithm="red").make_throttle()
    offered = Counter(now // window_s for now in trace)
    let_in = Counter(now // window_s for now in admitted(throttle, trace))
    for window, attempts in offered.items():
        assert let_in[window] == attempts // max(1, offered[window - 1] // limit)


@given(trace=TRACES, limit=LIMITS, window_s=WINDOWS, anchor=st.integers(-20, 20))
def test_a_fixed_window_never_admits_more_than_its_limit_between_boundaries(
    trace: list[float], limit: int, window_s: float, anchor: int
) -> None:
    throttle = FixedWindow(limit=limit, window_s=window_s).make_throttle(anchor=anchor)
    offered = Counter(math.floor(Fraction(now - anchor) / Fraction(window_s)) for now in trace)
    let_in = Counter(math.floor(Fraction(now - anchor) / Fraction(window_s)) for now in admitted(throttle, trace))
    assert let_in == {window: min(limit, attempts) for window, attempts in offered.items()}


@given(trace=TRACES, limit=LIMITS, window_s=WINDOWS)
def test_a_sliding_window_never_admits_more_than_its_limit_in_any_window(
    trace: list[float], limit: int, window_s: float
) -> None:
    for kind in (SlidingWindowAdmitted, SlidingWindowAttempts):
        let_in = admitted(kind(limit=limit, window_s=window_s).make_throttle(), trace)
        assert all(later - earlier >= window_s for earlier, later in zip(let_in, let_in[limit:], strict=False))


@given(trace=TRACES, limit=LIMITS, window_s=WINDOWS)
def test_sliding_windows_refuse_only_when_full(trace: list[float], limit: int, window_s: float) -> None:
    for kind in (SlidingWindowAdmitted, SlidingWindowAttempts):
        throttle = kind(limit=limit, window_s=window_s).make_throttle()
        counted: list[float] = []
        for now in trace:
            full = sum(now - earlier < window_s for earlier in counted) >= limit
            decision = throttle.try_admit(now)
            assert isinstance(decision, Refused) == full
            if not full or kind is SlidingWindowAttempts:
                counted.append(now)


@given(trace=TRACES, limit=LIMITS, window_s=WINDOWS, burst=st.integers(1, 10))
def test_a_token_bucket_decides_as_one_with_exact_arithmetic(
    trace: list[float], limit: int, window_s: float, burst: int
) -> None:
    throttle = TokenBucket(limit=limit, window_s=window_s, burst=burst).make_throttle()
    rate, tokens, before = Fraction(limit) / Fraction(window_s), Fraction(burst), Fraction(0)
    for now in trace:
        tokens = min(Fraction(burst), tokens + (Fraction(now) - before) * rate)
        before = Fraction(now)
        assert isinstance(throttle.try_admit(now), Admitted) == (tokens >= 1)
        tokens -= tokens >= 1


@given(trace=TRACES, limit=LIMITS, window_s=WINDOWS, burst=st.integers(1, 10))
def test_a_token_bucket_admits_at_most_its_burst_and_what_came_back(
    trace: list[float], limit: int, window_s: float, burst: int
) -> None:
    let_in = admitted(TokenBucket(limit=limit, window_s=window_s, burst=burst).make_throttle(), trace)
    for first in range(len(let_in)):
        for last in range(first, len(let_in)):
            back = Fraction(limit) / Fraction(window_s) * Fraction(let_in[last] - let_in[first])
            assert last - first + 1 <= burst + back


def test_a_token_bucket_does_not_drift_over_a_day_at_its_limit() -> None:
    throttle = TokenBucket(limit=199, window_s=60, burst=5).make_throttle()
    day_s = 86_400
    let_in = admitted(throttle, (now / GRID for now in range(day_s * GRID)))
    # All tokens that came back before the last attempt, and those that were there at first.
    assert len(let_in) == 5 + math.floor(Fraction(199, 60) * (Fraction(day_s) - Fraction(1, GRID)))


@given(trace=TRACES, limit=LIMITS, window_s=WINDOWS, max_delay_s=st.integers(0, 8))
def test_a_shaper_spaces_calls_evenly_in_their_order_and_delays_none_too_long(
    trace: list[float], limit: int, window_s: float, max_delay_s: int
) -> None:
    throttle = Shaper(limit=limit, window_s=window_s, max_delay_s=max_delay_s).make_throttle()
    decisions = [(now, throttle.try_admit(now)) for now in trace]
    gone = [now + decision.delay_s for now, decision in decisions if isinstance(decision, Admitted)]
    assert all(later - earlier >= window_s / limit - 1e-9 for earlier, later in pairwise(gone))
    assert all(0 <= decision.delay_s <= max_delay_s for _, decision in decisions if isinstance(decision, Admitted))
    for now, decision in decisions:
        if isinstance(decision, Refused):
            before = [
                instant for (arrived, _), instant in zip(accepted(decisions), gone, strict=True) if arrived <= now
            ]
            assert before[-1] + window_s / limit - now > max_delay_s - 1e-9


def accepted(decisions: list[tuple[float, Admitted | Refused]]) -> list[tuple[float, Admitted | Refused]]:
    return [(now, decision) for now, decision in decisions if isinstance(decision, Admitted)]


@given(trace=TRACES, limit=LIMITS, window_s=WINDOWS, burst=st.integers(1, 8))
def test_a_shaper_admits_the_calls_that_a_bucket_as_deep_as_its_queue_admits(
    trace: list[float], limit: int, window_s: float, burst: int
) -> None:
    queue = Shaper(limit=limit, window_s=window_s, max_delay_s=(burst - 1) * window_s / limit)
    # A wait that is exactly the longest one is a call admitted; rounded, it could be either.
    assume(Fraction(queue.max_delay_s) == Fraction(burst - 1) * Fraction(window_s) / limit)
    bucket = TokenBucket(limit=limit, window_s=window_s, burst=burst)
    assert admitted(queue.make_throttle(), trace) == admitted(bucket.make_throttle(), trace)


# ---- instants that are equal but for floating point

AT_THE_LIMIT: list[ThrottleSettings] = [
    FixedWindow(),
    PipeLimit(),
    PipeLimit(algorithm="red"),
    SlidingWindowAdmitted(),
    SlidingWindowAttempts(),
    TokenBucket(burst=1),
    TokenBucket(burst=20),
    Shaper(max_delay_s=0.0),
    Shaper(queue_size=0),
    PenaltyBox(),
    PenaltyBox(window="fixed", prolonged=True),
    Tandem(limits=(TokenBucket(burst=1), SlidingWindowAdmitted(), FixedWindow(limit=4, window_s=1))),
]
WEEK, YEAR = 7 * 1440 * 200, 366 * 1440 * 200


@pytest.mark.parametrize("settings", AT_THE_LIMIT, ids=lambda settings: settings.policy)
@pytest.mark.parametrize("first", [0, WEEK, YEAR])
@pytest.mark.parametrize("added_up", [False, True])
def test_calls_evenly_spaced_at_the_limit_are_all_admitted_at_once(
    settings: ThrottleSettings, first: int, added_up: bool
) -> None:
    numbers = np.arange(first, first + 20_000)
    # As a plan computes instants, and as a simulation's clock comes by them: by adding what is left to wait.
    instants = list(accumulate(np.diff(numbers * 0.3), initial=first * 0.3)) if added_up else numbers * 60 / 200
    throttle = settings.make_throttle()
    assert {throttle.try_admit(float(now)) for now in instants} == {ADMITTED}


@pytest.mark.parametrize("kind", [FixedWindow, PipeLimit, SlidingWindowAdmitted, SlidingWindowAttempts])
@pytest.mark.parametrize(("early_s", "passes"), [(SAME_INSTANT_S / 2, True), (SAME_INSTANT_S * 2, False)])
def test_only_rounding_is_overlooked(kind: type[FixedWindow], early_s: float, passes: bool) -> None:
    throttle = kind(limit=1, window_s=60).make_throttle()
    throttle.try_admit(0.0)
    assert throttle.used(60 - early_s) == (not passes)
    assert isinstance(throttle.try_admit(60 - early_s), Admitted) is passes


@pytest.mark.parametrize(("early_s", "passes"), [(SAME_INSTANT_S / 2, True), (SAME_INSTANT_S * 2, False)])
def test_only_rounding_is_overlooked_by_slots(early_s: float, passes: bool) -> None:
    for settings in (TokenBucket(limit=1, burst=1), Shaper(limit=1, max_delay_s=0.0)):
        throttle = settings.make_throttle()
        throttle.try_admit(0.0)
        assert (throttle.try_admit(60 - early_s) is ADMITTED) is passes


def test_an_instant_overlooked_does_not_let_the_pace_creep() -> None:
    throttle = TokenBucket(limit=1, window_s=1, burst=1).make_throttle()
    let_in = admitted(throttle, (number * (1 - SAME_INSTANT_S / 2) for number in range(1000)))
    assert all(now >= number - SAME_INSTANT_S for number, now in enumerate(let_in))
    assert len(let_in) < 1000


def never_falls(trace: list[float], settings: list[ThrottleSettings]) -> bool:
    totals = [len(admitted(each.make_throttle(), trace)) for each in settings]
    return all(fewer <= more for fewer, more in pairwise(totals))


@given(trace=TRACES, window_s=WINDOWS)
def test_totals_admitted_never_fall_when_the_limit_grows(trace: list[float], window_s: float) -> None:
    # Not of a penalty box: a higher limit may begin a penalty later, and keep out those who come then.
    for kind in set(LIMITED) - {PenaltyBox}:
        assert never_falls(trace, [kind(limit=limit, window_s=window_s) for limit in (1, 2, 3, 5, 8, 13, 40)]), kind
    red = [PipeLimit(limit=limit, window_s=window_s, algorithm="red") for limit in (1, 2, 3, 5, 8, 13, 40)]
    assert never_falls(trace, [*red])


@given(trace=TRACES, limit=LIMITS, window_s=WINDOWS)
def test_totals_admitted_never_fall_when_the_burst_or_the_longest_delay_grows(
    trace: list[float], limit: int, window_s: float
) -> None:
    sizes = (1, 2, 3, 5, 8, 13)
    assert never_falls(trace, [TokenBucket(limit=limit, window_s=window_s, burst=size) for size in sizes])
    assert never_falls(trace, [Shaper(limit=limit, window_s=window_s, max_delay_s=size) for size in sizes])
    queues = [Shaper(limit=limit, window_s=window_s, max_delay_s=1000, queue_size=size) for size in sizes]
    assert never_falls(trace, [*queues])


def test_worst_cases_admitted_in_any_minute() -> None:
    trace = [55.0] * 500 + [60.0 + k / 100 for k in range(5500)]

    def most_in_a_minute(settings: ThrottleSettings) -> int:
        let_in = np.array(admitted(settings.make_throttle(), trace))
        return int((np.searchsorted(let_in, let_in + 60, side="left") - np.arange(len(let_in))).max())

    assert most_in_a_minute(FixedWindow()) == 400
    assert most_in_a_minute(SlidingWindowAdmitted()) == 200
    # The call that makes it 200 + 20 comes exactly a minute after the first, which is no longer the same minute.
    assert most_in_a_minute(TokenBucket(burst=20)) == 219


# ---- Poisson traffic

REPLICATIONS, MINUTES, WARM_UP_MINUTES = 40, 40, 5
SHARES: list[tuple[ThrottleSettings, Callable[[float], float]]] = [
    (FixedWindow(), lambda rate: fixed_window_refused(rate, 200)),
    (PipeLimit(), lambda rate: fixed_window_refused(rate, 200)),
    (SlidingWindowAdmitted(), lambda rate: sliding_admitted_refused(rate, 200)),
    (SlidingWindowAttempts(), lambda rate: sliding_attempts_refused(rate, 200)),
    (TokenBucket(burst=1), lambda rate: token_bucket_refused(rate, 200, 1)),
    (TokenBucket(burst=20), lambda rate: token_bucket_refused(rate, 200, 20)),
    (Shaper(max_delay_s=2.0), lambda rate: shaper_refused(rate, 200, 2.0)),
    # A queue of 5 slots of 0.3 s.
    (Shaper(queue_size=5), lambda rate: shaper_refused(rate, 200, 1.5)),
]


@pytest.mark.parametrize("rate_per_minute", [190, 250])
@pytest.mark.parametrize(("settings", "exact"), SHARES, ids=lambda value: getattr(value, "policy", ""))
def test_share_refused_of_poisson_traffic(
    settings: ThrottleSettings, exact: Callable[[float], float], rate_per_minute: float
) -> None:
    """Refused calls minus the exact share of all attempts has mean 0 in every independent replication.

    Where refusals come in runs no formula gives their variance, so the spread of the replications gives the standard
    error of their sum.
    """
    random, share = np.random.default_rng(20), exact(rate_per_minute)
    excess = [refused_in_excess(settings, share, rate_per_minute, random) for _ in range(REPLICATIONS)]
    assert abs(sum(excess)) < 4.5 * np.std(excess, ddof=1) * math.sqrt(REPLICATIONS)


@pytest.mark.parametrize(("window_s", "limit"), [(1, 3), (10, 33), (60, 200)])
def test_share_refused_by_a_fixed_window_within_its_exact_standard_error(window_s: float, limit: int) -> None:
    offered, windows = 180 * window_s / 60, 3000
    random, throttle = np.random.default_rng(21), FixedWindow(limit=limit, window_s=window_s).make_throttle()
    instants = np.sort(random.uniform(0, windows * window_s, random.poisson(offered * windows))).tolist()
    measured = 1 - len(admitted(throttle, instants)) / len(instants)
    tolerance = 4.5 * fixed_window_standard_error(offered, limit, windows)
    assert measured == pytest.approx(fixed_window_refused(offered, limit), rel=0, abs=tolerance)


def refused_in_excess(
    settings: ThrottleSettings, share: float, rate_per_minute: float, random: np.random.Generator
) -> float:
    """One replication, counted after a warm-up in which the empty throttle reaches its stationary state."""
    throttle, end_s = settings.make_throttle(), (WARM_UP_MINUTES + MINUTES) * 60
    instants = np.sort(random.uniform(0, end_s, random.poisson(rate_per_minute * end_s / 60))).tolist()
    refused = [isinstance(throttle.try_admit(now), Refused) for now in instants]
    counted = [was for now, was in zip(instants, refused, strict=True) if now >= WARM_UP_MINUTES * 60]
    return sum(counted) - share * len(counted)
