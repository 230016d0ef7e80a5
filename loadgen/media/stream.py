"""One side of one call's audio, without sockets: packets and arrivals go in, packets and a report come out.

It numbers, fills and encrypts the packets that are sent. It checks, counts and identifies those that are received.
The pump decides when to send. The compiled pump does the same work on its own records, and gives equal reports.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from trunkproof.loadgen.media.jitter_buffer import JitterBuffer
from trunkproof.loadgen.media.rtcp import INTERVAL_S, ReportBlock, read_compound, write_report
from trunkproof.loadgen.media.rtp import DIGITS, MalformedRtpError, RtpPacket, TelephoneEvent
from trunkproof.loadgen.media.srtp import Cipher, Failure
from trunkproof.loadgen.media.statistics import ReceptionStatistics
from trunkproof.loadgen.media.voiceprint import Side, Voice, classify, read_frame, write_frame
from trunkproof.models.packets import SAMPLES_PER_PACKET
from trunkproof.models.voice import MOUTH_TO_EAR_MS, mos, r_factor

EVENT_PACKETS, END_PACKETS = 5, 3
"""Packets of a digit, which lasts 100 ms, and repetitions of its end (three, by RFC 4733 section 2.5.1.4)."""
MOST_DIGITS = 1024
"""The most received keys that are kept of one call, because a peer may send 50 a second for hours."""
MOST_PRESSED = 64
"""The most keys that may wait to be sent."""


@dataclass(frozen=True, slots=True)
class MediaReport:
    """The counts of one side of a call's audio."""

    sent: int = 0
    received: int = 0
    """All packets that arrived, of any kind."""
    authenticated: int = 0
    failed: int = 0
    """Not authentic."""
    plain: int = 0
    """Those of `failed` that were plain RTP although SRTP was agreed."""
    replayed: int = 0
    lost: int = 0
    late: int = 0
    duplicate: int = 0
    reordered: int = 0
    foreign: int = 0
    """Authentic, but another call's audio."""
    echoed: int = 0
    """Authentic, but this side's own audio."""
    unknown: int = 0
    """Authentic, but without a voiceprint."""
    jitter_ms: float = 0.0
    silence_s: float = 0.0
    """The longest time without a packet, from the start to the end of the call."""
    mos: float = 1.0
    remote_lost: int | None = None
    """How many of our packets the peer has lost, by its last report. None without a report."""
    rtcp_received: int = 0
    rtcp_failed: int = 0
    digits: str = ""
    """Keys that the peer pressed."""
    stray: int = 0
    """Packets from another address than the agreed one, which came before the system was told to drop them. The pump
    counts them, and nobody looks at them."""
    given_up: int = 0
    """Frames never sent, because the process stood still for too long. The pump counts them."""


