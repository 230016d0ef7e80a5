"""Numbers in network byte order, and the checksum of a frame, in arrays of bytes."""

from __future__ import annotations

import zlib

import numpy as np

from trunkproof.loadgen.media.compiled.memory import Bytes
from trunkproof.models.compiled import inlined, lean

_TABLE = np.array([zlib.crc32(bytes([n]), 0xFFFFFFFF) ^ 0xFFFFFFFF for n in range(256)], dtype=np.uint32)
"""The register of CRC-32 after each byte, from an empty one: a start value of all ones empties it."""


@inlined
def octet(data: Bytes, at: int) -> int:
    """One byte, as a signed integer: Numba makes floats of signed and unsigned ones together."""
    return np.int64(data[at])  # type: ignore[return-value]


@inlined
def read16(data: Bytes, at: int) -> int:
    """Two bytes."""
    return octet(data, at) << 8 | octet(data, at + 1)


@inlined
def read32(data: Bytes, at: int) -> int:
    """Four bytes."""
    return read16(data, at) << 16 | read16(data, at + 2)


@inlined
def write16(data: Bytes, at: int, value: int) -> None:
    """Two bytes; higher ones are left out."""
    data[at], data[at + 1] = value >> 8 & 0xFF, value & 0xFF


@inlined
def write32(data: Bytes, at: int, value: int) -> None:
    """Four bytes; higher ones are left out."""
    write16(data, at, value >> 16)
    write16(data, at + 2, value)


@lean
def crc32(data: Bytes, at: int, size: int) -> int:
    """The checksum of zlib."""
    crc = 0xFFFFFFFF
    for place in range(at, at + size):
        crc = (crc >> 8) ^ np.int64(_TABLE[(crc ^ octet(data, place)) & 0xFF])  # type: ignore[assignment]
    return crc ^ 0xFFFFFFFF
