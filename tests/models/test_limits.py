"""The limits of a PoP in their order, and that a refusal takes nothing."""

from __future__ import annotations

from models.limits import Limits
from models.records import Direction, Disposition
from models.study import Study
from models.throttle import ADMITTED, Refused

TRAFFIC = {"arrivals": {"kind": "poisson", "rate_per_minute": 60}, "holding": 5}


def limits(pop: dict[str, object], **throttle: object) -> Limits:
    trunk = {"traffic": TRAFFIC, "throttle": {"policy": "fixed_window"} | throttle}
    return Limits(Study.model_validate({"name": "t", "pop": pop, "trunks": [trunk]}), {})


def test_ports_then_carrier_rate_then_channels() -> None:
    pop = {"ports": {"low": 10000, "high": 10007}, "carrier": {"channels": 2, "calls_per_second": 3}}
    found = limits(pop)
    assert [found.take(0.0) for _ in range(3)] == [(10000,), (10002,), Disposition.NO_CHANNEL]
    # The third was admitted by the carrier's rate before it met the channels; a fourth is one too many in a second.
    assert found.take(0.5) is Disposition.CARRIER_REJECTED
    assert (found.carrier.used, found.pool.in_use) == (2, 2)


def test_without_ports_nothing_else_is_asked() -> None:
    found = limits({"ports": {"low": 10000, "high": 10003}, "carrier": {"calls_per_second": 2}})
    assert [found.take(0.0) for _ in range(3)] == [(10000,), (10002,), Disposition.NO_PORT]
    found.give_back((10000,), 1.5)
    assert found.take(1.5) == (10000,)


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
    assert isinstance(found.take(50.0), tuple)
    found.restart_throttles(50.5)
    assert found.ask_throttle(0, Direction.OUTBOUND, 50.5) is ADMITTED
    assert found.take(50.5) is Disposition.CARRIER_REJECTED
    # The new window ends a minute after the restart.
    assert isinstance(found.ask_throttle(0, Direction.OUTBOUND, 110.25), Refused)
    assert found.ask_throttle(0, Direction.OUTBOUND, 110.5) is ADMITTED


def test_a_brown_out_lowers_the_channels_and_leaves_calls_up() -> None:
    found = limits({"carrier": {"channels": 5}})
    ports = found.take(0.0)
    found.carrier.channels = 0
    assert found.take(1.0) is Disposition.NO_CHANNEL
    assert isinstance(ports, tuple)
    found.give_back(ports, 2.0)
    found.carrier.channels = 5
    assert isinstance(found.take(3.0), tuple)
