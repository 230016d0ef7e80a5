"""A tap keeps datagrams as they were sent and received, in both pumps, within its memory."""

from __future__ import annotations

import asyncio
import os
import random

import pytest
from tests.loadgen.media.test_pump import _ciphers, _pair, _sent, _stream, _terms

from trunkproof.loadgen.media.pump import PumpKind, make_pump
from trunkproof.loadgen.media.tap import HEADER_BYTES, MediaTap
from trunkproof.loadgen.media.voiceprint import Side


@pytest.mark.parametrize("kind", PumpKind)
def test_both_sides_of_a_call_keep_the_same_encrypted_datagrams(kind: PumpKind) -> None:
    async def main() -> tuple[MediaTap, MediaTap, tuple[str, int], tuple[str, int]]:
        pump = make_pump(kind)
        near, far = _ciphers()
        here, there = _pair(), _pair()
        names = here[0].getsockname(), there[0].getsockname()
        one, other = MediaTap(65_536), MediaTap(65_536)
        calling = pump.add(_stream(pump, Side.CALLER), *here, one)
        called = pump.add(_stream(pump, Side.CALLED), *there, other)
        pump.follow(calling, _terms(near, there))
        pump.follow(called, _terms(far, here))
        await _sent(calling, 20)
        # In this order the one who is called takes all that was sent.
        pump.remove(calling)
        pump.remove(called)
        pump.close()
        return one, other, *names

    one, other, here, there = asyncio.run(main())
    sent = [datagram for datagram in one.datagrams() if datagram.sent]
    received = [datagram for datagram in other.datagrams() if not datagram.sent]
    for rtcp in (False, True):
        went = [datagram.data for datagram in sent if datagram.rtcp is rtcp]
        assert went == [datagram.data for datagram in received if datagram.rtcp is rtcp]
        assert went
    assert len(sent) >= 21  # with the BYE of RTCP
    assert {datagram.peer for datagram in sent if not datagram.rtcp} == {there}
    assert {datagram.peer for datagram in received if not datagram.rtcp} == {here}
    # Each was received after it was sent, by the clock of this machine.
    for left, came in zip(sent, sorted(received, key=lambda datagram: datagram.rtcp), strict=False):
        if not left.rtcp and not came.rtcp:
            assert left.at_s <= came.at_s + 0.001


def test_a_full_tap_keeps_the_first_and_the_last() -> None:
    tap = MediaTap(10 * (HEADER_BYTES + 104))
    packets = [number.to_bytes(4, "big") + os.urandom(random.randrange(97)) for number in range(200)]
    for number, packet in enumerate(packets):
        tap.note(number / 50, ("::1" if number % 2 else "192.0.2.7", number), packet, sent=number % 3 == 0, rtcp=False)
    kept = list(tap.datagrams())
    numbers = [int.from_bytes(datagram.data[:4], "big") for datagram in kept]
    first = next(place for place, number in enumerate(numbers) if place != number)
    assert first >= 10
    assert numbers[first:] == list(range(numbers[first], 200))
    assert len(numbers[first:]) >= 10
    assert [datagram.data for datagram in kept] == [packets[number] for number in numbers]
    assert kept[-1].peer == ("::1", 199)
    assert [datagram.sent for datagram in kept] == [number % 3 == 0 for number in numbers]


def test_a_datagram_longer_than_a_segment_is_left_out() -> None:
    tap = MediaTap(100)
    tap.note(0.0, ("192.0.2.7", 1), bytes(2000), sent=True, rtcp=False)
    assert not list(tap.datagrams())
