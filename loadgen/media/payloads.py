"""What a stream says again and again: the tones of its call, or a sound file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from trunkproof.loadgen.media import tones
from trunkproof.loadgen.media.g711 import Octets, encode
from trunkproof.loadgen.media.voiceprint import Side
from trunkproof.models.packets import SAMPLES_PER_PACKET
from trunkproof.models.speech import Voiceprint, read_sound


def payloads_of(side: Side, row: int, voiceprint: Voiceprint, sound: Path | None, law: int) -> Octets | None:
    """Return payloads of 20 ms in A-law or mu-law, one a row, or None for voiceprints of bytes, which are not said
    again.

    Raises:
        ValueError: the sound file cannot be read.
    """
    if sound is not None:
        return _sound(sound, law)
    return tones.frames(side, row, law) if voiceprint is Voiceprint.TONES else None


@lru_cache(maxsize=32)
def _sound(file: Path, law: int) -> Octets:
    """Return a whole file. All calls that play it share these octets."""
    samples = read_sound(file)
    whole = -(-len(samples) // SAMPLES_PER_PACKET) * SAMPLES_PER_PACKET
    return encode(np.pad(samples, (0, whole - len(samples))), law).reshape(-1, SAMPLES_PER_PACKET)
