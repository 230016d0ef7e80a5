"""The pump's own thread: at each instant it sends for the streams whose turn it is, hears some of them, and sleeps.

It never holds the interpreter's lock, so a busy event loop does not delay it. A stream is served, and removed, by
whoever holds its lock.
"""

from __future__ import annotations

import math
from typing import Final

from trunkproof.loadgen.media.compiled.c import call_c, prefetch
from trunkproof.loadgen.media.compiled.memory import (
    INSTANTS,
    NEVER,
    SLOT_BYTES,
    SPEAKING_AT,
    USED_BYTES,
    Record,
    Records,
    Turns,
)
from trunkproof.loadgen.media.compiled.reports import next_report
from trunkproof.loadgen.media.compiled.sockets import (
    MONOTONIC,
    REALTIME,
    clock_ns,
    receive_all,
    receive_all_reports,
    send_audio,
    send_report,
)
from trunkproof.loadgen.media.compiled.speak import next_packet
from trunkproof.loadgen.media.flow import MOST_CAUGHT_UP
from trunkproof.loadgen.media.rtcp import INTERVAL_S
from trunkproof.models.compiled import inlined, lean
from trunkproof.models.histogram import BINS, BINS_PER_E, LOW
from trunkproof.models.packets import PACKETS_PER_STREAM_S

FRAME_NS: Final = 1_000_000_000 // PACKETS_PER_STREAM_S
INSTANT_NS: Final = FRAME_NS // INSTANTS
_MANY = 250
_MOST_TOGETHER = 10
_PACKETS_TOGETHER = 25
"""With many streams it wakes for so many packets, but not later than after so many instants: waking costs as much as
several packets do, on a virtual machine more. With fewer it wakes for each.
"""
_INTERVAL_NS = int(INTERVAL_S * 1e9)
_FRAMES_PER_LOOK = 32
"""RTCP comes every five seconds: its port is looked at every 32 frames."""
_READABLE = 1 << 32
AHEAD: Final = 2
"""Of the streams whose turn it is, which one is fetched meanwhile: `due` has room for so many more."""


@lean
def run(c: Record, control: Record, turns: Turns, slots: Records, due: Records, work: Record) -> None:
    """Until `control.stop` is set."""
    instant = _instant(control, clock_ns(c, work, MONOTONIC))
    while control.stop == 0:
        control.passes += 1
        # Each stream once at most: with more work than time, the end would never be seen.
        until = min(_instant(control, clock_ns(c, work, MONOTONIC)) + 1, instant + INSTANTS)
        many = _gather(control, turns, due, instant, until)
        # Sending comes first, so that nothing that is heard makes it late.
        heard = 0
        for place in range(many):
            _fetch(control, due[place + AHEAD].number, SPEAKING_AT)
            number, turn = due[place].number, due[place].turn
            _speak(c, control, slots[number], turn, work, _time_ns(control, due[place].instant))
            # Not all at once, where streams have begun together.
            if (slots[number].sent + number) % control.heard_together == 0:
                due[heard].number, due[heard].turn = number, turn
                heard += 1
        for place in range(heard):
            _fetch(control, due[place + AHEAD].number, 0)
            _listen(c, control, slots[due[place].number], due[place].turn, work)
        instant = until
        _sleep(c, control, work, _busy_from(control, turns, instant))


@lean
def _gather(control: Record, turns: Turns, due: Records, instant: int, until: int) -> int:
    """Note whose turn it is from one instant until another one, in their order; how many."""
    many = 0
    for each in range(instant, until):
        for turn in range(each % INSTANTS, control.rows * INSTANTS, INSTANTS):
            number = turns[turn] - 1
            if number != NEVER:
                due[many].number, due[many].turn, due[many].instant = number, turn, each
                many += 1
    return many


@inlined
def _fetch(control: Record, number: int, first: int) -> None:
    """Have the processor fetch what serving a stream takes, while another one is served."""
    start = control.slots_at + SLOT_BYTES * number + first
    for line in range(start, start + USED_BYTES, 64):
        prefetch(line)


