"""Clocks and sockets in compiled code. Datagrams are taken singly or in batches, with the kernel's time stamps."""

from __future__ import annotations

from typing import Final

from trunkproof.loadgen.media.arrival_clock import AHEAD_S, LONGEST_WAIT_S, MEMORY_S, STEP_S
from trunkproof.loadgen.media.compiled.c import call_c
from trunkproof.loadgen.media.compiled.hear import RTCP, RTP, kind_of, receive_audio
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
    PEERS,
    STRIDE,
    Record,
)
from trunkproof.loadgen.media.compiled.reports import receive_report
from trunkproof.loadgen.media.flow import MOST_AT_ONCE
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
_MOST_BATCHES: Final = MOST_AT_ONCE // BATCH
_TOGETHER_NS = 20_000
"""The longest time between two looks at clocks that count as one."""


@inlined
def clock_ns(c: Record, work: Record, which: int) -> int:
    """Return the time of one of the machine's clocks, in nanoseconds."""
    call_c(c.clock_gettime, (which, work.times_at))
    return int(work.times[0] * _SECOND + work.times[1])


@inlined
def compare_clocks(c: Record, control: Record, work: Record) -> None:
    """Note how far the wall clock and the monotonic clock are apart now, as `ArrivalClock.look`."""
    before = clock_ns(c, work, MONOTONIC)
    wall = clock_ns(c, work, REALTIME)
    # If another thread had the core in between, the difference says nothing.
    if clock_ns(c, work, MONOTONIC) - before < _TOGETHER_NS:
        note_clocks(control, before * 1e-9, wall * 1e-9)


@lean
def note_clocks(control: Record, monotonic_s: float, wall_s: float) -> None:
    """Note what both clocks say at this moment, as `ArrivalClock.look`."""
    offset = monotonic_s - wall_s
    if abs(offset - control.wall_to_clock) > STEP_S:
        control.wall_before, control.wall_until = control.wall_to_clock, monotonic_s + MEMORY_S
        control.wall_since = wall_s - (monotonic_s - control.wall_looked)
    control.wall_to_clock, control.wall_looked = offset, monotonic_s


@lean
def arrival_of(control: Record, stamp_s: float, now: float) -> float:
    """Return when a datagram came, by its stamp, as `ArrivalClock.arrival`."""
    at = stamp_s + control.wall_to_clock
    if now < control.wall_until and (stamp_s < control.wall_since or at > now + AHEAD_S):
        at = stamp_s + control.wall_before
    return at if now - LONGEST_WAIT_S <= at <= now + AHEAD_S else now


@lean
def receive_all(c: Record, control: Record, slot: Record, work: Record, now: float, everything: bool) -> None:
    """Take everything that waits at the RTP port of a stream.

    Mostly one system call is enough: more packets can wait only where the last one taken came more than a frame ago, or
    has no time stamp. A peer that sends faster may leave some until the next time, unless `everything` is wanted.
    """
    wanted = control.heard_together
    for _ in range(_MOST_BATCHES):
        got = _take(c, slot.rtp_fd, work, wanted)
        arrival = now
        for place in range(got):
            arrival = _arrival(control, work, place, now)
            if _is_peer(slot, work, place, 0, now):
                size = work.messages[HEADER_WORDS * place + MESSAGE_LENGTH] & 0xFFFFFFFF
                receive(c, slot, work, STRIDE * place, size, arrival)
                if slot.connected == 0:
                    _connect(c, slot, work, place, now)
            else:
                slot.stray += 1
            # Also for a stray: the next call of the kernel uses the same place.
            _clear(work, place)
        if got < wanted or (not everything and now - PACKET_S <= arrival < now):
            return
        # There are more than usual, as after a stall: take as many as fit with each further call.
        wanted = BATCH


@lean
def receive(c: Record, slot: Record, work: Record, at: int, size: int, arrival: float) -> None:
    """Take the datagram of `size` bytes at `work.data[at:]`, which came to the RTP port."""
    kind = kind_of(work.data, at, size)
    if kind == RTP:
        receive_audio(c, slot, work, at, size, arrival)
    elif kind == RTCP:
        slot.rtcp_muxed += 1
        receive_report(c, slot, work, at, size, arrival)
    else:
        slot.kinds[kind] += 1


