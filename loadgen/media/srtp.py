"""Encryption of one call's audio: SRTP and SRTCP (RFC 3711) by libsrtp, and plain RTP with the same interface.

The caller draws the keys with `os.urandom`, and nothing here shows them. A wrong packet of a peer is a result
(`Failure`), not an error.
"""

from __future__ import annotations

import contextlib
from enum import Enum, auto
from typing import Protocol

from pylibsrtp import Error, Policy, Session

_PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
}
_TAG_BYTES = {"AES_CM_128_HMAC_SHA1_80": 10, "AES_CM_128_HMAC_SHA1_32": 4}
RTCP_TAG_BYTES = 10
"""Length of the tag of RTCP in both suites (RFC 4568 section 6.2)."""
MOST_BYTES = 1500
"""The longest packet that pylibsrtp takes, without its MKI. A longer one is no SRTP."""


class Failure(Enum):
    """Why a packet was not accepted."""

    NOT_AUTHENTIC = auto()
    """The key is wrong, the packet was changed on its way, or it is no SRTP at all."""
    REPLAYED = auto()
    """The packet was seen before, or is older than the replay window (RFC 3711 section 3.3.2)."""


class Cipher(Protocol):
    """Both directions of a call's encryption."""

    @property
    def hears_with(self) -> tuple[bytes, int]:
        """Return the peer's key and the length of its tags."""

    def protect(self, packet: bytes) -> bytes:
        """Encrypt an RTP packet."""

    def unprotect(self, data: bytes) -> bytes | Failure:
        """Check and decrypt an RTP packet. Return the packet, or why it was not accepted."""

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Encrypt a compound RTCP packet."""

    def unprotect_rtcp(self, data: bytes) -> bytes | Failure:
        """Check and decrypt a compound RTCP packet. Return the packet, or why it was not accepted."""

    def forget(self, ssrc: int) -> None:
        """Free what is kept of a source of the peer."""


class SrtpCipher:
    """SRTP: our key encrypts, the peer's key decrypts. Each has 30 bytes (RFC 4568 section 6.2).

    With an MKI (master key identifier, RFC 3711 section 3.1), each packet names its key: the identifier stands between
    payload and tag, and is not authenticated. pylibsrtp knows none, so it is added and taken out here.
    """

    def __init__(self, tx_key: bytes, rx_key: bytes, suite: str, *, tx_mki: bytes = b"", rx_mki: bytes = b"") -> None:
        profile = _PROFILES[suite]
        self.suite, self.tag_bytes = suite, _TAG_BYTES[suite]
        self.tx_key, self.rx_key, self.tx_mki, self.rx_mki = tx_key, rx_key, tx_mki, rx_mki
        self.tx = Session(Policy(key=tx_key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
        # SDES names no SSRC here, so the session takes any: the key decides who is authentic.
        self.rx = Session(Policy(key=rx_key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile))

    @property
    def hears_with(self) -> tuple[bytes, int]:
        """Return the peer's key and the length of its tags."""
        return self.rx_key, self.tag_bytes

    def after(self, before: Cipher | None) -> SrtpCipher:
        """Return this cipher, with the sessions of the one before it where the key has not changed.

        A session counts the rollovers of its sequence numbers, which begin at 0 only with a new key.
        """
        if isinstance(before, SrtpCipher) and before.suite == self.suite:
            if before.tx_key == self.tx_key:
                self.tx = before.tx
            if before.rx_key == self.rx_key:
                self.rx = before.rx
        return self

    def protect(self, packet: bytes) -> bytes:
        """Encrypt an RTP packet with our key."""
        return _with_mki(self.tx.protect(packet), self.tx_mki, self.tag_bytes)

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Encrypt a compound RTCP packet with our key."""
        return _with_mki(self.tx.protect_rtcp(packet), self.tx_mki, RTCP_TAG_BYTES)

    def unprotect(self, data: bytes) -> bytes | Failure:
        """Check and decrypt an RTP packet with the peer's key."""
        try:
            return self.rx.unprotect(_without_mki(data, self.rx_mki, self.tag_bytes))
        except (Error, ValueError) as error:  # ValueError: the data is longer than any packet, or has another MKI
            return _failure(error)

    def unprotect_rtcp(self, data: bytes) -> bytes | Failure:
        """Check and decrypt a compound RTCP packet with the peer's key."""
        try:
            return self.rx.unprotect_rtcp(_without_mki(data, self.rx_mki, RTCP_TAG_BYTES))
        except (Error, ValueError) as error:
            return _failure(error)

    def forget(self, ssrc: int) -> None:
        """Free what is kept of a source of the peer."""
        # An error only says that nothing was kept of it.
        with contextlib.suppress(Error):
            self.rx.remove_stream(ssrc)


class PlainCipher:
    """No encryption: plain RTP (RTP/AVP), as it is used behind the edge."""

    hears_with = (b"", 0)

    def protect(self, packet: bytes) -> bytes:
        """Return the packet as it is."""
        return packet

    protect_rtcp = unprotect = unprotect_rtcp = protect

    def forget(self, ssrc: int) -> None:
        """Do nothing: nothing is kept of any source."""


def _with_mki(packet: bytes, mki: bytes, tag_bytes: int) -> bytes:
    return packet[:-tag_bytes] + mki + packet[-tag_bytes:] if mki else packet


def _without_mki(data: bytes, mki: bytes, tag_bytes: int) -> bytes:
    if not mki:
        return data
    end = len(data) - tag_bytes
    if data[max(0, end - len(mki)) : max(0, end)] != mki:
        raise ValueError("another MKI than the agreed one")
    return data[: end - len(mki)] + data[end:]


def _failure(error: Exception) -> Failure:
    # pylibsrtp keeps libsrtp's status only in words.
    return Failure.REPLAYED if "replay" in str(error) else Failure.NOT_AUTHENTIC
