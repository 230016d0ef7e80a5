"""Encryption of one call's audio: SRTP and SRTCP (RFC 3711) by libsrtp, and plain RTP with the same interface.

The caller draws the keys with `os.urandom`, and nothing here shows them. A wrong packet of a peer is a result
(`Failure`), not an error.
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
"""The longest packet that pylibsrtp takes. A longer one is no SRTP."""


class Failure(Enum):
    """Why a packet was not accepted."""

    NOT_AUTHENTIC = auto()
    """The key is wrong, the packet was changed on its way, or it is no SRTP at all."""
    REPLAYED = auto()
    """The packet was seen before, or is older than the replay window (RFC 3711 section 3.3.2)."""


class Cipher(Protocol):
    """Both directions of a call's encryption."""

    def protect(self, packet: bytes) -> bytes:
        """Encrypt an RTP packet."""

    def unprotect(self, data: bytes) -> bytes | Failure:
        """Check and decrypt an RTP packet. Return the packet, or why it was not accepted."""

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Encrypt a compound RTCP packet."""

    def unprotect_rtcp(self, data: bytes) -> bytes | Failure:
        """Check and decrypt a compound RTCP packet. Return the packet, or why it was not accepted."""


class SrtpCipher:
    """SRTP: our key encrypts, the peer's key decrypts. Each has 30 bytes (RFC 4568 section 6.2)."""

    def __init__(self, tx_key: bytes, rx_key: bytes, suite: str) -> None:
        profile = _PROFILES[suite]
        self.tx_key, self.rx_key, self.tag_bytes = tx_key, rx_key, _TAG_BYTES[suite]
        self.tx = Session(Policy(key=tx_key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
        # SDES names no SSRC here, so the session takes any: the key decides who is authentic.
        self.rx = Session(Policy(key=rx_key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
        # Bound directly: a method around it would be one more Python call for each of 50 packets a second.
        self.protect = self.tx.protect
        self.protect_rtcp = self.tx.protect_rtcp

    def unprotect(self, data: bytes) -> bytes | Failure:
        """Check and decrypt an RTP packet with the peer's key."""
        try:
            return self.rx.unprotect(data)
        except (Error, ValueError) as error:  # ValueError: the data is longer than any packet
            return _failure(error)

    def unprotect_rtcp(self, data: bytes) -> bytes | Failure:
        """Check and decrypt a compound RTCP packet with the peer's key."""
        try:
            return self.rx.unprotect_rtcp(data)
        except (Error, ValueError) as error:
            return _failure(error)


class PlainCipher:
    """No encryption: plain RTP (RTP/AVP), as it is used behind the edge."""

    def protect(self, packet: bytes) -> bytes:
        """Return the packet as it is."""
        return packet

    protect_rtcp = unprotect = unprotect_rtcp = protect


def _failure(error: Exception) -> Failure:
    # pylibsrtp keeps libsrtp's status only in words.
    return Failure.REPLAYED if "replay" in str(error) else Failure.NOT_AUTHENTIC
