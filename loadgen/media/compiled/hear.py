"""Judge a datagram that came to a stream's RTP port: of which kind, authentic or not, whose voice, which key, how late.

The counts equal those of `MediaStream.receive` with `ReceptionStatistics`, `JitterBuffer` and `Silence`, to the last
bit. The essays on the rules are there. Change both sides together.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from trunkproof.loadgen.media.compiled.c import call_c
from trunkproof.loadgen.media.compiled.cipher import (
    NOT_AUTHENTIC,
    OK,
    REPLAY,
    REPLAY_OLD,
    add_mki,
    advance,
    header_end,
    take_mki,
    unprotect,
)
from trunkproof.loadgen.media.compiled.memory import COMFORT, EVENT, NEVER, VOICE, VOICE_A, Bytes, Record
from trunkproof.loadgen.media.compiled.octets import (
    clear_bits,
    has_bit,
    octet,
    read16,
    read32,
    set_bit,
)
from trunkproof.loadgen.media.compiled.voice import is_frame, note_tones, note_voice
from trunkproof.loadgen.media.datagrams import BY_FIRST_BYTE, FIRST_RTCP_TYPE, LAST_RTCP_TYPE, LEAST_RTCP_BYTES, Kind
from trunkproof.loadgen.media.jitter_buffer import DEPTH_S, DRIFT_S, LOST_TRACK_S
from trunkproof.loadgen.media.keys import MOST_DIGITS
from trunkproof.loadgen.media.rtp import DIGITS, HEADER_BYTES, VERSION
from trunkproof.loadgen.media.silence import PAUSE_S
from trunkproof.loadgen.media.srtp import MOST_BYTES
from trunkproof.loadgen.media.statistics import (
    BEGUN,
    DUPLICATE,
    HISTORY,
    JUMPED,
    MAX_DROPOUT,
    MODULUS,
    REORDERED,
    RESTARTED,
)
from trunkproof.loadgen.media.stream import GUESSES_AHEAD_S, MOST_RETURNED, MOST_RETURNED_BYTES, MOST_SOURCES
from trunkproof.loadgen.media.terms import Origin
from trunkproof.models.compiled import inlined, lean
from trunkproof.models.packets import CLOCK_HZ, PACKET_S, SAMPLES_PER_PACKET

AGREED: Final = int(Origin.AGREED)
BEFORE: Final = int(Origin.BEFORE)
FOUND: Final = int(Origin.FOUND)
ELSEWHERE: Final = int(Origin.ELSEWHERE)
_KEYS = len(DIGITS)
RTP: Final = int(Kind.RTP)
RTCP: Final = int(Kind.RTCP)
_KEEP_ALIVE: Final = int(Kind.KEEP_ALIVE)
_KINDS = np.array(BY_FIRST_BYTE, dtype=np.uint8)


@inlined
def kind_of(data: Bytes, at: int, size: int) -> int:
    """Return the kind of a datagram, as `datagrams.kind_of` does."""
    kind = octet(_KINDS, octet(data, at))
    if size >= LEAST_RTCP_BYTES and kind == RTP and FIRST_RTCP_TYPE <= data[at + 1] <= LAST_RTCP_TYPE:
        return RTCP
    return kind if size >= HEADER_BYTES else _KEEP_ALIVE


@lean
def receive_audio(c: Record, slot: Record, work: Record, at: int, size: int, arrival: float, origin: int) -> None:
    """Take the RTP packet of `size` bytes at `work.data[at:]`, which came at `arrival` on the monotonic clock."""
    early = arrival < slot.answered
    if origin == AGREED and not early:
        slot.agreed_spoke = 1
    _note_arrival(slot, early)
    status, older, number = _try_keys(c, slot, work, at, size, arrival)
    if status == OK:
        _take(c, slot, work, at, arrival, older, number)
    elif not early and slot.keyed != 0:
        _note_failure(slot, work.data, at, size, status)


@lean
def receive_audio_from_elsewhere(
    c: Record, slot: Record, work: Record, at: int, size: int, arrival: float, origin: int
) -> bool:
    """Take an RTP packet from another address if it is the peer's, and return whether it is, as `MediaStream`."""
    if slot.keyed == 0 or not may_guess(slot, arrival, origin):
        return False
    if slot.rx.session == 0 and not _may_be_found(slot, work.data, at, size, arrival, origin):
        return False
    status, older, number = _try_keys(c, slot, work, at, size, arrival)
    if status != OK:
        note_guess(slot, arrival)
        return False
    _note_arrival(slot, arrival < slot.answered)
    _take(c, slot, work, at, arrival, older, number)
    return True


