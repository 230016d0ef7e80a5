"""The audio of one side of one call, from its ports and key to the report on what was heard.

It joins three things: SDP (what is agreed), the media stream (what is sent and heard) and the pump (when). Callers and
answerers both use it. Each call has a new random key, which is never logged.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from trunkproof.loadgen.capture.recorder import Recorder
from trunkproof.loadgen.media.flow import Flow
from trunkproof.loadgen.media.payloads import Steady
from trunkproof.loadgen.media.pump import make_pump
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.media.sockets import Address, bind_pair, canonical, family_of
from trunkproof.loadgen.media.srtp import Cipher, PlainCipher, SrtpCipher
from trunkproof.loadgen.media.stream import MediaStream
from trunkproof.loadgen.media.tap import MediaTap
from trunkproof.loadgen.media.terms import MediaTerms
from trunkproof.loadgen.media.voiceprint import Side
from trunkproof.loadgen.sip.agreement import NOWHERE, MediaAgreement
from trunkproof.loadgen.sip.invite import customer_offer, trunk_offer
from trunkproof.loadgen.sip.offer_answer import Capability, Negotiated, SdpFault, negotiate
from trunkproof.loadgen.sip.sdes import KEY_BYTES
from trunkproof.loadgen.sip.sdp import CODECS, Codec, SessionDescription
from trunkproof.loadgen.system.descriptors import raise_open_file_limit
from trunkproof.loadgen.system.ports import customer_ports
from trunkproof.models.errors import GuardError, RemoteError, TrunkproofError
from trunkproof.models.faults import AudioFault
from trunkproof.models.packets import PACKET_S
from trunkproof.models.plan import PlanRow
from trunkproof.models.records import Direction, FarEnd, Record
from trunkproof.models.speech import PAUSE, Speech, Voiceprint
from trunkproof.models.study import Study, Trunk

LONGEST_SILENCE_S = 2.0
"""A call without a packet for longer has failed: after about this long people ask "are you still there?"."""
SHORTEST_TO_JUDGE_S = 0.4
"""Judge one-way audio only in calls of at least this length.

In a shorter call the first packet of the other side may still be on its way: a contended trunk may take as long. Voice
that takes longer than 400 ms is not acceptable (ITU-T G.114).
"""


class NoPortError(TrunkproofError):
    """This machine has no free port pair."""


@dataclass(slots=True)
class Heard:
    """The packets that one side received on all its SRTP calls, and how many of them were authentic."""

    received: int = 0
    authenticated: int = 0
    plain: int = 0
    """Packets of calls with plain RTP, which nothing authenticates. They count nowhere else."""

    def add(self, report: MediaReport, *, secure: bool = True) -> None:
        """Add the packets of one more call."""
        if not secure:
            self.plain += report.received
            return
        self.received += report.received
        # A replayed packet was authentic when it was first sent: its key is right.
        self.authenticated += report.authenticated + report.replayed


def heard_together(parts: Iterable[Heard]) -> Heard:
    """Return the sums of what several sides heard."""
    total = Heard()
    for part in parts:
        total.received += part.received
        total.authenticated += part.authenticated
        total.plain += part.plain
    return total


class MediaAddressError(RemoteError):
    """The peer's SDP asks for audio where none may or can be sent."""


