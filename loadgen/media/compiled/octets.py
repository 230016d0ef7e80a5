"""Read and write numbers in network byte order, and compute the checksum of a frame, in arrays of bytes."""

from __future__ import annotations

import zlib

import numpy as np

from trunkproof.loadgen.media.compiled.memory import Bytes
from trunkproof.models.compiled import inlined, lean

_TABLE = np.array([zlib.crc32(bytes([n]), 0xFFFFFFFF) ^ 0xFFFFFFFF for n in range(256)], dtype=np.uint32)
"""The table of CRC-32: its register after each byte, from an empty register."""


@inlined
def octet(data: Bytes, at: int) -> int:
    """Return one byte as a signed integer. Numba would make a float of a signed and an unsigned integer together."""
    return np.int64(data[at])  # type: ignore[return-value]


@inlined
def read16(data: Bytes, at: int) -> int:
    """Read two bytes."""
    return octet(data, at) << 8 | octet(data, at + 1)


@inlined
def read32(data: Bytes, at: int) -> int:
    """Read four bytes."""
    return read16(data, at) << 16 | read16(data, at + 2)


@inlined
def write16(data: Bytes, at: int, value: int) -> None:
    """Write the lower two bytes of a number."""
    data[at], data[at + 1] = value >> 8 & 0xFF, value & 0xFF


@inlined
def write32(data: Bytes, at: int, value: int) -> None:
    """Write the lower four bytes of a number."""
    write16(data, at, value >> 16)
    write16(data, at + 2, value)


@lean
def crc32(data: Bytes, at: int, size: int) -> int:
    """Return the CRC-32 of `size` bytes, as zlib does."""
    crc = 0xFFFFFFFF
    for place in range(at, at + size):
        # Signed for the same reason as in `octet`.
        crc = (crc >> 8) ^ np.int64(_TABLE[(crc ^ octet(data, place)) & 0xFF])  # type: ignore[assignment]
    return crc ^ 0xFFFFFFFF


@inlined
def has_bit(bits: Bytes, number: int) -> bool:
    """Tell whether the bit of a number is set, in a ring of bits."""
    place = number % (8 * len(bits))
    return octet(bits, place >> 3) >> (place & 7) & 1 != 0


@inlined
def set_bit(bits: Bytes, number: int) -> None:
    """Set the bit of a number, in a ring of bits."""
    place = number % (8 * len(bits))
    bits[place >> 3] = octet(bits, place >> 3) | 1 << (place & 7)


@inlined
def clear_bits(bits: Bytes, first: int, after: int) -> None:
    """Clear the bits of the numbers from `first` to before `after`, in a ring of bits."""
    # Beyond once around, all of them are clear already.
    for number in range(max(first, after - 8 * len(bits)), after):
        place = number % (8 * len(bits))
        bits[place >> 3] = octet(bits, place >> 3) & ~(1 << (place & 7))