@inlined
def _note_arrival(slot: Record, early: bool) -> None:
    if early:
        slot.early += 1
    else:
        slot.arrived += 1


@lean
def may_guess(slot: Record, arrival: float, origin: int) -> bool:
    """Return whether a packet may be checked, as `MediaStream`."""
    return origin < ELSEWHERE or slot.guessed_until - arrival <= GUESSES_AHEAD_S


@lean
def note_guess(slot: Record, arrival: float) -> None:
    """Note that a packet from another address was not authentic, as `MediaStream`."""
    slot.guessed_until = max(slot.guessed_until, arrival) + PACKET_S


@lean
def _may_be_found(slot: Record, data: Bytes, at: int, size: int, arrival: float, origin: int) -> bool:
    """Return whether plain RTP from another address is taken for the peer's, as `MediaStream`."""
    start, _ = _payload(data, at, size)
    if slot.agreed_spoke != 0 or start == NEVER:
        return False
    kind = slot.types[data[at + 1] & 0x7F]
    return origin == FOUND or (kind in (VOICE, VOICE_A, EVENT) and arrival >= slot.answered)


@inlined
def _try_keys(c: Record, slot: Record, work: Record, at: int, size: int, arrival: float) -> tuple[int, bool, int]:
    """Decrypt a packet. Return a status of libsrtp, whether its key is that of before, and the number of its source."""
    if slot.keyed == 0:
        return NOT_AUTHENTIC, False, NEVER
    number = _find(slot, read32(work.data, at + 8))
    status = _open(c, slot, work, at, size, number)
    if status != OK and arrival < slot.old_until and _open_older(c, slot, work, at, size, number) == OK:
        return OK, True, number
    return status, False, number


@inlined
def _take(c: Record, slot: Record, work: Record, at: int, arrival: float, older: bool, number: int) -> None:
    """Take an authentic packet, decrypted."""
    early = arrival < slot.answered
    ssrc = read32(work.data, at + 8)
    # Early too: the source's rollovers are counted from its first packet on.
    number = _heard_last(c, slot, number, ssrc)
    source = slot.sources[number]
    if older:
        if slot.old.tag_bytes != 0:
            advance(source.before, work.index)
    elif slot.rx.tag_bytes != 0:
        advance(source.now, work.index)
    start, end = _payload(work.data, at, work.length[0])
    if start == NEVER:
        slot.failed += 0 if early else 1
    elif not early:
        _hear(slot, source, work, at, start, end, arrival)


@inlined
def _find(slot: Record, ssrc: int) -> int:
    """Return the number of a source, or `NEVER` where it is new."""
    # Mostly it is the one that was heard last.
    if slot.source_count > 0 and slot.sources[slot.current].ssrc == ssrc:
        return int(slot.current)
    return find(slot, ssrc)


@lean
def find(slot: Record, ssrc: int) -> int:
    """Return the number of a source, or `NEVER` where it is new."""
    for number in range(slot.source_count):
        if slot.sources[number].ssrc == ssrc:
            return number
    return NEVER


@inlined
def _open(c: Record, slot: Record, work: Record, at: int, size: int, number: int) -> int:
    """Decrypt a packet with the key of now. Return a status of libsrtp; where it is not `OK`, nothing was changed."""
    if number == NEVER:
        return _decrypt(c, slot.rx, slot.rx_mki, slot.fresh, work, at, size)
    return _decrypt(c, slot.rx, slot.rx_mki, slot.sources[number].now, work, at, size)


@inlined
def _open_older(c: Record, slot: Record, work: Record, at: int, size: int, number: int) -> int:
    """Decrypt a packet with the key of before, like `_open`."""
    if number == NEVER:
        return _decrypt(c, slot.old, slot.old_mki, slot.fresh, work, at, size)
    return _decrypt(c, slot.old, slot.old_mki, slot.sources[number].before, work, at, size)


@lean
def _decrypt(c: Record, key: Record, mki: Bytes, source: Record, work: Record, at: int, size: int) -> int:
    work.length[0] = size
    if key.session == 0:
        return OK
    if key.mki_bytes > 0:
        size = take_mki(work.data, at, size, key.tag_length, mki, key.mki_bytes)
    # pylibsrtp refuses longer packets, and both pumps must count alike.
    status = NOT_AUTHENTIC if size == NEVER or size > MOST_BYTES else unprotect(c, key, source, work, at, size)
    if key.mki_bytes > 0 and size != NEVER and status != OK:
        add_mki(work.data, at, size, key.tag_length, mki, key.mki_bytes)
    return status


