"""RTP packets (RFC 3550 section 5.1) and telephone events in them (RFC 4733), as values and bytes.

This module has no sockets, no keys and no state. `stream` says what is done with packets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from trunkproof.models.errors import RemoteError

VERSION = 2
HEADER_BYTES = 12
_HEADER = struct.Struct("!BBHII")
_EVENT = struct.Struct("!BBH")
DIGITS = "0123456789*#ABCD"
"""The keys of a telephone, in the order of their event codes (RFC 4733 section 3.2)."""
_END_BIT = 0x80
VOLUME = 10
"""-10 dBm0, a usual level for digits."""


class MalformedRtpError(RemoteError):
    """The bytes are not an RTP packet."""


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One packet. The header extension and contributing sources of a received one are skipped."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False

    def __bytes__(self) -> bytes:
        second = self.payload_type | (0x80 if self.marker else 0)
        return _HEADER.pack(VERSION << 6, second, self.sequence, self.timestamp, self.ssrc) + self.payload

    @classmethod
    def parse(cls, data: bytes) -> RtpPacket:
        """Read a packet.

        Raises:
            MalformedRtpError: the bytes are not an RTP packet.
        """
        if len(data) < HEADER_BYTES:
            raise MalformedRtpError(f"{len(data)} bytes are too short for RTP")
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        if first >> 6 != VERSION:
            raise MalformedRtpError(f"RTP version {first >> 6}")
        # Up to 15 contributing sources of 4 bytes follow the header.
        start = HEADER_BYTES + 4 * (first & 0x0F)
        if first & 0x10:
            if len(data) < start + 4:
                raise MalformedRtpError("RTP header extension is cut off")
            start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
        # The last byte of the padding says how long it is, itself included.
        padding = data[-1] if first & 0x20 else 0
        if len(data) - padding < start:
            raise MalformedRtpError("RTP packet is shorter than its header says")
        payload = data[start : len(data) - padding]
        return cls(second & 0x7F, sequence, timestamp, ssrc, payload, marker=bool(second & 0x80))


def source_of(data: bytes) -> int:
    """Return the source (SSRC) of a packet of at least `HEADER_BYTES`, encrypted or not: it stands in the clear."""
    return int.from_bytes(data[8:HEADER_BYTES], "big")


@dataclass(frozen=True, slots=True)
class TelephoneEvent:
    """The payload of one telephone-event packet (RFC 4733 section 2.3)."""

    digit: str
    duration: int
    """Samples since the key was pressed."""
    end: bool

    def __bytes__(self) -> bytes:
        flags = VOLUME | (_END_BIT if self.end else 0)
        return _EVENT.pack(DIGITS.index(self.digit), flags, self.duration)

    @classmethod
    def parse(cls, payload: bytes) -> TelephoneEvent | None:
        """Read the payload. Return None for an event that is no digit, or is cut off."""
        if len(payload) < _EVENT.size:
            return None
        event, flags, duration = _EVENT.unpack_from(payload)
        return cls(DIGITS[event], duration, bool(flags & _END_BIT)) if event < len(DIGITS) else None