class Audio:
    """The audio of one call on one side. It has bound ports and a key first, then a stream, and a report at the end."""

    def __init__(
        self, factory: AudioFactory, sockets: tuple[socket.socket, socket.socket], row: PlanRow, trunk: Trunk
    ) -> None:
        self._factory = factory
        self._sockets: tuple[socket.socket, socket.socket] | None = sockets
        self._row, self._trunk = row, trunk
        self._side, self._speech = factory.side_in(row), factory.speech_in(row)
        # What only the caller says.
        calls = self._side is Side.CALLER
        self._sound = self._speech.audio.file if calls and self._speech.audio is not None else None
        self._to_press = (self._speech.digits or "") if calls else ""
        self.digits = self._to_press.replace(PAUSE, "")
        """The keys that this side is to press."""
        self._flow: Flow | None = None
        self._cipher: Cipher | None = None
        self._tap: MediaTap | None = None
        self.address = factory.told_address
        self.port: int = sockets[0].getsockname()[1]
        # Not from `random_source`: with the same key twice, two calls would be encrypted with the same key stream.
        plain = trunk.media == "rtp" if factory.plain is None else factory.plain
        self.key = None if plain else os.urandom(KEY_BYTES)
        """Our SRTP key for this call. None for plain RTP."""
        self.far_end = FarEnd.PLAN
        """What this side plays: by default its voiceprint. Set it before `listen`."""
        self.report = MediaReport()
        """What was heard. It is empty until the audio is stopped."""

    @property
    def secure(self) -> bool:
        """Return whether it is SRTP. Plain RTP has no authentic packets: only the voiceprint says whose they are."""
        return self.key is not None

    def offer(self) -> SessionDescription:
        """Return our offer, for a peer that asks for one."""
        make = trunk_offer if self._factory.at_trunk else customer_offer
        codecs, suites = codecs_of(self._trunk), self._trunk.suites
        return make(self.address, self.port, self.key, session_id=self._row.row, codecs=codecs, suites=suites)

    def answer(self, offer: SessionDescription, previous: SessionDescription | None = None) -> Negotiated | SdpFault:
        """Return our answer to an offer and what it agrees on, or the fault that prevents one.

        `previous` is our last description in the call, if there was one.
        """
        return negotiate(
            offer,
            Capability(
                address=self.address,
                port=self.port,
                key=self.key,
                codecs=codecs_of(self._trunk),
                suites=self._trunk.suites,
                rtcp_port=self.port + 1,
                session_id=self._row.row,
            ),
            previous,
        )

    @property
    def digits_sent(self) -> str:
        """Return the keys of the plan that were sent, once the audio is stopped."""
        return self.digits[: self.report.keys_sent]

    def listen(self) -> None:
        """Serve the ports from now on, before anything is agreed. What comes is counted as early media.

        Do nothing where that was done before, or the audio was closed.
        """
        if self._sockets is None:
            return
        stream = MediaStream(
            row=self._row.row,
            side=self._side,
            random_source=self._factory.random_source,
            now=self._factory.pump.now(),
            voiceprint=self._speech.voiceprint or Voiceprint.BYTES,
            instead=_STEADY.get(self.far_end, self._sound),
        )
        recorder = self._factory.recorder
        self._tap = None if recorder is None else recorder.tap()
        self._flow = self._factory.pump.add(stream, *self._sockets, self._tap)
        # From here on the pump owns the sockets and closes them. Where it did not take them, we still do.
        self._sockets = None

    def check(self, agreement: MediaAgreement) -> None:
        """Check that audio may and can be sent as agreed, before anything is answered.

        Raises:
            MediaAddressError: it may not, or it cannot.
        """
        self._remote(agreement)

    def _remote(self, agreement: MediaAgreement) -> tuple[Address, Address] | None:
        """Return where audio and RTCP are sent, or None where the peer has told no address."""
        host = agreement.remote_address
        # The old way of a hold (RFC 3264 section 8.4).
        if host in NOWHERE:
            return None
        for port in (agreement.remote_port, agreement.remote_rtcp_port):
            # Behind port 65535 there is none for RTCP.
            if not 0 < port <= 65_535:
                what = f"the peer's SDP asks for audio or RTCP on port {port}, where nothing can be sent"
                raise MediaAddressError(what)
        try:
            # SDP of a peer must not make us send audio to a stranger.
            host = self._factory.check_media(host)
            remote = canonical((host, agreement.remote_port))
            remote_rtcp = canonical((host, agreement.remote_rtcp_port))
        except (GuardError, OSError) as error:
            raise MediaAddressError(str(error)) from error
        if family_of(host) is not family_of(self._factory.address):
            raise MediaAddressError(
                f"audio cannot be sent from {self._factory.address} to {host}: one is IPv4 and one is IPv6"
            )
        return remote, remote_rtcp

    def follow(self, agreement: MediaAgreement, *, early: bool = False) -> None:
        """Send and hear as agreed from now on, or change what was agreed before. No count is lost.

        Unless the agreement is `early`, as in a provisional answer, the call is answered with it. Do nothing where the
        audio was stopped.

        Raises:
            MediaAddressError: audio may not or cannot be sent as agreed. Nothing was changed.
        """
        remote = self._remote(agreement)
        self.listen()
        if self._flow is None:
            return
        self._factory.pump.follow(self._flow, self._terms(agreement, remote), early=early)
        if not early:
            self._press(self._flow)

    def answered(self) -> None:
        """Take the call as answered from now on, with what was agreed early."""
        if self._flow is not None:
            self._factory.pump.answer(self._flow)
            self._press(self._flow)

    def _press(self, flow: Flow) -> None:
        """Press the keys of the plan, once."""
        keys, self._to_press = self._to_press, ""
        for key in keys:
            flow.press(key)

    def _terms(self, agreement: MediaAgreement, remote: tuple[Address, Address] | None) -> MediaTerms:
        rtp, rtcp = (None, None) if remote is None else remote
        self._cipher = self._cipher_of(agreement)
        return MediaTerms(
            self._cipher,
            rtp,
            rtcp,
            payload_type=agreement.codec.payload_type,
            heard_types=tuple(codec.payload_type for codec in agreement.heard_codecs),
            a_law_types=frozenset(
                codec.payload_type
                for codec in (agreement.codec, *agreement.heard_codecs)
                if codec.name == Codec.PCMA.name
            ),
            sent_event_type=agreement.sent_event_type,
            heard_event_type=agreement.heard_event_type,
            sends=agreement.sends,
            hears=agreement.hears,
            echoes=self.far_end is FarEnd.ECHO,
        )

    def _cipher_of(self, agreement: MediaAgreement) -> Cipher:
        local, remote = agreement.local_crypto, agreement.remote_crypto
        if self.key is None or local is None or remote is None:
            return PlainCipher()
        cipher = SrtpCipher(local.key, remote.key, remote.suite, tx_mki=local.mki, rx_mki=remote.mki)
        return cipher.after(self._cipher)

    def stop(self) -> None:
        """Stop sending and receiving, and set `report`. Do nothing where nothing was started."""
        if self._flow is not None:
            self.report = self._factory.pump.remove(self._flow)
            self._flow = None
            if self._tap is not None and self._factory.recorder is not None:
                self._factory.recorder.audio(
                    self._trunk.name, self._row.row, (self._factory.address, self.port), self._tap
                )
            self._factory.heard.add(self.report, secure=self.secure)
            # Not of listed numbers: the book of their calls has them, and they may go on for weeks.
            if self._side is Side.CALLED and self.far_end is FarEnd.PLAN and self.report.digits:
                self._factory.keys[self._row.row] = self.report.digits

    def close(self) -> None:
        """Stop, and release the ports."""
        self.stop()
        if self._sockets is not None:
            for bound in self._sockets:
                bound.close()
            self._sockets = None


