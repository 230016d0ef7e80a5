"""Make packets of what was captured above IP: headers with the true addresses and ports, for a packet analyser.

Sockets show neither headers nor segments. So TTL, window and sequence numbers are ours, and nothing is ever sent again
or lost here, even if it was on the wire.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

from trunkproof.loadgen.capture.capture import Address, Stream

_TCP, _UDP = 6, 17
_SYN, _PUSH, _ACK = 2, 8, 16
_SEGMENT_BYTES = 1400
_HOPS = 64
_DISSECTOR, _V4_SRC, _V4_DST, _V6_SRC, _V6_DST, _PORT_TYPE, _SRC_PORT, _DST_PORT = 12, 20, 21, 22, 23, 24, 25, 26
_PORT_TYPE_TCP = 2


def udp_packet(source: Address, to: Address, data: bytes) -> bytes:
    """Return a datagram with its IP and UDP headers."""
    header = struct.pack(">HHHH", source[1], to[1], 8 + len(data), 0)
    checksum = _checksum(_pseudo(source, to, _UDP, 8 + len(data)) + header + data) or 0xFFFF
    return _ip_packet(source, to, _UDP, header[:6] + struct.pack(">H", checksum) + data)


def sip_pdu(source: Address, to: Address, message: bytes) -> bytes:
    """Return a SIP message for the link type `LINK_UPPER_PDU`: it says who sent it to whom, and has no packets."""
    v4 = ipaddress.ip_address(source[0]).version == 4
    tags = [
        (_DISSECTOR, b"sip"),
        (_V4_SRC if v4 else _V6_SRC, ipaddress.ip_address(source[0]).packed),
        (_V4_DST if v4 else _V6_DST, ipaddress.ip_address(to[0]).packed),
        (_PORT_TYPE, struct.pack(">I", _PORT_TYPE_TCP)),
        (_SRC_PORT, struct.pack(">I", source[1])),
        (_DST_PORT, struct.pack(">I", to[1])),
    ]
    head = b"".join(
        struct.pack(">HH", tag, len(value) + -len(value) % 4) + value + bytes(-len(value) % 4) for tag, value in tags
    )
    return head + bytes(4) + message


def tcp_packets(stream: Stream) -> Iterator[tuple[float, bytes]]:
    """Yield the time and the packet of each segment of a connection, from SYN on."""
    # A connection that was never made has no addresses.
    if not stream.chunks or not stream.peer[0]:
        return
    ours, theirs = (stream.local, stream.peer) if stream.calls_out else (stream.peer, stream.local)
    began_s = stream.chunks[0].at_s
    # Sequence numbers by direction: True is from who opened the connection.
    next_of = {True: 1, False: 1}
    yield began_s, _segment(ours, theirs, (0, 0), _SYN)
    yield began_s, _segment(theirs, ours, (0, 1), _SYN | _ACK)
    yield began_s, _segment(ours, theirs, (1, 1), _ACK)
    for chunk in stream.chunks:
        from_caller = chunk.sent is stream.calls_out
        source, to = (ours, theirs) if from_caller else (theirs, ours)
        for at in range(0, len(chunk.data), _SEGMENT_BYTES):
            data = chunk.data[at : at + _SEGMENT_BYTES]
            numbers = next_of[from_caller], next_of[not from_caller]
            yield chunk.at_s, _segment(source, to, numbers, _PUSH | _ACK, data)
            next_of[from_caller] += len(data)


def _segment(source: Address, to: Address, numbers: tuple[int, int], flags: int, data: bytes = b"") -> bytes:
    """Return a segment. The numbers are its own, and the one that it acknowledges."""
    header = struct.pack(">HHIIBBHHH", source[1], to[1], *numbers, 5 << 4, flags, 0xFFFF, 0, 0)
    checksum = _checksum(_pseudo(source, to, _TCP, len(header) + len(data)) + header + data)
    return _ip_packet(source, to, _TCP, header[:16] + struct.pack(">H", checksum) + header[18:] + data)


def _ip_packet(source: Address, to: Address, protocol: int, payload: bytes) -> bytes:
    ours, theirs = ipaddress.ip_address(source[0]), ipaddress.ip_address(to[0])
    if ours.version == 6:
        return struct.pack(">IHBB", 6 << 28, len(payload), protocol, _HOPS) + ours.packed + theirs.packed + payload
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, _HOPS, protocol, 0)
    header += ours.packed + theirs.packed
    return header[:10] + struct.pack(">H", _checksum(header)) + header[12:] + payload


def _pseudo(source: Address, to: Address, protocol: int, size: int) -> bytes:
    """Return the pseudo header of a checksum (RFC 9293 section 3.1, RFC 8200 section 8.1)."""
    ours, theirs = ipaddress.ip_address(source[0]), ipaddress.ip_address(to[0])
    return ours.packed + theirs.packed + struct.pack(">II", size, protocol)


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    words = struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
