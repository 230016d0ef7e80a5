"""The search for a knee: the largest load that holds, by a ladder of growing loads and then by halving.

It knows nothing of calls: whoever asks says what holding means. Loads are tried as they are, or as whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

RUNG = 1.5
"""Each load of the ladder over the one before it."""
RESOLUTION = 0.06
"""The search ends when what fails is no more than this share above what holds."""
RUNGS = 8
"""Loads tried upwards (a factor of 17), and as many downwards from a first one that fails."""

Holds = Callable[[float], Awaitable[bool]]


class Stop(Exception):  # noqa: N818  # the end of a search, no error of anybody's
    """Raised by `Holds`: nothing beyond what was found so far can be said, and why."""


@dataclass(frozen=True)
class Bracket:
    """Where the knee is: at `low` or above, below `high`."""

    low: float | None
    """The largest load that held; `None`: the least one tried did not."""
    high: float | None
    """The least load that did not; `None`: all held."""
    stopped: str | None = None
    """Why the search ended before its resolution."""


async def find_bracket(holds: Holds, start: float, *, whole: bool = False) -> Bracket:
    """Search for the largest load that holds, supposing that whatever is above one that fails would fail too.

    Args:
        holds: tries one load; raises `Stop` to end the search.
        start: the first load.
        whole: try whole numbers only; then the resolution is one, where that is coarser.
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
        held = await self._holds(load)
        if held:
            self.low = load
        else:
            self.high = load
        return held

    async def climb(self, start: float) -> None:
        """Upwards until it fails; where the first load fails, downwards until it holds."""
        up = await self._try(self._load(start))
        for rung in range(1, RUNGS):
            load = self._load(start * RUNG ** (rung if up else -rung))
            # Small whole numbers come twice.
            if load not in {self.low, self.high} and await self._try(load) is not up:
                return
        self.why = f"every load tried {'held' if up else 'failed'}"

    async def halve(self) -> None:
        """Try the geometric mean until both ends are near enough."""
        while self.low is not None and self.high is not None and self.high > self.low * (1 + RESOLUTION):
            load = self._load(math.sqrt(self.low * self.high))
            if load in {self.low, self.high}:
                return
            await self._try(load)