@inlined
def _instant(control: Record, at_ns: int) -> int:
    """The last one before."""
    return int((at_ns - control.origin_ns) // INSTANT_NS)


@inlined
def _time_ns(control: Record, instant: int) -> int:
    """When it is."""
    return int(instant * INSTANT_NS + control.origin_ns)


@lean
def _busy_from(control: Record, turns: Turns, instant: int) -> int:
    """The first instant from this one on at which any stream has its turn, or `NEVER`."""
    for each in range(instant, instant + INSTANTS):
        for turn in range(each % INSTANTS, control.rows * INSTANTS, INSTANTS):
            if turns[turn] != 0:
                return each
    return NEVER


@lean
def _sleep(c: Record, control: Record, work: Record, instant: int) -> None:
    """Until then, or until somebody wakes us."""
    timeout_at = 0
    if instant != NEVER:
        together = instants_together(control.streams)
        instant = -(-instant // together) * together
        wait_ns = _time_ns(control, instant) - clock_ns(c, work, MONOTONIC)
        if wait_ns <= 0:
            return
        work.times[0], work.times[1] = 0, wait_ns
        timeout_at = work.times_at
    work.poll[0] = control.wake_fd | _READABLE
    if call_c(c.ppoll, (work.poll_at, 1, timeout_at, 0)) > 0:
        call_c(c.read, (control.wake_fd, work.times_at, 8))


@inlined
def instants_together(streams: int) -> int:
    """For how many instants it wakes once, with so many streams."""
    if streams < _MANY:
        return 1
    return max(1, min(_MOST_TOGETHER, _PACKETS_TOGETHER * INSTANTS // streams))


@lean
def _speak(c: Record, control: Record, slot: Record, turn: int, work: Record, instant_ns: int) -> None:
    """Send a stream's next packet, if it is due."""
    call_c(c.pthread_mutex_lock, (slot.lock_at,))
    if slot.turn == turn and slot.due_ns <= instant_ns:
        now_ns = clock_ns(c, work, MONOTONIC)
        _note_lateness(control, (now_ns - instant_ns) * 1e-6)
        send_audio(c, slot, work, next_packet(c, slot, work))
        behind = (now_ns - instant_ns) // FRAME_NS
        if behind > MOST_CAUGHT_UP:
            slot.given_up += behind
            instant_ns += behind * FRAME_NS
        slot.due_ns = instant_ns + FRAME_NS
    call_c(c.pthread_mutex_unlock, (slot.lock_at,))


@lean
def _listen(c: Record, control: Record, slot: Record, turn: int, work: Record) -> None:
    """Hear what has come to a stream, and see to its reports now and then."""
    call_c(c.pthread_mutex_lock, (slot.lock_at,))
    if slot.turn == turn:
        now_ns = clock_ns(c, work, MONOTONIC)
        receive_all(c, control, slot, work, now_ns * 1e-9)
        if slot.sent % _FRAMES_PER_LOOK < control.heard_together:
            receive_all_reports(c, slot, work)
            _report(c, slot, work, now_ns)
    call_c(c.pthread_mutex_unlock, (slot.lock_at,))


@lean
def _report(c: Record, slot: Record, work: Record, now_ns: int) -> None:
    if now_ns >= slot.next_report_ns:
        send_report(c, slot, work, next_report(c, slot, work, clock_ns(c, work, REALTIME)))
        slot.dice = (slot.dice * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        slot.next_report_ns = now_ns + _INTERVAL_NS // 2 + int(slot.dice / 0x7FFFFFFF * _INTERVAL_NS)


@inlined
def _note_lateness(control: Record, late_ms: float) -> None:
    place = 0
    if late_ms >= LOW:
        place = 1 + min(int(math.log(late_ms / LOW) * BINS_PER_E), BINS - 1)
    control.lateness[place] += 1
    control.lateness_total_ms += late_ms
    control.lateness_most_ms = max(control.lateness_most_ms, late_ms)


@lean
def enter(c: Record, control: Record, turns: Turns, slot: Record, number: int, turn: int) -> None:
    """From another thread: have the pump serve a stream from now on, at that turn. Wake it after that."""
    call_c(c.pthread_mutex_lock, (slot.lock_at,))
    slot.turn, turns[turn] = turn, number + 1
    control.rows = max(control.rows, turn // INSTANTS + 1)
    control.streams += 1
    call_c(c.pthread_mutex_unlock, (slot.lock_at,))


@lean
def leave(c: Record, control: Record, turns: Turns, slot: Record, work: Record) -> None:
    """From another thread, with `work` of its own: take the stream from the pump, hear what still waits, say goodbye.

    The pump does not touch it, nor its sockets, any more.
    """
    call_c(c.pthread_mutex_lock, (slot.lock_at,))
    turns[slot.turn], slot.turn = 0, NEVER
    control.streams -= 1
    receive_all(c, control, slot, work, clock_ns(c, work, MONOTONIC) * 1e-9)
    receive_all_reports(c, slot, work)
    send_report(c, slot, work, next_report(c, slot, work, clock_ns(c, work, REALTIME)))
    call_c(c.pthread_mutex_unlock, (slot.lock_at,))
