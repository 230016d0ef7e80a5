"""SDES keys in SDP: the value of `a=crypto` (RFC 4568), for the two suites of the trunk.

This module reads and writes the attribute. It draws no keys, and no repr shows one. Mask SDP before you log it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from trunkproof.models.errors import RemoteError

AES_CM_128_HMAC_SHA1_80: Final = "AES_CM_128_HMAC_SHA1_80"
AES_CM_128_HMAC_SHA1_32: Final = "AES_CM_128_HMAC_SHA1_32"
SUITES: Final = (AES_CM_128_HMAC_SHA1_80, AES_CM_128_HMAC_SHA1_32)
KEY_BYTES: Final = 30
"""Master key (16 bytes) and master salt (14) of both suites: 40 base64 characters (RFC 4568 section 6.2)."""
MOST_PACKETS: Final = 2**48
"""No key of these suites may protect more packets (RFC 3711 section 9.2)."""


class MalformedCryptoError(RemoteError):
    """A crypto attribute of the peer cannot be read, or its key does not have the length that its suite demands."""


@dataclass(frozen=True, slots=True)
class Crypto:
    """One crypto attribute. `key` is master key and salt."""

    tag: int
    suite: str
    key: bytes = field(repr=False)
    mki: bytes = b""
    """The master key identifier in each packet under this key, 1 to 128 bytes. Empty where packets carry none."""
    unsupported: str = ""
    """The first parameter for which we cannot use this attribute, such as `KDR=1`. Never written."""

    def __post_init__(self) -> None:
        if self.suite in SUITES and len(self.key) != KEY_BYTES:
            raise ValueError(f"an SDES key of {self.suite} has {KEY_BYTES} bytes, not {len(self.key)}")

    def __str__(self) -> str:
        return f"{self.tag} {self.suite} inline:***"


def read_crypto(value: str) -> Crypto:
    """Read `tag suite inline:key|lifetime|MKI:length session-parameters`.

    An unknown suite may have a key of any length. A lifetime binds only the peer, who counts the packets that it sends.

    Raises:
        MalformedCryptoError: the attribute cannot be read, or its key has the wrong length.
    """
    usual = _USUAL.fullmatch(value)
    if usual is not None:
        return Crypto(int(usual[1]), usual[2], binascii.a2b_base64(usual[3]))
    parts = value.split()
    # A tag has one to nine digits (RFC 4568 section 9.1).
    if len(parts) < 3 or not (parts[0].isascii() and parts[0].isdigit()) or len(parts[0]) > 9:
        raise MalformedCryptoError("crypto attribute without tag, suite and key")
    # Names of suites are compared without regard to case, as all words of an ABNF grammar (RFC 5234 section 2.3).
    suite = parts[1].upper()
    first, *more_keys = parts[2].split(";")
    method, _, info = first.partition(":")
    if method.lower() != "inline":
        raise MalformedCryptoError("key method is not inline")
    text, *key_parameters = info.split("|")
    try:
        # Without `validate` Python drops foreign characters, and a broken key becomes a shorter one.
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedCryptoError("key is not base64") from error
    if suite in SUITES and len(key) != KEY_BYTES:
        raise MalformedCryptoError(f"key of {len(key)} bytes instead of {KEY_BYTES}")
    # Which of several keys a packet used, only its MKI says (RFC 4568 section 6.1). We keep one.
    unsupported = "several keys" if more_keys else _unsupported(parts[3:])
    return Crypto(int(parts[0]), suite, key, _read_mki(key_parameters), unsupported)


_USUAL = re.compile(f"([0-9]{{1,9}}) ({'|'.join(SUITES)}) inline:([A-Za-z0-9+/]{{40}})")
"""One key of a suite of ours without parameters: nearly every attribute that a call uses."""


def _read_mki(parameters: list[str]) -> bytes:
    """Return the MKI of `lifetime|MKI:length`, of which both may be missing (RFC 4568 section 6.1)."""
    mki, lifetimes = b"", 0
    for parameter in parameters:
        value, colon, length = parameter.partition(":")
        if not colon:
            lifetimes += 1
            if not 0 < _lifetime(value) <= MOST_PACKETS:
                raise MalformedCryptoError("key lifetime out of range")
            continue
        # An identifier of 128 bytes has 309 digits.
        if mki or not (_is_number(value, 309) and _is_number(length, 3) and 1 <= int(length) <= 128):
            raise MalformedCryptoError("MKI cannot be read")
        try:
            mki = int(value).to_bytes(int(length), "big")
        except OverflowError as error:
            raise MalformedCryptoError("MKI does not fit its length") from error
    if lifetimes > 1:
        raise MalformedCryptoError("two lifetimes")
    return mki


def _lifetime(text: str) -> int:
    """Return a lifetime in packets, written `1048576` or `2^20`. Return 0 where it is neither."""
    digits = text.removeprefix("2^")
    # The length comes before `int`, and the exponent before the power: neither may cost more than a few digits.
    if not _is_number(digits, 15):
        return 0
    if digits == text:
        return int(digits)
    return 2 ** int(digits) if int(digits) <= 48 else 0


def _is_number(text: str, most_digits: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= most_digits


def _unsupported(parameters: list[str]) -> str:
    """Return the first session parameter for which we cannot use an attribute (RFC 4568 section 6.3), or nothing."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        # A window size is a hint that we may ignore (section 6.3.6). So is what begins with a dash (section 6.3.7).
        # Everything else changes what is encrypted, authenticated or derived, or might.
        hint = name.upper() == "WSH" and value.isascii() and value.isdigit()
        if not hint and not name.startswith("-"):
            return parameter[:40]
    return ""


def write_crypto(crypto: Crypto) -> str:
    """Return the attribute's value with its key, and its MKI if it has one. A lifetime is never written."""
    mki = f"|{int.from_bytes(crypto.mki, 'big')}:{len(crypto.mki)}" if crypto.mki else ""
    return f"{crypto.tag} {crypto.suite} inline:{base64.b64encode(crypto.key).decode()}{mki}"


def offered_crypto(secret: bytes, suites: tuple[str, ...]) -> tuple[Crypto, ...]:
    """Return the crypto attributes of an offer, one for each suite, the preferred one first.

    Each has a key of its own, as RFC 4568 section 7.1.1 demands. The first key is the call's secret of 30 bytes, the
    others are derived from it.
    """
    more = [hmac.digest(secret, b"%d" % tag, "sha512")[:KEY_BYTES] for tag in range(2, len(suites) + 1)]
    return tuple(map(Crypto, range(1, len(suites) + 1), suites, [secret, *more]))
