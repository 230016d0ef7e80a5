"""What a stream says again and again: the tones of its call, a sound file, a steady tone, or silence."""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np

from trunkproof.loadgen.media import tones
from trunkproof.loadgen.media.g711 import PCMA, PCMU, Octets, encode
from trunkproof.loadgen.media.voiceprint import Side
from trunkproof.models.packets import CLOCK_HZ, SAMPLES_PER_PACKET
from trunkproof.models.speech import Voiceprint, read_sound


class Steady(Enum):
    """A sound of which each 20 ms are the same."""

    TONE = auto()
    SILENCE = auto()
    """It keeps a NAT open."""


Saying: TypeAlias = Path | Steady
"""What is said in place of a voiceprint: a sound file, or a steady sound."""

_TONE_HZ = 400
"""It has a whole number of periods in 20 ms."""
_AMPLITUDE = 8031.0
"""Of 32,124, the loudest value of mu-law: about -12 dBm0, which telephones play well."""
_SILENT = {PCMA: 0xD5, PCMU: 0xFF}
"""The octets of 0 (ITU-T G.711 tables 1 and 2)."""


def payloads_of(side: Side, row: int, voiceprint: Voiceprint, instead: Saying | None, law: int) -> Octets | None:
    """Return payloads of 20 ms in A-law or mu-law, one a row, or None for voiceprints of bytes, which are not said
    again. `instead` is said in place of the voiceprint.

    Raises:
        ValueError: the sound file cannot be read.
    """
    if isinstance(instead, Steady):
        return _steady(instead, law)
    if instead is not None:
        return _sound(instead, law)
    return tones.frames(side, row, law) if voiceprint is Voiceprint.TONES else None


@lru_cache
def _steady(sound: Steady, law: int) -> Octets:
    if sound is Steady.SILENCE:
        return np.full((1, SAMPLES_PER_PACKET), _SILENT[law], np.uint8)
    turns = 2 * np.pi * _TONE_HZ * np.arange(SAMPLES_PER_PACKET) / CLOCK_HZ
    return encode(np.round(_AMPLITUDE * np.sin(turns)), law)[None]


@lru_cache(maxsize=32)
def _sound(file: Path, law: int) -> Octets:
    """Return a whole file. All calls that play it share these octets."""
    samples = read_sound(file)
    whole = -(-len(samples) // SAMPLES_PER_PACKET) * SAMPLES_PER_PACKET
    return encode(np.pad(samples, (0, whole - len(samples))), law).reshape(-1, SAMPLES_PER_PACKET)