@inlined
def _heard_last(c: Record, slot: Record, number: int, ssrc: int) -> int:
    """Note which source was heard last, and return its number. A new one is given one."""
    if number == slot.current and slot.source_count > 0:
        return number
    if number == NEVER:
        number = _claim(c, slot, ssrc)
    slot.switches += 1
    slot.sources[number].used = slot.switches
    slot.current = number
    return number


@lean
def _claim(c: Record, slot: Record, ssrc: int) -> int:
    """Return a number for a new source: a free one, or that of the source that was heard longest ago."""
    number = slot.source_count
    if number < MOST_SOURCES:
        slot.source_count += 1
    else:
        number = 0
        for each in range(1, MOST_SOURCES):
            if slot.sources[each].used < slot.sources[number].used:
                number = each
        source = slot.sources[number]
        slot.forgotten_expected += expected(source)
        slot.forgotten_received += source.received
        forget_keys(c, slot, source.ssrc)
    source = slot.sources[number]
    source.ssrc = ssrc
    clear_state(source.now)
    clear_state(source.before)
    source.expected_before = source.received = source.reported_expected = source.reported_received = 0
    source.first = source.highest = source.odd = source.timestamp = NEVER
    source.unwrapped, source.samples = 0, SAMPLES_PER_PACKET
    source.jitter = 0.0
    source.transit = source.last_arrival = source.latest = math.nan
    return int(number)


@inlined
def clear_state(state: Record) -> None:
    """Reset the state of a source for a new key."""
    state.index = 0
    for place in range(len(state.recent)):
        state.recent[place] = 0


@lean
def forget_keys(c: Record, slot: Record, ssrc: int) -> None:
    """Have libsrtp free what it keeps of a source."""
    in_order = (ssrc & 0xFF) << 24 | (ssrc & 0xFF00) << 8 | ssrc >> 8 & 0xFF00 | ssrc >> 24 & 0xFF
    # An error only says that nothing was kept of it.
    if slot.rx.session != 0:
        call_c(c.srtp_remove_stream, (slot.rx.session, in_order))
    if slot.old.session != 0:
        call_c(c.srtp_remove_stream, (slot.old.session, in_order))


@inlined
def expected(source: Record) -> int:
    """Return how many packets of a source were expected, as `ReceptionStatistics.expected`."""
    return int(source.expected_before + (0 if source.first == NEVER else source.highest - source.first + 1))


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
    if start != NEVER and is_frame(data, start, end):
        slot.plain += 1


@lean
def _hear(slot: Record, source: Record, work: Record, at: int, start: int, end: int, arrival: float) -> None:
    data = work.data
    slot.authentic += 1
    if source.ssrc == slot.ssrc:
        slot.collided += 1
    if source.first == NEVER:
        slot.sources_heard += 1
    missing = _add(slot, source, read16(data, at + 2))
    # A duplicate is neither played nor heard, and must not end a silence.
    if missing == DUPLICATE:
        return
    second, timestamp = octet(data, at + 1), read32(data, at + 4)
    marker, kind = second & 0x80 != 0, slot.types[second & 0x7F]
    pause = _paused(source, missing, timestamp, arrival, marker)
    _end_silence(slot, arrival, pause)
    slot.announced = kind == COMFORT
    if missing == JUMPED:
        slot.jumped += 1
        return
    # The packet before this one jumped, and is counted among the received ones now.
    if missing == RESTARTED:
        slot.jumped -= 1
    if kind in (VOICE, VOICE_A):
        source.samples = end - start
        _play(slot, source, missing, timestamp, arrival, marker)
        if slot.reads_tones:
            note_tones(slot, work, start, end, kind, timestamp, arrival)
        else:
            note_voice(slot, data, start, end, arrival)
        if slot.echoes and second & 0x7F == slot.payload_type:
            _keep(slot, data, start, end)
    elif kind == EVENT:
        _note_key(slot, data, start, end, timestamp)
    elif kind == COMFORT:
        _play(slot, source, missing, timestamp, arrival, marker)
    else:
        slot.other_types += 1
    source.last_arrival = arrival


@inlined
def _add(slot: Record, source: Record, sequence: int) -> int:
    """Note a packet by its number, as `ReceptionStatistics.add`."""
    if source.first == NEVER:
        _begin(source, sequence)
        return BEGUN
    delta = (sequence - source.highest) & (MODULUS - 1)
    if delta == 0:
        slot.duplicate += 1
        return DUPLICATE
    if delta < MAX_DROPOUT:
        _step_on(source, delta)
        return int(delta - 1)
    return _far_off(slot, source, sequence, MODULUS - delta)


