"""The pump in plain Python, on the event loop: for a few hundred calls, and where nothing can be compiled.

Every stream has its own instant within the 20 ms, so that sends are spread. A heap holds the next instant of each
stream. A stream's next instant is its last one plus 20 ms, not now plus 20 ms, so that delays do not add up.
When a stream's turn comes, `_serve` takes what waits at its ports, sends its next packet, and its RTCP report if due.
The pump moves packets and keeps time. `stream` makes and reads them. An error of one stream is noted in its report, and
the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import math
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from trunkproof.loadgen.media.arrival_clock import ArrivalClock
from trunkproof.loadgen.media.flow import MOST_AT_ONCE, MOST_CAUGHT_UP, Flow, Instants
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.media.sockets import SO_TIMESTAMPNS, Address, canonical
from trunkproof.loadgen.media.stream import GRACE_S, MediaStream
from trunkproof.loadgen.media.tap import MediaTap
from trunkproof.loadgen.media.terms import MediaTerms, Origin
from trunkproof.models.histogram import LogHistogram
from trunkproof.models.packets import PACKET_S

logger = logging.getLogger(__name__)

_MAX_DATAGRAM = 2048
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)


@dataclass(eq=False, slots=True)
class PlainFlow:
    """A stream with its sockets. It implements `Flow`."""

    stream: MediaStream
    rtp: socket.socket
    rtcp: socket.socket
    remote: Address | None = None
    remote_rtcp: Address | None = None
    before: tuple[Address | None, Address | None] = (None, None)
    """Both addresses before the last change."""
    before_until: float = -math.inf
    """Until when packets from there are accepted too."""
    found: Address | None = None
    """Another address from which the peer was heard last."""
    unsent: int = 0
    fault: str | None = None
    report: MediaReport | None = None
    tap: MediaTap | None = None

    @property
    def sent(self) -> int:
        """Return how many packets were sent so far."""
        return self.stream.sent

    def press(self, key: str) -> None:
        """Send a key in place of the next frames, or wait where it is a pause."""
        self.stream.press(key)


Slot = tuple[float, int, PlainFlow]


class PlainPump:
    """All streams of one party, on the running event loop. It implements `MediaPump`."""

    has_thread = False

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heap: list[Slot] = []
        self._count = 0
        self._instants = Instants()
        self._timer: asyncio.TimerHandle | None = None
        self._lateness_ms = LogHistogram()
        self._arrivals = ArrivalClock(time.monotonic(), time.time())

    def add(
        self, stream: MediaStream, rtp: socket.socket, rtcp: socket.socket, tap: MediaTap | None = None
    ) -> PlainFlow:
        """Serve bound, non-blocking sockets from now on."""
        flow = PlainFlow(stream, rtp, rtcp, tap=tap)
        # The count decides between equal instants, because flows cannot be compared.
        self._count += 1
        heapq.heappush(self._heap, (self._instants.first_after(self.now()), self._count, flow))
        self._arm()
        return flow

    def follow(self, flow: Flow, terms: MediaTerms, *, early: bool = False) -> None:
        """Run the stream as agreed from now on."""
        assert isinstance(flow, PlainFlow)
        if flow.report is not None:
            return
        remote = flow.remote if terms.remote is None else canonical(terms.remote)
        remote_rtcp = flow.remote_rtcp if terms.remote_rtcp is None else canonical(terms.remote_rtcp)
        now = self.now()
        with self._guarded(flow):
            # What came before the change belongs to what was agreed before.
            self._drain(flow, now)
        if (remote, remote_rtcp) != (flow.remote, flow.remote_rtcp) and flow.remote is not None:
            # The address that was heard, not the one that was only signalled.
            flow.before, flow.before_until = (flow.found or flow.remote, flow.remote_rtcp), now + GRACE_S
            flow.found = None
        flow.remote, flow.remote_rtcp = remote, remote_rtcp
        flow.stream.follow(terms, now, early=early)

    def answer(self, flow: Flow) -> None:
        """Take the call as answered from now on."""
        assert isinstance(flow, PlainFlow)
        flow.stream.answer(self.now())

    def remove(self, flow: Flow) -> MediaReport:
        """Take what still waits, send an RTCP BYE, close the sockets, and return the final report."""
        if flow.report is not None:
            return flow.report
        assert isinstance(flow, PlainFlow)
        now = self.now()
        with self._guarded(flow):
            # What came before the end belongs to the call, also where the pump has not read it yet.
            self._drain(flow, now)
            self._report(flow, now, bye=True)
        flow.rtp.close()
        flow.rtcp.close()
        flow.report = replace(flow.stream.report(now), unsent=flow.unsent, fault=flow.fault)
        return flow.report

    def close(self) -> None:
        """Stop, and remove every stream that is left."""
        for _, _, flow in self._heap:
            self.remove(flow)
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        return time.monotonic()

    @property
    def lateness_p99_ms(self) -> float:
        """Return the 99th percentile of how late frames were sent, in ms."""
        return self._lateness_ms.quantile(0.99) or 0.0

    def _arm(self) -> None:
        # The new stream may be due before the one that the timer was set for.
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._heap[0][0], self._tick) if self._heap else None

    def _tick(self) -> None:
        self._timer = None
        late: list[float] = []
        # Only what is due by now: a pump with more work than time would never return, and signalling would stop.
        horizon = self.now()
        self._arrivals.look(horizon, time.time())
        while self._heap and self._heap[0][0] <= horizon:
            now = self.now()
            due, number, flow = self._heap[0]
            # A removed stream stays in the heap until its turn, because a search for it would cost O(n).
            if flow.report is not None:
                heapq.heappop(self._heap)
                continue
            late.append(1000 * (now - due))
            with self._guarded(flow):
                self._serve(flow, now)
            heapq.heapreplace(self._heap, (self._next_due(flow, due, now), number, flow))
        self._lateness_ms.add(np.array(late))
        self._arm()

    @contextlib.contextmanager
    def _guarded(self, flow: PlainFlow) -> Iterator[None]:
        """Let an error end the audio of one stream only. It becomes a fault of its report."""
        try:
            yield
        except Exception as error:
            # Only the first one: a stream that fails each time must not fill the log.
            if flow.fault is None:
                logger.exception("a stream of audio failed")
                flow.fault = f"{type(error).__name__}: {error}"

    def _next_due(self, flow: PlainFlow, due: float, now: float) -> float:
        behind = int((now - due) / PACKET_S)
        # The frames that are late follow at once, in the same tick.
        if behind <= MOST_CAUGHT_UP:
            return due + PACKET_S
        flow.stream.give_up(behind)
        # Keep the stream's own instant within the 20 ms. From `now` on, all stalled streams would be in step.
        return due + (behind + 1) * PACKET_S

    def _serve(self, flow: PlainFlow, now: float) -> None:
        self._drain(flow, now)
        packet = flow.stream.next_packet()
        if packet is not None and flow.remote is not None:
            flow.stream.note_sent(self.now())
            flow.unsent += not _send(flow.rtp, packet, flow.remote)
            if flow.tap is not None:
                flow.tap.note(self.now(), flow.remote, packet, sent=True, rtcp=False)
        if now >= flow.stream.next_report:
            self._report(flow, now)

    def _report(self, flow: PlainFlow, now: float, *, bye: bool = False) -> None:
        report, to = flow.stream.next_rtcp(now, time.time(), bye=bye), flow.remote_rtcp
        if report is not None and to is not None:
            # A peer that takes both at one port expects both from one port (RFC 5761 section 5.1.1).
            muxed = to == flow.remote
            _send(flow.rtp if muxed else flow.rtcp, report, to)
            if flow.tap is not None:
                flow.tap.note(self.now(), to, report, sent=True, rtcp=not muxed)

    def _drain(self, flow: PlainFlow, now: float) -> None:
        for data, source, stamp in _waiting(flow.rtp):
            arrival = now if stamp is None else self._arrivals.arrival(stamp, now)
            if flow.tap is not None:
                flow.tap.note(arrival, source, data, sent=False, rtcp=False)
            origin = _origin(source, flow.remote, flow.before[0] if now < flow.before_until else None, flow.found)
            if flow.stream.receive(data, arrival, origin):
                flow.found = source
        for data, source, stamp in _waiting(flow.rtcp):
            arrival = now if stamp is None else self._arrivals.arrival(stamp, now)
            if flow.tap is not None:
                flow.tap.note(arrival, source, data, sent=False, rtcp=True)
            origin = _origin(source, flow.remote_rtcp, flow.before[1] if now < flow.before_until else None, None)
            flow.stream.receive_rtcp(data, arrival, origin)


def _origin(source: Address, remote: Address | None, before: Address | None, found: Address | None) -> Origin:
    # As long as no address is agreed, it may be anybody: what comes is only counted.
    if remote is None or source == remote:
        return Origin.AGREED
    if source == before:
        return Origin.BEFORE
    return Origin.FOUND if source == found else Origin.ELSEWHERE


def _send(sender: socket.socket, data: bytes, to: Address) -> bool:
    # A full socket buffer loses the packet, as a network might. That nobody listens yet (ICMP) is no error here: the
    # socket is not connected, as the peer may send from elsewhere.
    with contextlib.suppress(OSError):
        sender.sendto(data, to)
        return True
    return False


def _waiting(receiver: socket.socket) -> Iterator[tuple[bytes, Address, float | None]]:
    """Take what waits in a socket: each datagram with its sender and its time stamp."""
    # A peer that sends faster than we read must not keep us here.
    for _ in range(MOST_AT_ONCE):
        try:
            data, ancillary, _, source = receiver.recvmsg(_MAX_DATAGRAM, _ANCILLARY_BYTES)
        except OSError:
            return  # The socket is empty.
        yield data, source[:2], _kernel_time(ancillary)


def _kernel_time(ancillary: list[tuple[int, int, bytes]]) -> float | None:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            return float(seconds + nanoseconds * 1e-9)
    return None
