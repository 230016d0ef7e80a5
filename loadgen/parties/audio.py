"""One side's audio of one call, from its ports and key to the verdict on what was heard.

It joins SDP (what is agreed), the media stream (what is sent and heard) and the pump (when); callers and answerers use
it alike. Keys are drawn here, used once, and never logged.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from trunkproof.loadgen.media.flow import Flow
from trunkproof.loadgen.media.pump import make_pump
from trunkproof.loadgen.media.sockets import Address, bind_pair, raise_descriptor_limit
from trunkproof.loadgen.media.srtp import Cipher, PlainCipher, SrtpCipher
from trunkproof.loadgen.media.stream import MediaReport, MediaStream
from trunkproof.loadgen.media.voiceprint import Side
from trunkproof.loadgen.sip.offer_answer import Capability, SdpFault, negotiate
from trunkproof.loadgen.sip.sdes import KEY_BYTES
from trunkproof.loadgen.sip.sdp import Codec, SessionDescription
from trunkproof.loadgen.system.ports import customer_ports
from trunkproof.models.errors import TrunkproofError
from trunkproof.models.plan import PlanRow
from trunkproof.models.records import Direction, Record
from trunkproof.models.study import Study, Trunk

LONGEST_SILENCE_S = 2.0
"""Without a packet for longer, a call has failed to its users: people ask "are you still there?" after about this
long.
"""
FEWEST_TO_JUDGE = 20
"""Packets, 400 ms: in a call shorter than that the other side's first may still be on its way. Voice that takes longer
is not acceptable (ITU-T G.114); a trunk short of CPU may well take as long.
"""


class NoPortError(TrunkproofError):
    """No port pair of this machine is free."""


@dataclass(slots=True)
class Heard:
    """Packets that one side received on all its calls where SRTP was agreed, and how many of them were authentic."""

    received: int = 0
    authenticated: int = 0

    def add(self, report: MediaReport) -> None:
        """Count one more call's."""
        self.received += report.received
        self.authenticated += report.authenticated + report.replayed


class Audio:
    """The audio of one call on one side: bound ports and a key of its own, then a stream, then a report."""

    def __init__(
        self, factory: AudioFactory, sockets: tuple[socket.socket, socket.socket], row: PlanRow, trunk: Trunk
    ) -> None:
        self._factory = factory
        self._sockets: tuple[socket.socket, socket.socket] | None = sockets
        self._row, self._trunk = row, trunk
        self._flow: Flow | None = None
        self.address = factory.address
        self.port: int = sockets[0].getsockname()[1]
        self.key = None if factory.plain else os.urandom(KEY_BYTES)
        """Ours for this call; `None` where audio is plain RTP."""
        self.report = MediaReport()
        """What was heard, once stopped."""

    def answer(self, offer: SessionDescription) -> SessionDescription | SdpFault:
        """Our answer to an offer, or why there is none."""
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
        )

    def start(self, ours: SessionDescription, theirs: SessionDescription) -> None:
        """Send and hear as agreed: `ours` and `theirs` are offer and answer, or answer and offer.

        Raises:
            GuardError: the peer wants our audio where none may be sent.
        """
        remote = self._factory.check_media(theirs.address)
        # What both name is what is sent: the answer's first codec.
        codec = next(codec for codec in theirs.codecs if codec in ours.codecs)
        event = theirs.telephone_event
        stream = MediaStream(
            self._cipher(theirs),
            row=self._row.row,
            side=self._factory.side_in(self._row),
            payload_type=codec.payload_type,
            event_type=event.payload_type if event is not None else None,
            dice=self._factory.dice,
            now=self._factory.pump.now(),
        )
        self._run(stream, (remote, theirs.port), (remote, theirs.effective_rtcp_port))

    def _cipher(self, theirs: SessionDescription) -> Cipher:
        if self.key is None:
            return PlainCipher()
        crypto = theirs.crypto[0]
        return SrtpCipher(self.key, crypto.key, crypto.suite)

    def _run(self, stream: MediaStream, rtp: Address, rtcp: Address) -> None:
        if self._sockets is None:
            raise RuntimeError("audio was started twice")
        sockets, self._sockets = self._sockets, None
        self._flow = self._factory.pump.add(stream, *sockets, rtp, rtcp)

    def stop(self) -> None:
        """Stop sending and hearing; `report` has the result. Does nothing where nothing was started."""
        if self._flow is not None:
            self.report = self._factory.pump.remove(self._flow)
            self._flow = None
            if self.key is not None:
                self._factory.heard.add(self.report)

    def close(self) -> None:
        """Stop, and give the ports back."""
        self.stop()
        if self._sockets is not None:
            for bound in self._sockets:
                bound.close()
            self._sockets = None


