"""G.711: the values that A-law and mu-law octets stand for, and back. Values have 16 bits, as in WAV files."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Octets = NDArray[np.uint8]

PCMU, PCMA = 0, 8
"""Payload types of mu-law and A-law (RFC 3551 table 4)."""


def _mu_law(octet: int) -> int:
    """Return the value of a mu-law octet (ITU-T G.711 table 2). All bits are inverted on the line."""
    code = ~octet & 0xFF
    size = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -size if code & 0x80 else size


def _a_law(octet: int) -> int:
    """Return the value of an A-law octet (ITU-T G.711 table 1). Even bits are inverted on the line."""
    code = octet ^ 0x55
    segment, size = code >> 4 & 7, (code & 0x0F) << 4
    size = size + 8 if segment == 0 else size + 0x108 << segment - 1
    return size if code & 0x80 else -size


VALUES: Final[dict[int, Samples]] = {
    PCMU: np.array([_mu_law(octet) for octet in range(256)], np.int16),
    PCMA: np.array([_a_law(octet) for octet in range(256)], np.int16),
}
"""Payload type -> the value of each octet."""


def decode(octets: Octets, payload_type: int) -> Samples:
    """Return the values of octets of that payload type."""
    return VALUES[payload_type][octets]


_ORDERED = {law: np.argsort(values, kind="stable").astype(np.uint8) for law, values in VALUES.items()}
"""Payload type -> octets by their values."""
_BOUNDS = {
    law: (VALUES[law][order][:-1].astype(np.float64) + VALUES[law][order][1:]) / 2 for law, order in _ORDERED.items()
}


def encode(samples: NDArray[np.number], payload_type: int) -> Octets:
    """Return for each sample the octet with the nearest value. What is too loud is cut off."""
    return _ORDERED[payload_type][np.searchsorted(_BOUNDS[payload_type], samples.astype(np.float64))]
