"""The pump's own thread: it sends each stream's packet at its instant, receives, and sleeps.

The 20 ms of a frame are divided into 200 instants of 0.1 ms. Every stream has a turn at one of them, so that the sends
of all streams are spread as those of telephones are. `turns` is a table with a column for each instant. Its rows hold
the streams that share an instant.

Each pass of the loop (`run`):

1. It gathers the streams whose turn came since the last pass. Each is due once at most, even after a long stall.
2. It sends the next packet of each (`_speak`). Sending comes first, because a late packet is our own fault, while a
   received packet loses nothing by waiting: the kernel has noted when it came.
3. It receives for about an eighth of them (`_listen`): one system call takes eight frames of a stream. Every 32 frames
   it also looks at the stream's RTCP port and sends a report if one is due.
4. It sleeps until the next instant that has a stream, or until `enter` or `close` wakes it.

For example, with 1,000 streams there are 50,000 packets a second to send and as many to receive. The loop wakes every
0.5 ms and sends 25 packets each time.

Why is it compiled? Measured on one core: asyncio with a datagram endpoint for each call took 29 µs per call and frame
(690 calls a core), a compiled loop over raw sockets 3.4 to 7 µs (2,800 to 6,000 calls a core). And compiled code does
not hold the interpreter's lock, so neither a busy event loop nor a garbage collection delays the audio.

A stream belongs to whoever holds its lock. The loop serves it, and Python changes and removes it, each under that lock.
"""

from __future__ import annotations

import math
from typing import Final

from trunkproof.loadgen.media.compiled.c import call_c, prefetch
from trunkproof.loadgen.media.compiled.change import adopt, note_answer
from trunkproof.loadgen.media.compiled.memory import (
    ADDRESS_WORDS,
    INSTANTS,
    NEVER,
    SLOT_BYTES,
    SOURCE_BYTES,
    SOURCES_AT,
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
    compare_clocks,
    receive_all,
    receive_all_reports,
    send_audio,
    send_report,
)
from trunkproof.loadgen.media.compiled.speak import give_up, next_packet
from trunkproof.loadgen.media.flow import MOST_CAUGHT_UP
from trunkproof.loadgen.media.rtcp import INTERVAL_S
from trunkproof.loadgen.media.stream import GRACE_S
from trunkproof.loadgen.media.voices import TIMED_FRAMES
from trunkproof.models.compiled import inlined, lean
from trunkproof.models.histogram import BINS, BINS_PER_E, LOW
from trunkproof.models.packets import PACKETS_PER_STREAM_S

FRAME_NS: Final = 1_000_000_000 // PACKETS_PER_STREAM_S
INSTANT_NS: Final = FRAME_NS // INSTANTS
_MANY = 250
_MOST_TOGETHER = 10
_PACKETS_TOGETHER = 25
"""With `_MANY` streams or more, the loop wakes only once for about `_PACKETS_TOGETHER` packets, but at least every
`_MOST_TOGETHER` instants. To wake up costs as much as several packets do, and more on a virtual machine. With fewer
streams it wakes for each.
"""
_INTERVAL_NS = int(INTERVAL_S * 1e9)
_FRAMES_PER_LOOK = 32
"""RTCP comes every five seconds, so a look at its port every 32 frames is often enough."""
_READABLE = 1 << 32
AHEAD: Final = 2
"""While one stream is served, the record of the stream two places later is fetched. So `due` needs two places more."""


@lean
def run(c: Record, control: Record, turns: Turns, slots: Records, due: Records, work: Record) -> None:
    """Send and receive for all streams until `control.stop` is set."""
    instant = _instant(control, clock_ns(c, work, MONOTONIC))
    while control.stop == 0:
        control.passes += 1
        compare_clocks(c, control, work)
        # At most one frame time, so each stream once: with more work than time, a pass would never end.
        until = min(_instant(control, clock_ns(c, work, MONOTONIC)) + 1, instant + INSTANTS)
        many = _gather(control, turns, due, instant, until)
        # Sending comes first, so that no received packet makes it late.
        heard = 0
        for place in range(many):
            _fetch(control, due[place + AHEAD].number, SPEAKING_AT)
            number, turn = due[place].number, due[place].turn
            _speak(c, control, slots[number], turn, work, _time_ns(control, due[place].instant))
            # The number of the stream is added, so that streams that began together are not all heard in one pass.
            # An echo is heard at each frame, because what it waits for is a part of its round trip.
            if (slots[number].frames + number) % control.heard_together == 0 or slots[number].echoes:
                # Written over the front of the same list: `heard` is never ahead of `place`.
                due[heard].number, due[heard].turn = number, turn
                heard += 1
        for place in range(heard):
            _fetch(control, due[place + AHEAD].number, 0)
            _fetch_source(control, due[place + AHEAD].number)
            _listen(c, control, slots[due[place].number], due[place].turn, work)
        instant = until
        _sleep(c, control, work, _busy_from(control, turns, instant))


