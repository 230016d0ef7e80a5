"""The compiled stream and the plain one are the same: same bytes out, and the same report of the same packets."""

from __future__ import annotations

import contextlib
import math
import random
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Error

from trunkproof.loadgen.media.compiled.c import FUNCTIONS, functions
from trunkproof.loadgen.media.compiled.loop import answer, follow
from trunkproof.loadgen.media.compiled.memory import NEVER, SLOT, new_control, new_terms, new_work
from trunkproof.loadgen.media.compiled.records import describe, report_of, reset, write_terms
from trunkproof.loadgen.media.compiled.reports import next_report
from trunkproof.loadgen.media.compiled.sockets import receive, receive_rtcp
from trunkproof.loadgen.media.compiled.speak import give_up, next_packet, press
from trunkproof.loadgen.media.rtcp import ReportBlock, write_report
from trunkproof.loadgen.media.rtp import RtpPacket, TelephoneEvent
from trunkproof.loadgen.media.srtp import Cipher, PlainCipher, SrtpCipher
from trunkproof.loadgen.media.stream import MOST_DIGITS, MediaReport, MediaStream, MediaTerms
from trunkproof.loadgen.media.voiceprint import Side, write_frame

EVENTS = 101
SUITES = ("AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", None)
C = functions()
WITHOUT = np.zeros(1, FUNCTIONS)[0]
"""A machine where libsrtp has to do everything."""
for name in FUNCTIONS.names or ():
    WITHOUT[name] = 0 if name.startswith(("aesni", "sha1")) else C[name]


class Compiled:
    """A stream in compiled code, without sockets, under the names of `MediaStream`."""

    def __init__(self, stream: MediaStream, c: Any = C) -> None:
        self.stream, self._c = stream, c
        self._slots, self._works, self._terms = np.zeros(1, SLOT), new_work(), new_terms()
        self._control = new_control(-1, 0.0, 0)[0]
        reset(self._slots, 0)
        self.slot, self.work = self._slots[0], self._works[0]
        describe(self.slot, stream, None, None)
        self.terms: MediaTerms | None = None
        self._ciphers: list[Cipher] = []

    def follow(self, terms: MediaTerms, now: float, *, early: bool = False) -> None:
        before = None if self.terms is None else self.terms.cipher
        write_terms(self._c, self._terms[0], self.work, terms, before, early=early)
        follow(self._c, self._control, self.slot, self._terms[0], self.work, now)
        self.terms = terms
        # Compiled code has their addresses.
        self._ciphers.append(terms.cipher)

    def answer(self, now: float) -> None:
        answer(self._c, self.slot, now)

    def receive(self, data: bytes, arrival: float) -> None:
        self.work["data"][: len(data)] = np.frombuffer(data, np.uint8)
        receive(self._c, self.slot, self.work, 0, len(data), arrival)

    def receive_rtcp(self, data: bytes, arrival: float) -> None:
        self.work["data"][: len(data)] = np.frombuffer(data, np.uint8)
        receive_rtcp(self._c, self.slot, self.work, 0, len(data), arrival)

    def next_packet(self) -> bytes | None:
        size = next_packet(self._c, self.slot, self.work)
        return bytes(self.work["data"][self.work["out"] :][:size]) if size else None

    def give_up(self, frames: int) -> None:
        give_up(self.slot, frames)

    def next_rtcp(self, wall_ns: int, *, bye: bool) -> bytes | None:
        self.slot["turn"] = NEVER if bye else 0
        size = next_report(self._c, self.slot, self.work, wall_ns)
        return bytes(self.work["data"][self.work["out"] :][:size]) if size else None

    def press(self, digit: str) -> None:
        if self.slot["event_type"] != NEVER:
            press(self._c, self.slot, "0123456789*#ABCD".index(digit))

    def report(self, now: float) -> MediaReport:
        return report_of(self.slot, now)


def _cipher(keys: tuple[bytes, bytes], suite: str | None, **mki: bytes) -> Cipher:
    return PlainCipher() if suite is None else SrtpCipher(*keys, suite, **mki)


def _stream(*, side: Side, row: int = 7, seed: int = 1) -> MediaStream:
    return MediaStream(row=row, side=side, random_source=random.Random(seed), now=0.0)


KEYS = (bytes(range(30)), bytes(range(30, 60)))
WRONG = (bytes(30), bytes(30))
PEER, PEER_RTCP = ("127.0.0.1", 40_000), ("127.0.0.1", 40_001)


def terms(cipher: Cipher, **changed: Any) -> MediaTerms:
    made = MediaTerms(
        cipher,
        PEER,
        PEER_RTCP,
        payload_type=8,
        heard_types=(8, 0),
        sent_event_type=EVENTS,
        heard_event_type=EVENTS,
    )
    return replace(made, **changed)


def _both(suite: str | None, c: Any = C, **settings: Any) -> tuple[MediaStream, Compiled]:
    """Two listeners with the same keys and random numbers, so that they must agree on everything."""
    both = _stream(**settings), Compiled(_stream(**settings), c)
    for one in both:
        one.follow(terms(_cipher(KEYS[::-1], suite)), 0.0)
    return both


