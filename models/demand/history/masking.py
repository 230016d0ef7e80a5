"""Numbers of callers and callees as keyed hashes, made while the file is scanned.

The protection: nobody keeps the keys. So hashes of two readings of a file cannot be compared, and without the keys it
is useless to hash all possible numbers. The limit: it is not a cryptographic hash. Somebody who has numbers together
with their hashes, and time, may find the keys. So never publish a history in memory.
"""

from __future__ import annotations

import re
import secrets

import polars as pl

_WITHHELD = ("anonymous", "unknown", "restricted", "unavailable", "private", "withheld", "asserted", "<null>", "null")


_SPOILT = r"^[+-]?\d[.,]?\d*[eE]\+?\d+$"
_LOOKS_LIKE_A_NUMBER = re.compile(r"^(sips?:|tel:)?\+?[\d\s().-]{7,}(@.*)?$")


def is_spoilt(text: pl.Expr) -> pl.Expr:
    """Tell whether digits are lost, as in 9.12E+11."""
    return text.str.contains(_SPOILT)


def shown(value: str) -> str:
    """Return a value as messages may show it: only the first and last two characters of a telephone number."""
    if not _LOOKS_LIKE_A_NUMBER.match(value):
        return value
    kept = 2
    return f"{value[:kept]}{'*' * (len(value) - 2 * kept)}{value[-kept:]}"


class Mask:
    """One reading's keys: random, and gone with this object."""

    def __init__(self) -> None:
        self._first, self._between, self._last = (secrets.randbits(64) for _ in range(3))

    def number(self, column: str) -> pl.Expr:
        """Return the hash of a number or address; null where it is empty or withheld."""
        text = pl.col(column).cast(pl.String).str.strip_chars()
        text = text.str.strip_suffix(".0")  # As a table program writes a whole number.
        is_withheld = (text.str.len_bytes() == 0) | text.str.to_lowercase().is_in(_WITHHELD)
        return pl.when(~is_withheld & ~is_spoilt(text)).then(self._hash(text))

    def identity(self, column: str) -> pl.Expr:
        """Return the hash of a call's identity; null where it is empty."""
        text = pl.col(column).cast(pl.String).str.strip_chars()
        return pl.when((text.str.len_bytes() > 0) & ~is_spoilt(text)).then(self._hash(text))

    def _hash(self, text: pl.Expr) -> pl.Expr:
        """Hash in two rounds with a key between them, so that no single public seed is the whole secret."""
        between = pl.lit(self._between, dtype=pl.UInt64)
        return text.hash(self._first).xor(between).hash(self._last)

    def __repr__(self) -> str:
        return "<Mask>"