@lean
def receive_rtcp(c: Record, slot: Record, work: Record, at: int, size: int, arrival: float) -> None:
    """Take the datagram of `size` bytes at `work.data[at:]`, which came to the RTCP port."""
    kind = kind_of(work.data, at, size)
    if kind == RTCP:
        receive_report(c, slot, work, at, size, arrival)
    elif kind == RTP:
        slot.rtp_on_rtcp += 1
    else:
        slot.kinds[kind] += 1


@lean
def receive_all_reports(c: Record, control: Record, slot: Record, work: Record, now: float) -> None:
    """Take everything that waits at the RTCP port of a stream."""
    for _ in range(_MOST_BATCHES):
        got = _take(c, slot.rtcp_fd, work, BATCH)
        for place in range(got):
            if _is_peer(slot, work, place, 1, now):
                size = work.messages[HEADER_WORDS * place + MESSAGE_LENGTH] & 0xFFFFFFFF
                receive_rtcp(c, slot, work, STRIDE * place, size, _arrival(control, work, place, now))
            else:
                slot.rtcp_stray += 1
            _clear(work, place)
        if got < BATCH:
            return


@inlined
def _is_peer(slot: Record, work: Record, place: int, port: int, now: float) -> bool:
    """Tell whether a datagram came from the peer's RTP port (0) or RTCP port (1), of now or of before a move."""
    # As long as no address is agreed, it may be anybody: what comes is only counted.
    if slot.known == 0 or _is_from(slot, work, place, port):
        return True
    return now < slot.moved_until and _is_from(slot, work, place, port + 2)


@inlined
def _is_from(slot: Record, work: Record, place: int, peer: int) -> bool:
    at, of = ADDRESS_WORDS * place, ADDRESS_WORDS * peer
    if work.names[at] != slot.peers[of]:
        return False
    # An IPv4 address and its port are in the first word already. An IPv6 address is in the next two.
    rest_differs = work.names[at + 1] != slot.peers[of + 1] or work.names[at + 2] != slot.peers[of + 2]
    return not (slot.words > 1 and rest_differs)


@lean
def _connect(c: Record, slot: Record, work: Record, place: int, now: float) -> None:
    """Connect the RTP socket to the peer, whose packet is at `place`, unless it may still send from elsewhere."""
    if slot.known == 0 or now < slot.moved_until or not _is_from(slot, work, place, 0):
        return
    if call_c(c.connect, (slot.rtp_fd, slot.peers_at, ADDRESS_BYTES)) == 0:
        # A connected socket needs no address to send to.
        slot.connected, slot.rtp_to = 1, 0


@lean
def disconnect(c: Record, slot: Record) -> None:
    """Undo `_connect`: the peer's audio moves."""
    if slot.connected != 0:
        # The address of no family, behind the four others.
        call_c(c.connect, (slot.rtp_fd, slot.peers_at + PEERS * ADDRESS_BYTES, ADDRESS_BYTES))
        slot.connected, slot.rtp_to = 0, slot.peers_at


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
    return arrival_of(control, work.control[at + 2] + work.control[at + 3] * 1e-9, now)


@inlined
def _clear(work: Record, place: int) -> None:
    """Restore the room for address and control message: the kernel has overwritten both with what it used."""
    work.messages[HEADER_WORDS * place + NAME_LENGTH] = ADDRESS_BYTES
    work.messages[HEADER_WORDS * place + CONTROL_LENGTH] = CONTROL_BYTES


@inlined
def send_audio(c: Record, slot: Record, work: Record, size: int) -> None:
    """Send the packet at `work.out` to the peer's RTP port. A full buffer loses it, as a network might."""
    # Try once more: the error may belong to an earlier packet, which was refused because nobody listened yet (ICMP).
    tries = 2
    while tries > 0:
        tries -= 1
        if call_c(c.sendto, (slot.rtp_fd, work.data_at + work.out, size, _DONT_WAIT, slot.rtp_to, ADDRESS_BYTES)) >= 0:
            return
    slot.unsent += 1


@inlined
def send_report(c: Record, slot: Record, work: Record, size: int) -> None:
    """Send the report at `work.out` to the peer's RTCP port, if there is one."""
    if size == 0 or slot.known == 0:
        return
    # A peer that takes both at one port expects both from one port (RFC 5761 section 5.1.1).
    fd, to = (slot.rtp_fd, slot.rtp_to) if slot.muxed else (slot.rtcp_fd, slot.peers_at + ADDRESS_BYTES)
    call_c(c.sendto, (fd, work.data_at + work.out, size, _DONT_WAIT, to, ADDRESS_BYTES))
