"""What an answering side says in place of its voiceprint: a tone, silence, or the audio that its caller sent (echo).

A tone of 400 Hz has a whole number of periods in 20 ms, so each of its frames is the same 160 bytes. The bytes are
those of the agreed codec, A-law or mu-law (ITU-T G.711).
"""

from __future__ import annotations

import math

from trunkproof.models.packets import CLOCK_HZ, SAMPLES_PER_PACKET

TONE_HZ = 400
_AMPLITUDE = 8031
"""Of 32,124, the loudest sample of mu-law: about -12 dBm0, which telephones play well."""
MOST_RETURNED = 32
"""Frames that an echo keeps at most. Pumps receive several at once, and a peer may send more than it takes back."""
MOST_RETURNED_BYTES = SAMPLES_PER_PACKET
"""The longest frame that is returned: 20 ms."""
_SILENCE = {"PCMA": 0xD5, "PCMU": 0xFF}


def silence(codec: str) -> bytes:
    """Return a frame of silence."""
    return bytes([_SILENCE[codec]]) * SAMPLES_PER_PACKET


def tone(codec: str) -> bytes:
    """Return a frame of the tone."""
    encode = a_law if codec == "PCMA" else mu_law
    turns = (2 * math.pi * TONE_HZ * place / CLOCK_HZ for place in range(SAMPLES_PER_PACKET))
    return bytes(encode(round(_AMPLITUDE * math.sin(turn))) for turn in turns)


def mu_law(sample: int) -> int:
    """Return a linear sample of 16 bits in mu-law (ITU-T G.711 table 2)."""
    magnitude = min(abs(sample), 32_635) + 132
    segment = magnitude.bit_length() - 8
    return ~((0x80 if sample < 0 else 0) | segment << 4 | magnitude >> segment + 3 & 0xF) & 0xFF


def a_law(sample: int) -> int:
    """Return a linear sample of 16 bits in A-law (ITU-T G.711 table 1)."""
    magnitude = min(sample if sample >= 0 else -sample - 1, 32_767) >> 4
    segment = max(0, magnitude.bit_length() - 4)
    code = segment << 4 | (magnitude >> max(1, segment) - 1 & 0xF if segment else magnitude)
    return (code | (0x80 if sample >= 0 else 0)) ^ 0x55
