"""Sends and receives the audio of all calls of a process: one loop over raw UDP sockets beside the signalling.

Every stream has its own instant within the 20 ms, so that sends are spread; instants are absolute, so that no drift
adds up. It moves packets and keeps time; what is in them is `stream`'s.
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

from loadgen.media.rtp import FRAME_S
from loadgen.media.stream import MediaReport, MediaStream
from models.histogram import LogHistogram

_MAX_DATAGRAM = 2048
_SO_TIMESTAMPNS = 35
"""SO_TIMESTAMPNS of Linux, which the socket module does not name."""
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
_MOST_CAUGHT_UP = 5
"""After a stall longer than 100 ms the frames between are given up, as a real telephone's are."""

Address = tuple[str, int]
Slot = tuple[float, int, "Flow"]


@dataclass(eq=False, slots=True)
class Flow:
    """A stream with its sockets, as the pump runs it."""

    stream: MediaStream
    rtp: socket.socket
    rtcp: socket.socket
    remote: Address
    remote_rtcp: Address
    stray: int = 0
    """Packets from elsewhere than the agreed address, not looked at."""
    given_up: int = 0
    """Frames never sent, because the process stood still for too long."""
    report: MediaReport | None = None
    """The final one, once removed."""


class MediaPump:
    """All streams of one process, on the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heap: list[Slot] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._lateness_ms = LogHistogram()
        # Kernel time stamps are wall-clock time; streams live on the loop's clock.
        self._wall_to_loop = self._loop.time() - time.time()

    def add(
        self, stream: MediaStream, rtp: socket.socket, rtcp: socket.socket, remote: Address, remote_rtcp: Address
    ) -> Flow:
        """Run a stream over bound, non-blocking sockets, which are the pump's from now on."""
        flow = Flow(stream, rtp, rtcp, remote, remote_rtcp)
        self._count += 1
        heapq.heappush(self._heap, (self._loop.time(), self._count, flow))
        self._arm()
        return flow

    def remove(self, flow: Flow) -> MediaReport:
        """Take what is still waiting in the sockets, say goodbye, close them; the stream's final report.

        A stream that is removed already, by `close` for one, gives the same report again.
        """
        if flow.report is not None:
            return flow.report
        now = self._loop.time()
        self._drain(flow, now)
        with contextlib.suppress(OSError):
            flow.rtcp.sendto(flow.stream.next_rtcp(now, time.time(), bye=True), flow.remote_rtcp)
        flow.rtp.close()
        flow.rtcp.close()
        flow.report = replace(flow.stream.report(now), stray=flow.stray, given_up=flow.given_up)
        return flow.report

    def close(self) -> None:
        """Stop, and close the sockets of every stream that is left."""
        for _, _, flow in self._heap:
            self.remove(flow)
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()

    def now(self) -> float:
        """The clock that streams live on."""
        return self._loop.time()

    @property
    def lateness_p99_ms(self) -> float:
        """99 % of all frames left at most so long after their instant; 0 where none was sent."""
        return self._lateness_ms.quantile(0.99) or 0.0

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._heap[0][0], self._tick) if self._heap else None

    def _tick(self) -> None:
        self._timer = None
        late: list[float] = []
        # Only what is due by now: a pump with more work than time would never return, and signalling would stand still.
        horizon = self._loop.time()
        while self._heap and self._heap[0][0] <= horizon:
            now = self._loop.time()
            due, number, flow = self._heap[0]
            if flow.report is not None:
                heapq.heappop(self._heap)
                continue
            late.append(1000 * (now - due))
            self._serve(flow, now)
            heapq.heapreplace(self._heap, (self._next_due(flow, due, now), number, flow))
        self._lateness_ms.add(np.array(late))
        self._arm()

    def _next_due(self, flow: Flow, due: float, now: float) -> float:
        behind = int((now - due) / FRAME_S)
        if behind <= _MOST_CAUGHT_UP:
            return due + FRAME_S
        flow.given_up += behind
        return due + (behind + 1) * FRAME_S

    def _serve(self, flow: Flow, now: float) -> None:
        self._drain(flow, now)
        _send(flow.rtp, flow.stream.next_packet(), flow.remote)
        if now >= flow.stream.next_report:
            _send(flow.rtcp, flow.stream.next_rtcp(now, time.time()), flow.remote_rtcp)

    def _drain(self, flow: Flow, now: float) -> None:
        _receive_all(flow, flow.rtp, flow.remote, lambda data, wall: flow.stream.receive(data, self._at(wall, now)))
        _receive_all(flow, flow.rtcp, flow.remote_rtcp, lambda data, _: flow.stream.receive_rtcp(data))

    def _at(self, wall_s: float | None, now: float) -> float:
        return now if wall_s is None else wall_s + self._wall_to_loop


def _send(sender: socket.socket, data: bytes, to: Address) -> None:
    # A full socket buffer or an ICMP refusal loses the packet, as a network would; the far side's count tells.
    with contextlib.suppress(OSError):
        sender.sendto(data, to)


def _receive_all(
    flow: Flow, receiver: socket.socket, remote: Address, take: Callable[[bytes, float | None], None]
) -> None:
    while True:
        try:
            data, ancillary, _, source = receiver.recvmsg(_MAX_DATAGRAM, _ANCILLARY_BYTES)
        except OSError:
            return  # Empty, or an error such as ICMP's, which reading clears: the next tick goes on.
        if source != remote:
            flow.stray += 1
        else:
            take(data, _kernel_time(ancillary))


def _kernel_time(ancillary: list[tuple[int, int, bytes]]) -> float | None:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            return float(seconds + nanoseconds * 1e-9)
    return None


def bind_pair(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Bind the RTP port and the RTCP port above it, non-blocking and with kernel time stamps.

    Raises:
        OSError: one of them is taken.
    """
    rtp = _bound(address, port)
    try:
        return rtp, _bound(address, port + 1)
    except OSError:
        rtp.close()
        raise


def _bound(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made
