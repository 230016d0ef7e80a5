"""Clocks and sockets in compiled code: datagrams come singly or in batches, with the kernel's time stamps."""

from __future__ import annotations

from typing import Final

from loadgen.media.compiled.c import call_c
from loadgen.media.compiled.hear import receive
from loadgen.media.compiled.memory import (
    ADDRESS_BYTES,
    ADDRESS_WORDS,
    BATCH,
    CONTROL_BYTES,
    CONTROL_LENGTH,
    CONTROL_WORDS,
    HEADER_WORDS,
    MESSAGE_LENGTH,
    NAME_LENGTH,
    OUT_BYTES,
    STRIDE,
    Record,
)
from loadgen.media.compiled.reports import receive_report
from loadgen.media.rtp import FRAME_S
from loadgen.media.sockets import SO_TIMESTAMPNS
from models.compiled import inlined, lean

MONOTONIC: Final = 1
REALTIME: Final = 0
_DONT_WAIT = 0x40
_SECOND = 1_000_000_000
_STAMPED = SO_TIMESTAMPNS << 32 | 1
"""Level SOL_SOCKET and type of a control message, as one word."""
_STAMP_BYTES = 32
MOST_BATCHES: Final = 128
"""More than a socket's buffer holds."""


@inlined
def clock_ns(c: Record, work: Record, which: int) -> int:
    """What a clock of the machine says."""
    call_c(c.clock_gettime, (which, work.times_at))
    return int(work.times[0] * _SECOND + work.times[1])


@inlined
def receive_one(c: Record, slot: Record, work: Record, lane: int) -> None:
    """Fetch the first packet that waits at the RTP port, if any, without looking at it."""
    place = BATCH + lane
    header_at = work.messages_at + 8 * HEADER_WORDS * place
    work.got[lane] = call_c(c.recvmsg, (slot.rtp_fd, header_at, _DONT_WAIT))


@lean
def look_at_one(c: Record, slot: Record, work: Record, lane: int, now: float, wall_to_clock: float) -> None:
    """Take what `receive_one` has fetched, and where more may wait behind it, all of that.

    More can wait only where a packet is older than a frame, or tells no time: one system call a frame is enough then.
    """
    if work.got[lane] < 0:
        return
    place = BATCH + lane
    arrival = _take(c, slot, work, place, work.got[lane], now, wall_to_clock)
    if now - arrival > FRAME_S or arrival == now:
        receive_all(c, slot, work, now, wall_to_clock, MOST_BATCHES)


@lean
def receive_all(c: Record, slot: Record, work: Record, now: float, wall_to_clock: float, batches: int) -> None:
    """Take what waits at the RTP port, at most so many batches."""
    for _ in range(batches):
        got = call_c(c.recvmmsg, (slot.rtp_fd, work.messages_at, BATCH, _DONT_WAIT, 0))
        for place in range(got):
            size = work.messages[HEADER_WORDS * place + MESSAGE_LENGTH] & 0xFFFFFFFF
            _take(c, slot, work, place, size, now, wall_to_clock)
        if got < BATCH:
            return


@lean
def _take(c: Record, slot: Record, work: Record, place: int, size: int, now: float, wall_to_clock: float) -> float:
    """A packet's arrival, once it is counted."""
    arrival = _arrival(work, place, now, wall_to_clock)
    if work.names[ADDRESS_WORDS * place] == slot.peers[0]:
        receive(c, slot, work, STRIDE * place, size, arrival)
    else:
        slot.stray += 1
    _clear(work, place)
    return arrival


@lean
def receive_all_reports(c: Record, slot: Record, work: Record, batches: int) -> None:
    """Take what waits at the RTCP port, at most so many batches."""
    for _ in range(batches):
        got = call_c(c.recvmmsg, (slot.rtcp_fd, work.messages_at, BATCH, _DONT_WAIT, 0))
        for place in range(got):
            if work.names[ADDRESS_WORDS * place] == slot.peers[ADDRESS_WORDS]:
                size = work.messages[HEADER_WORDS * place + MESSAGE_LENGTH] & 0xFFFFFFFF
                receive_report(c, slot, work, STRIDE * place, size)
            else:
                slot.stray += 1
            _clear(work, place)
        if got < BATCH:
            return


@inlined
def _arrival(work: Record, place: int, now: float, wall_to_clock: float) -> float:
    """When the kernel received it, or else now."""
    at = CONTROL_WORDS * place
    length = work.messages[HEADER_WORDS * place + CONTROL_LENGTH]
    if length < _STAMP_BYTES or work.control[at + 1] != _STAMPED:
        return now
    return float(work.control[at + 2] + work.control[at + 3] * 1e-9 + wall_to_clock)


@inlined
def _clear(work: Record, place: int) -> None:
    """The kernel writes lengths where it reads what there is room for."""
    work.messages[HEADER_WORDS * place + NAME_LENGTH] = ADDRESS_BYTES
    work.messages[HEADER_WORDS * place + CONTROL_LENGTH] = CONTROL_BYTES


@inlined
def send_audio(c: Record, slot: Record, work: Record, lane: int) -> None:
    """Send a lane's packet; a full buffer loses it, as a network would."""
    packet_at = work.out_at + OUT_BYTES * lane
    call_c(c.sendto, (slot.rtp_fd, packet_at, work.size[lane], _DONT_WAIT, slot.rtp_to, ADDRESS_BYTES))


@inlined
def send_report(c: Record, slot: Record, work: Record, size: int) -> None:
    """Send what is at the beginning of `work.out` to the peer's RTCP port."""
    call_c(c.sendto, (slot.rtcp_fd, work.out_at, size, _DONT_WAIT, slot.rtcp_to, ADDRESS_BYTES))
