"""Decrypt captured SRTP and SRTCP with the SDES keys of its call (RFC 3711, AES-CM and HMAC-SHA1).

Not by libsrtp, which counts rollovers of the sequence number from the first packet on: of a long call only the first
and the last packets were captured. Here the tag of each packet says which rollover, and which key, is the right one.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from trunkproof.loadgen.media.srtp import RTCP_TAG_BYTES
from trunkproof.loadgen.sip.sdes import AES_CM_128_HMAC_SHA1_32, Crypto

_KEY_BYTES, _SALT_BYTES, _AUTH_BYTES = 16, 14, 20
_RTP_LABELS, _RTCP_LABELS = (0, 1, 2), (3, 4, 5)
_MOST_ROLLOVERS = 64
"""A rollover takes 22 minutes at 20 ms, so this is a day."""
_RTP_HEADER_BYTES, _RTCP_HEADER_BYTES = 12, 8


@dataclass(frozen=True)
class _Session:
    key: bytes = field(repr=False)
    authentication: bytes = field(repr=False)
    salt: int = field(repr=False)

    @classmethod
    def of(cls, master: bytes, labels: tuple[int, int, int]) -> _Session:
        """Derive the session keys (section 4.3.1)."""
        key, salt = master[:_KEY_BYTES], int.from_bytes(master[_KEY_BYTES:])
        encryption, authentication, salting = (
            # The label is the byte before the 48 bits of an index, which is 0: keys are derived once.
            _counter_mode(key, (salt ^ label << 48) << 16, bytes(size))
            for label, size in zip(labels, (_KEY_BYTES, _AUTH_BYTES, _SALT_BYTES), strict=True)
        )
        return cls(encryption, authentication, int.from_bytes(salting))

    def decrypt(self, ssrc: int, index: int, payload: bytes) -> bytes:
        return _counter_mode(self.key, self.salt << 16 ^ ssrc << 64 ^ index << 16, payload)

    def is_authentic(self, data: bytes, tag: bytes) -> bool:
        return hmac.compare_digest(hmac.digest(self.authentication, data, "sha1")[: len(tag)], tag)


class _Key:
    """One key of a call, with the rollovers that its sources have reached."""

    def __init__(self, crypto: Crypto) -> None:
        self._rtp, self._rtcp = _Session.of(crypto.key, _RTP_LABELS), _Session.of(crypto.key, _RTCP_LABELS)
        self._tag_bytes = 4 if crypto.suite == AES_CM_128_HMAC_SHA1_32 else 10
        self._mki_bytes = len(crypto.mki)
        self._rollovers: dict[int, int] = {}

    def rtp(self, data: bytes) -> bytes | None:
        """Return an RTP packet in the clear, or None where it is not of this key."""
        end, start = len(data) - self._tag_bytes - self._mki_bytes, _header_bytes(data)
        if start > end:
            return None
        tag, ssrc = data[-self._tag_bytes :], int.from_bytes(data[8:12])
        known = self._rollovers.get(ssrc, 0)
        # Mostly the same as before, and then the next ones. Packets may be out of order around a rollover.
        for rollovers in (known, *range(known + 1, known + _MOST_ROLLOVERS), *range(known)):
            if self._rtp.is_authentic(data[:end] + rollovers.to_bytes(4), tag):
                self._rollovers[ssrc] = rollovers
                index = rollovers << 16 | int.from_bytes(data[2:4])
                return data[:start] + self._rtp.decrypt(ssrc, index, data[start:end])
        return None

    def rtcp(self, data: bytes) -> bytes | None:
        """Return an RTCP packet in the clear, or None where it is not of this key (section 3.4)."""
        end = len(data) - RTCP_TAG_BYTES - self._mki_bytes
        body, word = data[: end - 4], data[end - 4 : end]
        if len(body) < _RTCP_HEADER_BYTES or not self._rtcp.is_authentic(data[:end], data[-RTCP_TAG_BYTES:]):
            return None
        encrypted, index = word[0] >> 7, int.from_bytes(word) & 0x7FFFFFFF
        if not encrypted:
            return body
        head, payload = body[:_RTCP_HEADER_BYTES], body[_RTCP_HEADER_BYTES:]
        return head + self._rtcp.decrypt(int.from_bytes(head[4:8]), index, payload)


class Decrypter:
    """Decrypts what one side of a call has sent. Without keys everything is in the clear already."""

    def __init__(self, keys: Sequence[Crypto]) -> None:
        self._keys = [_Key(crypto) for crypto in keys]

    def __call__(self, data: bytes) -> bytes | None:
        """Return an RTP or RTCP packet in the clear. None where it is neither, or no key fits it."""
        if len(data) < _RTCP_HEADER_BYTES or data[0] >> 6 != 2:
            return None
        if not self._keys:
            return data
        # RTCP by its packet type, also where both come to one port (RFC 5761 section 4).
        opened = (key.rtcp(data) if is_rtcp(data) else key.rtp(data) for key in self._keys)
        return next((packet for packet in opened if packet is not None), None)


def is_rtcp(data: bytes) -> bool:
    """Tell whether a packet is RTCP and not RTP."""
    return 192 <= data[1] <= 223


def silent(packet: bytes) -> bytes:
    """Return an RTP packet of the same length that says nothing: its header, and A-law silence."""
    return bytes([packet[0] & 0xC0]) + packet[1:_RTP_HEADER_BYTES] + b"\xd5" * (len(packet) - _RTP_HEADER_BYTES)


def _header_bytes(data: bytes) -> int:
    size = _RTP_HEADER_BYTES + 4 * (data[0] & 0x0F)
    if data[0] & 0x10:
        size += 4 + 4 * int.from_bytes(data[size + 2 : size + 4])
    return size


def _counter_mode(key: bytes, start: int, data: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.CTR(start.to_bytes(16))).encryptor().update(data)
