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
from dataclasses import replace

from trunkproof.loadgen.media.datagrams import KINDS, Kind, kind_of
from trunkproof.loadgen.media.g711 import PCMA, PCMU, Octets
from trunkproof.loadgen.media.keys import HeardKeys, Keypad, check_key
from trunkproof.loadgen.media.payloads import Saying, payloads_of
from trunkproof.loadgen.media.report import MediaReport, score
from trunkproof.loadgen.media.rtcp import INTERVAL_S, ReportBlock, read_compound, sender_of, write_report
from trunkproof.loadgen.media.rtp import MalformedRtpError, RtpPacket, source_of
from trunkproof.loadgen.media.silence import Silence
from trunkproof.loadgen.media.sockets import Address
from trunkproof.loadgen.media.srtp import Cipher, Failure, PlainCipher
from trunkproof.loadgen.media.statistics import DUPLICATE, JUMPED, RESTARTED, ReceptionStatistics
from trunkproof.loadgen.media.terms import MediaTerms, Origin
from trunkproof.loadgen.media.tones import CYCLE, HOP_ORDER
from trunkproof.loadgen.media.voiceprint import Side, Voice, read_frame, write_frame
from trunkproof.loadgen.media.voices import Voices
from trunkproof.models.packets import PACKET_S, SAMPLES_PER_PACKET
from trunkproof.models.speech import Voiceprint

MOST_SOURCES = 8
"""The most sources of one stream that are kept at once. A call may have a few after each other, as ringback, callers,
music and transfers are, and a mixer a few at a time. A peer that invents one for each packet must not take our memory:
the source that was heard longest ago is summed up and forgotten.
"""
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
MOST_RETURNED = 32
"""Frames that an echo keeps at most. Pumps receive several at once, and a peer may send more than it takes back."""
MOST_RETURNED_BYTES = SAMPLES_PER_PACKET
"""The longest frame that is returned: 20 ms."""


class MediaStream:
    """The audio of the call of one plan row, as `side` speaks and hears it. Times are seconds of the caller's clock."""

    def __init__(
        self,
        *,
        row: int,
        side: Side,
        random_source: random.Random,
        now: float,
        voiceprint: Voiceprint = Voiceprint.BYTES,
        instead: Saying | None = None,
    ) -> None:
        """Make a stream on which nothing is agreed yet.

        Args:
            row: of the call in the plan.
            side: whose audio this is.
            random_source: for all that begins at random.
            now: seconds of the caller's clock.
            voiceprint: what both sides of the call say and listen for.
            instead: what this side says in its place.
        """
        self.row, self.side = row, side
        self.voiceprint, self.instead = voiceprint, instead
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
        self.given_up = 0
        """Packets given up so far. They have numbers, so that the peer counts them as lost."""
        self._frames = 0
        """Times of 20 ms so far. The timestamp also moves on while we may not send."""
        self._speaks = False
        self._returned: deque[bytes] = deque(maxlen=MOST_RETURNED)
        """Heard frames that an echo has not sent back yet."""
        self._keypad, self._heard_keys = Keypad(), HeardKeys()
        self._payloads: Octets | None = None
        """What is said again and again, in the codec of now. None: voiceprints of bytes, each of which is new."""
        self._sources: OrderedDict[int, ReceptionStatistics] = OrderedDict()
        """By SSRC. The one that was heard last is the last one."""
        self._forgotten = ReceptionStatistics()
        """The sums of sources that were forgotten."""
        self._sources_heard = 0
        self._silence = Silence()
        self._voices = Voices(side, row, voiceprint)
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
        self._payloads = self.payloads(terms.law_sent)
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
        self._voices.note_sent(self.sent - 1, at)

    @property
    def sends(self) -> bool:
        """Return whether audio may be sent now."""
        terms = self.terms
        return terms is not None and terms.sends and terms.remote is not None and self.answered < math.inf

    def payloads(self, law: int) -> Octets | None:
        """Return what this stream says again and again in A-law or mu-law, or None for voiceprints of bytes."""
        return payloads_of(self.side, self.row, self.voiceprint, self.instead, law)

    @property
    def hops(self) -> bool:
        """Return whether its payloads are said in the order of the hops, and not one after the other."""
        return self.instead is None

    def press(self, key: str) -> None:
        """Send a telephone-event for a key in place of the next frames, or wait where it is a pause.

        Do nothing where no telephone-events were agreed.

        Raises:
            ValueError: it is neither a key of a telephone nor a pause, or too many wait.
        """
        # Before the test of the event type: a wrong key is the caller's error on any call.
        check_key(key, len(self._keypad))
        if self.terms is not None and self.terms.sent_event_type is not None:
            self._keypad.press(key)

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
        pressed = None if event_type is None else self._keypad.next_event(self._timestamp(frame))
        if pressed is not None and event_type is not None:
            event, begun, first = pressed
            packet = RtpPacket(event_type, sequence, begun, self.ssrc, bytes(event), marker=first)
        else:
            if terms.echoes and not self._returned:
                # Nothing to return: the next packet begins a talkspurt.
                self._speaks = False
                return None
            # The marker stands at the first packet of speech (RFC 3551 section 4.1).
            marker = not self._speaks
            payload = self._payload(terms)
            packet = RtpPacket(terms.payload_type, sequence, self._timestamp(frame), self.ssrc, payload, marker=marker)
        self.sent += 1
        self._speaks = True
        return terms.cipher.protect(bytes(packet))

    def _payload(self, terms: MediaTerms) -> bytes:
        if terms.echoes:
            return self._returned.popleft()
        if self._payloads is None:
            return write_frame(self.side, self.row, self.sent)
        place = int(HOP_ORDER[self.sent % CYCLE]) if self.hops else self.sent % len(self._payloads)
        return bytes(self._payloads[place])

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
            self._heard_keys.hear(packet)
        elif packet.payload_type in terms.heard_types:
            source.samples = len(packet.payload)
            source.play(missing, packet.timestamp, arrival, marker=packet.marker)
            law = PCMA if packet.payload_type in terms.a_law_types else PCMU
            self._voices.hear(packet, law, arrival, self.sent)
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
            foreign=self._voices.counts[Voice.FOREIGN],
            echoed=self._voices.counts[Voice.OWN_ECHO],
            matched=self._voices.counts[Voice.EXPECTED],
            round_trip_ms=self._voices.round_trip_ms,
            unknown=self._voices.counts[Voice.UNKNOWN],
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
            digits=self._heard_keys.digits,
            keys_sent=self._keypad.sent,
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
