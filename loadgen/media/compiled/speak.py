"""Make the packets that a stream sends: voice frames with the call's identity, or a pressed key.

The bytes equal those of `loadgen.media.stream.MediaStream.next_packet`. Change both together.
"""

from __future__ import annotations

from trunkproof.loadgen.media.compiled.c import call_c
from trunkproof.loadgen.media.compiled.cipher import protect
from trunkproof.loadgen.media.compiled.memory import Bytes, Record
from trunkproof.loadgen.media.compiled.octets import crc32, write16, write32
from trunkproof.loadgen.media.rtp import HEADER_BYTES, VOLUME
from trunkproof.loadgen.media.stream import END_PACKETS, EVENT_PACKETS, MOST_PRESSED
from trunkproof.models.compiled import inlined, lean
from trunkproof.models.packets import SAMPLES_PER_PACKET

_TOKEN_BYTES, _TOKENS = 16, 10
_END_BIT = 0x80


@lean
def next_packet(c: Record, slot: Record, work: Record) -> int:
    """Put the packet of the next 20 ms at `work.out`, encrypted, and return its size."""
    number = slot.sent
    slot.sent += 1
    if slot.pressed_count > 0:
        size = _key(slot, number, work.data, work.out)
    else:
        _header(slot, number, number, slot.payload_type | (0x80 if number == 0 else 0), work.data, work.out)
        size = HEADER_BYTES + _frame(slot, number, work.data, work.out + HEADER_BYTES)
    # Plain RTP: no session was written into the record.
    if slot.tx.session == 0:
        return size
    return protect(c, slot.tx, work, size, slot.first_sequence + number)


@inlined
def timestamp(slot: Record, number: int) -> int:
    """Return the timestamp of frame `number`. Only its lower 32 bits are written."""
    return int(slot.first_timestamp + number * SAMPLES_PER_PACKET)


@inlined
def _header(slot: Record, number: int, begun: int, second: int, data: Bytes, at: int) -> None:
    data[at], data[at + 1] = 0x80, second
    write16(data, at + 2, slot.first_sequence + number)
    write32(data, at + 4, timestamp(slot, begun))
    write32(data, at + 8, slot.ssrc)


@inlined
def _frame(slot: Record, number: int, data: Bytes, start: int) -> int:
    # The token of `voiceprint`: "tp", side, row (5 bytes), frame number, CRC-32. Written once, then copied nine times.
    data[start], data[start + 1], data[start + 2], data[start + 3] = 0x74, 0x70, slot.side, slot.row >> 32 & 0xFF
    write32(data, start + 4, slot.row)
    write32(data, start + 8, number)
    write32(data, start + 12, crc32(data, start, 12))
    for place in range(start + _TOKEN_BYTES, start + _TOKENS * _TOKEN_BYTES):
        data[place] = data[place - _TOKEN_BYTES]
    return _TOKENS * _TOKEN_BYTES


@lean
def _key(slot: Record, number: int, data: Bytes, at: int) -> int:
    begun = slot.pressed_at
    step = number - begun
    _header(slot, number, begun, slot.event_type | (0x80 if step == 0 else 0), data, at)
    data[at + HEADER_BYTES] = slot.pressed[slot.pressed_first]
    # The last packets repeat the end: if one is lost, the key still counts (RFC 4733 section 2.5.1.4).
    data[at + HEADER_BYTES + 1] = VOLUME | (_END_BIT if step >= EVENT_PACKETS else 0)
    write16(data, at + HEADER_BYTES + 2, min(step + 1, EVENT_PACKETS) * SAMPLES_PER_PACKET)
    if step == EVENT_PACKETS + END_PACKETS - 1:
        slot.pressed_first = (slot.pressed_first + 1) % MOST_PRESSED
        slot.pressed_count -= 1
        # The next key that waits begins with the next packet.
        slot.pressed_at = slot.sent
    return HEADER_BYTES + 4


@lean
def press(c: Record, slot: Record, key: int) -> None:
    """Queue a key by its event code. The caller has asked `check_key` before."""
    # The pump's thread reads the queue at the same time.
    call_c(c.pthread_mutex_lock, (slot.lock_at,))
    if slot.pressed_count == 0:
        slot.pressed_at = slot.sent
    slot.pressed[(slot.pressed_first + slot.pressed_count) % MOST_PRESSED] = key
    slot.pressed_count += 1
    call_c(c.pthread_mutex_unlock, (slot.lock_at,))
