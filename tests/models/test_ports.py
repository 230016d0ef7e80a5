"""The port pool: pairs in rotation, each with one holder at most, rested before they are given again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.models.ports import PortPool


def test_the_documented_range_holds_15000_pairs() -> None:
    pool = PortPool(10000, 40000)
    given_out = [pool.acquire(0.0) for _ in range(15_000)]
    assert given_out == [(port,) for port in range(10000, 40000, 2)]
    assert pool.acquire(0.0) is None
    assert (pool.in_use, pool.free(0.0)) == (15_000, 0)


@pytest.mark.parametrize(("low", "high", "ports"), [(10001, 10006, [10002, 10004]), (10000, 10003, [10000, 10002])])
def test_rfc3550_11_rtp_is_even_and_its_rtcp_partner_lies_within_the_range(
    low: int, high: int, ports: list[int]
) -> None:
    pool = PortPool(low, high)
    assert [pool.acquire(0.0) for _ in range(3)] == [(ports[0],), (ports[1],), None]


def test_ports_are_given_in_rotation() -> None:
    pool = PortPool(10000, 10007)
    first = pool.acquire(0.0)
    assert first == (10000,)
    pool.release(first, 1.0)
    assert [pool.acquire(1.0) for _ in range(4)] == [(10002,), (10004,), (10006,), (10000,)]


def test_a_call_of_two_legs_gets_two_pairs_or_none() -> None:
    pool = PortPool(10000, 10005, legs=2)
    assert pool.acquire(0.0) == (10000, 10002)
    assert pool.acquire(0.0) is None
    assert (pool.in_use, pool.free(0.0)) == (2, 1)


def test_a_released_pair_rests_for_its_quarantine() -> None:
    pool = PortPool(10000, 10001, quarantine_s=5.0)
    ports = pool.acquire(0.0)
    assert ports is not None
    pool.release(ports, 10.0)
    assert (pool.in_use, pool.free(14.999), pool.acquire(14.999)) == (0, 0, None)
    assert pool.acquire(15.0) == ports


@pytest.mark.parametrize("released", [(10000, 10000), (10002,), (10000, 10002), (10001,)])
def test_releasing_what_is_not_in_use_is_an_error_and_releases_nothing(released: tuple[int, ...]) -> None:
    pool = PortPool(10000, 10003)
    pool.acquire(0.0)
    with pytest.raises(ValueError, match="not in use"):
        pool.release(released, 1.0)
    assert (pool.in_use, pool.free(1.0)) == (1, 1)


def test_a_second_release_is_an_error() -> None:
    pool = PortPool(10000, 10003)
    ports = pool.acquire(0.0)
    assert ports is not None
    pool.release(ports, 1.0)
    with pytest.raises(ValueError, match="not in use"):
        pool.release(ports, 1.0)


def test_a_withdrawn_pair_is_replaced_and_never_given_again() -> None:
    pool = PortPool(10000, 10005)
    assert pool.acquire(0.0) == (10000,)
    assert pool.withdraw(10000, 0.0) == 10002
    assert pool.in_use == 1
    pool.release((10002,), 1.0)
    assert [pool.acquire(1.0) for _ in range(3)] == [(10004,), (10002,), None]
    with pytest.raises(ValueError, match="not in use"):
        pool.withdraw(10000, 1.0)


def test_a_withdrawn_pair_has_no_replacement_where_none_is_free() -> None:
    pool = PortPool(10000, 10003, legs=2)
    assert pool.acquire(0.0) == (10000, 10002)
    assert pool.withdraw(10002, 0.0) is None
    pool.release((10000,), 0.0)
    assert (pool.in_use, pool.free(0.0)) == (0, 1)


@pytest.mark.parametrize(
    ("low", "high", "legs", "quarantine_s"),
    [
        (10001, 10002, 1, 0),
        (10000, 10002, 2, 0),
        (10000, 70000, 1, 0),
        (0, 9, 1, 0),
        (9, 8, 1, 0),
        (2, 9, 0, 0),
        (2, 9, 1, -1),
    ],
)
def test_an_impossible_pool_is_an_error(low: int, high: int, legs: int, quarantine_s: float) -> None:
    with pytest.raises(ValueError, match=r"no port pool|holds no call"):
        PortPool(low, high, legs, quarantine_s)


STEPS = st.lists(st.tuples(st.sampled_from(["acquire", "release", "withdraw"]), st.integers(0, 100), st.integers(0, 3)))


@given(steps=STEPS, legs=st.integers(1, 2), quarantine_s=st.integers(0, 4))
def test_no_pair_ever_has_two_holders_or_too_short_a_rest(
    steps: list[tuple[str, int, int]], legs: int, quarantine_s: int
) -> None:
    pool = PortPool(10000, 10011, legs, quarantine_s)
    held: list[int] = []
    released_at: dict[int, float] = {}
    withdrawn: set[int] = set()
    now = 0.0

    def check(ports: tuple[int, ...]) -> None:
        assert not withdrawn.intersection(ports)
        assert not set(held).intersection(ports)
        assert all(now >= released_at.get(port, -10) + quarantine_s for port in ports)
        held.extend(ports)

    for action, choice, wait in steps:
        now += wait
        if action == "acquire":
            could = pool.free(now) >= legs
            ports = pool.acquire(now)
            assert (ports is not None) == could
            check(ports or ())
        elif held and action == "release":
            port = held.pop(choice % len(held))
            pool.release((port,), now)
            released_at[port] = now
        elif held:
            port = held.pop(choice % len(held))
            withdrawn.add(port)
            other = pool.withdraw(port, now)
            check((other,) if other is not None else ())
        assert pool.in_use == len(held)
    assert pool.free(now + quarantine_s) == 6 - len(held) - len(withdrawn)