class AudioFactory:
    """Where one party's calls get their audio: an address, the study's codecs and suites, and a pump for all of
    them.
    """

    def __init__(
        self,
        address: str,
        study: Study,
        *,
        at_trunk: bool,
        check_media: Callable[[str], str],
        plain: bool = False,
        ports: tuple[int, int] | None = None,
    ) -> None:
        """`plain`: RTP in the clear, as behind an edge that encrypts for us; `ports`: those of `open`, if not all."""
        self.address = address
        self.plain = plain
        self.check_media = check_media
        self.pump = make_pump()
        raise_descriptor_limit()
        self.heard = Heard()
        self.dice = random.Random()
        self._study = study
        self._at_trunk = at_trunk
        self._ports = ports or customer_ports()
        self._next_port = self._ports[0]

    @property
    def lateness_p99_ms(self) -> float:
        """How late this party's packets were sent."""
        return self.pump.lateness_p99_ms

    @property
    def cpu_clock(self) -> Callable[[], float]:
        """Of the CPU time that signalling must share: the process's, or its thread's where audio has its own."""
        return time.thread_time if self.pump.has_thread else time.process_time

    def side_in(self, row: PlanRow) -> Side:
        """Whether this party is the caller or the called one."""
        calls = (row.direction is Direction.INBOUND) == self._at_trunk
        return Side.CALLER if calls else Side.CALLED

    def open(self, row: PlanRow) -> Audio:
        """Audio on any free pair of this machine.

        Raises:
            NoPortError: none is free.
        """
        low, high = self._ports
        for _ in range(low, high, 2):
            port = self._next_port
            self._next_port = port + 2 if port + 2 < high else low
            try:
                return self._audio(port, row)
            except OSError as error:
                _check_descriptors(error)
        raise NoPortError(f"no free UDP port pair between {low} and {high} on {self.address}")

    def open_on(self, port: int, instead: Callable[[int], int | None], row: PlanRow) -> tuple[Audio, int]:
        """Audio on a port of the trunk's pool; `instead` names another one for a port that turns out to be taken.

        Raises:
            NoPortError: there is no other one.
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

    def close(self) -> None:
        """Close what is left."""
        self.pump.close()


def _check_descriptors(error: OSError) -> None:
    """Whether a port could not be had because it is taken, or because nothing can be opened any more."""
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        raise NoPortError(
            f"this process may have {raise_descriptor_limit()} files open at once, and a call takes two sockets on "
            "each side: raise the hard limit (ulimit -Hn)"
        ) from error


def codecs_of(trunk: Trunk) -> tuple[Codec, ...]:
    """A trunk's codecs, in its order of preference."""
    return tuple(Codec[name] for name in trunk.codecs)


def note_media(record: Record, report: MediaReport) -> None:
    """Copy what was heard into the record of its call."""
    record.rtp_sent, record.rtp_received = report.sent, report.received
    record.rtp_authenticated, record.rtp_failed = report.authenticated + report.replayed, report.failed
    record.rtp_lost, record.rtp_late = report.lost, report.late
    record.rtp_duplicate, record.rtp_reordered = report.duplicate + report.replayed, report.reordered
    record.rtp_foreign = report.foreign
    record.silence_s = report.silence_s
    if report.authenticated:
        record.jitter_ms, record.mos = report.jitter_ms, report.mos


def media_fault(report: MediaReport) -> str | None:
    """Why a call's audio was not what was agreed; `None` where it was."""
    if report.plain:
        return f"{report.plain} packets came as plain RTP where SRTP was agreed"
    if report.failed:
        return f"{report.failed} of {report.received} packets were not authentic: wrong key or changed on the way"
    if report.foreign:
        return f"{report.foreign} packets carried another call's audio (cross-talk)"
    if report.sent >= FEWEST_TO_JUDGE and not report.received:
        return "no audio came back (one-way audio)"
    if report.silence_s > LONGEST_SILENCE_S:
        return f"no audio came back for {report.silence_s:.1f} s"
    return None
