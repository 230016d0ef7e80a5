"""A stream in compiled code and a plain one, without sockets, and a network that delivers the same to both."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pylibsrtp import Error

from trunkproof.loadgen.media.compiled.c import FUNCTIONS, functions
from trunkproof.loadgen.media.compiled.loop import answer, follow
from trunkproof.loadgen.media.compiled.memory import NEVER, SLOT, new_control, new_terms, new_work
from trunkproof.loadgen.media.compiled.records import describe, report_of, reset, write_terms
from trunkproof.loadgen.media.compiled.reports import next_report
from trunkproof.loadgen.media.compiled.sockets import receive, receive_rtcp
from trunkproof.loadgen.media.compiled.speak import give_up, next_packet, press
from trunkproof.loadgen.media.g711 import PCMA, Octets
from trunkproof.loadgen.media.keys import PRESSABLE
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.media.rtp import RtpPacket
from trunkproof.loadgen.media.srtp import Cipher, PlainCipher, SrtpCipher
from trunkproof.loadgen.media.stream import MediaStream
from trunkproof.loadgen.media.terms import MediaTerms, Origin
from trunkproof.loadgen.media.tones import HOP_ORDER, frames
from trunkproof.loadgen.media.voiceprint import Side
from trunkproof.models.speech import Voiceprint

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
        self._payloads: list[Octets | None] = []

    def follow(self, terms: MediaTerms, now: float, *, early: bool = False) -> None:
        before = None if self.terms is None else self.terms.cipher
        payloads = self.stream.payloads(terms.law_sent)
        write_terms(self._c, self._terms[0], self.work, terms, before, payloads, early=early)
        follow(self._c, self._control, self.slot, self._terms[0], self.work, now)
        self.terms = terms
        # Compiled code has their addresses.
        self._ciphers.append(terms.cipher)
        self._payloads.append(payloads)

    def answer(self, now: float) -> None:
        answer(self._c, self.slot, now)

    def receive(self, data: bytes, arrival: float, origin: Origin = Origin.AGREED) -> bool:
        self.work["data"][: len(data)] = np.frombuffer(data, np.uint8)
        return bool(receive(self._c, self.slot, self.work, 0, len(data), arrival, int(origin)))

    def receive_rtcp(self, data: bytes, arrival: float, origin: Origin = Origin.AGREED) -> None:
        self.work["data"][: len(data)] = np.frombuffer(data, np.uint8)
        receive_rtcp(self._c, self.slot, self.work, 0, len(data), arrival, int(origin))

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
            press(self._c, self.slot, PRESSABLE.index(digit))

    def report(self, now: float) -> MediaReport:
        return report_of(self.slot, now)


def cipher_of(keys: tuple[bytes, bytes], suite: str | None, **mki: bytes) -> Cipher:
    return PlainCipher() if suite is None else SrtpCipher(*keys, suite, **mki)


def fresh_stream(*, side: Side, row: int = 7, seed: int = 1, **settings: Any) -> MediaStream:
    return MediaStream(row=row, side=side, random_source=random.Random(seed), now=0.0, **settings)


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


def both_of(suite: str | None, c: Any = C, *, agreed: bool = True, **settings: Any) -> tuple[MediaStream, Compiled]:
    """Two listeners with the same keys and random numbers, so that they must agree on everything."""
    both = fresh_stream(**settings), Compiled(fresh_stream(**settings), c)
    if agreed:
        for one in both:
            one.follow(terms(cipher_of(KEYS[::-1], suite)), 0.0)
    return both


@dataclass
class Network:
    """Delivers the same packets at the same instants to both listeners."""

    suite: str | None
    first_sequence: int = 0
    c: Any = C
    agreed: bool = True
    voiceprint: Voiceprint = Voiceprint.BYTES

    def __post_init__(self) -> None:
        self.speaker = cipher_of(KEYS, self.suite)
        self.plain, self.compiled = both_of(
            self.suite, self.c, side=Side.CALLED, agreed=self.agreed, voiceprint=self.voiceprint
        )
        self.sent: list[bytes] = []
        self.clock = 0.0
        self.ssrc, self.samples, self.pauses = 77, 160, 0
        self.keys = 0
        self.origin = Origin.AGREED
        """Where packets come from, from now on. From elsewhere they are found once one was the peer's, as by a pump."""

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

    def tones(self, side: Side, row: int, law: int = PCMA) -> bytes:
        """The next payload of tones, in the packet time of now."""
        said = frames(side, row, law)[HOP_ORDER].ravel()
        return np.take(said, np.arange(self.timestamp(), self.timestamp() + self.samples), mode="wrap").tobytes()

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
        found = {one.receive(data, self.clock + delay, self.origin) for one in (self.plain, self.compiled)}
        assert len(found) == 1
        if found == {True} and self.origin is Origin.ELSEWHERE:
            self.origin = Origin.FOUND

    def deliver_rtcp(self, data: bytes) -> None:
        for one in (self.plain, self.compiled):
            one.receive_rtcp(data, self.clock, self.origin)

    def agree(self, *, early: bool = False, **changed: Any) -> None:
        for one in (self.plain, self.compiled):
            one.follow(terms(cipher_of(KEYS[::-1], self.suite), **changed), self.clock, early=early)

    def answer(self) -> None:
        for one in (self.plain, self.compiled):
            one.answer(self.clock)

    def follow(self, keys: tuple[bytes, bytes] | None = None, *, early: bool = False, **changed: Any) -> None:
        """Change what both follow. Each has a cipher of its own, because ciphers remember what came."""
        for one in (self.plain, self.compiled):
            before = one.terms
            assert before is not None
            cipher = before.cipher if keys is None else cipher_of(keys, self.suite)
            cipher = cipher.after(before.cipher) if isinstance(cipher, SrtpCipher) else cipher
            one.follow(replace(before, cipher=cipher, **changed), self.clock, early=early)

    def check(self) -> MediaReport:
        now = self.clock + 0.5
        expected, found = self.plain.report(now), self.compiled.report(now)
        # Nothing but equality to the last bit.
        assert found == expected
        return found
