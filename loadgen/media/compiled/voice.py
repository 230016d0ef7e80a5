"""Tell whose voice a packet carries, by the bytes of `voiceprint` or by the tones of `tones`.

The counts equal those of `MediaStream` to the last bit. Change both sides together.

The powers of 54 tones are the work here. A block is folded twice before: its second half is that of the first, or the
negative of it, for each tone, and the same holds for the two quarters. So 41 samples are multiplied, not 160. The inner
loops run over tones, because these are independent of each other: the processor then works on several at once.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from trunkproof.loadgen.media.compiled.memory import NEVER, VOICE_A, Bytes, Record
from trunkproof.loadgen.media.compiled.octets import crc32, octet, read32
from trunkproof.loadgen.media.g711 import PCMA, PCMU, VALUES
from trunkproof.loadgen.media.tones import (
    BANDS,
    BLOCK,
    CHAIN,
    CHAINS,
    COSINES,
    CYCLE,
    DOMINANCE,
    ENERGY_OF_POWER,
    HOPS,
    IS_EVEN,
    LEAST_ENERGY,
    MOST_PENDING,
    POWERS,
    RUN,
    SINES,
    TONAL_SHARE,
    WEIGHTS,
)
from trunkproof.loadgen.media.voices import TIMED_FRAMES
from trunkproof.models.compiled import inlined, lean
from trunkproof.models.packets import CLOCK_HZ

_VALUES = np.stack([VALUES[PCMU], VALUES[PCMA]])
# Even tones first, then odd ones, and behind each other as they are used.
_EVEN, _ODD = np.flatnonzero(IS_EVEN), np.flatnonzero(~IS_EVEN)
_EVENS, _ODDS = len(_EVEN), len(_ODD)
_COSINES_EVEN, _SINES_EVEN = COSINES[:, _EVEN].ravel(), SINES[:, _EVEN].ravel()
_COSINES_ODD, _SINES_ODD = COSINES[:, _ODD].ravel(), SINES[:, _ODD].ravel()
_PLACE = np.argsort(np.concatenate([_EVEN, _ODD]))
"""Tone -> its place in that order."""
_HALF: Final = BLOCK // 2
_QUARTER: Final = BLOCK // 4
_STEADY: Final = 0b0101010101


@inlined
def is_frame(data: Bytes, start: int, end: int) -> bool:
    """Return whether a payload begins with a voiceprint of bytes, as `voiceprint.read_frame`."""
    return (
        end - start >= 16
        and data[start] == 0x74  # "tp"
        and data[start + 1] == 0x70
        and crc32(data, start, 12) == read32(data, start + 12)
        and (data[start + 2] == 1 or data[start + 2] == 2)
    )


@inlined
def note_voice(slot: Record, data: Bytes, start: int, end: int, arrival: float) -> None:
    """Note whose voice a packet carries, by its bytes."""
    if not is_frame(data, start, end):
        slot.unknown += 1
    elif octet(data, start + 3) << 32 | read32(data, start + 4) != slot.row:
        slot.foreign += 1
    elif data[start + 2] == slot.side:
        slot.echoed += 1
        _time(slot, read32(data, start + 8), arrival)
    else:
        slot.matched += 1


@inlined
def _time(slot: Record, number: int, arrival: float) -> None:
    """Note when our frame of that number came back, as `MediaStream`."""
    if number >= 0 and 0 < slot.sent - number <= TIMED_FRAMES:
        slot.round_trips_s += arrival - slot.sent_at[number % TIMED_FRAMES]
        slot.timed += 1


@lean
def note_tones(slot: Record, work: Record, start: int, end: int, kind: int, timestamp: int, arrival: float) -> None:
    """Note whose voice a packet carries, by its tones, as `ToneReader.read`."""
    if timestamp != slot.block_next:
        slot.block_filled = slot.chained = 0
    slot.block_next = (timestamp + end - start) & 0xFFFFFFFF
    law = 1 if kind == VOICE_A else 0
    filled = slot.block_filled
    for place in range(start, end):
        slot.block[filled] = _VALUES[law, work.data[place]]
        filled += 1
        if filled == BLOCK:
            filled = 0
            _judge(slot, work, arrival + (place + 1 - start - BLOCK) / CLOCK_HZ)
    slot.block_filled = filled


@lean
def _judge(slot: Record, work: Record, at: float) -> None:
    """Note what a whole block says, as `ToneReader._judge`."""
    said, hop = _read(slot, work)
    if said != slot.chord or said == NEVER:
        # Too few to count as anybody's.
        slot.unknown += slot.pending
        slot.chord, slot.run, slot.pending = said, 0, 0
    if said == NEVER:
        slot.chained = 0
        slot.unknown += 1
        return
    slot.hops = (slot.hops << 2 | hop) & 0xFFFF
    slot.chained += 1
    slot.run += 1
    slot.pending += 1
    if slot.run < RUN or slot.hops & 0x3FF == (slot.hops & 3) * _STEADY:
        if slot.pending < MOST_PENDING:
            return
        slot.unknown += slot.pending
    elif said >> 1 != slot.tone_number:
        slot.foreign += slot.pending
    elif (said & 1) + 1 != slot.side:
        slot.matched += slot.pending
    else:
        slot.echoed += slot.pending
        chain = CHAINS[slot.hops & 0xFF]
        if slot.chained >= CHAIN and chain & 0xFFFF == slot.hops:
            last = slot.sent - 1
            _time(slot, last - (last - (chain >> 16)) % CYCLE, at)
    slot.pending = 0


@lean
def _read(slot: Record, work: Record) -> tuple[int, int]:
    """Return what a block says (twice the number, plus 1 for the called side) and its hop, as `tones.read_chord`.

    The first is `NEVER` where it is no voiceprint.
    """
    energy = _waves(slot.block, work)
    powers = work.powers
    if energy < LEAST_ENERGY:
        return NEVER, 0
    hop, tonal = 0, 0.0
    for tone in range(HOPS):
        tonal += powers[tone]
        if powers[tone] > powers[hop]:
            hop = tone
    number = parity = 0
    for band in range(BANDS):
        first = HOPS + 10 * band
        best = first
        for tone in range(first + 1, first + 10):
            if powers[tone] > powers[best]:
                best = tone
        near = 0
        for tone in range(first, first + 10):
            if DOMINANCE * powers[tone] > powers[best]:
                near += 1
        if near != 1:
            return NEVER, 0
        tonal += powers[best]
        digit = best - first
        if band < BANDS - 1:
            number = 10 * number + digit
            parity -= WEIGHTS[band] * digit
        else:
            parity = (parity + digit) % 10
    if tonal * ENERGY_OF_POWER < TONAL_SHARE * energy or parity % 5 != 0:
        return NEVER, 0
    return 2 * number + parity // 5, hop


@lean
def _waves(block: Bytes, work: Record) -> float:
    """Compute the power of each tone, as `tones.powers_of`. Return the energy of the block."""
    real, imaginary, powers = work.real, work.imaginary, work.powers
    for place in range(POWERS):
        real[place] = imaginary[place] = 0.0
    energy = 0.0
    for at in range(_QUARTER + 1):
        a, b = float(block[at]), float(block[at + _HALF])
        even_cosine = even_sine = a + b
        odd_cosine = odd_sine = a - b
        energy += a * a + b * b
        if 0 < at < _QUARTER:
            c, d = float(block[_HALF - at]), float(block[BLOCK - at])
            energy += c * c + d * d
            even_cosine, even_sine = even_cosine + (c + d), even_sine - (c + d)
            odd_cosine, odd_sine = odd_cosine - (c - d), odd_sine + (c - d)
        for tone in range(_EVENS):
            real[tone] += even_cosine * _COSINES_EVEN[at * _EVENS + tone]
            imaginary[tone] += even_sine * _SINES_EVEN[at * _EVENS + tone]
        for tone in range(_ODDS):
            real[_EVENS + tone] += odd_cosine * _COSINES_ODD[at * _ODDS + tone]
            imaginary[_EVENS + tone] += odd_sine * _SINES_ODD[at * _ODDS + tone]
    for tone in range(POWERS):
        place = _PLACE[tone]
        powers[tone] = real[place] * real[place] + imaginary[place] * imaginary[place]
    return energy
