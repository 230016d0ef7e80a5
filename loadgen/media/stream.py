"""One side of one call's audio, without sockets: packets and arrivals go in, packets and a report come out.

It numbers, fills and encrypts the packets that are sent. It checks, counts and identifies those that are received.
The pump decides when to send. The compiled pump does the same work on its own records, and gives equal reports.

A stream has three phases. First nothing is agreed: what comes is counted as early media, and dropped. Then `follow`
gives the keys, perhaps already with a provisional answer: what comes is decrypted, and still counted as early. Once the
call is answered, the stream sends, and its statistics begin. Each further `follow` changes what is agreed, and no count
is lost.

SDP says where a side hears, and not where it sends from (RFC 3264 section 5.1). Behind a NAT or a media server, audio
comes from another address than it goes to. With SRTP the key decides whose packet it is. Plain RTP proves nothing.
There the first other address that sends what was agreed is heard, as long as the agreed one sends nothing.

What comes before the answer belongs to no phase of the call that can fail: ringing may take minutes, and
announcements may come from other sources than the called side.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from enum import IntEnum

from trunkproof.loadgen.media.datagrams import KINDS, Kind, kind_of
from trunkproof.loadgen.media.rtcp import INTERVAL_S, ReportBlock, read_compound, sender_of, write_report
from trunkproof.loadgen.media.rtp import DIGITS, MalformedRtpError, RtpPacket, TelephoneEvent, source_of
from trunkproof.loadgen.media.said import MOST_RETURNED, MOST_RETURNED_BYTES
from trunkproof.loadgen.media.silence import Silence
from trunkproof.loadgen.media.sockets import Address
from trunkproof.loadgen.media.srtp import Cipher, Failure, PlainCipher
from trunkproof.loadgen.media.statistics import DUPLICATE, JUMPED, RESTARTED, ReceptionStatistics
from trunkproof.loadgen.media.voiceprint import Frame, Side, Voice, classify, read_frame, write_frame
from trunkproof.models.packets import PACKET_S, SAMPLES_PER_PACKET
from trunkproof.models.voice import MOUTH_TO_EAR_MS, mos, r_factor

EVENT_PACKETS, END_PACKETS = 5, 3
"""Packets of a digit, which lasts 100 ms, and repetitions of its end (three, by RFC 4733 section 2.5.1.4)."""
MOST_DIGITS = 1024
"""The most received keys that are kept of one call, because a peer may send 50 a second for hours."""
MOST_PRESSED = 64
"""The most keys that may wait to be sent."""
MOST_SOURCES = 8
"""The most sources of one stream that are kept at once. A call may have a few after each other, as ringback, callers,
music and transfers are, and a mixer a few at a time. A peer that invents one for each packet must not take our memory:
the source that was heard longest ago is summed up and forgotten.
"""
TIMED_FRAMES = 128
"""Frames whose sending is remembered, to time those that come back: 2.56 s, far more than people can talk across."""
GRACE_S = 1.0
"""How long packets of before a change are accepted: with the old key, or from the old address. They were on their way,
and the peer changes only when it has our answer (RFC 4568 section 7.1.4, RFC 3264 section 8.3.1).
"""
COMFORT_NOISE = 13
"""Payload type of comfort noise, which announces a pause (RFC 3389)."""
GUESSES_AHEAD_S = 1.0
"""How much work forgeries from unknown addresses may make at once. A stream checks at most 50 packets a second in vain,
as much as the audio of one call has, and 50 more in a burst. An address that was authentic once needs no guess, so
forgeries do not silence it.
"""


class Origin(IntEnum):
    """Where a datagram came from, compared with what the peer's SDP says."""

    AGREED = 0
    """The address in the SDP, or any address while none is known."""
    BEFORE = 1
    """The address from before a change, until `GRACE_S` after it."""
    FOUND = 2
    """Another address, from which the peer was heard before."""
    ELSEWHERE = 3


@dataclass(frozen=True, slots=True)
class MediaTerms:
    """What both sides agreed on, as a stream needs it."""

    cipher: Cipher
    remote: Address | None
    """Where the peer receives audio. None where it has told no address, as on an old-style hold: the last one holds."""
    remote_rtcp: Address | None
    """Equal to `remote` where RTCP shares the port of RTP (RFC 5761)."""
    payload_type: int
    """What we send."""
    heard_types: tuple[int, ...]
    """Payload types of voice that the peer may send."""
    sent_event_type: int | None = None
    heard_event_type: int | None = None
    sends: bool = True
    hears: bool = True
    said: bytes = b""
    """A frame that is said again and again in place of the voiceprint. Empty: the voiceprint."""
    echoes: bool = False
    """Whether what is heard is sent back, and nothing else."""


