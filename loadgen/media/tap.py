"""Keep the datagrams of one stream as they were sent and received, in memory of a fixed size.

The memory has three segments. The first keeps the first datagrams. The other two take turns with the last ones: where
both are full, the older one is begun anew. So beginning and end of a long call are kept, and what is between is not.
Compiled code writes the same memory (`compiled.tapping`). A datagram has a header of `HEADER_BYTES` there: when (ns of
the monotonic clock), `size | sent << 32 | rtcp << 33`, and the peer's address as the kernel writes it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trunkproof.loadgen.media.sockets import Address, family_of

SEGMENTS = 3
HEADER_BYTES = 48
SENT, RTCP = 32, 33
"""The bits that say whether a datagram was sent, and whether it went through the RTCP port."""
_WHEN = struct.Struct("=qq")
_INTERNET_4 = struct.Struct("=HH4s24x")
_INTERNET_6 = struct.Struct("=HH4x16s8x")


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram of a stream."""

    at_s: float
    """On the machine's monotonic clock."""
    sent: bool
    """Sent by us. Otherwise received."""
    rtcp: bool
    """It went through our RTCP port."""
    peer: Address
    data: bytes


class MediaTap:
    """The kept datagrams of one stream."""

    def __init__(self, segment_bytes: int) -> None:
        """Reserve the memory. The system gives it only as it is used."""
        # Each entry begins at a multiple of 8.
        self.segment_bytes = segment_bytes // 8 * 8
        self.memory = np.zeros(SEGMENTS * self.segment_bytes, np.uint8)
        self.used = [0] * SEGMENTS
        """Bytes in use in each segment."""
        self.segment = 0
        """The segment that is written now."""

    def note(self, at_s: float, peer: Address, data: bytes, *, sent: bool, rtcp: bool) -> None:
        """Keep a datagram. One that is longer than a segment is left out."""
        need = HEADER_BYTES + (len(data) + 7) // 8 * 8
        if need > self.segment_bytes:
            return
        if self.used[self.segment] + need > self.segment_bytes:
            self.segment = 2 if self.segment == 1 else 1
            self.used[self.segment] = 0
        entry = _WHEN.pack(int(at_s * 1e9), len(data) | sent << SENT | rtcp << RTCP) + _packed(peer) + data
        start = self.segment * self.segment_bytes + self.used[self.segment]
        self.memory[start : start + len(entry)] = np.frombuffer(entry, np.uint8)
        self.used[self.segment] += need

    def datagrams(self) -> Iterator[Datagram]:
        """Yield what was kept, the oldest first."""
        older = 2 if self.segment == 1 else 1
        for segment in (0, older, 3 - older):
            start = segment * self.segment_bytes
            yield from _entries(self.memory[start : start + self.used[segment]].tobytes())


def _entries(kept: bytes) -> Iterator[Datagram]:
    at = 0
    while at < len(kept):
        when_ns, word = _WHEN.unpack_from(kept, at)
        size, start = word & 0xFFFFFFFF, at + HEADER_BYTES
        peer = _unpacked(kept[at + _WHEN.size : start])
        sent, rtcp = bool(word >> SENT & 1), bool(word >> RTCP & 1)
        yield Datagram(when_ns * 1e-9, sent, rtcp, peer, kept[start : start + size])
        at = start + (size + 7) // 8 * 8


def _packed(peer: Address) -> bytes:
    host, port = peer
    family = family_of(host)
    packed = _INTERNET_4 if family is socket.AF_INET else _INTERNET_6
    return packed.pack(family, socket.htons(port), socket.inet_pton(family, host))


def _unpacked(name: bytes) -> Address:
    (family,) = struct.unpack_from("=H", name)
    packed = _INTERNET_4 if family == socket.AF_INET else _INTERNET_6
    _, port, host = packed.unpack(name)
    return socket.inet_ntop(family, host), socket.ntohs(port)
