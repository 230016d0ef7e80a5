"""The pump in plain Python, on the event loop: for a few hundred calls, and where nothing can be compiled.

Every stream has its own instant within the 20 ms, so that sends are spread. A heap holds the next instant of each
stream. A stream's next instant is its last one plus 20 ms, not now plus 20 ms, so that delays do not add up.
When a stream's turn comes, `_serve` takes what waits at its ports, sends its next packet, and its RTCP report if due.
The pump moves packets and keeps time. `stream` makes and reads them.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from trunkproof.loadgen.media.flow import MOST_CAUGHT_UP, Flow, Instants
from trunkproof.loadgen.media.sockets import SO_TIMESTAMPNS, Address, connect
from trunkproof.loadgen.media.stream import MediaReport, MediaStream
from trunkproof.models.histogram import LogHistogram
from trunkproof.models.packets import PACKET_S

_MAX_DATAGRAM = 2048
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)


@dataclass(eq=False, slots=True)
class PlainFlow:
    """A stream with its sockets. It implements `Flow`."""

    stream: MediaStream
    rtp: socket.socket
    rtcp: socket.socket
    remote: Address
    remote_rtcp: Address
    stray: int = 0
    """Packets from another address than the agreed one. Nobody looked at them."""
    given_up: int = 0
    """Frames never sent, because the process stood still for too long."""
    report: MediaReport | None = None

    @property
    def sent(self) -> int:
        """Return how many frames were sent so far."""
        return self.stream.sent

    def press(self, digit: str) -> None:
        """Send a key in place of the next frames."""
        self.stream.press(digit)


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
        # Kernel time stamps are wall-clock time, but streams use the monotonic clock.
        self._wall_to_clock = time.monotonic() - time.time()

    def add(
        self, stream: MediaStream, rtp: socket.socket, rtcp: socket.socket, remote: Address, remote_rtcp: Address
    ) -> PlainFlow:
        """Run a fresh stream over bound, non-blocking sockets."""
        connect(rtp, remote)
        flow = PlainFlow(stream, rtp, rtcp, remote, remote_rtcp)
        # The count decides between equal instants, because flows cannot be compared.
        self._count += 1
        heapq.heappush(self._heap, (self._instants.first_after(self.now()), self._count, flow))
        self._arm()
        return flow

    def remove(self, flow: Flow) -> MediaReport:
        """Take what still waits, send an RTCP BYE, close the sockets, and return the final report."""
        if flow.report is not None:
            return flow.report
        assert isinstance(flow, PlainFlow)
        now = self.now()
        # What came before the end belongs to the call, also where the pump has not read it yet.
        self._drain(flow, now)
        _send(flow.rtcp, flow.stream.next_rtcp(now, time.time(), bye=True), flow.remote_rtcp)
        flow.rtp.close()
        flow.rtcp.close()
        flow.report = replace(flow.stream.report(now), stray=flow.stray, given_up=flow.given_up)
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
        while self._heap and self._heap[0][0] <= horizon:
            now = self.now()
            due, number, flow = self._heap[0]
            # A removed stream stays in the heap until its turn, because a search for it would cost O(n).
            if flow.report is not None:
                heapq.heappop(self._heap)
                continue
            late.append(1000 * (now - due))
            self._serve(flow, now)
            heapq.heapreplace(self._heap, (self._next_due(flow, due, now), number, flow))
        self._lateness_ms.add(np.array(late))
        self._arm()

    def _next_due(self, flow: PlainFlow, due: float, now: float) -> float:
        behind = int((now - due) / PACKET_S)
        # The frames that are late follow at once, in the same tick.
        if behind <= MOST_CAUGHT_UP:
            return due + PACKET_S
        flow.given_up += behind
        # Keep the stream's own instant within the 20 ms. From `now` on, all stalled streams would be in step.
        return due + (behind + 1) * PACKET_S

    def _serve(self, flow: PlainFlow, now: float) -> None:
        self._drain(flow, now)
        _send(flow.rtp, flow.stream.next_packet(), flow.remote)
        if now >= flow.stream.next_report:
            _send(flow.rtcp, flow.stream.next_rtcp(now, time.time()), flow.remote_rtcp)

    def _drain(self, flow: PlainFlow, now: float) -> None:
        def receive(data: bytes, wall_s: float | None) -> None:
            flow.stream.receive(data, now if wall_s is None else wall_s + self._wall_to_clock)

        _receive_all(flow, flow.rtp, flow.remote, receive)
        _receive_all(flow, flow.rtcp, flow.remote_rtcp, lambda data, _: flow.stream.receive_rtcp(data))


def _send(sender: socket.socket, data: bytes, to: Address) -> None:
    # A full socket buffer or an ICMP refusal loses the packet, as a network might. The far side counts the loss.
    with contextlib.suppress(OSError):
        sender.sendto(data, to)


def _receive_all(
    flow: PlainFlow, receiver: socket.socket, remote: Address, take: Callable[[bytes, float | None], None]
) -> None:
    while True:
        try:
            data, ancillary, _, source = receiver.recvmsg(_MAX_DATAGRAM, _ANCILLARY_BYTES)
        except OSError:
            return  # The socket is empty, or had an ICMP error, which this read has cleared: the next tick goes on.
        # The socket is connected, but what came before the connecting is still in it, whoever sent it.
        if source != remote:
            flow.stray += 1
        else:
            take(data, _kernel_time(ancillary))


def _kernel_time(ancillary: list[tuple[int, int, bytes]]) -> float | None:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            return float(seconds + nanoseconds * 1e-9)
    return None
