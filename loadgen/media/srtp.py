"""Encryption of one call's audio: SRTP and SRTCP (RFC 3711) by libsrtp, and the plain RTP that has the same interface.

Keys come from `os.urandom` of the caller; nothing here shows them. What a peer sends wrongly is a result.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

from pylibsrtp import Error, Policy, Session

_PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}
_TAG_BYTES = {"AES_CM_128_HMAC_SHA1_80": 10, "AES_CM_128_HMAC_SHA1_32": 4}
MOST_BYTES = 1500
"""Of a packet, by pylibsrtp; longer ones are no SRTP."""


class Failure(Enum):
    """Why a packet was not accepted."""

    NOT_AUTHENTIC = auto()
    """Wrong key, changed on the way, or no SRTP at all."""
    REPLAYED = auto()
    """Seen before, or older than the replay window (RFC 3711 section 3.3.2)."""


class Cipher(Protocol):
    """Both directions of a call's encryption."""

    def protect(self, packet: bytes) -> bytes:
        """Encrypt an RTP packet."""

    def unprotect(self, data: bytes) -> bytes | Failure:
        """Check and decrypt an RTP packet."""

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Encrypt a compound RTCP packet."""

    def unprotect_rtcp(self, data: bytes) -> bytes | Failure:
        """Check and decrypt a compound RTCP packet."""


class SrtpCipher:
    """SRTP with our key for what is sent and the peer's for what is received; 30 bytes each (RFC 4568 section 6.2)."""

    def __init__(self, tx_key: bytes, rx_key: bytes, suite: str) -> None:
        profile = _PROFILES[suite]
        self.tx_key, self.rx_key, self.tag_bytes = tx_key, rx_key, _TAG_BYTES[suite]
        self.tx = Session(Policy(key=tx_key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
        self.rx = Session(Policy(key=rx_key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
        self.protect = self.tx.protect
        self.protect_rtcp = self.tx.protect_rtcp

    def unprotect(self, data: bytes) -> bytes | Failure:
        """Return the packet in the clear, or why it is refused."""
        try:
            return self.rx.unprotect(data)
        except (Error, ValueError) as error:  # ValueError: longer than any packet
            return _failure(error)

    def unprotect_rtcp(self, data: bytes) -> bytes | Failure:
        """Return the report in the clear, or why it is refused."""
        try:
            return self.rx.unprotect_rtcp(data)
        except (Error, ValueError) as error:
            return _failure(error)


class PlainCipher:
    """No encryption: RTP/AVP, as behind the edge."""

    def protect(self, packet: bytes) -> bytes:
        """Return the packet as it goes out."""
        return packet

    protect_rtcp = unprotect = unprotect_rtcp = protect


def _failure(error: Exception) -> Failure:
    return Failure.REPLAYED if "replay" in str(error) else Failure.NOT_AUTHENTIC
