"""Judge a packet that came to a stream's RTP port: authentic or not, whose voice, which key, how late.

The counts equal those of `MediaStream.receive` with `ReceptionStatistics` and `JitterBuffer`, to the last bit. The
essays on the rules are there. Change both sides together.
"""

from __future__ import annotations

import math

from trunkproof.loadgen.media.compiled.cipher import NOT_AUTHENTIC, OK, REPLAY, REPLAY_OLD, header_end, unprotect
from trunkproof.loadgen.media.compiled.memory import NEVER, Bytes, Record
from trunkproof.loadgen.media.compiled.octets import crc32, octet, read16, read32
from trunkproof.loadgen.media.jitter_buffer import DEPTH_S
from trunkproof.loadgen.media.rtp import DIGITS, VERSION
from trunkproof.loadgen.media.srtp import MOST_BYTES
from trunkproof.loadgen.media.statistics import HISTORY, MODULUS
from trunkproof.loadgen.media.stream import MOST_DIGITS
from trunkproof.models.compiled import inlined, lean
from trunkproof.models.packets import CLOCK_HZ, PACKET_S

_KEYS = len(DIGITS)
_HALF = MODULUS // 2


@lean
def receive(c: Record, slot: Record, work: Record, at: int, size: int, arrival: float) -> None:
    """Take the packet of `size` bytes at `work.data[at:]`, which came at `arrival` seconds of the monotonic clock."""
    slot.arrived += 1
    clear = size
    if slot.rx.session != 0:
        # pylibsrtp refuses longer packets, and both pumps must count alike.
        status = unprotect(c, slot.rx, slot.recent, work, at, size) if size <= MOST_BYTES else NOT_AUTHENTIC
        clear = work.length[0]
        if status != OK:
            _note_failure(slot, work.data, at, size, status)
            return
    start, end = _payload(work.data, at, clear)
    if start == NEVER:
        slot.failed += 1
        return
    _hear(slot, work.data, at, start, end, arrival)


@inlined
def _payload(data: Bytes, at: int, size: int) -> tuple[int, int]:
    """Return where the payload of an RTP packet begins and ends, or `NEVER` twice where it is no RTP."""
    start = header_end(data, at, size)
    if start == NEVER or data[at] >> 6 != VERSION:
        return NEVER, NEVER
    end = at + size - (octet(data, at + size - 1) if data[at] & 0x20 else 0)
    return (start, end) if start <= end else (NEVER, NEVER)


@lean
def _note_failure(slot: Record, data: Bytes, at: int, size: int, status: int) -> None:
    if status in (REPLAY, REPLAY_OLD):
        slot.replayed += 1
        return
    slot.failed += 1
    start, end = _payload(data, at, size)
    if start != NEVER and _is_frame(data, start, end):
        slot.plain += 1


@inlined
def _is_frame(data: Bytes, start: int, end: int) -> bool:
    return (
        end - start >= 16
        and data[start] == 0x74  # "tp", as in `voiceprint`
        and data[start + 1] == 0x70
        and crc32(data, start, 12) == read32(data, start + 12)
        and (data[start + 2] == 1 or data[start + 2] == 2)
    )


@lean
def _hear(slot: Record, data: Bytes, at: int, start: int, end: int, arrival: float) -> None:
    if math.isnan(slot.first_arrival):
        slot.first_arrival = arrival
    slot.remote_ssrc = read32(data, at + 8)
    is_event = octet(data, at + 1) & 0x7F == slot.event_type  # the upper bit is the marker
    timestamp = read32(data, at + 4)
    # `seen` holds, for each number modulo its length, the newest extended number: the same one again is a duplicate.
    extended = _extend(slot, read16(data, at + 2))
    newest = slot.seen[extended % HISTORY]
    if extended == newest:
        slot.duplicate += 1
        return
    slot.seen[extended % HISTORY] = max(extended, newest)
    _count(slot, extended)
    _time(slot, NEVER if is_event else timestamp, arrival)
    _play(slot, extended, arrival)
    if is_event:
        _note_key(slot, data, start, end, timestamp)
    else:
        _note_voice(slot, data, start, end)


@inlined
def _extend(slot: Record, sequence: int) -> int:
    """Return the number with its rollovers: the nearest to the highest one so far (RFC 3711 section 3.3.1)."""
    if slot.first == NEVER:
        # One rollover ahead, so that packets before the first have positive numbers too.
        return sequence + MODULUS
    delta = (sequence - slot.highest) & (MODULUS - 1)
    return int(slot.highest + (delta if delta < _HALF else delta - MODULUS))


@inlined
def _count(slot: Record, extended: int) -> None:
    if slot.received > 0 and extended < slot.highest:
        slot.reordered += 1
    slot.highest = max(slot.highest, extended)
    slot.first = extended if slot.first == NEVER else min(slot.first, extended)
    slot.received += 1


@lean
def _time(slot: Record, timestamp: int, arrival: float) -> None:
    if not math.isnan(slot.last_arrival):
        slot.longest_gap_s = max(slot.longest_gap_s, arrival - slot.last_arrival)
    slot.last_arrival = arrival
    if timestamp == NEVER:
        return
    transit = arrival - _unwrapped(slot, timestamp) / CLOCK_HZ
    # Two transit times are needed. Their difference does not depend on how far the clocks are apart (RFC 3550 A.8).
    if not math.isnan(slot.transit):
        slot.jitter += (abs(transit - slot.transit) - slot.jitter) / 16
    slot.transit = transit


@inlined
def _unwrapped(slot: Record, timestamp: int) -> int:
    if slot.timestamp == NEVER:
        slot.unwrapped = timestamp
    else:
        delta = (timestamp - slot.timestamp) & 0xFFFFFFFF
        slot.unwrapped += delta if delta < 1 << 31 else delta - (1 << 32)
    slot.timestamp = timestamp
    return int(slot.unwrapped)


@inlined
def _play(slot: Record, extended: int, arrival: float) -> None:
    if math.isnan(slot.origin):
        slot.origin = arrival + DEPTH_S - extended * PACKET_S
    if arrival > slot.origin + extended * PACKET_S:
        slot.late += 1


@lean
def _note_key(slot: Record, data: Bytes, start: int, end: int, timestamp: int) -> None:
    # A key counts at its end (bit 0x80). The end is sent three times with the same timestamp, and counts once.
    if end - start < 4 or data[start] >= _KEYS or data[start + 1] & 0x80 == 0 or timestamp == slot.last_event:
        return
    slot.last_event = timestamp
    if slot.digit_count < MOST_DIGITS:
        slot.digits[slot.digit_count] = data[start]
        slot.digit_count += 1


@inlined
def _note_voice(slot: Record, data: Bytes, start: int, end: int) -> None:
    if not _is_frame(data, start, end):
        slot.unknown += 1
    elif octet(data, start + 3) << 32 | read32(data, start + 4) != slot.row:
        slot.foreign += 1
    elif data[start + 2] == slot.side:
        slot.echoed += 1
