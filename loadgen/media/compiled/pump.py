"""The compiled pump as Python sees it: it fills the records of streams, and reads the reports from them.

Its thread runs `loop.run` from the first stream until `close`. Python waits for it only on the lock of one stream, and
never longer than one packet takes.
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
from trunkproof.loadgen.media.compiled.loop import AHEAD, FRAME_NS, INSTANT_NS, answer, enter, follow, leave, run
from trunkproof.loadgen.media.compiled.memory import (
    DUE,
    INSTANTS,
    NEVER,
    SLOT,
    TURN,
    Record,
    Records,
    new_control,
    new_terms,
    new_work,
)
from trunkproof.loadgen.media.compiled.priority import take_short_turns
from trunkproof.loadgen.media.compiled.records import describe, encrypts_as_libsrtp, report_of, reset, write_terms
from trunkproof.loadgen.media.compiled.speak import press
from trunkproof.loadgen.media.compiled.tapping import attach, detach, keep
from trunkproof.loadgen.media.flow import Flow, Instants
from trunkproof.loadgen.media.g711 import Octets
from trunkproof.loadgen.media.keys import PRESSABLE, check_key
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.media.srtp import Cipher
from trunkproof.loadgen.media.stream import MediaStream
from trunkproof.loadgen.media.tap import MediaTap
from trunkproof.loadgen.media.terms import MediaTerms
from trunkproof.models.errors import TrunkproofError
from trunkproof.models.histogram import LogHistogram

MOST_STREAMS = 16_384
"""The most streams of one pump. One address has too few ports for so many. Memory is used only as streams come."""


class NoRoomError(TrunkproofError):
    """The pump has no room for another stream."""


@dataclass(eq=False, slots=True)
class CompiledFlow:
    """A stream with its sockets and its record. It implements `Flow`."""

    stream: MediaStream
    """How the stream begins. Everything else is in the record."""
    rtp: socket.socket
    rtcp: socket.socket
    number: int
    slot: Record
    c: Record
    cipher: Cipher | None = None
    older: Cipher | None = None
    """The cipher of now and the one of before. Compiled code has addresses into both."""
    payloads: Octets | None = None
    """What is said again and again. Compiled code has its address."""
    report: MediaReport | None = None
    tap: MediaTap | None = None

    @property
    def sent(self) -> int:
        """Return how many frames were sent so far."""
        return int(self.slot["sent"]) if self.report is None else self.report.sent

    def press(self, key: str) -> None:
        """Send a key in place of the next frames, or wait where it is a pause."""
        check_key(key, int(self.slot["pressed_count"]))
        if int(self.slot["event_type"]) != NEVER and self.report is None:
            press(self.c, self.slot, PRESSABLE.index(key))


class CompiledPump:
    """All streams of one party, in a thread of their own. It implements `MediaPump`. Only one thread may call it."""

    has_thread = True

    def __init__(self, most_streams: int = MOST_STREAMS) -> None:
        """Compile what is not compiled yet. That takes seconds the first time, and milliseconds later.

        Raises:
            NoSuchFunctionError: this machine lacks a C function that the pump needs.
        """
        self._c = _ready()
        self._slots, self._turns = np.zeros(most_streams, SLOT), np.zeros((most_streams, INSTANTS), TURN)
        self._work, self._terms = new_work(), new_terms()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Kernel time stamps are wall-clock time, but streams use the monotonic clock.
        self._control = new_control(self._wake_fd, time.monotonic() - time.time(), random.randrange(FRAME_NS))
        self._control["slots_at"] = self._slots.ctypes.data
        self._flows: dict[int, CompiledFlow] = {}
        self._left: deque[tuple[int, int]] = deque()
        self._instants = Instants()
        # Not started yet: a pump without streams costs no thread. `_wake` starts it.
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
        # Ends the thread also where nobody calls `close`: when the pump is collected, or the interpreter ends.
        self._stop = weakref.finalize(self, _stop, self._thread, self._control, self._wake_fd)

    def add(
        self, stream: MediaStream, rtp: socket.socket, rtcp: socket.socket, tap: MediaTap | None = None
    ) -> CompiledFlow:
        """Serve bound, non-blocking sockets from now on.

        Raises:
            NoRoomError: the pump has no free record.
        """
        number = self._free_number()
        # The record still has the counts and keys of the stream before it.
        reset(self._slots, number)
        slot = self._slots[number]
        describe(slot, stream, rtp, rtcp)
        flow = CompiledFlow(stream, rtp, rtcp, number, slot, self._c, tap=tap)
        if tap is not None:
            attach(slot, tap)
        self._flows[number] = flow
        # Last: from here on the other thread reads the record.
        enter(self._c, self._control[0], self._turns.ravel(), slot, number, self._free_turn(slot))
        self._wake()
        return flow

    def follow(self, flow: Flow, terms: MediaTerms, *, early: bool = False) -> None:
        """Run the stream as agreed from now on."""
        assert isinstance(flow, CompiledFlow)
        if flow.report is not None:
            return
        # The pump's thread waits for no Python code: all is made ready first, and then copied at once.
        payloads = flow.stream.payloads(terms.law_sent)
        write_terms(self._c, self._terms[0], self._work[0], terms, flow.cipher, payloads, early=early)
        follow(self._c, self._control[0], flow.slot, self._terms[0], self._work[0], self.now())
        if flow.cipher is not None and flow.cipher.hears_with != terms.cipher.hears_with:
            flow.older = flow.cipher
        # Only now: until then the pump's thread read the payloads of before.
        flow.cipher, flow.payloads = terms.cipher, payloads

    def answer(self, flow: Flow) -> None:
        """Take the call as answered from now on."""
        assert isinstance(flow, CompiledFlow)
        if flow.report is None:
            answer(self._c, flow.slot, self.now())

    def _free_number(self) -> int:
        """Return the number of a record that is free.

        A record of a stream that left is free once the pump has begun another pass: until then it may be in `due`.
        """
        # The oldest first: if even that one is not free yet, no other is.
        if self._left and self._left[0][1] < self._control[0]["passes"]:
            return self._left.popleft()[0]
        number = len(self._flows) + len(self._left)
        if number == len(self._slots):
            raise NoRoomError(f"a media pump has room for {number} streams, and all places are taken")
        return number

    def _free_turn(self, slot: Record) -> int:
        """Return a free turn at a random instant within the next 20 ms, and note in the record when it is due."""
        origin_ns = int(self._control[0]["origin_ns"])
        instant = (int(self._instants.first_after(self.now()) * 1e9) - origin_ns) // INSTANT_NS + 1
        slot["due_ns"] = instant * INSTANT_NS + origin_ns
        column = instant % INSTANTS
        # One row more than is in use always has a free place in this column.
        rows = int(self._control[0]["rows"]) + 1
        return int(np.argmin(self._turns[:rows, column] != 0)) * INSTANTS + column

    def _wake(self) -> None:
        if self._thread.ident is None:
            self._thread.start()
            take_short_turns(self._thread.native_id or 0)
        os.eventfd_write(self._wake_fd, 1)

    def remove(self, flow: Flow) -> MediaReport:
        """Take what still waits, send an RTCP BYE, close the sockets, and return the final report."""
        if flow.report is not None:
            return flow.report
        assert isinstance(flow, CompiledFlow)
        leave(self._c, self._control[0], self._turns.ravel(), flow.slot, self._work[0])
        flow.report = report_of(flow.slot, self.now())
        if flow.tap is not None:
            detach(flow.slot, flow.tap)
        # After `leave`: a closed number may be given to another socket at once, and the pump would read from that.
        flow.rtp.close()
        flow.rtcp.close()
        del self._flows[flow.number]
        # With the number of the pass: only after the next one has begun may the record be used again.
        self._left.append((flow.number, int(self._control[0]["passes"])))
        self._wake()
        return flow.report

    def close(self) -> None:
        """Remove every stream that is left, and end the thread."""
        for flow in list(self._flows.values()):
            self.remove(flow)
        self._stop()

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        return time.monotonic()

    @property
    def lateness_p99_ms(self) -> float:
        """Return the 99th percentile of how late frames were sent, in ms."""
        control = self._control[0]
        lateness = LogHistogram.of(
            control["lateness"], float(control["lateness_total_ms"]), float(control["lateness_most_ms"])
        )
        return lateness.quantile(0.99) or 0.0


def _stop(thread: threading.Thread, control: Records, wake_fd: int) -> None:
    control["stop"] = 1
    if thread.ident is not None:
        os.eventfd_write(wake_fd, 1)
        # The thread still reads from the descriptor that is closed next.
        thread.join()
    os.close(wake_fd)


@lru_cache
def _ready() -> Any:
    """Compile or load all code by calling each part once with nothing to do. Return the C functions.

    Without this the first call of a run would wait seconds for the compiler.
    """
    c, slots, control, work = functions(), np.zeros(1, SLOT), new_control(-1, 0.0, 0), new_work()
    slot, turns, terms = slots[0], np.zeros(INSTANTS, TURN), new_terms()
    reset(slots, 0)
    if not encrypts_as_libsrtp(c, work[0]):
        # Addresses of 0 hand all of it to libsrtp, which is slower and always right.
        for name in OPENSSL:
            c[name] = 0
    press(c, slot, 0)
    enter(c, control[0], turns, slot, 0, 0)
    follow(c, control[0], slot, terms[0], work[0], 0.0)
    answer(c, slot, 0.0)
    keep(c, slot, work[0], 0, 0, 0, 0, 0)
    report_of(slot, 0.0)
    leave(c, control[0], turns, slot, work[0])
    control["stop"] = 1
    run(c, control[0], turns, slots, np.zeros(1 + AHEAD, DUE), work[0])
    return c
