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
from collections.abc import Callable
from dataclasses import dataclass

from trunkproof.loadgen.media.flow import Flow
from trunkproof.loadgen.media.pump import make_pump
from trunkproof.loadgen.media.sockets import bind_pair, raise_descriptor_limit
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
"""A call without a packet for longer has failed: after about this long people ask "are you still there?"."""
FEWEST_TO_JUDGE = 20
"""Judge one-way audio only from this many packets sent (400 ms).

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

    def add(self, report: MediaReport) -> None:
        """Add the packets of one more call."""
        self.received += report.received
        # A replayed packet was authentic when it was first sent: its key is right.
        self.authenticated += report.authenticated + report.replayed


class Audio:
    """The audio of one call on one side. It has bound ports and a key first, then a stream, and a report at the end."""

    def __init__(
        self, factory: AudioFactory, sockets: tuple[socket.socket, socket.socket], row: PlanRow, trunk: Trunk
    ) -> None:
        self._factory = factory
        self._sockets: tuple[socket.socket, socket.socket] | None = sockets
        self._row, self._trunk = row, trunk
        self._flow: Flow | None = None
        self.address = factory.address
        self.port: int = sockets[0].getsockname()[1]
        # Not from `random_source`: with the same key twice, two calls would be encrypted with the same key stream.
        self.key = None if factory.plain else os.urandom(KEY_BYTES)
        """Our SRTP key for this call. None for plain RTP."""
        self.report = MediaReport()
        """What was heard. It is empty until the audio is stopped."""

    def answer(self, offer: SessionDescription) -> SessionDescription | SdpFault:
        """Return our answer to an offer, or the fault that prevents one."""
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
        """Start to send and receive audio. Of `ours` and `theirs` one is the offer and the other the answer.

        Raises:
            GuardError: the peer asks for audio at an address that may get none.
        """
        # Before anything is sent: SDP of a peer must not make us send audio to a stranger.
        remote = self._factory.check_media(theirs.address)
        # The first codec that both name is the one that is sent.
        codec = next(codec for codec in theirs.codecs if codec in ours.codecs)
        event = theirs.telephone_event
        stream = MediaStream(
            self._cipher(theirs),
            row=self._row.row,
            side=self._factory.side_in(self._row),
            payload_type=codec.payload_type,
            event_type=event.payload_type if event is not None else None,
            random_source=self._factory.random_source,
            now=self._factory.pump.now(),
        )
        if self._sockets is None:
            raise RuntimeError("audio was started twice")
        rtp, rtcp = (remote, theirs.port), (remote, theirs.effective_rtcp_port)
        self._flow = self._factory.pump.add(stream, *self._sockets, rtp, rtcp)
        # From here on the pump owns the sockets and closes them. Where it did not take them, we still do.
        self._sockets = None

    def _cipher(self, theirs: SessionDescription) -> Cipher:
        if self.key is None:
            return PlainCipher()
        crypto = theirs.crypto[0]
        return SrtpCipher(self.key, crypto.key, crypto.suite)

    def stop(self) -> None:
        """Stop sending and receiving, and set `report`. Do nothing where nothing was started."""
        if self._flow is not None:
            self.report = self._factory.pump.remove(self._flow)
            self._flow = None
            # Plain RTP has no authentic packets to count.
            if self.key is not None:
                self._factory.heard.add(self.report)

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
        plain: bool = False,
        ports: tuple[int, int] | None = None,
    ) -> None:
        """Make the factory of one party.

        Args:
            address: the local address of all audio.
            study: gives codecs and suites.
            at_trunk: whether this party is on the trunk's side.
            check_media: returns the address to send to, or raises GuardError.
            plain: plain RTP, as behind an edge that encrypts for us.
            ports: the range that `open` takes ports from. None: the customers' whole range.
        """
        self.address = address
        self.plain = plain
        self.check_media = check_media
        self.pump = make_pump()
        # The usual soft limit of 1024 files ends at about 500 calls, because each takes two sockets here.
        raise_descriptor_limit()
        self.heard = Heard()
        self.random_source = random.Random()
        self._study = study
        self._at_trunk = at_trunk
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
        calls = (row.direction is Direction.INBOUND) == self._at_trunk
        return Side.CALLER if calls else Side.CALLED

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
            NoPortError: there is no other port.
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
        """Stop the pump, with all audio that is left."""
        self.pump.close()


def _check_descriptors(error: OSError) -> None:
    """Raise NoPortError where the socket failed for want of file descriptors, and not because the port is in use."""
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        raise NoPortError(
            f"this process may have {raise_descriptor_limit()} files open at once, and a call takes two sockets on "
            "each side: raise the hard limit (ulimit -Hn)"
        ) from error


def codecs_of(trunk: Trunk) -> tuple[Codec, ...]:
    """Return a trunk's codecs, in its order of preference."""
    return tuple(Codec[name] for name in trunk.codecs)


def note_media(record: Record, report: MediaReport) -> None:
    """Copy what was heard into the record of its call."""
    record.rtp_sent, record.rtp_received = report.sent, report.received
    record.rtp_authenticated, record.rtp_failed = report.authenticated + report.replayed, report.failed
    record.rtp_lost, record.rtp_late = report.lost, report.late
    record.rtp_duplicate, record.rtp_reordered = report.duplicate + report.replayed, report.reordered
    record.rtp_foreign = report.foreign
    record.silence_s = report.silence_s
    # Without a packet there is nothing to compute jitter and MOS from, and 0.0 would look like a perfect call.
    if report.authenticated:
        record.jitter_ms, record.mos = report.jitter_ms, report.mos


def media_fault(report: MediaReport) -> str | None:
    """Return why a call's audio was not as agreed, or None where it was."""
    # The most telling fault first: those below may follow from it.
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
