"""The compiled stream and the plain one are the same: same bytes out, and the same report of the same packets."""

from __future__ import annotations

import contextlib
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Error
from tests.loadgen.media.listeners import EVENTS, KEYS, SUITES, WITHOUT, WRONG, C, Network, both_of, cipher_of, terms

from trunkproof.loadgen.media.keys import MOST_DIGITS
from trunkproof.loadgen.media.payloads import Steady
from trunkproof.loadgen.media.rtcp import ReportBlock, write_report
from trunkproof.loadgen.media.rtp import RtpPacket, TelephoneEvent
from trunkproof.loadgen.media.terms import Origin
from trunkproof.loadgen.media.voiceprint import Side, write_frame
from trunkproof.models.speech import Voiceprint

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
    st.tuples(st.just("move"), st.integers(1, 100)),
    st.tuples(st.just("come from"), st.sampled_from(Origin)),
    st.tuples(st.just("forgeries"), st.integers(1, 200)),
    st.tuples(st.just("tones"), st.integers(0, 127)),
)


def _play(  # noqa: PLR0912, PLR0915  # one case for each thing that may happen
    network: Network, step: tuple[str, int], random_source: random.Random
) -> None:
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
                        cipher_of(WRONG, network.suite).protect(packet)
                        if what == "wrong key"
                        else network.protect(packet)
                    )
                network.sent.append(data)
                network.clock += network.samples / 8000
                network.deliver(data, random_source.expovariate(500.0) + (amount * 0.01 if what == "late" else 0.0))
        case "tones":
            # Of this call or of another, of either side, in A-law or mu-law, and now and then with noise.
            side, law = Side(1 + amount % 2), 8 * (amount // 2 % 2)
            row = (7, 7, 7, 8, 10_007, 100_000_007)[amount // 4 % 6]
            for _ in range(amount // 3):
                payload = network.tones(side, row, law)
                if amount % 11 == 0:
                    payload = bytes(octet ^ random_source.getrandbits(3) for octet in payload)
                network.send(network.frame(payload, payload_type=law), random_source.expovariate(500.0))
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
            older, network.speaker = network.speaker, cipher_of(keys[::-1], network.suite)
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
        case "move":
            network.follow(remote=("127.0.0.1", 41_000 + 2 * amount))
        case "come from":
            network.origin = Origin(amount)
        case "forgeries":
            forger = cipher_of(WRONG, network.suite)
            for number in range(amount):
                network.clock += 0.004
                network.deliver(forger.protect(network.frame(bytes(20), ssrc=300 + number)))
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


@pytest.mark.parametrize("suite", [SUITES[0], None])
@given(
    steps=st.lists(st.one_of(st.tuples(st.just("tones"), st.integers(0, 127)), STEPS), max_size=25),
    seed=st.integers(0, 2**32),
)
def test_every_field_of_the_report_of_a_call_with_tones(
    suite: str | None, steps: list[tuple[str, int]], seed: int
) -> None:
    network, random_source = Network(suite, voiceprint=Voiceprint.TONES), random.Random(seed)
    for step in steps:
        _play(network, step, random_source)
        for one in (network.plain, network.compiled):
            # So that an echo is timed.
            for _ in range(seed % 3):
                one.next_packet()
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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "settings",
    [{}, {"voiceprint": Voiceprint.TONES}, {"instead": "file"}, *({"instead": steady} for steady in Steady)],
    ids=str,
)
@pytest.mark.parametrize("suite", SUITES)
def test_what_is_sent_is_the_same_byte_for_byte(suite: str | None, settings: dict[str, Any], tmp_path: Path) -> None:
    if settings.get("instead") == "file":
        soundfile.write(tmp_path / "sound.wav", np.sin(np.arange(3000)) / 2, 8000)
        settings = {"instead": tmp_path / "sound.wav"}
    plain, compiled = both_of(suite, side=Side.CALLER, row=0xAB_1234_5678, **settings)
    for number in range(2000):
        for one in (plain, compiled):
            if number in {0, 3, 20, 21, 22, 900, 1203}:
                one.press("0*#A9Dw"[number % 7])
            if number % 500 == 499:
                one.give_up(number % 7)
            if number in {400, 1204}:
                one.follow(replace(terms(cipher_of(KEYS[::-1], suite)), sends=False), number * 0.02)
            if number in {410, 1210}:
                one.follow(terms(cipher_of(KEYS[::-1], suite), payload_type=8 * (number % 20 == 0)), number * 0.02)
        assert compiled.next_packet() == plain.next_packet(), number
    assert compiled.report(99.0) == plain.report(99.0)


@pytest.mark.parametrize("suite", SUITES)
@given(
    sizes=st.lists(st.lists(st.sampled_from([0, 1, 80, 160, 161, 240]), max_size=40), max_size=6), other=st.booleans()
)
def test_an_echo_sends_back_the_same_frames_byte_for_byte(
    suite: str | None, sizes: list[list[int]], other: bool
) -> None:
    network = Network(suite)
    network.follow(echoes=True)
    for burst in sizes:
        for size in burst:
            network.send(network.frame(bytes([size]) * size, payload_type=0 if other and size == 80 else 8))
        for _ in range(len(burst) + 1):
            assert network.compiled.next_packet() == network.plain.next_packet()
    network.check()


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
        data = (cipher_of(WRONG, suite) if forged else network.speaker).protect_rtcp(told)
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
