"""A throttle seen from outside: what was observed of it, and what explains that.

Whoever calls a trunk knows when each attempt was sent and answered. The throttle decided somewhere in between. A policy
looks for all of its settings under which every attempt could have been decided as it was (`Policy.explain`). What it
leaves out is disproved, so the answer is as sure as the instants are. What it returns may be a little too much, never
too little.

**Why this is quick.** Outcomes are known, so the throttle's state needs no simulation. The oldest call of a full
sliding window, for instance, is `limit` counted attempts back. Each attempt then bounds the settings by itself:

- admitted: the window had passed between that attempt and this one (or a boundary lay between the two),
- refused: it had not.

All of it assumes that nobody else used the throttle, and that it was unused before the first attempt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trunkproof.models.arrays import BoolArray, FloatArray

USUAL_WINDOWS_S = (60.0, 1.0, 10.0, 30.0, 2.0, 5.0, 15.0, 20.0, 120.0, 300.0, 600.0, 900.0, 3600.0)
"""Windows in which operators state limits, the most usual first. They only choose among values that all fit."""
KEPT_RANGES = 24
"""How many ranges of an explanation are kept for the choice of the next probe."""


@dataclass(frozen=True, eq=False)
class Observed:
    """Attempts in the order of their decisions. All arrays have shape (n,), in seconds on one clock."""

    early_s: FloatArray
    """Each was decided at this instant or later; ascending."""
    late_s: FloatArray
    """Each was decided at this instant or earlier; ascending."""
    admitted: BoolArray
    went_on_s: FloatArray
    """When the caller heard that the call goes on (the first ringing or answer); infinite where that is not known."""

    def __len__(self) -> int:
        return len(self.early_s)

    @property
    def middle_s(self) -> FloatArray:
        """Return the middle of each pair of bounds: the single instant to try where one is needed."""
        return (self.early_s + self.late_s) / 2

    @property
    def doubt_s(self) -> float:
        """Return how far apart the bounds of an instant are, the median. 0 without attempts."""
        return float(sorted(self.late_s - self.early_s)[len(self) // 2]) if len(self) else 0.0


class Range(NamedTuple):
    """A closed interval in which a value must lie; `high` is infinite where nothing bounds it."""

    low: float
    high: float

    def within(self, share: float) -> bool:
        """Tell whether the middle is known to this share of itself."""
        return self.high < math.inf and self.high - self.low <= share * (self.high + self.low)

    def widened(self, other: Range) -> Range:
        """Return the smallest range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


ANY_TIME = np.full((1, 2), -math.inf)
"""The next attempt is admitted, whenever it comes."""


def round_value(low: float, high: float) -> float:
    """Return the roundest number in [low, high]: a multiple of 1, 2 or 5 times the largest possible power of ten.

    Raises:
        ValueError: the interval is empty, or has no positive number.
    """
    if high <= 0 or low > high:
        raise ValueError(f"no positive number lies in [{low}, {high}]")
    exponent = math.floor(math.log10(high)) + 1
    while exponent > -9:
        for factor in (5, 2, 1):
            # Integers divide exactly where a negative power of ten would not.
            step = factor * 10**exponent if exponent >= 0 else factor / 10**-exponent
            number = round((low + high) / 2 / step)
            for candidate in (number, number + 1, number - 1):
                value = candidate * step if exponent >= 0 else candidate * factor / 10**-exponent
                if candidate > 0 and low <= value <= high:
                    return float(value)
        exponent -= 1
    return (low + high) / 2


def round_window(bounds: Range) -> float:
    """Return a window within the bounds: a usual one where one fits, else the roundest."""
    usual = [window_s for window_s in USUAL_WINDOWS_S if bounds.low <= window_s <= bounds.high]
    return usual[0] if usual else round_value(bounds.low, min(bounds.high, 2 * bounds.low or 1.0))


def limit_of_interval(interval_s: Range) -> tuple[int, float]:
    """Return a limit and its window that make a pace within these bounds: per minute where a whole number fits."""
    for window_s in USUAL_WINDOWS_S:
        least, most = math.ceil(window_s / interval_s.high), math.floor(window_s / interval_s.low)
        if 1 <= least <= most:
            return round(round_value(least, most)), window_s
    return 1, round_value(*interval_s)


def spread_out(low: float, high: float, until_s: float) -> FloatArray:
    """Return [low, high] in parts that are equally likely if all sizes are: narrow ones near `low`. Shape (n, 2).

    `until_s`: a length beyond which nothing is told apart, for an infinite `high`.
    """
    top = min(high, max(2 * until_s, 2 * low))
    if low <= 0 or top / low < 1.02:
        return np.array([[low, top]])
    edges = np.geomspace(low, top, min(KEPT_RANGES, max(2, round(math.log(top / low) / 0.05))) + 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)
