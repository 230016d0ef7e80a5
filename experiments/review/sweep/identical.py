"""Throttles that refuse nothing: shown from a run without one, so that they need no run of their own.

Exact, and on the safe side: an answer of True is proof, one of False is none. It is what makes a sweep affordable, as
most of its throttles are far above most of its loads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trunkproof.models.arrays import FloatArray
from trunkproof.models.policies import (
    FixedWindow,
    NoThrottle,
    PipeLimit,
    SlidingWindowAdmitted,
    SlidingWindowAttempts,
    ThrottleSettings,
    TokenBucket,
)
from trunkproof.models.throttle import SAME_INSTANT_S

_ROUNDING_S = SAME_INSTANT_S / 10
"""A boundary may be computed so far from where a throttle sees it; less than what the throttle itself overlooks."""


@dataclass(frozen=True, eq=False)
class Asked:
    """The instants at which a throttle was asked, each known to lie in [early_s, early_s + within_s]."""

    early_s: FloatArray
    """Ascending, shape (n,)."""
    within_s: float = 0.0


def refuses_none(throttle: ThrottleSettings, asked: Asked, anchor_s: float = 0.0) -> bool:
    """Whether that throttle is sure to let all of them pass at once; `anchor_s` is where a fixed window begins."""
    match throttle:
        case NoThrottle():
            return True
        case PipeLimit(algorithm="red"):
            # From twice the limit in one window on, some attempts of the next are refused.
            return _most_in_a_window(throttle, asked, anchor_s) < 2 * throttle.limit
        case FixedWindow() | PipeLimit():
            return _most_in_a_window(throttle, asked, anchor_s) <= throttle.limit
        case SlidingWindowAdmitted() | SlidingWindowAttempts():
            early = asked.early_s
            apart = early[throttle.limit :] - early[: -throttle.limit]
            needed_s = throttle.window_s - SAME_INSTANT_S + asked.within_s
            return bool((apart >= (needed_s + _ROUNDING_S if asked.within_s else needed_s)).all())
        case TokenBucket():
            return _most_tokens(throttle, asked) <= throttle.burst
        case _:
            return False  # A shaper delays.


def _most_in_a_window(throttle: FixedWindow | PipeLimit, asked: Asked, anchor_s: float) -> int:
    """The most attempts that can have been in one window."""
    if not len(asked.early_s):
        return 0
    first, last = asked.early_s[0], asked.early_s[-1] + asked.within_s
    # One more at either end: first and last may lie in a neighbouring window, as the throttle counts.
    numbers = np.arange((first - anchor_s) // throttle.window_s - 1, (last - anchor_s) // throttle.window_s + 2)
    begins = anchor_s - SAME_INSTANT_S + numbers * throttle.window_s
    before_end = np.searchsorted(asked.early_s, begins + throttle.window_s + _ROUNDING_S)
    return int((before_end - np.searchsorted(asked.early_s, begins - asked.within_s - _ROUNDING_S)).max())


def _most_tokens(throttle: TokenBucket, asked: Asked) -> float:
    """The most tokens that can have been out at once: the largest number of attempts in a stretch of time, less the
    tokens that came back in it.
    """
    if not len(asked.early_s):
        return 0.0
    per_s = throttle.limit / throttle.window_s
    ahead = np.arange(len(asked.early_s)) - per_s * asked.early_s
    largest = float((ahead - np.minimum.accumulate(ahead)).max())
    # A rounding error must not make the answer unsafe.
    return largest + 1 + per_s * asked.within_s + 1e-6