class MediaStream:
    """The audio of the call of one plan row, as `side` speaks and hears it. Times are seconds of the caller's clock."""

    def __init__(
        self,
        cipher: Cipher,
        *,
        row: int,
        side: Side,
        payload_type: int,
        event_type: int | None = None,
        random_source: random.Random,
        now: float,
    ) -> None:
        self.cipher = cipher
        self.row, self.side = row, side
        self.payload_type, self.event_type = payload_type, event_type
        self.ssrc = random_source.getrandbits(32)
        # Only 15 bits: a receiver begins with rollover 0 (RFC 3711 section 3.3.1). If the numbers began near 65535
        # and the first packets were lost, it would never learn of the rollover, and every packet after it would fail.
        self.first_sequence, self.first_timestamp = random_source.getrandbits(15), random_source.getrandbits(32)
        self._random_source = random_source
        self.sent = 0
        """Frames sent so far."""
        self._pressed: list[tuple[str, int]] = []
        self._statistics = ReceptionStatistics()
        self._buffer = JitterBuffer()
        self._voices = dict.fromkeys(Voice, 0)
        self._arrived = self._failed = self._plain = self._replayed = 0
        self._rtcp_received = self._rtcp_failed = 0
        self._remote_ssrc: int | None = None
        self._remote_lost: int | None = None
        self._digits = ""
        self._last_event: int | None = None
        self.started = now
        self._first_arrival: float | None = None
        self.next_report = now + self._report_wait()
        """The time at which the next RTCP report is due."""

    def _report_wait(self) -> float:
        return INTERVAL_S * self._random_source.uniform(0.5, 1.5)

    def press(self, digit: str) -> None:
        """Send a telephone-event for `digit` in place of the next frames. Do nothing where none was agreed.

        Raises:
            ValueError: it is no key of a telephone, or too many keys wait.
        """
        # Before the test of the event type: a wrong key is the caller's error on any call.
        check_key(digit, len(self._pressed))
        if self.event_type is not None:
            self._pressed.append((digit, self.sent))

    def next_packet(self) -> bytes:
        """Return the packet of the next 20 ms, encrypted."""
        number = self.sent
        self.sent += 1
        sequence = (self.first_sequence + number) & 0xFFFF
        if self._pressed:
            return self.cipher.protect(bytes(self._event_packet(sequence)))
        timestamp = self._timestamp(number)
        payload = write_frame(self.side, self.row, number)
        return self.cipher.protect(
            # The marker stands at the first packet of speech (RFC 3551 section 4.1), and this speaker never pauses.
            bytes(RtpPacket(self.payload_type, sequence, timestamp, self.ssrc, payload, marker=number == 0))
        )

    def _event_packet(self, sequence: int) -> RtpPacket:
        digit, begun = self._pressed[0]
        step = self.sent - 1 - begun
        if step == EVENT_PACKETS + END_PACKETS - 1:
            self._pressed.pop(0)
            # The keys that wait begin after this one, not when they were pressed.
            self._pressed = [(later, self.sent) for later, _ in self._pressed]
        duration = min(step + 1, EVENT_PACKETS) * SAMPLES_PER_PACKET
        event = TelephoneEvent(digit, duration, end=step >= EVENT_PACKETS)
        # All packets of an event have the timestamp of its beginning (RFC 4733 section 2.2.1).
        kind = self.event_type or 0
        return RtpPacket(kind, sequence, self._timestamp(begun), self.ssrc, bytes(event), marker=step == 0)

    def _timestamp(self, number: int) -> int:
        return (self.first_timestamp + number * SAMPLES_PER_PACKET) & 0xFFFFFFFF

    def receive(self, data: bytes, arrival: float) -> None:
        """Take a packet that came to the RTP port at `arrival`."""
        self._arrived += 1
        packet = self.cipher.unprotect(data)
        # Counted and dropped: a wrong packet of a peer is a result of the run.
        if isinstance(packet, Failure):
            self._note_failure(packet, data)
            return
        try:
            heard = RtpPacket.parse(packet)
        except MalformedRtpError:
            self._failed += 1
            return
        # Only authentic packets count: strangers' packets must not end the silence.
        if self._first_arrival is None:
            self._first_arrival = arrival
        self._remote_ssrc = heard.ssrc
        timestamp = None if heard.payload_type == self.event_type else heard.timestamp
        extended = self._statistics.add(heard.sequence, timestamp, arrival)
        if extended is not None:  # a duplicate is neither played nor heard
            self._buffer.add(extended, arrival)
            self._hear(heard)

    def _note_failure(self, failure: Failure, data: bytes) -> None:
        if failure is Failure.REPLAYED:
            self._replayed += 1
            return
        self._failed += 1
        # A packet that fails, but has a voiceprint in clear, was never encrypted: the peer broke the agreement.
        try:
            self._plain += read_frame(RtpPacket.parse(data).payload) is not None
        except MalformedRtpError:
            return

    def _hear(self, packet: RtpPacket) -> None:
        if packet.payload_type == self.event_type:
            event = TelephoneEvent.parse(packet.payload)
            # The end of a key is sent three times with one timestamp, and counts once.
            if event is not None and event.end and packet.timestamp != self._last_event:
                self._digits += event.digit if len(self._digits) < MOST_DIGITS else ""
                self._last_event = packet.timestamp
        else:
            frame = read_frame(packet.payload)
            self._voices[classify(frame, listener=self.side, row=self.row)] += 1

    def next_rtcp(self, now: float, wall_s: float, *, bye: bool = False) -> bytes:
        """Return the report that is due at `next_report`, encrypted. With `bye` it is the last one."""
        self.next_report = now + self._report_wait()
        statistics, block = self._statistics, None
        if self._remote_ssrc is not None:
            block = ReportBlock(
                self._remote_ssrc,
                statistics.fraction_lost(),
                statistics.lost,
                statistics.highest,
                statistics.jitter_units,
            )
        timestamp = self._timestamp(self.sent)
        report = write_report(self.ssrc, wall_s=wall_s, timestamp=timestamp, packets=self.sent, block=block, bye=bye)
        return self.cipher.protect_rtcp(report)

    def receive_rtcp(self, data: bytes) -> None:
        """Take a packet that came to the RTCP port."""
        packet = self.cipher.unprotect_rtcp(data)
        reception = None if isinstance(packet, Failure) else read_compound(packet)
        if reception is None:
            self._rtcp_failed += 1
            return
        self._rtcp_received += 1
        for block in reception.blocks:
            # A peer that mixes reports on other sources too.
            if block.ssrc == self.ssrc:
                self._remote_lost = block.lost

    def report(self, now: float) -> MediaReport:
        """Return all counts of a call that ends at `now`."""
        statistics = self._statistics
        counts = MediaReport(
            sent=self.sent,
            received=self._arrived,
            authenticated=statistics.received + statistics.duplicate,
            failed=self._failed,
            plain=self._plain,
            replayed=self._replayed,
            lost=statistics.lost,
            late=self._buffer.late,
            duplicate=statistics.duplicate,
            reordered=statistics.reordered,
            foreign=self._voices[Voice.FOREIGN],
            echoed=self._voices[Voice.OWN_ECHO],
            unknown=self._voices[Voice.UNKNOWN],
            jitter_ms=statistics.jitter_ms,
            silence_s=self._silence_s(now),
            remote_lost=self._remote_lost,
            rtcp_received=self._rtcp_received,
            rtcp_failed=self._rtcp_failed,
            digits=self._digits,
        )
        return replace(counts, mos=score(counts.lost + counts.late, statistics.expected))

    def _silence_s(self, now: float) -> float:
        first, last = self._first_arrival, self._statistics.last_arrival
        # Nothing came at all, so the whole call was silent.
        if first is None or last is None:
            return now - self.started
        return max(first - self.started, self._statistics.longest_gap_s, now - last)


def score(missing: int, expected: int) -> float:
    """Return the MOS by ITU-T G.107. `missing` packets were lost or late, which sounds the same.

    The delay is that of packet and buffer. The network's own delay cannot be seen at one end.
    """
    if not expected:
        return 1.0
    return float(mos(r_factor(MOUTH_TO_EAR_MS, min(1.0, missing / expected))))


def check_key(digit: str, waiting: int) -> None:
    """Raise an error where a key cannot be sent, with `waiting` others still to be sent.

    Raises:
        ValueError: it is no key of a telephone, or too many keys wait.
    """
    if len(digit) != 1 or digit not in DIGITS:
        raise ValueError(f"{digit!r} is no key of a telephone")
    if waiting >= MOST_PRESSED:
        raise ValueError(f"{waiting} keys still wait to be sent: press {digit} later")
