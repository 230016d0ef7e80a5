"""Bytes in network order and the checksum, against `int.from_bytes` and zlib."""

import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.loadgen.media.compiled.octets import crc32, read16, read32, write32


@given(data=st.binary(min_size=4, max_size=60))
def test_numbers_and_checksums(data: bytes) -> None:
    array = np.frombuffer(data, np.uint8)
    assert read16(array, 1) == int.from_bytes(data[1:3], "big")
    assert read32(array, 0) == int.from_bytes(data[:4], "big")
    assert crc32(array, 2, len(data) - 2) == zlib.crc32(data[2:])


@given(value=st.integers(0, 2**40))
def test_what_is_written_is_read_again_without_its_higher_bits(value: int) -> None:
    array = np.zeros(6, np.uint8)
    write32(array, 1, value)
    assert read32(array, 1) == value & 0xFFFFFFFF
    assert (array[0], array[5]) == (0, 0)