@dataclass(frozen=True, slots=True)
class MediaReport:
    """The counts of one side of a call's audio."""

    sent: int = 0
    received: int = 0
    """RTP packets that arrived since the answer, authentic or not."""
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
    jumped: int = 0
    """Authentic, but their numbers were far off, and no second packet confirmed them (RFC 3550 appendix A.1)."""
    foreign: int = 0
    """Authentic, but another call's audio."""
    echoed: int = 0
    """Authentic, but this side's own audio."""
    unknown: int = 0
    """Authentic, but without a voiceprint."""
    other_types: int = 0
    """Authentic, but of a payload type that was not agreed. Nobody listened to them."""
    early: int = 0
    """RTP packets that arrived before the answer. They count nowhere else."""
    sources: int = 0
    """Sources (SSRC) heard since the answer."""
    collided: int = 0
    """Authentic, but with our own source: a loop, or chance (RFC 3550 section 8.2)."""
    jitter_ms: float = 0.0
    """Of the source that was heard last."""
    round_trip_ms: float | None = None
    """Mean time from the sending of our frames to their return. None where none came back."""
    silence_s: float = 0.0
    """The longest time without a packet, from the start to the end of the call, while the peer could send."""
    paused_s: float = 0.0
    """How long the peer sent nothing because nobody spoke."""
    mos: float = 1.0
    remote_lost: int | None = None
    """How many of our packets the peer has lost, by its last report. None without a report."""
    rtcp_received: int = 0
    rtcp_failed: int = 0
    rtcp_muxed: int = 0
    """RTCP packets that came to the RTP port (RFC 5761). They count as RTCP too."""
    rtp_on_rtcp: int = 0
    """RTP packets that came to the RTCP port. Nobody listened to them."""
    stun: int = 0
    zrtp: int = 0
    dtls: int = 0
    turn: int = 0
    keep_alive: int = 0
    """Datagrams too short for anything else: they keep a NAT open (RFC 6263)."""
    other: int = 0
    """Datagrams of no known kind."""
    digits: str = ""
    """Keys that the peer pressed."""
    stray: int = 0
    """Datagrams to the RTP port from another address than the peer's SDP says, heard or not. Authentic ones are heard,
    and count as all others do too. The rest counts nowhere else: a stranger's packets are no fault of the call."""
    rtcp_stray: int = 0
    """Datagrams to the RTCP port from another address, heard or not."""
    given_up: int = 0
    """Frames never sent, because the process stood still for too long."""
    unsent: int = 0
    """Frames that the system refused to send, for example because no route leads to the peer. The pump counts them."""
    fault: str | None = None
    """Why the pump stopped serving the stream, or None."""

    @property
    def not_rtp(self) -> int:
        """Return how many datagrams were neither RTP nor RTCP."""
        return self.stun + self.zrtp + self.dtls + self.turn + self.keep_alive + self.other


