"""The compiled pump as Python sees it: it fills the records of streams, and reads the reports from them.

Its thread runs `loop.run` from the first stream to `close`, and Python never waits for it longer than one packet takes.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from loadgen.media.compiled.c import functions
from loadgen.media.compiled.loop import leave, post, run
from loadgen.media.compiled.memory import DUE, FREE, RUNNING, SLOT, Record, Records, new_control, new_work
from loadgen.media.compiled.records import describe, report_of, reset
from loadgen.media.compiled.speak import press
from loadgen.media.flow import Flow, Instants
from loadgen.media.rtp import DIGITS
from loadgen.media.sockets import Address
from loadgen.media.stream import MediaReport, MediaStream, check_key
from models.errors import TrunkproofError
from models.histogram import LogHistogram

MOST_STREAMS = 16_384
"""Of one pump: more than the ports of an address are enough for. Memory is used only as streams come."""


class NoRoomError(TrunkproofError):
    """The pump has as many streams as it can have."""


@dataclass(eq=False, slots=True)
class CompiledFlow:
    """A stream with its sockets and its record. It is a `Flow`."""

    stream: MediaStream
    """Its settings and keys; its counts are in the record."""
    rtp: socket.socket
    rtcp: socket.socket
    number: int
    slot: Record
    c: Record
    report: MediaReport | None = None

    @property
    def sent(self) -> int:
        """See `Flow`."""
        return int(self.slot["sent"]) if self.report is None else self.report.sent

    def press(self, digit: str) -> None:
        """See `Flow`."""
        check_key(digit, int(self.slot["pressed_count"]))
        if self.stream.event_type is not None and self.report is None:
            press(self.c, self.slot, DIGITS.index(digit))


class CompiledPump:
    """All streams of one party, in a thread of their own. It is a `MediaPump`, and itself for one thread only."""

    has_thread = True

    def __init__(self, most_streams: int = MOST_STREAMS) -> None:
        """Compile what is not compiled yet, which takes seconds once and milliseconds ever after.

        Raises:
            NoSuchFunctionError: this machine has not what it takes.
        """
        self._c = _ready()
        self._slots = np.zeros(most_streams, SLOT)
        self._inbox = np.zeros(most_streams, DUE)
        self._work = new_work()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Kernel time stamps are wall-clock time; streams live on the monotonic clock.
        self._control = new_control(self._wake_fd, time.monotonic() - time.time())
        self._flows: dict[int, CompiledFlow] = {}
        self._used = 0
        self._left: deque[int] = deque()
        self._instants = Instants()
        self._thread = threading.Thread(
            target=run,
            args=(self._c, self._control[0], self._slots, np.zeros(most_streams, DUE), self._inbox, new_work()[0]),
            name="media pump",
            daemon=True,
        )
        self._stop = weakref.finalize(self, _stop, self._thread, self._control, self._wake_fd)

    def add(
        self, stream: MediaStream, rtp: socket.socket, rtcp: socket.socket, remote: Address, remote_rtcp: Address
    ) -> CompiledFlow:
        """See `MediaPump`.

        Raises:
            NoRoomError: there is no record for it.
        """
        number = self._free_number()
        slot = self._slots[number]
        reset(self._slots, number)
        describe(slot, stream, rtp, rtcp, remote, remote_rtcp)
        flow = CompiledFlow(stream, rtp, rtcp, number, slot, self._c)
        self._flows[number] = flow
        slot["state"] = RUNNING
        post(self._c, self._control[0], self._inbox, number, int(self._instants.first_after(self.now()) * 1e9))
        self._wake()
        return flow

    def _free_number(self) -> int:
        if self._left and self._slots[self._left[0]]["state"] == FREE:
            return self._left.popleft()
        if self._used == len(self._slots):
            raise NoRoomError(f"a media pump has room for {self._used} streams")
        self._used += 1
        return self._used - 1

    def _wake(self) -> None:
        if self._thread.ident is None:
            self._thread.start()
        os.eventfd_write(self._wake_fd, 1)

    def remove(self, flow: Flow) -> MediaReport:
        """See `MediaPump`."""
        if flow.report is not None:
            return flow.report
        assert isinstance(flow, CompiledFlow)
        leave(self._c, self._control[0], flow.slot, self._work[0])
        flow.report = report_of(flow.slot, flow.stream, self.now())
        flow.rtp.close()
        flow.rtcp.close()
        del self._flows[flow.number]
        self._left.append(flow.number)
        return flow.report

    def close(self) -> None:
        """See `MediaPump`."""
        for flow in list(self._flows.values()):
            self.remove(flow)
        self._stop()

    def now(self) -> float:
        """See `MediaPump`."""
        return time.monotonic()

    @property
    def lateness_p99_ms(self) -> float:
        """See `MediaPump`."""
        control = self._control[0]
        lateness = LogHistogram.of(
            control["lateness"], float(control["lateness_total_ms"]), float(control["lateness_most_ms"])
        )
        return lateness.quantile(0.99) or 0.0


def _stop(thread: threading.Thread, control: Records, wake_fd: int) -> None:
    control["stop"] = 1
    if thread.ident is not None:
        os.eventfd_write(wake_fd, 1)
        thread.join()
    os.close(wake_fd)


@lru_cache
def _ready() -> Any:
    """The C functions, once all compiled code has been made or loaded: each part is called once, with nothing to do."""
    c, slots, control, work = functions(), np.zeros(1, SLOT), new_control(-1, 0.0), new_work()
    queue = np.zeros(1, DUE)
    reset(slots, 0)
    press(c, slots[0], 0)
    leave(c, control[0], slots[0], work[0])
    post(c, control[0], queue, 0, 0)
    control["stop"], control["posted"] = 1, 0
    run(c, control[0], slots, queue, queue, work[0])
    return c
