"""What the two sliding windows share: the window ends with each call, and remembers the last `limit` calls that count.

Which calls count is the difference: admitted ones only, or refused ones too. A call exactly `window_s` after the oldest
finds its place free.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any, ClassVar

import numpy as np

from trunkproof.models.arrays import BoolArray, FloatArray, IntArray
from trunkproof.models.throttles.decision import ADMITTED, REFUSES, SAME_INSTANT_S, Decision, Throttle
from trunkproof.models.throttles.observed import ANY_TIME, Observed, Range, round_window, spread_out
from trunkproof.models.throttles.policy import ROUNDING_S, Asked, Explanation, KernelPart, Limited


def decide(throttles: Any, rings: FloatArray, which: int, now: float) -> float:
    """Decide as `SlidingWindowThrottle`, on records: the deque is a ring of `limit` places in `rings`."""
    throttle = throttles[which]
    is_full = throttle.counted == throttle.limit
    # The window is full exactly if the call that lies `limit` back is still in it.
    refuses = is_full and now - rings[throttle.ring + throttle.oldest] < throttle.window_s - SAME_INSTANT_S
    if refuses and not throttle.counts_attempts:
        return REFUSES
    if is_full:
        # The new call takes the place of the oldest one, which no later decision can need.
        rings[throttle.ring + throttle.oldest] = now
        throttle.oldest += 1
        if throttle.oldest == throttle.limit:
            throttle.oldest = 0
    else:
        rings[throttle.ring + throttle.counted] = now
        throttle.counted += 1
    return REFUSES if refuses else 0.0


def take_back(throttles: Any, rings: FloatArray, which: int, _now: float) -> float:
    """Undo an admission as `SlidingWindowThrottle`, on records."""
    throttle = throttles[which]
    if throttle.counts_attempts:
        return 0.0
    if throttle.counted < throttle.limit:
        throttle.counted -= 1
        return 0.0
    # The ring stays full, so that places need not move: the newest place now holds a call that left long ago.
    throttle.oldest = (throttle.oldest if throttle.oldest > 0 else throttle.limit) - 1
    rings[throttle.ring + throttle.oldest] = -math.inf
    return 0.0


KERNEL = KernelPart(decide, integers="counted oldest", flags="counts_attempts", take_back=take_back)


class SlidingWindow(Limited):
    """A limit over the `window_s` before each call."""

    counts_attempts: ClassVar[bool]
    """Whether refused attempts count too."""

    def make_throttle(self, anchor: float = 0.0) -> SlidingWindowThrottle:
        """Return a throttle of these settings, unused so far."""
        return SlidingWindowThrottle(self)

    @property
    def full_window_s(self) -> float:
        """Return the window."""
        return self.window_s

    def may_refuse(self, instants: FloatArray, anchor_s: float) -> BoolArray:
        """Return which attempts lie within a window before one that finds `limit` others in it."""
        limit, window_s = self.limit, self.window_s
        # Without the throttle's tolerance: a wider window can only ask about more attempts than need be.
        full = np.flatnonzero(instants[limit:] - instants[:-limit] < window_s) + limit
        # +1 where the window before a full one begins, -1 after its end: the running sum is above 0 inside of any of
        # them.
        edges = np.zeros(len(instants) + 1, dtype=np.int64)
        np.add.at(edges, np.searchsorted(instants, instants[full] - window_s), 1)
        np.add.at(edges, full + 1, -1)
        return np.cumsum(edges[:-1]) > 0

    def refuses_none(self, asked: Asked, anchor_s: float = 0.0) -> bool:
        """Tell whether every call comes more than a window after the call that lies `limit` back."""
        apart = asked.early_s[self.limit :] - asked.early_s[: -self.limit]
        # Exact instants get the throttle's own arithmetic, to the bit. Bounds on instants need room for rounding.
        needed_s = self.window_s - SAME_INSTANT_S + asked.within_s
        return bool((apart >= (needed_s + ROUNDING_S if asked.within_s else needed_s)).all())

    @classmethod
    def explain(cls, observed: Observed) -> list[Explanation]:
        """Return all limits and windows that explain every attempt."""
        admitted, early_s, late_s = observed.admitted, observed.early_s, observed.late_s
        counted = admitted | cls.counts_attempts
        numbers = np.flatnonzero(counted)
        before: IntArray = np.cumsum(counted) - counted
        found = []
        # Nothing is refused before `limit` calls were counted.
        for limit in range(1, int(before[~admitted].min(initial=len(before))) + 1 if not admitted.all() else 1):
            later = np.flatnonzero(before >= limit)
            oldest = numbers[before[later] - limit]
            least, most = early_s[later] - late_s[oldest], late_s[later] - early_s[oldest]
            passed = admitted[later]
            window = Range(
                float(least[~passed].max(initial=0.0)), float(most[passed].min(initial=np.inf)) + SAME_INSTANT_S
            )
            if window.low <= window.high:
                found.append(cls._explanation(observed, limit, window, numbers))
        return found

    @classmethod
    def _explanation(cls, observed: Observed, limit: int, window: Range, counted: IntArray) -> Explanation:
        settings = cls(limit=limit, window_s=min(round_window(window), 86_400.0))
        reopens_s = ANY_TIME
        if len(counted) >= limit:
            oldest = int(counted[-limit])
            early_s, late_s = float(observed.early_s[oldest]), float(observed.late_s[oldest])
            span_s = float(observed.late_s[-1] - observed.early_s[0])
            reopens_s = spread_out(window.low, window.high, span_s) + np.array([early_s, late_s])
        return Explanation(settings, {"limit": Range(limit, limit), "window_s": window}, reopens_s)

    @property
    def remembered(self) -> int:
        """Return the last `limit` instants."""
        return self.limit

    def kernel_values(self) -> dict[str, float]:
        """Return the initial values of its record in the compiled simulator, by field."""
        return super().kernel_values() | {"counts_attempts": self.counts_attempts}


class SlidingWindowThrottle(Throttle):
    """Remembers the last `limit` calls that count."""

    __slots__ = ("_counted", "_counts_attempts", "_limit", "_window_s")

    def __init__(self, settings: SlidingWindow) -> None:
        super().__init__(settings.refused)
        self._limit, self._window_s = settings.limit, settings.window_s
        self._counts_attempts = settings.counts_attempts
        # It drops the oldest call by itself when another one is added.
        self._counted: deque[float] = deque(maxlen=settings.limit)

    def try_admit(self, now: float) -> Decision:
        """Admit a call that finds fewer than `limit` others in the window before it."""
        counted = self._counted
        # The window is full exactly if the call that lies `limit` back is still in it; older ones need not be kept.
        if len(counted) == self._limit and now - counted[0] < self._window_s - SAME_INSTANT_S:
            if self._counts_attempts:
                counted.append(now)
            return self._refused
        counted.append(now)
        return ADMITTED

    def take_back(self) -> None:
        """Forget the last call, if only admitted ones count."""
        # The call that it pushed out, if any, had left the window: no later decision can need it.
        if not self._counts_attempts:
            self._counted.pop()

    def used(self, now: float) -> int:
        """Return the calls in the window that ends now, `limit` at most."""
        return sum(now - instant < self._window_s - SAME_INSTANT_S for instant in self._counted)

    def restart(self, now: float) -> None:
        """Forget all calls."""
        self._counted.clear()
