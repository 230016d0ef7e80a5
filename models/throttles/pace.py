"""Shared by token bucket and shaper: slots that are `window_s / limit` apart, counted from an idle instant.

The next slot is computed from that instant and a count, and never by adding intervals. So a day at the limit adds up no
rounding errors. Decisions use the tolerance `SAME_INSTANT_S`. The check for a new idle instant is exact: with a
tolerance each slot could begin a little early, and in the long run more calls than the limit would pass.
"""

from __future__ import annotations

from typing import Any

from trunkproof.models.arrays import FloatArray
from trunkproof.models.throttles.decision import SAME_INSTANT_S, Throttle
from trunkproof.models.throttles.policy import Limited

KERNEL_FLOATS, KERNEL_INTEGERS = "idle_at_s", "taken"
"""The idle instant, and the slots taken since: what the compiled twin keeps."""


def take_back(throttles: Any, _: FloatArray, which: int, _now: float) -> float:
    """Undo an admission as `PacedThrottle`, on records."""
    throttles[which].taken -= 1
    return 0.0


class PacedThrottle(Throttle):
    """Counts the slots that were taken since the idle instant."""

    __slots__ = ("_idle_at", "_limit", "_taken", "_window_s")

    def __init__(self, settings: Limited) -> None:
        super().__init__(settings.refused)
        self._limit, self._window_s = settings.limit, settings.window_s
        self._idle_at, self._taken = 0.0, 0

    def _slot(self, number: int) -> float:
        return self._idle_at + number * self._window_s / self._limit

    def _start_again_if_idle(self, now: float) -> None:
        # Also before the first call, which may come at any instant of any clock.
        if not self._taken or now >= self._slot(self._taken):
            self._idle_at, self._taken = now, 0

    def take_back(self) -> None:
        """Free the last slot: the next call may have it."""
        # Where it was the first after an idle time, none is taken now, which is idle again.
        self._taken -= 1

    def used(self, now: float) -> int:
        """Return the tokens that are out of the bucket; calls that the shaper holds, or has let go just now."""
        idle_s = now - self._idle_at + SAME_INSTANT_S
        # With the tolerance, as a decision at this instant would count.
        passed = int(idle_s * self._limit / self._window_s) if self._taken else 0
        return max(0, self._taken - passed)

    def restart(self, now: float) -> None:
        """Forget all slots; it is idle now."""
        self._idle_at, self._taken = now, 0
