"""Clocks and sockets in compiled code. Datagrams are taken singly or in batches, with the kernel's time stamps."""

from __future__ import annotations

from typing import Final

from trunkproof.loadgen.media.arrival_clock import AHEAD_S, LONGEST_WAIT_S, MEMORY_S, STEP_S
from trunkproof.loadgen.media.compiled.c import call_c
from trunkproof.loadgen.media.compiled.hear import (
    AGREED,
    BEFORE,
    ELSEWHERE,
    FOUND,
    RTCP,
    RTP,
    kind_of,
    receive_audio,
    receive_audio_from_elsewhere,
)
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
from trunkproof.loadgen.media.compiled.tapping import RECEIVED_RTCP, RECEIVED_RTP, SENT_RTCP, SENT_RTP, keep
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
            size = work.messages[HEADER_WORDS * place + MESSAGE_LENGTH] & 0xFFFFFFFF
            # Before it is decrypted, which is done in its place.
            if slot.tap_at != 0:
                _keep_received(c, slot, work, place, size, arrival, RECEIVED_RTP)
            if receive(c, slot, work, STRIDE * place, size, arrival, _origin(slot, work, place, 0, now)):
                _note_found(slot, work, place)
            _clear(work, place)
        if got < wanted or (not everything and now - PACKET_S <= arrival < now):
            return
        # There are more than usual, as after a stall: take as many as fit with each further call.
        wanted = BATCH


@lean
def receive(c: Record, slot: Record, work: Record, at: int, size: int, arrival: float, origin: int) -> bool:
    """Take the datagram of `size` bytes at `work.data[at:]`, which came to the RTP port, as `MediaStream.receive`."""
    kind = kind_of(work.data, at, size)
    if origin > BEFORE:
        slot.stray += 1
        if kind == RTP:
            return receive_audio_from_elsewhere(c, slot, work, at, size, arrival, origin)
        if kind == RTCP and receive_report(c, slot, work, at, size, arrival, origin):
            slot.rtcp_muxed += 1
            return True
    elif kind == RTP:
        receive_audio(c, slot, work, at, size, arrival, origin)
    elif kind == RTCP:
        slot.rtcp_muxed += 1
        receive_report(c, slot, work, at, size, arrival, origin)
    else:
        slot.kinds[kind] += 1
    return False


@lean
def receive_rtcp(c: Record, slot: Record, work: Record, at: int, size: int, arrival: float, origin: int) -> None:
    """Take the datagram of `size` bytes at `work.data[at:]`, which came to the RTCP port."""
    kind = kind_of(work.data, at, size)
    if origin > BEFORE:
        slot.rtcp_stray += 1
        if kind == RTCP:
            receive_report(c, slot, work, at, size, arrival, origin)
    elif kind == RTCP:
        receive_report(c, slot, work, at, size, arrival, origin)
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
            size = work.messages[HEADER_WORDS * place + MESSAGE_LENGTH] & 0xFFFFFFFF
            arrival, origin = _arrival(control, work, place, now), _origin(slot, work, place, 1, now)
            if slot.tap_at != 0:
                _keep_received(c, slot, work, place, size, arrival, RECEIVED_RTCP)
            receive_rtcp(c, slot, work, STRIDE * place, size, arrival, origin)
            _clear(work, place)
        if got < BATCH:
            return


@inlined
def _origin(slot: Record, work: Record, place: int, port: int, now: float) -> int:
    """Return the `Origin` of a datagram that came to our RTP port (0) or RTCP port (1)."""
    # As long as no address is agreed, it may be anybody: what comes is only counted.
    if slot.known == 0 or _is_from(slot, work, place, port):
        return AGREED
    if now < slot.moved_until and _is_from(slot, work, place, port + 2):
        return BEFORE
    return FOUND if port == 0 and _is_from(slot, work, place, PEERS - 1) else ELSEWHERE


@lean
def _note_found(slot: Record, work: Record, place: int) -> None:
    """Note that the peer sends from where the datagram at `place` came from."""
    for word in range(ADDRESS_WORDS):
        slot.peers[ADDRESS_WORDS * (PEERS - 1) + word] = work.names[ADDRESS_WORDS * place + word]


@inlined
def _is_from(slot: Record, work: Record, place: int, peer: int) -> bool:
    at, of = ADDRESS_WORDS * place, ADDRESS_WORDS * peer
    if work.names[at] != slot.peers[of]:
        return False
    # An IPv4 address and its port are in the first word already. An IPv6 address is in the next two.
    rest_differs = work.names[at + 1] != slot.peers[of + 1] or work.names[at + 2] != slot.peers[of + 2]
    return not (slot.words > 1 and rest_differs)


@inlined
def _take(c: Record, fd: int, work: Record, wanted: int) -> int:
    """Take at most `wanted` datagrams that wait at a socket. Return how many there were."""
    return max(0, call_c(c.recvmmsg, (fd, work.messages_at, wanted, _DONT_WAIT, 0)))


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
    # That nobody listens yet (ICMP) is no error here: the socket is not connected, as the peer may send from elsewhere.
    if call_c(c.sendto, (slot.rtp_fd, work.data_at + work.out, size, _DONT_WAIT, slot.peers_at, ADDRESS_BYTES)) < 0:
        slot.unsent += 1
    if slot.tap_at != 0:
        keep(c, slot, work, work.out, size, slot.peers_at, SENT_RTP, clock_ns(c, work, MONOTONIC))


@inlined
def send_report(c: Record, slot: Record, work: Record, size: int) -> None:
    """Send the report at `work.out` to the peer's RTCP port, if there is one."""
    if size == 0 or slot.known == 0:
        return
    # A peer that takes both at one port expects both from one port (RFC 5761 section 5.1.1).
    fd, to = (slot.rtp_fd, slot.peers_at) if slot.muxed else (slot.rtcp_fd, slot.peers_at + ADDRESS_BYTES)
    call_c(c.sendto, (fd, work.data_at + work.out, size, _DONT_WAIT, to, ADDRESS_BYTES))
    if slot.tap_at != 0:
        kind = SENT_RTP if slot.muxed else SENT_RTCP
        keep(c, slot, work, work.out, size, to, kind, clock_ns(c, work, MONOTONIC))


@inlined
def _keep_received(c: Record, slot: Record, work: Record, place: int, size: int, arrival: float, kind: int) -> None:
    """Keep the received datagram at `place`."""
    # The first word of a `struct mmsghdr` is the address of the sender's name.
    peer_at = work.messages[HEADER_WORDS * place]
    keep(c, slot, work, STRIDE * place, size, peer_at, kind, int(arrival * 1e9))
