"""The pump's own thread: serve each stream at its instant, take in new ones, and sleep in between.

It never holds the interpreter's lock, so a busy event loop does not delay it. A stream is served, and removed, by
whoever holds its lock; a removed one is dropped from the queue when its instant comes, and its record is free then.
"""

from __future__ import annotations

import math
from typing import Final

from loadgen.media.compiled.c import call_c
from loadgen.media.compiled.memory import FREE, GONE, LANES, OUT_BYTES, Record, Records
from loadgen.media.compiled.queue import drop_first, push
from loadgen.media.compiled.reports import next_report
from loadgen.media.compiled.sockets import (
    MONOTONIC,
    MOST_BATCHES,
    REALTIME,
    clock_ns,
    look_at_one,
    receive_all,
    receive_all_reports,
    receive_one,
    send_audio,
    send_report,
)
from loadgen.media.compiled.speak import next_packet
from loadgen.media.flow import MOST_CAUGHT_UP
from loadgen.media.rtcp import INTERVAL_S
from models.compiled import inlined, lean
from models.histogram import BINS, BINS_PER_E, LOW

FRAME_NS: Final = 20_000_000
_INTERVAL_NS = int(INTERVAL_S * 1e9)
_GRID_NS = 500_000
"""It wakes on a grid of so much: at thousands of streams a wake-up for each would cost more than the work. 20 ms are a
whole number of it, so that a stream is always late by the same.
"""
_FRAMES_PER_LOOK = 32
"""RTCP comes every five seconds: its port is looked at every 32 frames."""
_READABLE = 1 << 32


@lean
def run(c: Record, control: Record, slots: Records, queue: Records, inbox: Records, work: Record) -> None:
    """Until `control.stop` is set."""
    while _take_in(c, control, queue, inbox):
        # Only what is due by now: with more work than time, new streams and the end would never be seen.
        horizon = clock_ns(c, work, MONOTONIC)
        while control.size > 0 and queue[0].at_ns <= horizon:
            lanes = _claim(c, control, slots, queue, work, horizon)
            now = clock_ns(c, work, MONOTONIC) * 1e-9
            # In four passes, not stream by stream: each pass keeps its own code, and the kernel's, in the cache.
            for lane in range(lanes):
                look_at_one(c, slots[work.slot[lane]], work, lane, now, control.wall_to_clock)
            for lane in range(lanes):
                work.size[lane] = next_packet(c, slots[work.slot[lane]], work, OUT_BYTES * lane)
            for lane in range(lanes):
                _send(c, control, slots[work.slot[lane]], queue, work, lane)
        _sleep(c, control, queue, work)


@lean
def _take_in(c: Record, control: Record, queue: Records, inbox: Records) -> bool:
    """Queue the streams that were added; whether to go on."""
    call_c(c.pthread_mutex_lock, (control.lock_at,))
    for place in range(control.posted):
        push(queue, control.size, inbox[place].at_ns, inbox[place].slot)
        control.size += 1
    control.posted = 0
    go_on = control.stop == 0
    call_c(c.pthread_mutex_unlock, (control.lock_at,))
    return bool(go_on)


@lean
def _sleep(c: Record, control: Record, queue: Records, work: Record) -> None:
    """Until something is due, or somebody wakes us."""
    timeout_at = 0
    if control.size > 0:
        until_ns = (queue[0].at_ns + _GRID_NS - 1) // _GRID_NS * _GRID_NS
        wait_ns = until_ns - clock_ns(c, work, MONOTONIC)
        if wait_ns <= 0:
            return
        work.times[0], work.times[1] = 0, wait_ns
        timeout_at = work.times_at
    work.poll[0] = control.wake_fd | _READABLE
    if call_c(c.ppoll, (work.poll_at, 1, timeout_at, 0)) > 0:
        call_c(c.read, (control.wake_fd, work.times_at, 8))