@dataclass
class Network:
    """Delivers the same packets at the same instants to both listeners."""

    suite: str | None
    first_sequence: int = 0
    c: Any = C

    def __post_init__(self) -> None:
        self.speaker = _cipher(KEYS, self.suite)
        self.stranger = _cipher(WRONG, self.suite)
        self.plain, self.compiled = _both(self.suite, self.c, side=Side.CALLED)
        self.sent: list[bytes] = []
        self.clock = 0.0
        self.ssrc, self.samples, self.pauses = 77, 160, 0
        self.keys = 0

    def number(self, step: int) -> int:
        return self.first_sequence + len(self.sent) + step

    def timestamp(self) -> int:
        return (self.number(0) * self.samples + self.pauses) & 0xFFFFFFFF

    def frame(
        self,
        payload: bytes,
        *,
        payload_type: int = 8,
        timestamp: int | None = None,
        ssrc: int | None = None,
        marker: bool = False,
    ) -> bytes:
        stamp = self.timestamp() if timestamp is None else timestamp & 0xFFFFFFFF
        source = self.ssrc if ssrc is None else ssrc
        return bytes(RtpPacket(payload_type, self.number(0) & 0xFFFF, stamp, source, payload, marker=marker))

    def protect(self, packet: bytes) -> bytes:
        try:
            return self.speaker.protect(packet)
        except Error:
            # libsrtp encrypts no number that seems to be an old one. So this sender begins anew, as one that restarts.
            assert isinstance(self.speaker, SrtpCipher)
            self.speaker = SrtpCipher(self.speaker.tx_key, self.speaker.rx_key, self.speaker.suite)
            return self.speaker.protect(packet)

    def send(self, packet: bytes, delay: float = 0.0) -> None:
        """Encrypt, deliver, and let the time of a packet pass."""
        self.sent.append(self.protect(packet))
        self.clock += self.samples / 8000
        self.deliver(self.sent[-1], delay)

    def deliver(self, data: bytes, delay: float = 0.0) -> None:
        for one in (self.plain, self.compiled):
            one.receive(data, self.clock + delay)

    def deliver_rtcp(self, data: bytes) -> None:
        for one in (self.plain, self.compiled):
            one.receive_rtcp(data, self.clock)

    def follow(self, keys: tuple[bytes, bytes] | None = None, *, early: bool = False, **changed: Any) -> None:
        """Change what both follow. Each has a cipher of its own, because ciphers remember what came."""
        for one in (self.plain, self.compiled):
            before = one.terms
            assert before is not None
            cipher = before.cipher if keys is None else _cipher(keys, self.suite)
            cipher = cipher.after(before.cipher) if isinstance(cipher, SrtpCipher) else cipher
            one.follow(replace(before, cipher=cipher, **changed), self.clock, early=early)

    def check(self) -> MediaReport:
        now = self.clock + 0.5
        expected, found = self.plain.report(now), self.compiled.report(now)
        # Nothing but equality to the last bit.
        assert found == expected
        return found


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
    st.tuples(st.just("pause"), st.integers(1, 500)),
    st.tuples(st.just("packet time"), st.sampled_from([80, 160, 240, 320, 480])),
    st.tuples(st.just("comfort noise"), st.integers(1, 3)),
    st.tuples(st.just("other type"), st.integers(20, 127)),
    st.tuples(st.just("other source"), st.integers(1, 12)),
    st.tuples(st.just("two sources"), st.integers(1, 30)),
    st.tuples(st.just("our source"), st.integers(1, 3)),
    st.tuples(st.just("no rtp"), st.integers(0, 255)),
    st.tuples(st.just("report"), st.integers(1, 20)),
    st.tuples(st.just("new key"), st.integers(1, 2)),
    st.tuples(st.just("hold"), st.integers(1, 400)),
)


