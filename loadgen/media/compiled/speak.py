"""Make the packets that a stream sends: voice frames with the call's identity, or a pressed key.

The bytes equal those of `loadgen.media.stream.MediaStream.next_packet`. Change both together.
"""

from __future__ import annotations

import math

from trunkproof.loadgen.media.compiled.c import call_c
from trunkproof.loadgen.media.compiled.cipher import add_mki, protect
from trunkproof.loadgen.media.compiled.memory import NEVER, Bytes, Record
from trunkproof.loadgen.media.compiled.octets import crc32, write16, write32
from trunkproof.loadgen.media.keys import END_PACKETS, EVENT_PACKETS, MOST_PRESSED, PAUSE_FRAMES, PRESSABLE
from trunkproof.loadgen.media.rtp import HEADER_BYTES, VOLUME
from trunkproof.loadgen.media.stream import MOST_RETURNED, MOST_RETURNED_BYTES
from trunkproof.loadgen.media.tones import CYCLE, HOP_ORDER
from trunkproof.models.compiled import inlined, lean
from trunkproof.models.packets import SAMPLES_PER_PACKET

_TOKEN_BYTES, _TOKENS = 16, 10
_END_BIT = 0x80
_PAUSE = len(PRESSABLE) - 1
"""The pause, among the codes of keys."""


@lean
def next_packet(c: Record, slot: Record, work: Record) -> int:
    """Put the packet of the next 20 ms at `work.out`, encrypted. Return its size, or 0 where we may not send."""
    frame, data, at = slot.frames, work.data, work.out
    slot.frames += 1
    if not may_send(slot):
        # The next packet begins a talkspurt.
        slot.speaks = 0
        return 0
    if slot.pressed_count > 0 and slot.event_type != NEVER and not _pauses(slot):
        size = _key(slot, frame, data, at)
    else:
        if slot.echoes and slot.returned_count == 0:
            # Nothing to return: the next packet begins a talkspurt.
            slot.speaks = 0
            return 0
        _header(slot, frame, slot.payload_type | (0 if slot.speaks else 0x80), data, at)
        size = HEADER_BYTES + _payload(c, slot, work, at + HEADER_BYTES)
    index = slot.first_sequence + slot.sent + slot.given_up - slot.tx_base
    slot.sent += 1
    slot.speaks = 1
    # Plain RTP: no session was written into the record.
    if slot.tx.session == 0:
        return size
    size = protect(c, slot.tx, work, size, index)
    if slot.tx.mki_bytes > 0:
        return add_mki(data, at, size, slot.tx.tag_length, slot.tx_mki, slot.tx.mki_bytes)
    return size


@inlined
def may_send(slot: Record) -> bool:
    """Return whether audio may be sent now, as `MediaStream.sends`."""
    return slot.sends != 0 and slot.known != 0 and not math.isinf(slot.answered)


@inlined
def give_up(slot: Record, frames: int) -> None:
    """Leave out frames, as `MediaStream.give_up`."""
    slot.frames += frames
    if may_send(slot):
        slot.given_up += frames


@inlined
def timestamp(slot: Record, frame: int) -> int:
    """Return the timestamp of a frame. Only its lower 32 bits are written."""
    return int(slot.first_timestamp + frame * SAMPLES_PER_PACKET)


@inlined
def _header(slot: Record, frame: int, second: int, data: Bytes, at: int) -> None:
    data[at], data[at + 1] = 0x80, second
    write16(data, at + 2, slot.first_sequence + slot.sent + slot.given_up)
    write32(data, at + 4, timestamp(slot, frame))
    write32(data, at + 8, slot.ssrc)


@inlined
def _payload(c: Record, slot: Record, work: Record, start: int) -> int:
    """Put the payload of the next frame at `start`, as `MediaStream`. Return its size."""
    if slot.echoes:
        return _returned(slot, work.data, start)
    if slot.payloads == 0:
        return _frame(slot, slot.sent, work.data, start)
    place = HOP_ORDER[slot.sent % CYCLE] if slot.hopping else slot.sent % slot.payloads
    call_c(c.memcpy, (work.data_at + start, slot.payloads_at + place * SAMPLES_PER_PACKET, SAMPLES_PER_PACKET))
    return SAMPLES_PER_PACKET


@lean
def _returned(slot: Record, data: Bytes, start: int) -> int:
    first = slot.returned_first
    size = slot.returned_bytes[first]
    for place in range(size):
        data[start + place] = slot.returned[first * MOST_RETURNED_BYTES + place]
    slot.returned_first = (first + 1) % MOST_RETURNED
    slot.returned_count -= 1
    return int(size)


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
def _pauses(slot: Record) -> bool:
    """Return whether there is a pause before the next key, and count its frames."""
    if slot.pressed[slot.pressed_first] != _PAUSE:
        return False
    slot.key_step += 1
    _end_after(slot, PAUSE_FRAMES)
    return True


@inlined
def _end_after(slot: Record, steps: int) -> bool:
    """Take the first key or pause from the queue if that was its last step."""
    if slot.key_step < steps:
        return False
    slot.pressed_first = (slot.pressed_first + 1) % MOST_PRESSED
    slot.pressed_count -= 1
    slot.key_step = 0
    return True


@lean
def _key(slot: Record, frame: int, data: Bytes, at: int) -> int:
    step = slot.key_step
    if step == 0:
        slot.key_begun = frame
    _header(slot, slot.key_begun, slot.event_type | (0x80 if step == 0 else 0), data, at)
    data[at + HEADER_BYTES] = slot.pressed[slot.pressed_first]
    # The last packets repeat the end: if one is lost, the key still counts (RFC 4733 section 2.5.1.4).
    data[at + HEADER_BYTES + 1] = VOLUME | (_END_BIT if step >= EVENT_PACKETS else 0)
    write16(data, at + HEADER_BYTES + 2, min(step + 1, EVENT_PACKETS) * SAMPLES_PER_PACKET)
    slot.key_step += 1
    if _end_after(slot, EVENT_PACKETS + END_PACKETS):
        slot.keys_sent += 1
    return HEADER_BYTES + 4


@lean
def press(c: Record, slot: Record, key: int) -> None:
    """Queue a key by its event code, or a pause. The caller has asked `check_key` before."""
    # The pump's thread reads the queue at the same time.
    call_c(c.pthread_mutex_lock, (slot.lock_at,))
    slot.pressed[(slot.pressed_first + slot.pressed_count) % MOST_PRESSED] = key
    slot.pressed_count += 1
    call_c(c.pthread_mutex_unlock, (slot.lock_at,))
