"""What peers may take of a listener: each limit is reached to the number, counted, and given back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trunkproof.loadgen.tls.limiter import (
    BARRED_S,
    BURST_S,
    MOST_ADDRESSES,
    ConnectionLimiter,
    Limit,
    PeerLimits,
    known_limits,
    stranger_limits,
)

KNOWN, ONE, OTHER = "127.0.0.2", "127.0.0.9", "127.0.0.10"
FEW = PeerLimits(
    connections=2,
    all_connections=3,
    half_open=2,
    all_half_open=3,
    handshake_s=5.0,
    message_s=5.0,
)


def limiter(**strangers: int) -> ConnectionLimiter:
    return ConnectionLimiter(lambda address: address == KNOWN, strangers=replace(FEW, **strangers))


def counted(limits: ConnectionLimiter) -> dict[Limit, int]:
    return {limit: count for (known, limit), count in limits.counts.items() if not known}


def test_connections_of_one_address_and_of_all_are_limited_and_given_back() -> None:
    limits = limiter(half_open=9, all_half_open=9)
    assert [limits.admit(ONE, 0.0) for _ in range(3)] == [None, None, Limit.CONNECTIONS]
    assert [limits.admit(OTHER, 0.0) for _ in range(2)] == [None, Limit.ALL_CONNECTIONS]
    limits.left(ONE, 0.0)
    assert limits.admit(OTHER, 0.0) is None
    # Strangers who have taken all that they may take nothing of a customer's.
    assert limits.admit(KNOWN, 0.0) is None
    assert counted(limits) == {Limit.CONNECTIONS: 1, Limit.ALL_CONNECTIONS: 1}


def test_unfinished_handshakes_are_limited_apart() -> None:
    limits = limiter(connections=99, all_connections=99)
    assert [limits.admit(ONE, 0.0) for _ in range(3)] == [None, None, Limit.HALF_OPEN]
    assert [limits.admit(OTHER, 0.0) for _ in range(2)] == [None, Limit.ALL_HALF_OPEN]
    limits.handshaken(ONE)
    assert limits.admit(ONE, 0.0) is None


def test_an_address_beyond_its_rate_is_barred_for_a_while_and_others_are_not() -> None:
    limits = limiter(requests_per_s=3)
    assert [limits.request(ONE, 0.1) for _ in range(4)] == [None, None, None, Limit.REQUESTS]
    assert limits.admit(ONE, 5.0) is Limit.BARRED
    assert limits.admit(OTHER, 5.0) is None
    assert limits.admit(ONE, 0.1 + BARRED_S) is None
    assert limits.refused == {f"strangers: {Limit.REQUESTS}": 1, f"strangers: {Limit.BARRED}": 1}


def test_a_rate_counts_anew_in_every_second() -> None:
    limits = limiter(requests_per_s=3)
    answers = [limits.request(ONE, at_s) for at_s in (0.0, 0.1, 0.2, 1.0, 1.1, 1.2, 2.0)]
    assert answers == [None] * 7


def test_what_all_strangers_may_ask_in_a_second_comes_in_small_bursts() -> None:
    limits = limiter(all_requests_per_s=20)
    assert [limits.request(f"127.0.1.{n}", 0.0) for n in range(3)] == [None, None, Limit.ALL_REQUESTS]
    # None of them is barred for it: each alone was within its rate.
    assert limits.request("127.0.1.2", BURST_S) is None


def test_a_customer_has_no_rate_as_the_throttle_of_its_trunk_decides() -> None:
    limits = limiter()
    assert {limits.request(KNOWN, 0.0) for _ in range(10_000)} == {None}


def test_addresses_are_forgotten_when_nothing_is_known_of_them_any_more() -> None:
    limits = ConnectionLimiter(lambda address: False)
    for n in range(MOST_ADDRESSES):
        limits.request(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 0.0)
    limits.request(ONE, 2.0)
    assert limits.addresses == 1
    assert limits.admit(ONE, 3.0) is None
    limits.handshaken(ONE)
    limits.left(ONE, 4.0)
    assert limits.addresses == 0


@pytest.mark.parametrize("files", [20_000, 1024, 3])
def test_all_connections_leave_descriptors_for_audio(files: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkproof.loadgen.tls.limiter.open_file_limits", lambda: (files, files))
    known, strangers = known_limits(), stranger_limits()
    assert 1 <= known.connections <= known.all_connections
    assert 1 <= strangers.all_connections <= max(1, files // 20)
