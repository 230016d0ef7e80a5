"""The limits of a PoP in their order, that a refusal takes nothing, and which trunks share a throttle."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trunkproof.models.limits import Limits
from trunkproof.models.records import Direction, Disposition
from trunkproof.models.study import Study
from trunkproof.models.throttles.decision import ADMITTED, Refused
from trunkproof.models.throttles.token_bucket import TokenBucket

TRAFFIC = {"arrivals": {"kind": "poisson", "rate_per_minute": 60}, "holding": 5}


def limits(pop: dict[str, object], accounts: str = "a", **throttle: object) -> Limits:
    trunks = [
        {
            "name": f"t{number}",
            "account": account,
            "customer_address": f"127.0.0.{number + 2}",
            "traffic": TRAFFIC,
            "throttle": {"policy": "fixed_window"} | throttle,
        }
        for number, account in enumerate(accounts)
    ]
    return Limits(Study.model_validate({"name": "t", "pop": pop, "trunks": trunks}), {})


def sharing(throttles: dict[str, object], *trunks: tuple[str, object]) -> Study:
    """A study of trunks, each given by its account and its throttle."""
    written = [
        {
            "name": f"t{number}",
            "account": account,
            "customer_address": f"127.0.0.{number + 2}",
            "traffic": TRAFFIC,
            "throttle": throttle,
        }
        for number, (account, throttle) in enumerate(trunks)
    ]
    return Study.model_validate({"name": "t", "pop": {"throttles": throttles}, "trunks": written})


def admits(found: Limits, trunk: int, now: float) -> bool:
    return not isinstance(found.ask_throttle(trunk, Direction.OUTBOUND, now), Refused)


def test_ports_then_carrier_rate_then_channels() -> None:
    pop = {"ports": {"low": 10000, "high": 10007}, "carrier": {"channels": 2, "calls_per_second": 3}}
    found = limits(pop)
    assert [found.take(0, 0.0) for _ in range(3)] == [(10000,), (10002,), Disposition.NO_CHANNEL]
    # The third was admitted by the carrier's rate before it met the channels; a fourth is one too many in a second.
    assert found.take(0, 0.5) is Disposition.CARRIER_REJECTED
    assert (found.carrier.used, found.pool.in_use) == (2, 2)


def test_without_ports_nothing_else_is_asked() -> None:
    found = limits({"ports": {"low": 10000, "high": 10003}, "carrier": {"calls_per_second": 2}})
    assert [found.take(0, 0.0) for _ in range(3)] == [(10000,), (10002,), Disposition.NO_PORT]
    found.give_back(0, (10000,), 1.5)
    assert found.take(0, 1.5) == (10000,)


def test_inbound_calls_count_only_where_the_study_says_so() -> None:
    found = limits({}, limit=1, counts="outbound")
    assert [found.ask_throttle(0, Direction.INBOUND, 0.0) for _ in range(3)] == [ADMITTED] * 3
    assert found.ask_throttle(0, Direction.OUTBOUND, 0.0) is ADMITTED
    assert isinstance(found.ask_throttle(0, Direction.OUTBOUND, 0.0), Refused)
    both = limits({}, limit=1)
    assert both.ask_throttle(0, Direction.INBOUND, 0.0) is ADMITTED
    assert isinstance(both.ask_throttle(0, Direction.OUTBOUND, 0.0), Refused)


def test_throttles_that_are_restarted_forget_and_the_carrier_does_not() -> None:
    found = limits({"carrier": {"calls_per_second": 1}}, limit=1)
    assert found.ask_throttle(0, Direction.OUTBOUND, 50.0) is ADMITTED
    assert isinstance(found.take(0, 50.0), tuple)
    found.restart_throttles(50.5)
    assert found.ask_throttle(0, Direction.OUTBOUND, 50.5) is ADMITTED
    assert found.take(0, 50.5) is Disposition.CARRIER_REJECTED
    # The new window ends a minute after the restart.
    assert isinstance(found.ask_throttle(0, Direction.OUTBOUND, 110.25), Refused)
    assert found.ask_throttle(0, Direction.OUTBOUND, 110.5) is ADMITTED


def test_a_brown_out_lowers_the_channels_and_leaves_calls_up() -> None:
    found = limits({"carrier": {"channels": 5}})
    ports = found.take(0, 0.0)
    found.carrier.left = 0
    assert found.take(0, 1.0) is Disposition.NO_CHANNEL
    assert isinstance(ports, tuple)
    found.give_back(0, ports, 2.0)
    found.carrier.left = None
    assert isinstance(found.take(0, 3.0), tuple)


def test_channels_of_the_pop_are_shared_by_all_its_trunks() -> None:
    found = limits({"carrier": {"channels": 2}}, "ab")
    assert [isinstance(found.take(trunk, 0.0), tuple) for trunk in (0, 1, 0, 1)] == [True, True, False, False]


def test_channels_of_an_account_are_shared_by_its_trunks_alone() -> None:
    found = limits({"carrier": {"channels": 2, "channels_per": "account"}}, "aba")
    ports = found.take(0, 0.0)
    assert isinstance(ports, tuple)
    assert isinstance(found.take(2, 0.0), tuple)
    assert [found.take(trunk, 0.0) for trunk in (0, 2)] == [Disposition.NO_CHANNEL] * 2
    assert [isinstance(found.take(1, 0.0), tuple) for _ in range(3)] == [True, True, False]
    assert found.carrier.used == 4
    # What one trunk gives back, the other of its account may take.
    found.give_back(0, ports, 1.0)
    assert isinstance(found.take(2, 1.0), tuple)


def test_a_brown_out_is_of_the_whole_pop_whoever_has_the_channels() -> None:
    found = limits({"carrier": {"channels": 5, "channels_per": "account"}}, "ab")
    found.carrier.left = 3
    assert [isinstance(found.take(trunk, 0.0), tuple) for trunk in (0, 1, 0, 1)] == [True, True, True, False]


def test_calls_that_stand_hold_channels_of_their_own_account() -> None:
    found = limits({"carrier": {"channels": 1, "channels_per": "account"}}, "ab")
    found.carrier.hold(0)
    assert [isinstance(found.take(trunk, 0.0), tuple) for trunk in (0, 1)] == [False, True]


@given(calls=st.lists(st.tuples(st.floats(0, 3), st.integers(0, 2)), max_size=60))
def test_a_shared_throttle_is_one_throttle_over_the_merged_calls(calls: list[tuple[float, int]]) -> None:
    bucket = {"policy": "token_bucket", "limit": 4, "window_s": 5, "burst": 3}
    named = {"shared": "line"}
    found = Limits(sharing({"line": bucket}, ("a", named), ("b", named), ("a", named)), {})
    alone, now = TokenBucket.model_validate(bucket).make_throttle(), 0.0
    for gap_s, trunk in calls:
        now += gap_s
        assert found.ask_throttle(trunk, Direction.OUTBOUND, now) == alone.try_admit(now)


def test_a_shared_limit_may_count_each_account_or_each_trunk() -> None:
    once = {"policy": "fixed_window", "limit": 1}
    named = {"shared": "line"}
    trunks = ("a", named), ("b", named), ("a", named)
    for per, expected in ((None, [True, False, False]), ("account", [True, True, False]), ("trunk", [True] * 3)):
        found = Limits(sharing({"line": once | {"per": per}}, *trunks), {})
        assert [admits(found, trunk, 0.0) for trunk in range(3)] == expected


def test_a_tandem_of_a_trunk_s_own_limit_and_its_account_s() -> None:
    own, account = {"policy": "fixed_window", "limit": 1, "window_s": 1}, {"shared": "account"}
    shared = {"account": {"policy": "fixed_window", "limit": 2, "window_s": 1, "per": "account"}}
    tandem = {"policy": "tandem", "limits": [own, account]}
    question = sharing(shared, ("a", tandem), ("a", tandem), ("a", tandem), ("b", tandem), ("a", account))
    found = Limits(question, {})
    # The second of a trunk in a second is its own limit's; the third trunk of the account finds that one full.
    assert [admits(found, trunk, 0.0) for trunk in (0, 0, 1, 2, 3, 4)] == [True, False, True, False, True, False]
    assert [admits(found, trunk, 1.0) for trunk in (4, 2, 0)] == [True, True, False]
    assert question.trunks[0].throttle.describe() == (
        "tandem of 1 calls in 1 s, fixed window, then "
        "2 calls in 1 s, fixed window, shared as account by the trunks of an account"
    )


def test_a_shared_tandem_is_one_for_all() -> None:
    limits = [{"policy": "fixed_window", "limit": 1, "window_s": 1}, {"policy": "fixed_window", "limit": 2}]
    named = {"shared": "line"}
    found = Limits(sharing({"line": {"policy": "tandem", "limits": limits}}, ("a", named), ("b", named)), {})
    calls = (0, 0.0), (1, 0.0), (1, 1.0), (0, 2.0)
    assert [admits(found, trunk, now) for trunk, now in calls] == [True, False, True, False]
    found.restart_throttles(2.5)
    assert [admits(found, trunk, 2.5) for trunk in (0, 1)] == [True, False]


def test_windows_of_a_shared_limit_are_those_of_the_first_trunk_that_names_it() -> None:
    named = {"shared": "line"}
    question = sharing({"line": {"policy": "fixed_window", "limit": 1, "window_s": 10}}, ("a", named), ("b", named))
    found = Limits(question, {"t0": 3.0, "t1": 7.0})
    assert [admits(found, 1, now) for now in (2.9, 3.0, 7.0, 13.0)] == [True, True, False, True]


def test_a_study_with_shared_limits_says_them_and_reads_them_back() -> None:
    tandem = {"policy": "tandem", "limits": [{"policy": "shaper"}, {"shared": "line"}]}
    question = sharing({"line": {"policy": "token_bucket"}}, ("a", {"shared": "line"}), ("b", tandem))
    assert Study.model_validate_json(question.model_dump_json()) == question
    assert Study.model_validate(question.model_dump()) == question
