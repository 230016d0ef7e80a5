"""The compiled stream and the plain one are the same: same bytes out, and the same report of the same packets."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.loadgen.media.compiled.c import functions
from trunkproof.loadgen.media.compiled.hear import receive
from trunkproof.loadgen.media.compiled.memory import NEVER, SLOT, new_work
from trunkproof.loadgen.media.compiled.records import report_of, reset, set_keys
from trunkproof.loadgen.media.compiled.reports import next_report, receive_report
from trunkproof.loadgen.media.compiled.speak import next_packet, press
from trunkproof.loadgen.media.rtcp import ReportBlock, write_report
from trunkproof.loadgen.media.rtp import RtpPacket, TelephoneEvent
from trunkproof.loadgen.media.srtp import Cipher, PlainCipher, SrtpCipher
from trunkproof.loadgen.media.stream import MOST_DIGITS, MediaStream
from trunkproof.loadgen.media.voiceprint import Side, write_frame

EVENTS = 101
SUITES = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", None)
C = functions()


class Compiled:
    """A stream in compiled code, without sockets, under the names of `MediaStream`."""

    def __init__(self, stream: MediaStream, c: Any = C) -> None:
        self.stream = stream
        self._slots, self._works = np.zeros(1, SLOT), new_work()
        reset(self._slots, 0)
        self.slot, self.work = self._slots[0], self._works[0]
        slot = self.slot
        set_keys(c, slot, self.work, stream.cipher)
        slot["side"], slot["row"], slot["ssrc"] = stream.side, stream.row, stream.ssrc
        slot["first_sequence"], slot["first_timestamp"] = stream.first_sequence, stream.first_timestamp
        slot["payload_type"] = stream.payload_type
        slot["event_type"] = NEVER if stream.event_type is None else stream.event_type

    def receive(self, data: bytes, arrival: float) -> None:
        self.work["data"][: len(data)] = np.frombuffer(data, np.uint8)
        receive(C, self.slot, self.work, 0, len(data), arrival)

    def receive_rtcp(self, data: bytes) -> None:
        self.work["data"][: len(data)] = np.frombuffer(data, np.uint8)
        receive_report(C, self.slot, self.work, 0, len(data))

    def next_packet(self) -> bytes:
        size = next_packet(C, self.slot, self.work)
        return bytes(self.work["data"][self.work["out"] :][:size])

    def next_rtcp(self, wall_ns: int, *, bye: bool) -> bytes:
        self.slot["turn"] = NEVER if bye else 0
        size = next_report(C, self.slot, self.work, wall_ns)
        return bytes(self.work["data"][self.work["out"] :][:size])

    def press(self, digit: str) -> None:
        press(C, self.slot, "0123456789*#ABCD".index(digit))

    def report(self, now: float) -> Any:
        return report_of(self.slot, self.stream, now)


def _cipher(keys: tuple[bytes, bytes], suite: str | None) -> Cipher:
    return PlainCipher() if suite is None else SrtpCipher(*keys, suite)


def _stream(cipher: Cipher, *, side: Side, row: int = 7, event_type: int | None = EVENTS, seed: int = 1) -> MediaStream:
    return MediaStream(
        cipher, row=row, side=side, payload_type=8, event_type=event_type, random_source=random.Random(seed), now=0.0
    )


KEYS = (bytes(range(30)), bytes(range(30, 60)))
WRONG = (bytes(30), bytes(30))


def _both(suite: str | None, **settings: Any) -> tuple[MediaStream, Compiled]:
    """Two listeners with the same keys and random numbers, so that they must agree on everything."""
    return (
        _stream(_cipher(KEYS[::-1], suite), **settings),
        Compiled(_stream(_cipher(KEYS[::-1], suite), **settings)),
    )


@dataclass
class Network:
    """Delivers the same packets at the same instants to both listeners."""

    suite: str | None
    first_sequence: int = 0

    def __post_init__(self) -> None:
        self.speaker = _cipher(KEYS, self.suite)
        self.stranger = _cipher(WRONG, self.suite)
        self.plain, self.compiled = _both(self.suite, side=Side.CALLED)
        self.sent: list[bytes] = []
        self.clock = 0.0

    def number(self, step: int) -> int:
        return self.first_sequence + len(self.sent) + step

    def frame(self, payload: bytes, *, skip: int = 0, payload_type: int = 8, timestamp: int | None = None) -> bytes:
        number = self.number(skip)
        stamp = number * 160 if timestamp is None else timestamp
        return bytes(RtpPacket(payload_type, number & 0xFFFF, stamp & 0xFFFFFFFF, 77, payload))

    def deliver(self, data: bytes, delay: float = 0.0) -> None:
        arrival = self.clock + delay
        self.plain.receive(data, arrival)
        self.compiled.receive(data, arrival)

    def check(self) -> None:
        now = self.clock + 0.5
        expected, found = self.plain.report(now), self.compiled.report(now)
        # Nothing but equality to the last bit: the listeners count, and never send.
        assert found == expected


STEPS = st.one_of(
    st.tuples(st.just("voice"), st.integers(1, 80)),
    st.tuples(st.just("lose"), st.integers(1, 300)),
    st.tuples(st.just("again"), st.integers(1, 1500)),
    st.tuples(st.just("late"), st.integers(1, 40)),
    st.tuples(st.just("foreign"), st.integers(1, 3)),
    st.tuples(st.just("echo"), st.integers(1, 3)),
    st.tuples(st.just("unknown"), st.integers(0, 200)),
    st.tuples(st.just("wrong key"), st.integers(1, 3)),
    st.tuples(st.just("clear"), st.integers(1, 3)),
    st.tuples(st.just("digit"), st.integers(0, 20)),
    st.tuples(st.just("jump"), st.integers(1, 0x7000)),
    st.tuples(st.just("silence"), st.integers(1, 500)),
)


def _play(network: Network, step: tuple[str, int], random_source: random.Random) -> None:
    what, amount = step
    held: bytes | None = None
    match what:
        case "voice" | "foreign" | "echo" | "late" | "wrong key" | "clear" | "unknown":
            for _ in range(1 if what in {"late", "unknown"} else amount):
                side = Side.CALLED if what == "echo" else Side.CALLER
                row = 8 if what == "foreign" else 7
                payload = write_frame(side, row, len(network.sent))
                payload = bytes(amount) if what == "unknown" else payload
                packet = network.frame(payload)
                cipher = network.stranger if what == "wrong key" else network.speaker
                data = packet if what == "clear" else cipher.protect(packet)
                network.sent.append(data)
                network.clock += 0.02
                network.deliver(data, random_source.expovariate(500.0) + (amount * 0.01 if what == "late" else 0.0))
        case "lose":
            for _ in range(amount):
                network.sent.append(network.speaker.protect(network.frame(write_frame(Side.CALLER, 7, 0))))
                network.clock += 0.02
        case "again":
            # A lost packet that comes late after all, or one that was heard already.
            held = network.sent[-min(amount, len(network.sent))] if network.sent else None
        case "digit":
            begun = network.number(0) * 160
            for end in (False, True, True):
                payload = bytes([amount, 0x8A if end else 0x0A, 3, 32])
                packet = network.frame(payload, payload_type=EVENTS, timestamp=begun)
                data = network.speaker.protect(packet)
                network.sent.append(data)
                network.clock += 0.02
                network.deliver(data)
        case "jump":
            network.first_sequence += amount
            # Forwards, as a sender does that starts anew: libsrtp does not encrypt what seems to be an old packet.
            _play(network, ("voice", 1), random_source)
        case "silence":
            network.clock += amount * 0.01
    if held is not None:
        network.deliver(held, 0.001)


@pytest.mark.parametrize("suite", SUITES)
@given(
    steps=st.lists(STEPS, max_size=25),
    first=st.sampled_from([0, 1, 300, 65_400, 65_535]),
    seed=st.integers(0, 2**32),
)
def test_every_field_of_the_report_whatever_the_network_does(
    suite: str | None, steps: list[tuple[str, int]], first: int, seed: int
) -> None:
    network, random_source = Network(suite, first), random.Random(seed)
    for step in steps:
        _play(network, step, random_source)
    network.check()


@pytest.mark.parametrize("suite", SUITES)
@given(packets=st.lists(st.binary(max_size=300), max_size=20))
def test_any_bytes_at_both_ports(suite: str | None, packets: list[bytes]) -> None:
    network = Network(suite)
    for data in packets:
        # As they are, and as they would be if the first bits were right: those get further.
        for each in (data, b"\x80" + data[1:], b"\x81\xc8\x00\x06" + data):
            network.deliver(each)
            network.plain.receive_rtcp(each)
            network.compiled.receive_rtcp(each)
    network.check()


@given(first=st.integers(0, 255), rest=st.binary(max_size=120))
def test_any_header_of_an_authentic_packet(first: int, rest: bytes) -> None:
    network = Network(None)
    network.deliver(bytes([first & 0x3F | 0x80, 8]) + rest)
    network.deliver(bytes([first, EVENTS]) + rest)
    network.check()


@pytest.mark.parametrize("size", [0, 1, 11, 12, 22, 172, 1499, 1500, 1501, 2048])
@pytest.mark.parametrize("suite", SUITES)
def test_any_length(suite: str | None, size: int) -> None:
    network = Network(suite)
    network.deliver(b"\x80" * size)
    network.plain.receive_rtcp(b"\x80" * size)
    network.compiled.receive_rtcp(b"\x80" * size)
    network.check()


def test_hours_of_audio_roll_over_and_lose_nothing() -> None:
    network, random_source = Network(SUITES[0], 65_000), random.Random(3)
    for _ in range(140):
        _play(network, ("voice", 1000), random_source)
    network.check()
    report = network.compiled.report(network.clock)
    assert (report.authenticated, report.lost, report.failed) == (140_000, 0, 0)


def test_keys_beyond_what_is_noted() -> None:
    network, random_source = Network(None), random.Random(4)
    for number in range(MOST_DIGITS + 10):
        _play(network, ("digit", number % 16), random_source)
    network.check()
    assert len(network.compiled.report(0.0).digits) == MOST_DIGITS


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_sent_is_the_same_byte_for_byte(suite: str | None) -> None:
    plain, compiled = _both(suite, side=Side.CALLER, row=0xAB_1234_5678)
    for number in range(2000):
        if number in {0, 3, 20, 21, 22, 900}:
            plain.press("0*#A9D"[number % 6])
            compiled.press("0*#A9D"[number % 6])
        assert compiled.next_packet() == plain.next_packet(), number


@pytest.mark.parametrize("suite", SUITES)
@given(seed=st.integers(0, 2**32))
def test_reports_are_the_same_byte_for_byte(suite: str | None, seed: int) -> None:
    random_source = random.Random(seed)
    network = Network(suite)
    for bye in (False, False, True):
        # A power of two of a second: exact in both ways of making an NTP time.
        wall = random_source.getrandbits(30) + random_source.getrandbits(9) / 512
        wall_ns = int(wall) * 1_000_000_000 + int(wall % 1 * 1_000_000_000)
        assert network.compiled.next_rtcp(wall_ns, bye=bye) == network.plain.next_rtcp(0.0, wall, bye=bye)
        for _ in range(3):
            step = (random_source.choice(["voice", "lose", "late"]), random_source.randint(1, 60))
            _play(network, step, random_source)


@pytest.mark.parametrize("suite", SUITES)
@given(lost=st.integers(-(1 << 23), (1 << 23) - 1), other=st.booleans(), forged=st.booleans())
def test_what_the_peer_reports(suite: str | None, lost: int, other: bool, forged: bool) -> None:
    network = Network(suite)
    ssrc = network.plain.ssrc
    for block in (None, ReportBlock(ssrc ^ other, 3, lost, 70_000, 5)):
        told = write_report(5, wall_s=1.0, timestamp=0, packets=3, block=block, bye=block is None)
        data = (network.stranger if forged else network.speaker).protect_rtcp(told)
        for each in (data, data, data[:-1]):
            network.plain.receive_rtcp(each)
            network.compiled.receive_rtcp(each)
    network.check()


def test_a_stream_without_events_takes_them_for_voice() -> None:
    plain, compiled = _both(None, side=Side.CALLED, event_type=None)
    event = bytes(RtpPacket(EVENTS, 1, 160, 5, bytes(TelephoneEvent("5", 800, end=True))))
    for listener in (plain, compiled):
        listener.receive(event, 0.1)
    assert compiled.report(1.0) == plain.report(1.0)
    assert compiled.report(1.0).unknown == 1


def test_a_network_that_differs_is_told_apart() -> None:
    """The comparison can fail."""
    network = Network(None)
    network.deliver(network.frame(write_frame(Side.CALLER, 7, 0)))
    network.compiled.receive(b"", 0.0)
    assert network.compiled.report(1.0) != network.plain.report(1.0)
    assert not math.isnan(network.compiled.report(1.0).jitter_ms)
    assert replace(network.compiled.report(1.0), received=1, failed=0) == network.plain.report(1.0)
