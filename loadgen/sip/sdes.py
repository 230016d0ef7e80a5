"""SDES keys in SDP: the value of `a=crypto` (RFC 4568), for the two suites of the trunk.

This module reads and writes the attribute. It draws no keys, and no repr shows one. Mask SDP before you log it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Final

from trunkproof.models.errors import RemoteError

AES_CM_128_HMAC_SHA1_80: Final = "AES_CM_128_HMAC_SHA1_80"
AES_CM_128_HMAC_SHA1_32: Final = "AES_CM_128_HMAC_SHA1_32"
SUITES: Final = (AES_CM_128_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_32)
KEY_BYTES: Final = 30
"""Master key (16 bytes) and master salt (14) of both suites: 40 base64 characters (RFC 4568 section 6.2)."""


class MalformedCryptoError(RemoteError):
    """A crypto attribute of the peer cannot be read, or its key does not have the length that its suite demands."""


@dataclass(frozen=True, slots=True)
class Crypto:
    """One crypto attribute. `key` is master key and salt, `parameters` the text after the key (lifetime, MKI)."""

    tag: int
    suite: str
    key: bytes = field(repr=False)
    parameters: str = ""
    mki: bytes = b""

    def __post_init__(self) -> None:
        if self.suite in SUITES and len(self.key) != KEY_BYTES:
            raise ValueError(f"an SDES key of {self.suite} has {KEY_BYTES} bytes, not {len(self.key)}")

    def __str__(self) -> str:
        return f"{self.tag} {self.suite} inline:***"


def read_crypto(value: str) -> Crypto:
    """Read `tag suite inline:key|lifetime|MKI:length session-params`.

    Of several keys only the first is read. An unknown suite may have a key of any length.

    Raises:
        MalformedCryptoError: the attribute cannot be read, or its key has the wrong length.
    """
    parts = value.split()
    # A tag has one to nine digits (RFC 4568 section 9.1).
    if len(parts) < 3 or not (parts[0].isascii() and parts[0].isdigit()) or len(parts[0]) > 9:
        raise MalformedCryptoError("crypto attribute without tag, suite and key")
    method, _, info = parts[2].partition(":")
    if method.lower() != "inline":
        raise MalformedCryptoError("key method is not inline")
    text, _, parameters = info.partition(";")[0].partition("|")
    try:
        # Without `validate` Python drops foreign characters, and a broken key becomes a shorter one.
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedCryptoError("key is not base64") from error
    if parts[1] in SUITES and len(key) != KEY_BYTES:
        raise MalformedCryptoError(f"key of {len(key)} bytes instead of {KEY_BYTES}")
    return Crypto(int(parts[0]), parts[1], key, parameters)


def write_crypto(crypto: Crypto) -> str:
    """Return the attribute's value with its key. Lifetime and MKI are never written."""
    return f"{crypto.tag} {crypto.suite} inline:{base64.b64encode(crypto.key).decode()}"
