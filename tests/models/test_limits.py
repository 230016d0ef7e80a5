"""The limits of a PoP in their order, and that a refusal takes nothing."""

from __future__ import annotations

from trunkproof.models.limits import Limits
from trunkproof.models.records import Direction, Disposition
from trunkproof.models.study import Study
from trunkproof.models.throttles.decision import ADMITTED, Refused

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
