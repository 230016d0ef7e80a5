"""Call-IDs, tags and branches. The caller hands the random source in, so that a test can foresee them.

They must be unique, but not secret: none of them is a key.
"""

from __future__ import annotations

import random
from typing import Final

MAGIC_COOKIE: Final = "z9hG4bK"
"""Every branch of RFC 3261 begins with this (section 8.1.1.7)."""


class Identifiers:
    """Draws identifiers from `source`."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def call_id(self, host: str) -> str:
        """Return a new Call-ID, `UUID@host` (RFC 3261 section 8.1.1.4)."""
        drawn = f"{self._source.getrandbits(128):032x}"
        version, variant = "4", "89ab"[int(drawn[16], 16) & 3]  # RFC 9562 section 5.4
        return f"{drawn[:8]}-{drawn[8:12]}-{version}{drawn[13:16]}-{variant}{drawn[17:20]}-{drawn[20:]}@{host}"

    def tag(self) -> str:
        """Return a new tag of 64 random bits. The standard asks for at least 32 (RFC 3261 section 19.3)."""
        return f"{self._source.getrandbits(64):016x}"

    def branch(self) -> str:
        """Return the branch of a new transaction."""
        return f"{MAGIC_COOKIE}{self._source.getrandbits(64):016x}"

    def below(self, limit: int) -> int:
        """Return a random number from 0 to `limit` - 1, for waits and for first sequence numbers."""
        return self._source.randrange(limit)
