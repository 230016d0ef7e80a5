"""What kind of datagram came to a media port, by its first bytes (RFC 7983 section 7, RFC 5761 section 4).

Other protocols may share a port with RTP. STUN looks for a way through NATs, DTLS and ZRTP agree on keys, and many
telephones send a few bytes now and then to keep a NAT open (RFC 6263). None of these is RTP of a wrong key.
"""

from __future__ import annotations

from enum import IntEnum

from trunkproof.loadgen.media.rtp import HEADER_BYTES


class Kind(IntEnum):
    """The kinds of datagrams at a media port."""

    RTP = 0
    """RTP or SRTP: their headers are the same."""
    RTCP = 1
    STUN = 2
    ZRTP = 3
    DTLS = 4
    TURN = 5
    KEEP_ALIVE = 6
    """Too short for anything else: empty, CR LF, or a few zeros."""
    OTHER = 7


KINDS = len(Kind)
LEAST_RTCP_BYTES = 8
"""The shortest RTCP packet: a header and a source (RFC 3550 section 6.4.2)."""
BY_FIRST_BYTE = [
    Kind.STUN if byte < 4
    else Kind.ZRTP if 16 <= byte < 20
    else Kind.DTLS if 20 <= byte < 64
    else Kind.TURN if 64 <= byte < 80
    else Kind.RTP if 128 <= byte < 192
    else Kind.OTHER
    for byte in range(256)
]  # fmt: skip
FIRST_RTCP_TYPE, LAST_RTCP_TYPE = 192, 223
"""Second bytes that mean RTCP. RTP would need a marker and a payload type of 64 to 95, which nobody uses."""


def kind_of(data: bytes) -> Kind:
    """Return the kind of a datagram."""
    kind = BY_FIRST_BYTE[data[0]] if data else Kind.OTHER
    is_rtcp = kind is Kind.RTP and len(data) >= LEAST_RTCP_BYTES and FIRST_RTCP_TYPE <= data[1] <= LAST_RTCP_TYPE
    if is_rtcp:
        return Kind.RTCP
    return kind if len(data) >= HEADER_BYTES else Kind.KEEP_ALIVE