class MediaStream:
    """The audio of the call of one plan row, as `side` speaks and hears it. Times are seconds of the caller's clock."""

    def __init__(self, *, row: int, side: Side, random_source: random.Random, now: float) -> None:
        self.row, self.side = row, side
        self.ssrc = random_source.getrandbits(32)
        # Only 15 bits: a receiver begins with rollover 0 (RFC 3711 section 3.3.1). If the numbers began near 65535
        # and the first packets were lost, it would never learn of the rollover, and every packet after it would fail.
        self.first_sequence, self.first_timestamp = random_source.getrandbits(15), random_source.getrandbits(32)
        self._random_source = random_source
        self.terms: MediaTerms | None = None
        self.answered = math.inf
        """When the call was answered."""
        self.sent = 0
        """Packets sent so far."""
        self._sent_at = [0.0] * TIMED_FRAMES
        """When each of the last frames was sent, by its number."""
        self.given_up = 0
        """Packets given up so far. They have numbers, so that the peer counts them as lost."""
        self._frames = 0
        """Times of 20 ms so far. The timestamp also moves on while we may not send."""
        self._speaks = False
        self._returned: deque[bytes] = deque(maxlen=MOST_RETURNED)
        """Heard frames that an echo has not sent back yet."""
        self._pressed: list[str] = []
        self._key_step, self._key_begun = 0, 0
        self._sources: OrderedDict[int, ReceptionStatistics] = OrderedDict()
        """By SSRC. The one that was heard last is the last one."""
        self._forgotten = ReceptionStatistics()
        """The sums of sources that were forgotten."""
        self._sources_heard = 0
        self._silence = Silence()
        self._voices = dict.fromkeys(Voice, 0)
        self._round_trips_s, self._timed = 0.0, 0
        """The sum of the times in which our frames came back, and of how many."""
        self._kinds = [0] * KINDS
        self._arrived = self._failed = self._plain = self._replayed = self._authentic = 0
        self._early = self._jumped = self._other_types = self._collided = 0
        self._rtcp_received = self._rtcp_failed = self._rtcp_muxed = self._rtp_on_rtcp = 0
        self._stray = self._rtcp_stray = 0
        self._remotes: tuple[Address | None, Address | None] = (None, None)
        self._agreed_spoke = False
        """Whether audio came from the agreed address since the answer."""
        self._guessed_until = -math.inf
        """Until when the work for packets from unknown addresses would last, if each took the time of a frame."""
        self._old_cipher: Cipher | None = None
        self._old_until = -math.inf
        self._remote_lost: int | None = None
        self._digits = ""
        self._last_event: int | None = None
        self.next_report = now + self._report_wait()
        """The time at which the next RTCP report is due."""

    def _report_wait(self) -> float:
        return INTERVAL_S * self._random_source.uniform(0.5, 1.5)

    def follow(self, terms: MediaTerms, now: float, *, early: bool = False) -> None:
        """Send and hear as agreed from now on. Unless it is `early`, the call is answered."""
        before = None if self.terms is None else self.terms.cipher
        if before is not None and before.hears_with != terms.cipher.hears_with:
            self._old_cipher, self._old_until = before, now + GRACE_S
        self.terms = terms
        remotes = (terms.remote, terms.remote_rtcp)
        if terms.remote is not None and remotes != self._remotes:
            self._remotes, self._agreed_spoke = remotes, False
        if not early:
            self.answered = min(self.answered, now)
        if self.answered < math.inf:
            self._silence.listen(now) if terms.hears else self._silence.stop(now)

    def answer(self, now: float) -> None:
        """Take the call as answered from now on, with what was agreed early. Do nothing where nothing was agreed."""
        if self.terms is not None:
            self.follow(self.terms, now)

    def note_sent(self, at: float) -> None:
        """Note when the last packet went out. The pump knows."""
        self._sent_at[(self.sent - 1) % TIMED_FRAMES] = at

    @property
    def sends(self) -> bool:
        """Return whether audio may be sent now."""
        terms = self.terms
        return terms is not None and terms.sends and terms.remote is not None and self.answered < math.inf

    def press(self, digit: str) -> None:
        """Send a telephone-event for `digit` in place of the next frames. Do nothing where none was agreed.

        Raises:
            ValueError: it is no key of a telephone, or too many keys wait.
        """
        # Before the test of the event type: a wrong key is the caller's error on any call.
        check_key(digit, len(self._pressed))
        if self.terms is not None and self.terms.sent_event_type is not None:
            self._pressed.append(digit)

    def give_up(self, frames: int) -> None:
        """Leave out frames whose time has passed. They count as lost to the peer, which has indeed missed them."""
        self._frames += frames
        if self.sends:
            self.given_up += frames

    def next_packet(self) -> bytes | None:
        """Return the packet of the next 20 ms, encrypted. Return None where we may not send."""
        frame, terms = self._frames, self.terms
        self._frames += 1
        if terms is None or not self.sends:
            # The next packet begins a talkspurt.
            self._speaks = False
            return None
        sequence = (self.first_sequence + self.sent + self.given_up) & 0xFFFF
        event_type = terms.sent_event_type
        if self._pressed and event_type is not None:
            packet = self._event_packet(event_type, sequence, frame)
        else:
            if terms.echoes and not self._returned:
                # Nothing to return: the next packet begins a talkspurt.
                self._speaks = False
                return None
            payload = self._payload(terms)
            # The marker stands at the first packet of speech (RFC 3551 section 4.1).
            marker = not self._speaks
            packet = RtpPacket(terms.payload_type, sequence, self._timestamp(frame), self.ssrc, payload, marker=marker)
        self.sent += 1
        self._speaks = True
        return terms.cipher.protect(bytes(packet))

    def _payload(self, terms: MediaTerms) -> bytes:
        if terms.echoes:
            return self._returned.popleft()
        return terms.said or write_frame(self.side, self.row, self.sent)

    def _event_packet(self, event_type: int, sequence: int, frame: int) -> RtpPacket:
        step = self._key_step
        if step == 0:
            self._key_begun = frame
        duration = min(step + 1, EVENT_PACKETS) * SAMPLES_PER_PACKET
        event = TelephoneEvent(self._pressed[0], duration, end=step >= EVENT_PACKETS)
        self._key_step += 1
        if self._key_step == EVENT_PACKETS + END_PACKETS:
            self._pressed.pop(0)
            self._key_step = 0
        # All packets of an event have the timestamp of its beginning (RFC 4733 section 2.2.1).
        timestamp = self._timestamp(self._key_begun)
        return RtpPacket(event_type, sequence, timestamp, self.ssrc, bytes(event), marker=step == 0)

    def _timestamp(self, frame: int) -> int:
        return (self.first_timestamp + frame * SAMPLES_PER_PACKET) & 0xFFFFFFFF

    def receive(self, data: bytes, arrival: float, origin: Origin = Origin.AGREED) -> bool:
        """Take a datagram that came to the RTP port at `arrival`.

        Return whether one from elsewhere was the peer's: its address is `Origin.FOUND` from then on.
        """
        kind = kind_of(data)
        if origin > Origin.BEFORE:
            self._stray += 1
            return self._receive_from_elsewhere(kind, data, arrival, origin)
        if kind is Kind.RTCP:
            self._rtcp_muxed += 1
            self._receive_report(data, arrival)
        elif kind is not Kind.RTP:
            self._kinds[kind] += 1
        else:
            early = arrival < self.answered
            self._agreed_spoke |= origin is Origin.AGREED and not early
            self._note_arrival(early=early)
            packet = self._unprotect(data, arrival)
            # Counted and dropped: a wrong packet of a peer is a result of the run.
            if not isinstance(packet, Failure):
                self._receive_audio(packet, arrival)
            elif not early and self.terms is not None:
                self._note_failure(packet, data)
        return False

    def _receive_from_elsewhere(self, kind: Kind, data: bytes, arrival: float, origin: Origin) -> bool:
        """Take a datagram to the RTP port from another address if it is the peer's. Return whether it is."""
        if self.terms is None:
            return False
        if kind is Kind.RTP:
            if self._is_plain and not self._may_be_found(data, arrival, origin):
                return False
            packet = self._unprotect_guess(data, arrival, origin)
            if isinstance(packet, Failure):
                return False
            self._note_arrival(early=arrival < self.answered)
            self._receive_audio(packet, arrival)
            return True
        if kind is Kind.RTCP and self._receive_report(data, arrival, origin):
            self._rtcp_muxed += 1
            return True
        return False

    @property
    def _is_plain(self) -> bool:
        return self.terms is not None and isinstance(self.terms.cipher, PlainCipher)

    def _may_be_found(self, data: bytes, arrival: float, origin: Origin) -> bool:
        """Return whether plain RTP from another address is taken for the peer's."""
        if self._agreed_spoke or self.terms is None:
            return False
        try:
            kind = RtpPacket.parse(data).payload_type
        except MalformedRtpError:
            return False
        # Early media may come from somebody else than the called side.
        is_agreed = kind in self.terms.heard_types or kind == self.terms.heard_event_type
        return origin is Origin.FOUND or (is_agreed and arrival >= self.answered)

    def _may_guess(self, arrival: float, origin: Origin) -> bool:
        return origin < Origin.ELSEWHERE or self._guessed_until - arrival <= GUESSES_AHEAD_S

    def _note_guess(self, arrival: float) -> None:
        self._guessed_until = max(self._guessed_until, arrival) + PACKET_S

    def _note_arrival(self, *, early: bool) -> None:
        if early:
            self._early += 1
        else:
            self._arrived += 1

    def _receive_audio(self, packet: bytes, arrival: float) -> None:
        """Take an authentic packet, decrypted."""
        early = arrival < self.answered
        # Early too: the source's rollovers are counted from its first packet on.
        source = self._source(source_of(packet))
        try:
            heard = RtpPacket.parse(packet)
        except MalformedRtpError:
            self._failed += not early
            return
        if not early:
            self._hear(source, heard, arrival)

    def _unprotect_guess(self, data: bytes, arrival: float, origin: Origin) -> bytes | Failure:
        """Decrypt a packet from another address, unless too many of them were wrong lately."""
        if not self._may_guess(arrival, origin):
            return Failure.NOT_AUTHENTIC
        packet = self._unprotect(data, arrival)
        if isinstance(packet, Failure):
            self._note_guess(arrival)
        return packet

    def _unprotect(self, data: bytes, arrival: float) -> bytes | Failure:
        # Before an agreement there is no key.
        if self.terms is None:
            return Failure.NOT_AUTHENTIC
        packet = self.terms.cipher.unprotect(data)
        if isinstance(packet, Failure) and self._old_cipher is not None and arrival < self._old_until:
            older = self._old_cipher.unprotect(data)
            return packet if isinstance(older, Failure) else older
        return packet

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

    def _source(self, ssrc: int) -> ReceptionStatistics:
        """Return the statistics of an authentic source, and note that it was heard last."""
        found = self._sources.get(ssrc)
        if found is None:
            if len(self._sources) == MOST_SOURCES:
                self._forget(*self._sources.popitem(last=False))
            found = self._sources[ssrc] = ReceptionStatistics()
        self._sources.move_to_end(ssrc)
        return found

    def _forget(self, ssrc: int, source: ReceptionStatistics) -> None:
        self._forgotten.take(source)
        self._forget_keys(ssrc)

    def _forget_keys(self, ssrc: int) -> None:
        for cipher in (self._old_cipher, None if self.terms is None else self.terms.cipher):
            if cipher is not None:
                cipher.forget(ssrc)

    def _hear(self, source: ReceptionStatistics, packet: RtpPacket, arrival: float) -> None:
        terms = self.terms
        assert terms is not None
        self._authentic += 1
        self._collided += packet.ssrc == self.ssrc
        self._sources_heard += not source.begun
        missing = source.add(packet.sequence)
        # A duplicate is neither played nor heard, and must not end a silence.
        if missing == DUPLICATE:
            return
        pause = source.paused(missing, packet.timestamp, arrival, marker=packet.marker)
        self._silence.heard(arrival, pause=pause, announced=packet.payload_type == COMFORT_NOISE)
        if missing == JUMPED:
            self._jumped += 1
            return
        # The packet before this one jumped, and is counted among the received ones now.
        self._jumped -= missing == RESTARTED
        if packet.payload_type == terms.heard_event_type:
            self._note_key(packet)
        elif packet.payload_type in terms.heard_types:
            source.samples = len(packet.payload)
            source.play(missing, packet.timestamp, arrival, marker=packet.marker)
            self._note_voice(read_frame(packet.payload), arrival)
            # A frame of another codec, or a longer one, cannot be sent as ours.
            if terms.echoes and packet.payload_type == terms.payload_type and self._fits(packet):
                self._returned.append(packet.payload)
        elif packet.payload_type == COMFORT_NOISE:
            source.play(missing, packet.timestamp, arrival, marker=packet.marker)
        else:
            self._other_types += 1
        source.note(arrival)

    @staticmethod
    def _fits(packet: RtpPacket) -> bool:
        return 0 < len(packet.payload) <= MOST_RETURNED_BYTES

    def _note_voice(self, frame: Frame | None, arrival: float) -> None:
        voice = classify(frame, listener=self.side, row=self.row)
        self._voices[voice] += 1
        if frame is not None and voice is Voice.OWN_ECHO and 0 < self.sent - frame.number <= TIMED_FRAMES:
            self._round_trips_s += arrival - self._sent_at[frame.number % TIMED_FRAMES]
            self._timed += 1

    def _note_key(self, packet: RtpPacket) -> None:
        event = TelephoneEvent.parse(packet.payload)
        # The end of a key is sent three times with one timestamp, and counts once.
        if event is not None and event.end and packet.timestamp != self._last_event:
            self._digits += event.digit if len(self._digits) < MOST_DIGITS else ""
            self._last_event = packet.timestamp

    def next_rtcp(self, now: float, wall_s: float, *, bye: bool = False) -> bytes | None:
        """Return the report that is due at `next_report`, encrypted. With `bye` it is the last one.

        Return None where no call is up.
        """
        self.next_report = now + self._report_wait()
        if self.terms is None or self.answered == math.inf:
            return None
        block = None
        # One block, on the source that was heard last: the others are gone, or it speaks for them as a mixer does.
        ssrc = next(reversed(self._sources), None)
        if ssrc is not None and self._sources[ssrc].begun:
            source = self._sources[ssrc]
            block = ReportBlock(ssrc, source.fraction_lost(), source.lost, source.highest, source.jitter_units)
        timestamp = self._timestamp(self._frames)
        report = write_report(self.ssrc, wall_s=wall_s, timestamp=timestamp, packets=self.sent, block=block, bye=bye)
        return self.terms.cipher.protect_rtcp(report)

    def receive_rtcp(self, data: bytes, arrival: float, origin: Origin = Origin.AGREED) -> None:
        """Take a datagram that came to the RTCP port at `arrival`."""
        kind = kind_of(data)
        if origin > Origin.BEFORE:
            self._rtcp_stray += 1
            if kind is Kind.RTCP:
                self._receive_report(data, arrival, origin)
        elif kind is Kind.RTCP:
            self._receive_report(data, arrival)
        elif kind is Kind.RTP:
            self._rtp_on_rtcp += 1
        else:
            self._kinds[kind] += 1

    def _receive_report(self, data: bytes, arrival: float, origin: Origin = Origin.AGREED) -> bool:
        """Take a report. Return whether it was authentic. One from another address counts only then."""
        # Before an agreement nothing can be read, and nothing can be wrong.
        if self.terms is None or not self._may_guess(arrival, origin):
            return False
        # In the clear a report proves nothing.
        if origin > Origin.BEFORE and self._is_plain and (origin > Origin.FOUND or self._agreed_spoke):
            return False
        packet = self.terms.cipher.unprotect_rtcp(data)
        if isinstance(packet, Failure) and self._old_cipher is not None and arrival < self._old_until:
            packet = self._old_cipher.unprotect_rtcp(data)
        reception = None if isinstance(packet, Failure) else read_compound(packet)
        # libsrtp keeps each source for ever. So a peer could have us keep millions.
        if not isinstance(packet, Failure) and (ssrc := sender_of(data)) not in self._sources:
            self._forget_keys(ssrc)
        if isinstance(packet, Failure) and origin > Origin.BEFORE:
            self._note_guess(arrival)
            return False
        if reception is None:
            self._rtcp_failed += 1
            return not isinstance(packet, Failure)
        self._rtcp_received += 1
        for block in reception.blocks:
            # A peer that mixes reports on other sources too.
            if block.ssrc == self.ssrc:
                self._remote_lost = block.lost
        return True

    def report(self, now: float) -> MediaReport:
        """Return all counts of a call that ends at `now`."""
        total = ReceptionStatistics()
        for source in (self._forgotten, *self._sources.values()):
            total.take(source)
        silence_s, paused_s = self._silence.by(now)
        last = next(reversed(self._sources.values()), None)
        counts = MediaReport(
            sent=self.sent,
            received=self._arrived,
            authenticated=self._authentic,
            failed=self._failed,
            plain=self._plain,
            replayed=self._replayed,
            lost=total.lost,
            late=total.buffer.late,
            duplicate=total.duplicate,
            reordered=total.reordered,
            jumped=self._jumped,
            foreign=self._voices[Voice.FOREIGN],
            echoed=self._voices[Voice.OWN_ECHO],
            round_trip_ms=1000 * self._round_trips_s / self._timed if self._timed else None,
            unknown=self._voices[Voice.UNKNOWN],
            other_types=self._other_types,
            early=self._early,
            sources=self._sources_heard,
            collided=self._collided,
            jitter_ms=0.0 if last is None else last.jitter_ms,
            silence_s=silence_s,
            paused_s=paused_s,
            remote_lost=self._remote_lost,
            rtcp_received=self._rtcp_received,
            rtcp_failed=self._rtcp_failed,
            rtcp_muxed=self._rtcp_muxed,
            rtp_on_rtcp=self._rtp_on_rtcp,
            digits=self._digits,
            stray=self._stray,
            rtcp_stray=self._rtcp_stray,
            given_up=self.given_up,
            stun=self._kinds[Kind.STUN],
            zrtp=self._kinds[Kind.ZRTP],
            dtls=self._kinds[Kind.DTLS],
            turn=self._kinds[Kind.TURN],
            keep_alive=self._kinds[Kind.KEEP_ALIVE],
            other=self._kinds[Kind.OTHER],
        )
        return replace(counts, mos=score(counts.lost + counts.late, total.expected))


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
