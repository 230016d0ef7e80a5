"""The identity of a call in tones, for networks that change the octets: transcoding, level, clock, packet time.

Each call has its own chord. Four tones say the call's number, one decimal digit each. A fifth is a check digit, which
also says whose voice it is. All stand still for the whole call, at multiples of 50 Hz, so any 20 ms of them hold whole
periods. A receiver looks at 20 ms wherever they begin, and needs no synchronisation. Frames that are lost or repeated
change nothing.

    band       Hz                            says
    hopping    350, 450, 550, 650            the frame, see below
    thousands  800 to 1300, without 1100     floor(number / 1000)
    hundreds   1350 to 1800
    tens       1850 to 2350, without 2100
    ones       2400 to 2850
    check      2900 to 3350                  (thousands + 3 hundreds + 7 tens + 9 ones + 5 if called) mod 10

1100 and 2100 Hz are left out: they are the calling and answering tones of fax machines (ITU-T T.30, V.25), and networks
switch their echo cancellers off when they hear the latter.

A sixth tone hops every frame between four frequencies, in an order in which any four hops in a row occur only once in
256 frames (a de Bruijn sequence). So eight hops in a row say which frame it is, with four to check it: that times the
round trip. It also tells a chord from an organ: a steady sound is no voiceprint.

A frame is recognised where each digit's strongest tone is 6 dB above all others of its band, these tones have 70 % of
the energy, and the check digit is right. Only after `RUN` frames that say the same it counts, because one false alarm
of cross-talk would fail a call. So audio of less than 100 ms is not recognised.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trunkproof.loadgen.media.g711 import VALUES, Octets, Samples, encode
from trunkproof.loadgen.media.voiceprint import Side, Voice
from trunkproof.models.arrays import FloatArray
from trunkproof.models.draws import ROWS_PER_TRUNK
from trunkproof.models.packets import CLOCK_HZ, SAMPLES_PER_PACKET

NUMBERS: Final = 10_000
"""Calls that can be told apart at once."""
BLOCK: Final = SAMPLES_PER_PACKET
"""Samples that are looked at together: a frame."""
HOPS: Final = 4
_HOP_BINS = (7, 9, 11, 13)
_DIGIT_BINS = (
    (16, 17, 18, 19, 20, 21, 23, 24, 25, 26),
    (27, 28, 29, 30, 31, 32, 33, 34, 35, 36),
    (37, 38, 39, 40, 41, 43, 44, 45, 46, 47),
    (48, 49, 50, 51, 52, 53, 54, 55, 56, 57),
    (58, 59, 60, 61, 62, 63, 64, 65, 66, 67),
)
_BINS = np.array([*_HOP_BINS, *(each for band in _DIGIT_BINS for each in band)])
"""The frequencies of all tones, in units of 50 Hz, in the order in which powers are computed."""
POWERS: Final = len(_BINS)
BANDS: Final = len(_DIGIT_BINS)
WEIGHTS: Final = (1, 3, 7, 9)
"""Of the digits, in the check digit. None has a factor of 10, so one wrong digit never leaves it right for one side.
"""
_AMPLITUDE = 2600.0
"""Of each tone. All six together stay below full scale, also 6 dB louder. Their level is -17 dB of full scale."""
_PHASES = 2 * np.pi * np.array([0.0, 0.07, 0.31, 0.62, 0.19, 0.83])
"""Of the six tones, chosen so that they do not all peak at once."""
DOMINANCE: Final = 4.0
TONAL_SHARE: Final = 0.7
LEAST_ENERGY: Final = 160 * 32.0**2
"""Of a block. Below this level, -60 dB of full scale, is silence."""
RUN: Final = 5
MOST_PENDING: Final = 2 * RUN
"""Blocks that may wait to be counted. So many with the same hop are a steady sound."""
CHAIN: Final = 8
"""Hops in a row that say which frame it is."""
CYCLE: Final = 256
"""Frames until the hops repeat: 5.12 s."""
_STEADY = {symbol * 0b0101010101 for symbol in range(HOPS)}
"""Five hops that are all the same. They occur nowhere in the order."""


def _de_bruijn() -> tuple[int, ...]:
    """Return the order of the hops: greedily, always the highest hop that makes no four in a row occur again."""
    order = [0, 0, 0]
    seen: set[tuple[int, ...]] = set()
    while len(order) < CYCLE + 3:
        last = tuple(order[-3:])
        hop = next(hop for hop in reversed(range(HOPS)) if (*last, hop) not in seen)
        seen.add((*last, hop))
        order.append(hop)
    return tuple(order[:CYCLE])


HOP_ORDER: Final = np.array(_de_bruijn(), np.uint8)
"""The hop of each frame of a cycle."""


def _chains() -> NDArray[np.int64]:
    """Return for the last four hops, as a number, the frame of the newest times 65536, plus its last eight hops."""
    found = np.zeros(CYCLE, np.int64)
    for frame in range(CYCLE):
        hops = 0
        for back in reversed(range(CHAIN)):
            hops = hops << 2 | int(HOP_ORDER[(frame - back) % CYCLE])
        found[hops & 0xFF] = frame << 16 | hops
    return found


CHAINS: Final = _chains()
SCALE: Final = 4096
_HALF, _QUARTER = BLOCK // 2, BLOCK // 4
_ANGLES = 2 * np.pi * np.outer(np.arange(_QUARTER + 1), _BINS) / BLOCK
COSINES: Final[FloatArray] = np.round(SCALE * np.cos(_ANGLES))
"""Sample of the first quarter -> bin. Whole numbers, so that their sums are exact in any order, in compiled code too.
"""
SINES: Final[FloatArray] = np.round(SCALE * np.sin(_ANGLES))
IS_EVEN: Final = _BINS % 2 == 0
"""Bins whose waves are the same in the second half of a block. The others are the same with the other sign."""


def _whole(quarter: FloatArray, mirror: FloatArray) -> FloatArray:
    """Return the waves of a whole block. `mirror` is the sign of the second quarter, backwards, of each bin."""
    half = np.concatenate([quarter, mirror * quarter[-2:0:-1]])
    return np.concatenate([half, np.where(IS_EVEN, half, -half)])


_WAVES = np.hstack(
    [_whole(COSINES, np.where(IS_EVEN, 1.0, -1.0)), _whole(SINES, np.where(IS_EVEN, -1.0, 1.0))],
)
ENERGY_OF_POWER: Final = 1 / (_HALF * float(SCALE) ** 2)
"""A tone's power times this is its energy in the block: for amplitude A, (80 A)^2 / 80 = 160 A^2 / 2."""