@lean
def _gather(control: Record, turns: Turns, due: Records, instant: int, until: int) -> int:
    """Note in `due` which streams have their turn from `instant` until before `until`, in order. Return how many."""
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
    """Have the processor fetch a stream's record into its cache, while another stream is served."""
    start = control.slots_at + SLOT_BYTES * number + first
    for line in range(start, start + USED_BYTES, 64):
        prefetch(line)


@inlined
def _fetch_source(control: Record, number: int) -> None:
    """Have the processor fetch the first source of a stream, which mostly is the only one."""
    start = control.slots_at + SLOT_BYTES * number + SOURCES_AT
    for line in range(start, start + SOURCE_BYTES, 64):
        prefetch(line)


@inlined
def _instant(control: Record, at_ns: int) -> int:
    """Return the last instant at or before a time."""
    return int((at_ns - control.origin_ns) // INSTANT_NS)


@inlined
def _time_ns(control: Record, instant: int) -> int:
    """Return the time of an instant."""
    return int(instant * INSTANT_NS + control.origin_ns)


@lean
def _busy_from(control: Record, turns: Turns, instant: int) -> int:
    """Return the first instant from this one on at which a stream has its turn, or `NEVER`."""
    for each in range(instant, instant + INSTANTS):
        for turn in range(each % INSTANTS, control.rows * INSTANTS, INSTANTS):
            if turns[turn] != 0:
                return each
    return NEVER


@lean
def _sleep(c: Record, control: Record, work: Record, instant: int) -> None:
    """Sleep until an instant, or until somebody wakes us. Without streams, until somebody wakes us."""
    timeout_at = 0
    if instant != NEVER:
        together = instants_together(control.streams)
        instant = -(-instant // together) * together  # rounded up, so that several instants share one waking
        wait_ns = _time_ns(control, instant) - clock_ns(c, work, MONOTONIC)
        if wait_ns <= 0:
            return
        work.times[0], work.times[1] = 0, wait_ns
        timeout_at = work.times_at
    # ppoll both sleeps and waits for the wake-up. Without a time-out address it waits for the wake-up alone.
    work.poll[0] = control.wake_fd | _READABLE
    if call_c(c.ppoll, (work.poll_at, 1, timeout_at, 0)) > 0:
        call_c(c.read, (control.wake_fd, work.times_at, 8))


@inlined
def instants_together(streams: int) -> int:
    """Return how many instants are served with one waking, for a number of streams."""
    if streams < _MANY:
        return 1
    return max(1, min(_MOST_TOGETHER, _PACKETS_TOGETHER * INSTANTS // streams))


@lean
def _speak(c: Record, control: Record, slot: Record, turn: int, work: Record, instant_ns: int) -> None:
    """Send a stream's next packet, if it is due."""
    call_c(c.pthread_mutex_lock, (slot.lock_at,))
    # The stream may have left since it was gathered: then its turn is another.
    if slot.turn == turn and slot.due_ns <= instant_ns:
        now_ns = clock_ns(c, work, MONOTONIC)
        _note_lateness(control, (now_ns - instant_ns) * 1e-6)
        size = next_packet(c, slot, work)
        if size > 0:
            slot.sent_at[(slot.sent - 1) % TIMED_FRAMES] = now_ns * 1e-9
            send_audio(c, slot, work, size)
        # After a stall that was too long, skip the frames in between and keep the stream's own instant.
        behind = (now_ns - instant_ns) // FRAME_NS
        if behind > MOST_CAUGHT_UP:
            give_up(slot, behind)
            instant_ns += behind * FRAME_NS
        # From the instant and not from now, so that delays do not add up.
        slot.due_ns = instant_ns + FRAME_NS
    call_c(c.pthread_mutex_unlock, (slot.lock_at,))


@lean
def _listen(c: Record, control: Record, slot: Record, turn: int, work: Record) -> None:
    """Receive what has come to a stream, and now and then its reports."""
    call_c(c.pthread_mutex_lock, (slot.lock_at,))
    # Gathered before it left: the record may belong to another stream by now.
    if slot.turn == turn:
        now_ns = clock_ns(c, work, MONOTONIC)
        receive_all(c, control, slot, work, now_ns * 1e-9, False)
        if slot.frames % _FRAMES_PER_LOOK < control.heard_together:
            receive_all_reports(c, control, slot, work, now_ns * 1e-9)
            _report(c, slot, work, now_ns)
    call_c(c.pthread_mutex_unlock, (slot.lock_at,))


@lean
def _report(c: Record, slot: Record, work: Record, now_ns: int) -> None:
    if now_ns >= slot.next_report_ns:
        send_report(c, slot, work, next_report(c, slot, work, clock_ns(c, work, REALTIME)))
        # A small generator of random numbers: Python's cannot be called here, and reports need no better one.
        slot.random_state = (slot.random_state * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        slot.next_report_ns = now_ns + _INTERVAL_NS // 2 + int(slot.random_state / 0x7FFFFFFF * _INTERVAL_NS)


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
    """Have the pump serve a stream from now on, at a turn. Another thread calls this, and wakes the pump after it."""
    call_c(c.pthread_mutex_lock, (slot.lock_at,))
    slot.turn, turns[turn] = turn, number + 1
    control.rows = max(control.rows, turn // INSTANTS + 1)
    # Only one Python thread changes these, and the loop only reads them: a value that is a pass old does no harm.
    control.streams += 1
    call_c(c.pthread_mutex_unlock, (slot.lock_at,))


@lean
def follow(c: Record, control: Record, slot: Record, terms: Record, work: Record, now: float) -> None:
    """Have a stream follow new terms from `now` on, as `MediaStream.follow` and `PlainPump.follow`.

    Another thread calls this, with a `work` of its own.
    """
    call_c(c.pthread_mutex_lock, (slot.lock_at,))
    # What came before the change belongs to what was agreed before.
    if slot.rtp_fd != NEVER:
        receive_all(c, control, slot, work, now, True)
        receive_all_reports(c, control, slot, work, now)
    if terms.known:
        _move(slot, terms, now)
    adopt(slot, terms, now)
    call_c(c.pthread_mutex_unlock, (slot.lock_at,))


@lean
def _move(slot: Record, terms: Record, now: float) -> None:
    """Take the peer's addresses from new terms."""
    words = 2 * ADDRESS_WORDS
    same = True
    for place in range(words):
        same = same and slot.peers[place] == terms.peers[place]
    if not same:
        slot.agreed_spoke = 0
    if not same and slot.known:
        for place in range(words):
            slot.peers[words + place] = slot.peers[place]
        # The address that was heard, not the one that was only signalled.
        for place in range(2 * words, 2 * words + ADDRESS_WORDS):
            if slot.peers[2 * words] != 0:
                slot.peers[place - words] = slot.peers[place]
        for place in range(2 * words, 2 * words + ADDRESS_WORDS):
            slot.peers[place] = 0
        slot.moved_until = now + GRACE_S
    for place in range(words):
        slot.peers[place] = terms.peers[place]
    slot.known, slot.words, slot.muxed = 1, terms.words, terms.muxed


@lean
def answer(c: Record, slot: Record, now: float) -> None:
    """Take the call as answered from `now` on, with what was agreed early. Another thread calls this."""
    call_c(c.pthread_mutex_lock, (slot.lock_at,))
    note_answer(slot, now)
    call_c(c.pthread_mutex_unlock, (slot.lock_at,))


@lean
def leave(c: Record, control: Record, turns: Turns, slot: Record, work: Record) -> None:
    """Take a stream from the pump, receive what still waits, and send an RTCP BYE.

    Another thread calls this, with a `work` of its own. After it the pump touches neither the stream nor its sockets.
    """
    call_c(c.pthread_mutex_lock, (slot.lock_at,))
    # First: `next_report` adds the BYE for a stream without a turn.
    turns[slot.turn], slot.turn = 0, NEVER
    control.streams -= 1
    now = clock_ns(c, work, MONOTONIC) * 1e-9
    receive_all(c, control, slot, work, now, True)
    receive_all_reports(c, control, slot, work, now)
    send_report(c, slot, work, next_report(c, slot, work, clock_ns(c, work, REALTIME)))
    call_c(c.pthread_mutex_unlock, (slot.lock_at,))