@lean
def _claim(c: Record, control: Record, slots: Records, queue: Records, work: Record, horizon: int) -> int:
    """Lock the streams that are due and fetch a packet for each, up to `LANES`; how many."""
    lanes = 0
    while lanes < LANES and control.size > 0 and queue[0].at_ns <= horizon:
        number, due_ns = queue[0].slot, queue[0].at_ns
        drop_first(queue, control.size)
        control.size -= 1
        slot = slots[number]
        call_c(c.pthread_mutex_lock, (slot.lock_at,))
        if slot.state == GONE:
            slot.state = FREE
            call_c(c.pthread_mutex_unlock, (slot.lock_at,))
            continue
        work.slot[lanes], work.due_ns[lanes] = number, due_ns
        receive_one(c, slot, work, lanes)
        lanes += 1
    return lanes


@lean
def _send(c: Record, control: Record, slot: Record, queue: Records, work: Record, lane: int) -> None:
    """Send a lane's packet, let its stream go, and queue its next instant."""
    now_ns, due_ns = clock_ns(c, work, MONOTONIC), work.due_ns[lane]
    _note_lateness(control, (now_ns - due_ns) * 1e-6)
    send_audio(c, slot, work, lane)
    if slot.sent % _FRAMES_PER_LOOK == 0:
        _attend_to_reports(c, slot, work, now_ns)
    next_ns = _next_instant(slot, due_ns, now_ns)
    call_c(c.pthread_mutex_unlock, (slot.lock_at,))
    push(queue, control.size, next_ns, work.slot[lane])
    control.size += 1


@lean
def _attend_to_reports(c: Record, slot: Record, work: Record, now_ns: int) -> None:
    receive_all_reports(c, slot, work, MOST_BATCHES)
    if now_ns >= slot.next_report_ns:
        send_report(c, slot, work, next_report(c, slot, work, clock_ns(c, work, REALTIME), False))
        slot.dice = (slot.dice * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        slot.next_report_ns = now_ns + _INTERVAL_NS // 2 + int(slot.dice / 0x7FFFFFFF * _INTERVAL_NS)


@inlined
def _next_instant(slot: Record, due_ns: int, now_ns: int) -> int:
    behind = (now_ns - due_ns) // FRAME_NS
    if behind <= MOST_CAUGHT_UP:
        return due_ns + FRAME_NS
    slot.given_up += behind
    return int(due_ns + (behind + 1) * FRAME_NS)


@inlined
def _note_lateness(control: Record, late_ms: float) -> None:
    place = 0
    if late_ms >= LOW:
        place = 1 + min(int(math.log(late_ms / LOW) * BINS_PER_E), BINS - 1)
    control.lateness[place] += 1
    control.lateness_total_ms += late_ms
    control.lateness_most_ms = max(control.lateness_most_ms, late_ms)


@lean
def post(c: Record, control: Record, inbox: Records, slot: int, at_ns: int) -> None:
    """From another thread: have a stream served from an instant on. Wake the pump after it."""
    call_c(c.pthread_mutex_lock, (control.lock_at,))
    inbox[control.posted].slot, inbox[control.posted].at_ns = slot, at_ns
    control.posted += 1
    call_c(c.pthread_mutex_unlock, (control.lock_at,))


@lean
def leave(c: Record, control: Record, slot: Record, work: Record) -> None:
    """From another thread, with `work` of its own: take the stream from the pump, hear what still waits, say goodbye.

    The pump does not touch it, nor its sockets, any more.
    """
    call_c(c.pthread_mutex_lock, (slot.lock_at,))
    now_ns = clock_ns(c, work, MONOTONIC)
    receive_all(c, slot, work, now_ns * 1e-9, control.wall_to_clock, MOST_BATCHES)
    receive_all_reports(c, slot, work, MOST_BATCHES)
    send_report(c, slot, work, next_report(c, slot, work, clock_ns(c, work, REALTIME), True))
    slot.state = GONE
    call_c(c.pthread_mutex_unlock, (slot.lock_at,))