@lean
def _begin(source: Record, sequence: int) -> None:
    # One rollover ahead, so that packets before the first have positive numbers too.
    source.first = source.highest = sequence + MODULUS
    for place in range(len(source.seen)):
        source.seen[place] = 0
    set_bit(source.seen, source.highest)
    source.odd = source.timestamp = NEVER
    source.transit = math.nan
    source.received += 1


@inlined
def _step_on(source: Record, delta: int) -> None:
    clear_bits(source.seen, source.highest + 1, source.highest + delta)
    source.highest += delta
    set_bit(source.seen, source.highest)
    source.received += 1


@lean
def _far_off(slot: Record, source: Record, sequence: int, behind: int) -> int:
    """Note a packet that is not ahead of the others."""
    if behind < HISTORY:
        number = source.highest - behind
        if has_bit(source.seen, number):
            slot.duplicate += 1
            return DUPLICATE
        set_bit(source.seen, number)
        # A packet before the first one may come late, and was expected too.
        source.first = min(source.first, number)
        source.received += 1
        slot.reordered += 1
        return REORDERED
    if sequence != source.odd:
        source.odd = (sequence + 1) & (MODULUS - 1)
        return JUMPED
    source.expected_before = expected(source)
    _begin(source, (sequence - 1) & (MODULUS - 1))
    _step_on(source, 1)
    return RESTARTED


@inlined
def _timestamp_step(before: int, after: int) -> int:
    delta = (after - before) & 0xFFFFFFFF
    return int(delta if delta < 1 << 31 else delta - (1 << 32))


@inlined
def _paused(source: Record, missing: int, timestamp: int, arrival: float, marker: bool) -> bool:
    # Written so that the comparison with "nothing yet", which is not a number, fails.
    if missing < 0 or source.timestamp == NEVER or not arrival - source.last_arrival > PAUSE_S:
        return False
    samples = (arrival - source.last_arrival) * CLOCK_HZ
    explained = 2 * missing * source.samples <= samples
    return explained and (marker or 2 * _timestamp_step(source.timestamp, timestamp) >= samples)


@inlined
def _end_silence(slot: Record, arrival: float, pause: bool) -> None:
    """Note a packet, as `Silence.heard`."""
    if pause:
        slot.has_paused = 1
    if math.isnan(slot.silent_since):
        return
    gap = arrival - slot.silent_since
    if pause:
        slot.paused_s += gap
    else:
        slot.longest_s = max(slot.longest_s, gap)
    slot.silent_since = max(slot.silent_since, arrival)


@inlined
def _play(slot: Record, source: Record, missing: int, timestamp: int, arrival: float, marker: bool) -> None:
    """Note the time of a packet of voice, as `ReceptionStatistics.play` and `JitterBuffer.add`."""
    if source.timestamp == NEVER:
        source.unwrapped = timestamp
    else:
        source.unwrapped += _timestamp_step(source.timestamp, timestamp)
    source.timestamp = timestamp
    transit = arrival - source.unwrapped / CLOCK_HZ
    anew = math.isnan(source.transit) or math.isnan(source.last_arrival)
    if not anew:
        change = abs(transit - source.transit)
        anew = (marker and arrival - source.last_arrival > DEPTH_S) or (missing == 0 and change > LOST_TRACK_S)
        source.jitter += 0.0 if anew else (change - source.jitter) / 16
    if anew or math.isnan(source.latest):
        source.latest = transit + DEPTH_S
    if transit > source.latest:
        slot.late += 1
    source.latest += min(max(transit + DEPTH_S - source.latest, -DRIFT_S), DRIFT_S)
    source.transit = transit


@lean
def _keep(slot: Record, data: Bytes, start: int, end: int) -> None:
    """Keep a frame that is to be sent back, as `MediaStream`: of too many, the oldest goes."""
    size = end - start
    if not 0 < size <= MOST_RETURNED_BYTES:
        return
    if slot.returned_count == MOST_RETURNED:
        slot.returned_first = (slot.returned_first + 1) % MOST_RETURNED
        slot.returned_count -= 1
    free = (slot.returned_first + slot.returned_count) % MOST_RETURNED
    for place in range(size):
        slot.returned[free * MOST_RETURNED_BYTES + place] = data[start + place]
    slot.returned_bytes[free] = size
    slot.returned_count += 1


@lean
def _note_key(slot: Record, data: Bytes, start: int, end: int, timestamp: int) -> None:
    # A key counts at its end (bit 0x80). The end is sent three times with the same timestamp, and counts once.
    if end - start < 4 or data[start] >= _KEYS or data[start + 1] & 0x80 == 0 or timestamp == slot.last_event:
        return
    slot.last_event = timestamp
    if slot.digit_count < MOST_DIGITS:
        slot.digits[slot.digit_count] = data[start]
        slot.digit_count += 1