class Chord(NamedTuple):
    """What one block says."""

    number: int
    side: Side
    hop: int


def number_of(row: int) -> int:
    """Return the number that names a plan row in tones. It is the same again after 10,000 rows of the same trunk."""
    # Rows of different trunks with the same place would be up at the same time.
    return (row + 4_567 * (row // ROWS_PER_TRUNK)) % NUMBERS


def _digits(side: Side, row: int) -> tuple[int, ...]:
    digits = tuple(map(int, f"{number_of(row):04d}"))
    check = sum(weight * digit for weight, digit in zip(WEIGHTS, digits, strict=True))
    return (*digits, (check + 5 * (side is Side.CALLED)) % 10)


def render(side: Side, row: int) -> FloatArray:
    """Return the frames of a call, one for each hop. All others equal these, as the tones have whole periods."""
    at = 2 * np.pi * np.arange(BLOCK) / BLOCK
    chord = np.zeros(BLOCK)
    for band, digit, phase in zip(_DIGIT_BINS, _digits(side, row), _PHASES[1:], strict=True):
        chord += np.cos(band[digit] * at + phase)
    return _AMPLITUDE * np.array([chord + np.cos(hop * at + _PHASES[0]) for hop in _HOP_BINS])


def frames(side: Side, row: int, payload_type: int) -> Octets:
    """Return the payloads of a call, one for each hop."""
    return encode(render(side, row), payload_type)


def powers_of(block: Samples) -> tuple[FloatArray, float]:
    """Return the power at each tone's frequency in a block, and the energy of the whole block."""
    samples = block.astype(np.float64)
    parts = samples @ _WAVES
    return parts[:POWERS] ** 2 + parts[POWERS:] ** 2, float(samples @ samples)


def read_chord(block: Samples) -> Chord | None:
    """Return what a block says, or None where it is no voiceprint."""
    powers, energy = powers_of(block)
    if energy < LEAST_ENERGY:
        return None
    bands = powers[HOPS:].reshape(BANDS, 10)
    strongest = bands.max(axis=1)
    digits = bands.argmax(axis=1).tolist()
    # The strongest itself is one of them, unless the band is empty.
    if np.any(np.count_nonzero(DOMINANCE * bands > strongest[:, None], axis=1) != 1):
        return None
    # One after the other, as compiled code does it.
    if sum([*powers[:HOPS].tolist(), *strongest.tolist()]) * ENERGY_OF_POWER < TONAL_SHARE * energy:
        return None
    # 0 for the caller and 5 for the called side. Anything else is an error.
    parity = (digits[4] - sum(weight * digit for weight, digit in zip(WEIGHTS, digits[:4], strict=True))) % 10
    if parity not in {0, 5}:
        return None
    number = 1000 * digits[0] + 100 * digits[1] + 10 * digits[2] + digits[3]
    return Chord(number, Side.CALLED if parity else Side.CALLER, int(powers[:HOPS].argmax()))


class Told(NamedTuple):
    """Frames that were judged together."""

    voice: Voice
    frames: int
    frame: int | None = None
    """Of which frame of the cycle of 256 it is, where the hops say that."""
    offset_s: float = 0.0
    """When the frame begins, after the beginning of the packet that completed it. Negative: in an earlier packet."""


class ToneReader:
    """Reads the tones that one side of a call hears. Packets of any length are put together to blocks of 20 ms."""

    def __init__(self, listener: Side, row: int) -> None:
        self._listener, self._number = listener, number_of(row)
        self._block = np.zeros(BLOCK, np.int16)
        self._filled = 0
        self._next: int | None = None
        """The timestamp that goes on where the last packet ended."""
        self._chord: tuple[int, Side] | None = None
        self._run = self._pending = 0
        """Blocks in a row that said the same, and how many of them are not counted yet."""
        self._hops = self._chained = 0
        """The last eight hops, and how many came without a gap."""

    def read(self, payload: bytes, payload_type: int, timestamp: int) -> list[Told]:
        """Take the payload of a packet of voice. Return what the blocks say that it completes."""
        if timestamp != self._next:
            self._filled = self._chained = 0
        self._next = (timestamp + len(payload)) & 0xFFFFFFFF
        samples, told, at = VALUES[payload_type][np.frombuffer(payload, np.uint8)], [], 0
        while at < len(samples):
            taken = min(BLOCK - self._filled, len(samples) - at)
            self._block[self._filled : self._filled + taken] = samples[at : at + taken]
            self._filled, at = self._filled + taken, at + taken
            if self._filled == BLOCK:
                self._filled = 0
                told += self._judge((at - BLOCK) / CLOCK_HZ)
        return told

    def _judge(self, offset_s: float) -> list[Told]:
        heard = read_chord(self._block)
        said = None if heard is None else heard[:2]
        told = []
        if said != self._chord or said is None:
            # Too few to count as anybody's.
            if self._pending:
                told.append(Told(Voice.UNKNOWN, self._pending))
            self._chord, self._run, self._pending = said, 0, 0
        if heard is None:
            self._chained = 0
            return [*told, Told(Voice.UNKNOWN, 1)]
        self._hops, self._chained = (self._hops << 2 | heard.hop) & 0xFFFF, self._chained + 1
        self._run += 1
        self._pending += 1
        # Where frames are lost, the last hops may be the same by chance. So these blocks only wait for the next.
        if self._run < RUN or self._hops & 0x3FF in _STEADY:
            if self._pending < MOST_PENDING:
                return told
            told.append(Told(Voice.UNKNOWN, self._pending))
        else:
            chain = int(CHAINS[self._hops & 0xFF])
            known = self._chained >= CHAIN and chain & 0xFFFF == self._hops
            told.append(Told(self._voice(heard), self._pending, chain >> 16 if known else None, offset_s))
        self._pending = 0
        return told

    def _voice(self, heard: Chord) -> Voice:
        if heard.number != self._number:
            return Voice.FOREIGN
        return Voice.OWN_ECHO if heard.side is self._listener else Voice.EXPECTED
