"""Count a token bucket in the 32-bit integers of Kamailio's script, exactly in whole microseconds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from trunkproof.models.throttles.token_bucket import TokenBucket

_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Bucket:
    """A token bucket. Its k-th token returns `k * interval_us + k * rest / parts` after the bucket was full."""

    window_us: int
    interval_us: int
    rest: int
    parts: int
    horizon_s: int
    """A bucket that was last full longer ago than this is full again."""
    most_taken: int
    is_whole: bool
    """Whether the window is a whole number of microseconds."""

    @classmethod
    def of(cls, settings: TokenBucket) -> Self:
        """Return the bucket of a study's throttle. `unsupported` says whether the script can count it."""
        window_us = round(settings.window_s * 1e6)
        interval_us, left = divmod(window_us, settings.limit)
        # The smallest fraction that is equal, so that `k * rest` fits into 32 bits as long as possible.
        shared = math.gcd(left, settings.limit)
        most = settings.limit + settings.burst
        # Microseconds since any fixed instant would overflow within 36 minutes. So the script counts from when the
        # bucket was full, and forgets after this time.
        horizon_s = (most * window_us // settings.limit) // 1_000_000 + 1
        whole = math.isclose(window_us, settings.window_s * 1e6, rel_tol=1e-12)
        return cls(window_us, interval_us, left // shared, settings.limit // shared, horizon_s, most, whole)

    def unsupported(self) -> Iterator[str]:
        """Yield the reasons why the script cannot count it."""
        if not self.is_whole or self.window_us < 1:
            yield "Kamailio's script counts whole microseconds: window_s has to be a whole number of them"
        if (self.horizon_s + 1) * 1_000_000 > _LARGEST:
            yield "Kamailio's script counts to 2147 s in microseconds: window_s * (1 + burst / limit) has to be less"
        elif self.most_taken * self.rest + self.parts > _LARGEST:
            yield "Kamailio's script has 32 bits: choose a limit that divides window_s in microseconds"