class AudioFactory:
    """Makes the audio of one party's calls, on one address and with one pump for all of them."""

    def __init__(
        self,
        address: str,
        study: Study,
        *,
        at_trunk: bool,
        check_media: Callable[[str], str],
        plain: bool | None = None,
        ports: tuple[int, int] | None = None,
        told_address: str | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Make the factory of one party.

        Args:
            address: the local address of all audio.
            study: gives codecs and suites.
            at_trunk: whether this party is on the trunk's side.
            check_media: returns the address to send to, or raises GuardError.
            plain: plain RTP, as behind an edge that encrypts for us. None: as the trunk of each call says.
            ports: the range that `open` takes ports from. None: the customers' whole range.
            told_address: the address that SDP names, where a NAT stands before this party. None: the local one.
            recorder: captures the datagrams.
        """
        self.address, self.told_address = address, told_address or address
        self.plain, self.recorder = plain, recorder
        self.check_media = check_media
        self.pump = make_pump()
        # The usual soft limit of 1024 files ends at about 500 calls, because each takes two sockets here.
        raise_open_file_limit()
        self.heard = Heard()
        self.keys: dict[int, str] = {}
        """Plan row -> keys that this party received as the called side."""
        self.random_source = random.Random()
        self._study = study
        traffics = [trunk.traffic for trunk in study.trunks]
        self._listed = {
            Direction.OUTBOUND: [traffic.where for traffic in traffics],
            Direction.INBOUND: [traffic.answered for traffic in traffics],
        }
        """The listed numbers of each trunk, that it calls and that it answers."""
        self.at_trunk = at_trunk
        self._ports = ports or customer_ports()
        self._next_port = self._ports[0]

    @property
    def lateness_p99_ms(self) -> float:
        """Return how late this party sent its packets: the 99th percentile, in ms."""
        return self.pump.lateness_p99_ms

    @property
    def cpu_clock(self) -> Callable[[], float]:
        """Return the clock of signalling's CPU time: the thread's if audio has its own thread, else the process's."""
        return time.thread_time if self.pump.has_thread else time.process_time

    def side_in(self, row: PlanRow) -> Side:
        """Return whether this party is the caller or the called side of that row."""
        # Inbound calls come from the trunk's side, outbound calls from the customer's.
        calls = (row.direction is Direction.INBOUND) == self.at_trunk
        return Side.CALLER if calls else Side.CALLED

    def speech_in(self, row: PlanRow) -> Speech:
        """Return what is said in the call of that row."""
        listed = self._listed[row.direction][row.trunk]
        entry = None if row.destination is None else listed.entry_of(row.destination)
        return self._study.trunks[row.trunk].traffic.speech(entry)

    def open(self, row: PlanRow) -> Audio:
        """Return audio on any free port pair of this machine.

        Raises:
            NoPortError: none is free.
        """
        low, high = self._ports
        for _ in range(low, high, 2):
            port = self._next_port
            # Go on behind the last port: a late packet of an ended call then finds no new call on its port.
            self._next_port = port + 2 if port + 2 < high else low
            try:
                return self._audio(port, row)
            except OSError as error:
                # Without this, a missing descriptor would look like a port in use, and every port would be tried in
                # vain.
                _check_descriptors(error)
        raise NoPortError(f"no free UDP port pair between {low} and {high} on {self.address}")

    def open_on(self, port: int, instead: Callable[[int], int | None], row: PlanRow) -> tuple[Audio, int]:
        """Return audio on a port of the trunk's pool, and that port.

        Args:
            port: the port to try first.
            instead: returns another port for one that is in use, or None.
            row: the row of the call.

        Raises:
            NoPortError: there is no other port, or no more files may be open. The port tried last is then still the
                pool's, unless `instead` was asked for another.
        """
        while True:
            try:
                return self._audio(port, row), port
            except OSError as error:
                _check_descriptors(error)
                other = instead(port)
                if other is None:
                    raise NoPortError(f"port {port} of the pool is held by another program") from None
                port = other

    def _audio(self, port: int, row: PlanRow) -> Audio:
        return Audio(self, bind_pair(self.address, port), row, self._study.trunks[row.trunk])

    def take_keys(self) -> dict[int, str]:
        """Return the keys that were received since the last time: a trunk may serve one run after the other."""
        keys, self.keys = self.keys, {}
        return keys

    def close(self) -> None:
        """Stop the pump, with all audio that is left."""
        self.pump.close()


_STEADY = {FarEnd.PLAYS: Steady.TONE, FarEnd.ANSWERS: Steady.SILENCE}
"""What is said by a side that plays such a far end."""


def _check_descriptors(error: OSError) -> None:
    """Raise NoPortError where the socket failed for want of file descriptors, and not because the port is in use."""
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        raise NoPortError(
            f"this process may have {raise_open_file_limit()} files open at once, and a call takes two sockets on "
            "each side: raise the hard limit (ulimit -Hn)"
        ) from error


def codecs_of(trunk: Trunk) -> tuple[Codec, ...]:
    """Return a trunk's codecs, in its order of preference."""
    return tuple(CODECS[name] for name in trunk.codecs)


def note_keys(records: pl.DataFrame, keys: Mapping[int, str]) -> pl.DataFrame:
    """Return records with the keys that our answering side received, by plan row."""
    if not keys:
        return records
    heard = pl.col("row").replace_strict(list(keys), list(keys.values()), default=None, return_dtype=pl.String)
    return records.with_columns(pl.coalesce(heard, "far_digits_received").alias("far_digits_received"))


def note_media(record: Record, report: MediaReport, *, secure: bool = True) -> None:
    """Copy what was heard into the record of its call. Of plain RTP nothing is authentic."""
    record.rtp_sent, record.rtp_received = report.sent, report.received
    record.rtp_authenticated = report.authenticated + report.replayed if secure else 0
    record.rtp_failed = report.failed
    record.rtp_lost, record.rtp_late = report.lost, report.late
    record.rtp_duplicate, record.rtp_reordered = report.duplicate + report.replayed, report.reordered
    record.rtp_foreign = report.foreign
    record.early_rtp, record.rtp_stray, record.rtp_sources = report.early, report.stray, report.sources
    record.not_rtp = report.not_rtp
    record.silence_s, record.paused_s = report.silence_s, report.paused_s
    record.round_trip_ms = report.round_trip_ms
    record.uplink_lost = report.remote_lost
    # Without a packet there is nothing to compute jitter and MOS from, and 0.0 would look like a perfect call.
    if report.authenticated:
        record.jitter_ms, record.mos = report.jitter_ms, report.mos


def media_fault(report: MediaReport, far_end: FarEnd = FarEnd.PLAN) -> str | None:
    """Return why a call's audio was not as agreed, or not what this kind of far end sends. None where all is well."""
    found = find_audio_fault(report, far_end)
    return None if found is None else found[1]


def find_audio_fault(report: MediaReport, far_end: FarEnd = FarEnd.PLAN) -> tuple[AudioFault, str] | None:
    """Return the same as `media_fault`, as a value and in words."""
    # The most telling fault first: those behind it may follow from it.
    return next(_faults(report, far_end), None)


def _faults(report: MediaReport, far_end: FarEnd) -> Iterator[tuple[AudioFault, str]]:
    if report.fault:
        yield AudioFault.OURS, f"our audio failed: {report.fault}"
    if far_end in _ASKED_NOTHING:
        return
    if report.plain:
        yield AudioFault.PLAIN_RTP, f"{report.plain} packets came as plain RTP where SRTP was agreed"
    if report.failed:
        yield (
            AudioFault.NOT_AUTHENTIC,
            f"{report.failed} of {report.received} packets were not authentic: wrong key, changed on the way, or "
            "numbered anew with an old key",
        )
    if report.foreign:
        yield AudioFault.FOREIGN, f"{report.foreign} packets carried another call's audio (cross-talk)"
    # By silence and not by what was sent: on hold nothing has to come, and we may only listen.
    if not report.received and report.silence_s >= SHORTEST_TO_JUDGE_S:
        yield AudioFault.ONE_WAY, "no audio came back (one-way audio)" + _instead(report)
    # A far end that plays may have played all of it.
    if report.silence_s > LONGEST_SILENCE_S and (far_end is not FarEnd.PLAYS or not report.received):
        yield AudioFault.SILENT, f"no audio came back for {report.silence_s:.1f} s" + _instead(report)
    if report.other_types > report.authenticated / 2:
        yield (
            AudioFault.WRONG_TYPE,
            f"{report.other_types} of {report.authenticated} packets had a payload type that was not agreed",
        )
    # Nothing was judged where only other packets than voice came, or fewer than tones need.
    enough = report.authenticated * PACKET_S >= SHORTEST_TO_JUDGE_S
    if far_end is FarEnd.ECHO and report.echoed < max(report.judged, enough) / 2:
        yield (
            AudioFault.NO_ECHO,
            f"only {report.echoed} of {report.judged} packets were our own audio that came back: is it an echo, and "
            "does nothing on the way change the sound, or the octets if the voiceprint is bytes?",
        )
    if report.unsent > report.sent / 2:
        yield (
            AudioFault.UNSENT,
            f"{report.unsent} of {report.sent} packets could not be sent: is there a route to the peer's address?",
        )


_ASKED_NOTHING = frozenset({FarEnd.ANSWERS, FarEnd.REJECTS, FarEnd.RINGS})
"""Far ends of whose audio nothing is asked."""


def _instead(report: MediaReport) -> str:
    """Return what came in place of audio, as a part of a sentence. Empty where nothing did."""
    came = {
        "packets came from another address than the agreed one": report.stray,
        "packets of audio came to the RTCP port": report.rtp_on_rtcp,
        "datagrams were neither RTP nor RTCP (STUN, DTLS, keep-alive, ...)": report.not_rtp,
    }
    told = [f"{count} {what}" for what, count in came.items() if count]
    return "; " + ", ".join(told) if told else ""
