"""The compiled pump as Python sees it: it fills the records of streams, and reads the reports from them.

Its thread runs `loop.run` from the first stream to `close`, and Python never waits for it longer than one packet takes.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from trunkproof.loadgen.media.compiled.c import OPENSSL, functions
from trunkproof.loadgen.media.compiled.loop import AHEAD, FRAME_NS, INSTANT_NS, enter, leave, run
from trunkproof.loadgen.media.compiled.memory import DUE, INSTANTS, SLOT, TURN, Record, Records, new_control, new_work
from trunkproof.loadgen.media.compiled.priority import take_short_turns
from trunkproof.loadgen.media.compiled.records import describe, encrypts_as_libsrtp, report_of, reset, set_keys
from trunkproof.loadgen.media.compiled.speak import press
from trunkproof.loadgen.media.flow import Flow, Instants
from trunkproof.loadgen.media.rtp import DIGITS
from trunkproof.loadgen.media.sockets import Address, connect
from trunkproof.loadgen.media.stream import MediaReport, MediaStream, check_key
from trunkproof.models.errors import TrunkproofError
from trunkproof.models.histogram import LogHistogram

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
        """Frames sent so far."""
        return int(self.slot["sent"]) if self.report is None else self.report.sent

    def press(self, digit: str) -> None:
        """Send a digit as a telephone-event."""
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
        self._slots, self._turns = np.zeros(most_streams, SLOT), np.zeros((most_streams, INSTANTS), TURN)
        self._work = new_work()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Kernel time stamps are wall-clock time; streams live on the monotonic clock.
        self._control = new_control(self._wake_fd, time.monotonic() - time.time(), random.randrange(FRAME_NS))
        self._control["slots_at"] = self._slots.ctypes.data
        self._flows: dict[int, CompiledFlow] = {}
        self._left: deque[tuple[int, int]] = deque()
        self._instants = Instants()
        self._thread = threading.Thread(
            target=run,
            args=(
                self._c,
                self._control[0],
                self._turns.ravel(),
                self._slots,
                np.zeros(most_streams + AHEAD, DUE),
                new_work()[0],
            ),
            name="media pump",
            daemon=True,
        )
        self._stop = weakref.finalize(self, _stop, self._thread, self._control, self._wake_fd)

    def add(
        self, stream: MediaStream, rtp: socket.socket, rtcp: socket.socket, remote: Address, remote_rtcp: Address
    ) -> CompiledFlow:
        """Run a fresh stream over bound sockets, which are the pump's from now on.

        Raises:
            NoRoomError: there is no record for it.
        """
        number = self._free_number()
        reset(self._slots, number)
        slot = self._slots[number]
        describe(slot, stream, rtp, rtcp, remote, remote_rtcp)
        set_keys(self._c, slot, self._work[0], stream.cipher)
        if connect(rtp, remote):
            slot["rtp_to"] = 0
        flow = CompiledFlow(stream, rtp, rtcp, number, slot, self._c)
        self._flows[number] = flow
        enter(self._c, self._control[0], self._turns.ravel(), slot, number, self._free_turn(slot))
        self._wake()
        return flow

    def _free_number(self) -> int:
        """Of a record that the pump can have nothing to do with: it has begun a pass since its stream left."""
        if self._left and self._left[0][1] < self._control[0]["passes"]:
            return self._left.popleft()[0]
        number = len(self._flows) + len(self._left)
        if number == len(self._slots):
            raise NoRoomError(f"a media pump has room for {number} streams")
        return number

    def _free_turn(self, slot: Record) -> int:
        """For a stream that has its first turn at any instant within the next 20 ms."""
        origin_ns = int(self._control[0]["origin_ns"])
        instant = (int(self._instants.first_after(self.now()) * 1e9) - origin_ns) // INSTANT_NS + 1
        slot["due_ns"] = instant * INSTANT_NS + origin_ns
        column = instant % INSTANTS
        rows = int(self._control[0]["rows"]) + 1
        return int(np.argmin(self._turns[:rows, column] != 0)) * INSTANTS + column

    def _wake(self) -> None:
        if self._thread.ident is None:
            self._thread.start()
            take_short_turns(self._thread.native_id or 0)
        os.eventfd_write(self._wake_fd, 1)

    def remove(self, flow: Flow) -> MediaReport:
        """Stop a stream, and return its final report."""
        if flow.report is not None:
            return flow.report
        assert isinstance(flow, CompiledFlow)
        leave(self._c, self._control[0], self._turns.ravel(), flow.slot, self._work[0])
        flow.report = report_of(flow.slot, flow.stream, self.now())
        flow.rtp.close()
        flow.rtcp.close()
        del self._flows[flow.number]
        self._left.append((flow.number, int(self._control[0]["passes"])))
        self._wake()
        return flow.report

    def close(self) -> None:
        """Stop, and close the sockets of every stream that is left."""
        for flow in list(self._flows.values()):
            self.remove(flow)
        self._stop()

    def now(self) -> float:
        """The clock that streams live on: the machine's monotonic one."""
        return time.monotonic()

    @property
    def lateness_p99_ms(self) -> float:
        """99 % of all frames left at most so long after their instant."""
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
    c, slots, control, work = functions(), np.zeros(1, SLOT), new_control(-1, 0.0, 0), new_work()
    slot, turns = slots[0], np.zeros(INSTANTS, TURN)
    reset(slots, 0)
    if not encrypts_as_libsrtp(c, slot, work[0]):
        for name in OPENSSL:
            c[name] = 0
    press(c, slot, 0)
    enter(c, control[0], turns, slot, 0, 0)
    leave(c, control[0], turns, slot, work[0])
    control["stop"] = 1
    run(c, control[0], turns, slots, np.zeros(1 + AHEAD, DUE), work[0])
    return c
