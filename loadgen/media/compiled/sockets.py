"""Clocks and sockets in compiled code. Datagrams are taken singly or in batches, with the kernel's time stamps."""

from __future__ import annotations

from typing import Final

from trunkproof.loadgen.media.compiled.c import call_c
from trunkproof.loadgen.media.compiled.hear import receive
from trunkproof.loadgen.media.compiled.memory import (
    ADDRESS_BYTES,
    ADDRESS_WORDS,
    BATCH,
    CONTROL_BYTES,
    CONTROL_LENGTH,
    CONTROL_WORDS,
    HEADER_WORDS,
    MESSAGE_LENGTH,
    NAME_LENGTH,
    NEVER,
    STRIDE,
    Record,
)
from trunkproof.loadgen.media.compiled.reports import receive_report
from trunkproof.loadgen.media.sockets import SO_TIMESTAMPNS
from trunkproof.models.compiled import inlined, lean
from trunkproof.models.packets import PACKET_S

MONOTONIC: Final = 1
REALTIME: Final = 0
_DONT_WAIT = 0x40
_SECOND = 1_000_000_000
_STAMPED = SO_TIMESTAMPNS << 32 | 1
"""The level SOL_SOCKET and the type of a control message, read as one word."""
_STAMP_BYTES = 32
_MOST_BATCHES: Final = 128
"""Batches to take at most from one socket. Its buffer holds fewer."""


@inlined
def clock_ns(c: Record, work: Record, which: int) -> int:
    """Return the time of one of the machine's clocks, in nanoseconds."""
    call_c(c.clock_gettime, (which, work.times_at))
    return int(work.times[0] * _SECOND + work.times[1])


@lean
def receive_all(c: Record, control: Record, slot: Record, work: Record, now: float) -> None:
    """Take everything that waits at the RTP port of a stream.

    Mostly one system call is enough. While the stream is served, more packets can wait only where the last one taken
    came more than a frame ago, or has no time stamp.
    """
    wanted = control.heard_together
    for _ in range(_MOST_BATCHES):
        got = _take(c, slot.rtp_fd, work, wanted)
        arrival = now
        for place in range(got):
            arrival = _arrival(control, work, place, now)
            if work.names[ADDRESS_WORDS * place] == slot.peers[0]:
                size = work.messages[HEADER_WORDS * place + MESSAGE_LENGTH] & 0xFFFFFFFF
                receive(c, slot, work, STRIDE * place, size, arrival)
            else:
                slot.stray += 1
            # Also for a stray: the next call of the kernel uses the same place.
            _clear(work, place)
        if got < wanted or (slot.turn != NEVER and now - PACKET_S <= arrival < now):
            return
        # There are more than usual, as after a stall: take as many as fit with each further call.
        wanted = BATCH


@lean
def receive_all_reports(c: Record, slot: Record, work: Record) -> None:
    """Take everything that waits at the RTCP port of a stream."""
    for _ in range(_MOST_BATCHES):
        got = _take(c, slot.rtcp_fd, work, BATCH)
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
def _take(c: Record, fd: int, work: Record, wanted: int) -> int:
    """Take at most `wanted` datagrams that wait at a socket. Return how many there were."""
    got = call_c(c.recvmmsg, (fd, work.messages_at, wanted, _DONT_WAIT, 0))
    # Try once more: the error may belong to a packet that we sent to a peer that is gone. Datagrams may still wait.
    return int(got if got >= 0 else call_c(c.recvmmsg, (fd, work.messages_at, wanted, _DONT_WAIT, 0)))


@inlined
def _arrival(control: Record, work: Record, place: int, now: float) -> float:
    """Return when the kernel received a datagram.

    Where the kernel does not tell, return `now`, and have every frame taken singly from now on: otherwise up to four
    frames would seem to have come at the same time.
    """
    at = CONTROL_WORDS * place
    length = work.messages[HEADER_WORDS * place + CONTROL_LENGTH]
    if length < _STAMP_BYTES or work.control[at + 1] != _STAMPED:
        control.heard_together = 1
        return now
    return float(work.control[at + 2] + work.control[at + 3] * 1e-9 + control.wall_to_clock)


@inlined
def _clear(work: Record, place: int) -> None:
    """Restore the room for address and control message: the kernel has overwritten both with what it used."""
    work.messages[HEADER_WORDS * place + NAME_LENGTH] = ADDRESS_BYTES
    work.messages[HEADER_WORDS * place + CONTROL_LENGTH] = CONTROL_BYTES


@inlined
def send_audio(c: Record, slot: Record, work: Record, size: int) -> None:
    """Send the packet at `work.out` to the peer's RTP port. A full buffer loses it, as a network might."""
    # Try once more: the error may belong to an earlier packet, which was refused because nobody listened yet (ICMP).
    if call_c(c.sendto, (slot.rtp_fd, work.data_at + work.out, size, _DONT_WAIT, slot.rtp_to, ADDRESS_BYTES)) < 0:
        call_c(c.sendto, (slot.rtp_fd, work.data_at + work.out, size, _DONT_WAIT, slot.rtp_to, ADDRESS_BYTES))


@inlined
def send_report(c: Record, slot: Record, work: Record, size: int) -> None:
    """Send the report at `work.out` to the peer's RTCP port."""
    call_c(c.sendto, (slot.rtcp_fd, work.data_at + work.out, size, _DONT_WAIT, slot.rtcp_to, ADDRESS_BYTES))
