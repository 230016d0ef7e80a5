"""A throttle as an array for the kernel, and how it was enforced while a history was recorded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trunkproof.experiments.verification.review.kernel import ADMITTED, ATTEMPTS, BUCKET, FIXED, OPEN, SHAPER
from trunkproof.models.arrays import FloatArray

WINDOW_S = 60.0
_CODES = {
    "none": OPEN,
    "fixed_window": FIXED,
    "sliding_window_admitted": ADMITTED,
    "sliding_window_attempts": ATTEMPTS,
    "token_bucket": BUCKET,
    "shaper": SHAPER,
}


@dataclass(frozen=True)
class Policy:
    """How calls per minute are limited, without the limit itself."""

    name: str
    """The name as in a request's `policy`."""
    burst: int = 20
    """Size of a token bucket."""
    max_delay_s: float = 2.0
    """Longest delay of a shaper."""

    def at(self, limit_per_minute: int, anchor_s: float = 0.0) -> FloatArray:
        """Return the kernel's throttle at that limit. A fixed window begins at `anchor_s`."""
        return np.array(
            [_CODES[self.name], limit_per_minute, WINDOW_S, self.burst, self.max_delay_s, anchor_s], dtype=np.float64
        )


FIXED_WINDOW = Policy("fixed_window")
NO_THROTTLE = Policy("none").at(1)


@dataclass(frozen=True)
class Enforced:
    """How the throttle worked during the history."""

    policy: Policy
    limits: tuple[tuple[int, int], ...]
    """(First day, limit per minute from then on), ascending; the first begins on day 0."""
    anchor_s: float = 0.0

    def on(self, day: int) -> FloatArray:
        """Return the kernel's throttle on that day of the history."""
        limit = [limit for first, limit in self.limits if first <= day][-1]
        return self.policy.at(limit, self.anchor_s)
