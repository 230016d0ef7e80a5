"""The search for a knee: the largest load that holds, first by a ladder of loads and then by halving.

Example: from 100 with rungs of 1.5, loads 100, 150 and 225 hold and 337.5 fails. The search then tries the geometric
mean of 225 and 337.5, and so on until both ends are within `RESOLUTION`. If the first load fails, the ladder goes down.

It knows nothing of calls: the caller says what holding means. Loads may be restricted to whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

RUNG = 1.5
"""Ratio of each load of the ladder to the one before it."""
RESOLUTION = 0.06
"""The search ends when the load that fails is at most this share above the load that holds."""
RUNGS = 8
"""Loads of the ladder, the first included: upwards that is a factor of 17, downwards as much."""

Holds = Callable[[float], Awaitable[bool]]


class Stop(Exception):  # noqa: N818  # the end of a search, not an error
    """Raised by `Holds` to end the search with what it found so far; the message says why."""


@dataclass(frozen=True)
class Bracket:
    """The knee lies at `low` or above it, and below `high`."""

    low: float | None
    """The largest load that held; None where even the smallest load tried failed."""
    high: float | None
    """The smallest load that failed; None where all held."""
    stopped: str | None = None
    """Why the search ended before it reached its resolution; None where it did reach it."""


async def find_bracket(holds: Holds, start: float, *, whole: bool = False) -> Bracket:
    """Search for the largest load that holds. It assumes that all loads above one that fails would fail too.

    Args:
        holds: tries one load; raises `Stop` to end the search.
        start: the first load.
        whole: try whole numbers only; the resolution is then at least one.
    """
    search = _Search(holds, whole)
    try:
        await search.climb(start)
        await search.halve()
    except Stop as stop:
        return Bracket(search.low, search.high, str(stop))
    return Bracket(search.low, search.high, search.why)


class _Search:
    def __init__(self, holds: Holds, whole: bool) -> None:
        self._holds, self._whole = holds, whole
        self.low: float | None = None
        self.high: float | None = None
        self.why: str | None = None

    def _load(self, value: float) -> float:
        return float(max(1, round(value))) if self._whole else value

    async def _try(self, load: float) -> bool:
        # If this raises `Stop`, both ends stay as they were, and the bracket is still right.
        held = await self._holds(load)
        if held:
            self.low = load
        else:
            self.high = load
        return held

    async def climb(self, start: float) -> None:
        """Go up until a load fails; where the first load fails, go down until one holds."""
        up = await self._try(self._load(start))
        for rung in range(1, RUNGS):
            load = self._load(start * RUNG ** (rung if up else -rung))
            # Rounding gives small whole numbers twice.
            if load not in {self.low, self.high} and await self._try(load) is not up:
                return
        self.why = f"every load tried {'held' if up else 'failed'}"

    async def halve(self) -> None:
        """Try the geometric mean until both ends are within the resolution."""
        while self.low is not None and self.high is not None and self.high > self.low * (1 + RESOLUTION):
            # Geometric, because the resolution is a ratio: the steps left are then the same at small and at large
            # loads.
            load = self._load(math.sqrt(self.low * self.high))
            # Between two neighbouring whole numbers there is nothing left to try.
            if load in {self.low, self.high}:
                return
            await self._try(load)