def _play(network: Network, step: tuple[str, int], random_source: random.Random) -> None:
    what, amount = step
    held: bytes | None = None
    match what:
        case "voice" | "foreign" | "echo" | "late" | "wrong key" | "clear" | "unknown" | "our source":
            for _ in range(1 if what in {"late", "unknown"} else amount):
                side = Side.CALLED if what == "echo" else Side.CALLER
                row = 8 if what == "foreign" else 7
                payload = write_frame(side, row, len(network.sent))
                payload = bytes(amount) if what == "unknown" else payload
                packet = network.frame(payload, ssrc=network.plain.ssrc if what == "our source" else None)
                data = packet
                if what != "clear":
                    data = (
                        _cipher(WRONG, network.suite).protect(packet)
                        if what == "wrong key"
                        else network.protect(packet)
                    )
                network.sent.append(data)
                network.clock += network.samples / 8000
                network.deliver(data, random_source.expovariate(500.0) + (amount * 0.01 if what == "late" else 0.0))
        case "lose":
            for _ in range(amount):
                network.sent.append(network.protect(network.frame(write_frame(Side.CALLER, 7, 0))))
                network.clock += network.samples / 8000
        case "again":
            # A lost packet that comes late after all, or one that was heard already.
            held = network.sent[-min(amount, len(network.sent))] if network.sent else None
        case "digit":
            begun = network.timestamp()
            for end in (False, True, True):
                payload = bytes([amount, 0x8A if end else 0x0A, 3, 32])
                network.send(network.frame(payload, payload_type=EVENTS, timestamp=begun))
        case "jump":
            network.first_sequence += amount
            # Forwards, as a sender does that starts anew: libsrtp does not encrypt what seems to be an old packet.
            _play(network, ("voice", 1 + amount % 2), random_source)
        case "silence":
            network.clock += amount * 0.01
        case "pause":
            network.clock += amount * 0.01
            network.pauses += amount * (80 if amount % 3 else 0)
            network.send(network.frame(write_frame(Side.CALLER, 7, 0), marker=amount % 2 == 0))
        case "packet time":
            network.samples = amount
        case "comfort noise":
            for _ in range(amount):
                network.send(network.frame(b"\x40", payload_type=13))
        case "other type":
            # None of those that look like RTCP: see `datagrams`.
            network.send(network.frame(bytes(40), payload_type=amount, marker=False))
        case "other source":
            network.ssrc = 100 + amount
            _play(network, ("voice", 2), random_source)
        case "two sources":
            for number in range(amount):
                network.send(network.frame(write_frame(Side.CALLER, 7, 0), ssrc=200 + number % 2))
        case "no rtp":
            network.deliver(bytes([amount]) * (amount % 40))
            network.deliver_rtcp(bytes([amount]) * (amount % 40))
        case "report":
            told = write_report(90 + amount, wall_s=1.0, timestamp=0, packets=3, block=None)
            data = network.speaker.protect_rtcp(told)
            for _ in range(2):
                network.deliver(data)
                network.deliver_rtcp(data)
            network.deliver_rtcp(network.sent[-1] if network.sent else b"")
        case "new key":
            network.keys += 1
            keys = (KEYS[0], bytes([network.keys]) * 30)
            older, network.speaker = network.speaker, _cipher(keys[::-1], network.suite)
            network.follow(keys)
            # A packet that was on its way, twice; then one of the new key, and one of the old key that is too late.
            data = b""
            for late in (False, False, True):
                with contextlib.suppress(Error):
                    data = older.protect(network.frame(write_frame(Side.CALLER, 7, 0)))
                network.sent.append(data)
                network.clock += 1.5 if late else 0.02
                network.deliver(data)
                network.deliver(data)
                _play(network, ("voice", amount), random_source)
        case "hold":
            network.follow(sends=False, hears=amount % 2 == 0)
            network.clock += amount * 0.01
            if amount % 3 == 0:
                _play(network, ("voice", 2), random_source)
            network.follow(sends=True, hears=True)
    if held is not None:
        network.deliver(held, 0.001)


@pytest.mark.parametrize("c", [C, WITHOUT], ids=["flat", "libsrtp"])
@pytest.mark.parametrize("suite", SUITES)
@given(
    steps=st.lists(STEPS, max_size=25),
    first=st.sampled_from([0, 1, 300, 65_400, 65_535]),
    seed=st.integers(0, 2**32),
)
def test_every_field_of_the_report_whatever_the_network_does(
    suite: str | None, c: Any, steps: list[tuple[str, int]], first: int, seed: int
) -> None:
    network, random_source = Network(suite, first, c), random.Random(seed)
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
            network.deliver_rtcp(each)
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
    network.deliver_rtcp(b"\x80\xc8" * (size // 2))
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
        for one in (plain, compiled):
            if number in {0, 3, 20, 21, 22, 900, 1203}:
                one.press("0*#A9D"[number % 6])
            if number % 500 == 499:
                one.give_up(number % 7)
            if number in {400, 1204}:
                one.follow(replace(terms(_cipher(KEYS[::-1], suite)), sends=False), number * 0.02)
            if number in {410, 1210}:
                one.follow(terms(_cipher(KEYS[::-1], suite)), number * 0.02)
        assert compiled.next_packet() == plain.next_packet(), number
    assert compiled.report(99.0) == plain.report(99.0)


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
            network.deliver_rtcp(each)
    network.check()


def test_a_stream_without_events_hears_no_keys() -> None:
    network = Network(None)
    network.follow(heard_event_type=None)
    network.send(bytes(RtpPacket(EVENTS, 1, 160, 5, bytes(TelephoneEvent("5", 800, end=True)))))
    report = network.check()
    assert (report.unknown, report.other_types, report.digits) == (0, 1, "")


def test_a_network_that_differs_is_told_apart() -> None:
    """The comparison can fail."""
    network = Network(None)
    network.deliver(network.frame(write_frame(Side.CALLER, 7, 0)))
    network.compiled.receive(b"\x9f" * 12, 0.0)
    assert network.compiled.report(1.0) != network.plain.report(1.0)
    assert not math.isnan(network.compiled.report(1.0).jitter_ms)
    assert replace(network.compiled.report(1.0), received=1, failed=0) == network.plain.report(1.0)
