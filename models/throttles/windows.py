"""What policies share whose windows begin at fixed instants: a counter that starts again at every boundary.

A call that comes on the boundary belongs to the new window.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from trunkproof.models.throttles.decision import SAME_INSTANT_S, Throttle
from trunkproof.models.throttles.policy import ROUNDING_S, Asked, Limited

KERNEL_FLOATS, KERNEL_INTEGERS, KERNEL_FLAGS = "window", "count", "has_window"
"""Number of the window, calls counted in it, and whether there was a window yet: what the compiled twin keeps."""


class Windowed(Limited):
    """A limit whose windows begin at fixed instants, so that the anchor of `make_throttle` matters."""

    @property
    def fixed_window_s(self) -> float:
        """Return the window."""
        return self.window_s

    @abstractmethod
    def make_throttle(self, anchor: float = 0.0) -> WindowedThrottle:
        """Return a throttle of these settings, one of whose windows begins at `anchor`."""

    def most_in_a_window(self, asked: Asked, anchor_s: float) -> int:
        """Return the most attempts that can have been in one window."""
        if not len(asked.early_s):
            return 0
        first, last = asked.early_s[0], asked.early_s[-1] + asked.within_s
        # One more at either end: first and last may lie in a neighbouring window, as the throttle counts.
        numbers = np.arange((first - anchor_s) // self.window_s - 1, (last - anchor_s) // self.window_s + 2)
        # The throttle's boundary lies the tolerance earlier, and so must these. All other errors are to the safe side:
        # a window is taken a little too long at both ends, so it may count too many attempts, never too few.
        begins = anchor_s - SAME_INSTANT_S + numbers * self.window_s
        before_end = np.searchsorted(asked.early_s, begins + self.window_s + ROUNDING_S)
        return int((before_end - np.searchsorted(asked.early_s, begins - asked.within_s - ROUNDING_S)).max())


class WindowedThrottle(Throttle):
    """Keeps the number of the window, and the count in it."""

    __slots__ = ("_anchor", "_count", "_limit", "_window", "_window_s")

    def __init__(self, settings: Windowed, anchor: float) -> None:
        super().__init__(settings.refused)
        self._limit, self._window_s = settings.limit, settings.window_s
        self.restart(anchor)

    @property
    def phase_s(self) -> float:
        """Return the anchor, within a window."""
        # `%` gives a value within the window also for an anchor before the clock's zero.
        return self._anchor % self._window_s

    def used(self, now: float) -> int:
        """Return the calls counted in the current window."""
        return self._count if self._number(now) == self._window else 0

    def restart(self, now: float) -> None:
        """Forget the count; a window begins now."""
        self._anchor, self._count = now, 0
        self._window: float | None = None

    def _number(self, now: float) -> float:
        # From the anchor, by division: adding up windows would add up rounding errors over a day.
        return (now - self._anchor + SAME_INSTANT_S) // self._window_s
