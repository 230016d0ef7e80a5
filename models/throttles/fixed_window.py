"""The fixed window: at most `limit` calls between one boundary and the next."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.throttles.boundaries import explain_windows
from trunkproof.models.throttles.decision import ADMITTED, REFUSES, SAME_INSTANT_S, Decision
from trunkproof.models.throttles.observed import Observed
from trunkproof.models.throttles.policy import Asked, Explanation, KernelPart
from trunkproof.models.throttles.windows import (
    KERNEL_FLAGS,
    KERNEL_FLOATS,
    KERNEL_INTEGERS,
    Windowed,
    WindowedThrottle,
)


def decide(throttles: Any, _: FloatArray, which: int, now: float) -> float:
    """Decide as `FixedWindowThrottle`, on records."""
    throttle = throttles[which]
    # With the tolerance a call that comes on the boundary, but for rounding, belongs to the new window.
    window = (now - throttle.anchor_s + SAME_INSTANT_S) // throttle.window_s
    # A flag, because no number can stand for "no window yet": before the anchor, numbers are negative.
    if throttle.has_window == 0 or window != throttle.window:
        throttle.has_window, throttle.window, throttle.count = 1, window, 0
    if throttle.count >= throttle.limit:
        return REFUSES
    throttle.count += 1
    return 0.0


def take_back(throttles: Any, _: FloatArray, which: int, _now: float) -> float:
    """Undo an admission as `FixedWindowThrottle`, on records."""
    throttles[which].count -= 1
    return 0.0


class FixedWindow(Windowed):
    """At most `limit` calls between one window boundary and the next; the count then starts again."""

    label: ClassVar[str] = "fixed window"
    kernel: ClassVar[KernelPart] = KernelPart(decide, KERNEL_FLOATS, KERNEL_INTEGERS, KERNEL_FLAGS, take_back)
    is_plausible: ClassVar[bool] = True
    has_two_states: ClassVar[bool] = False
    policy: Literal["fixed_window"] = "fixed_window"
    """Windows follow one another. Each admits `limit` calls."""

    @property
    def kind_words(self) -> str:
        """Return how it counts, as a phrase that follows the limit."""
        return "fixed window"

    def make_throttle(self, anchor: float = 0.0) -> FixedWindowThrottle:
        """Return a throttle of these settings, unused so far."""
        return FixedWindowThrottle(self, anchor)

    def refused_share(self, rate_per_minute: float) -> float:
        """Return the share of Poisson attempts that exceed the limit of their window."""
        # Imported late: SciPy's distributions take longer to load than all else that a study needs.
        from trunkproof.models.teletraffic import fixed_window_refused  # noqa: PLC0415

        return fixed_window_refused(rate_per_minute / 60 * self.window_s, self.limit)

    @property
    def full_window_s(self) -> float:
        """Return the window."""
        return self.window_s

    def may_refuse(self, instants: FloatArray, anchor_s: float) -> BoolArray:
        """Return which attempts are in windows that overflow."""
        # Here no count is kept from window to window, so windows that do not overflow need not be asked about.
        numbers = np.floor((instants - anchor_s) / self.window_s)
        _, window, counts = np.unique(numbers, return_inverse=True, return_counts=True)
        return np.asarray(counts > self.limit)[window]

    def refuses_none(self, asked: Asked, anchor_s: float = 0.0) -> bool:
        """Tell whether it surely admits all of these attempts at once."""
        return self.most_in_a_window(asked, anchor_s) <= self.limit

    @classmethod
    def explain(cls, observed: Observed) -> list[Explanation]:
        """Return all limits, windows and boundaries that explain every attempt."""
        return explain_windows(observed, lambda limit, window_s: cls(limit=limit, window_s=window_s))


class FixedWindowThrottle(WindowedThrottle):
    """Counts admitted calls up to the limit."""

    __slots__ = ()

    def try_admit(self, now: float) -> Decision:
        """Admit the first `limit` calls of a window."""
        window = self._number(now)
        # None, before the first call, differs from every number.
        if window != self._window:
            self._window, self._count = window, 0
        if self._count >= self._limit:
            return self._refused
        self._count += 1
        return ADMITTED

    def take_back(self) -> None:
        """Count the last call no more."""
        self._count -= 1
