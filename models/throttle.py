"""The objects that decide on each call by a trunk's calls-per-minute limit; `models.policies` has their settings.

They are pure: time is a parameter, in seconds on any clock, and may stand still but never go backwards from one call to
the next. What a refusal looks like on the wire is not known here, beyond its status and Retry-After.

Instants that differ by less than `SAME_INSTANT_S` are equal in every policy: who comes on a boundary belongs to what
begins there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import assert_never

from trunkproof.models.policies import (
    FixedWindow,
    NoThrottle,
    PipeLimit,
    Policy,
    Shaper,
    SlidingWindowAdmitted,
    SlidingWindowAttempts,
    ThrottleSettings,
    TokenBucket,
)

SAME_INSTANT_S = 1e-6
"""Instants closer than this are the same instant; every policy uses it, and the compiled one too."""
# Why 1 us: call 200 of 200 evenly spaced ones comes one window after call 0, but in floating point a little before or
# behind. The error is some units in the last place of the clock: 4e-9 s after a year, 1e-8 s on a machine that has been
# up for two. 1 us lies a hundred times above that, and far below what a trunk can tell: one SIP message takes longer
# on a wire of 1 Gbit/s.


@dataclass(frozen=True, slots=True)
class Admitted:
    """The call may go on, after `delay_s` (above 0 with a shaper only)."""

    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Refused:
    """The call is refused with this SIP status and, unless `None`, this Retry-After."""

    status: int
    retry_after_s: int | None


Decision = Admitted | Refused
ADMITTED = Admitted()
"""Shared by all admissions without delay: a decision costs no allocation."""


class Throttle(ABC):
    """Decides on one call after the other. Copies (`copy.deepcopy`) and pickles carry its whole state."""

    __slots__ = ("_refused",)

    def __init__(self, settings: Policy) -> None:
        self._refused = Refused(settings.refusal_status, settings.retry_after_s)

    @property
    def phase_s(self) -> float | None:
        """Where, within `window_s`, a window begins on the caller's clock; `None` where no windows are fixed."""
        return None

    @abstractmethod
    def try_admit(self, now: float) -> Decision:
        """Decide on a call that arrives at `now`, and count it. `now` must not be before that of an earlier call."""

    @abstractmethod
    def used(self, now: float) -> int:
        """How many calls weigh on the limit at `now`, for a status display; changes nothing."""

    @abstractmethod
    def restart(self, now: float) -> None:
        """The process that kept the count is started again: all is forgotten, and a fixed window begins at `now`."""


class _WindowedThrottle(Throttle):
    """A counter that starts again at every window boundary; a call on the boundary belongs to the new window."""

    __slots__ = ("_anchor", "_count", "_limit", "_window", "_window_s")

    def __init__(self, settings: FixedWindow | PipeLimit, anchor: float = 0.0) -> None:
        super().__init__(settings)
        self._limit, self._window_s = settings.limit, settings.window_s
        self.restart(anchor)

    @property
    def phase_s(self) -> float:
        """See `Throttle`."""
        return self._anchor % self._window_s

    def used(self, now: float) -> int:
        """See `Throttle`: calls counted in the current window."""
        return self._count if self._number(now) == self._window else 0

    def restart(self, now: float) -> None:
        """See `Throttle`."""
        self._anchor, self._count = now, 0
        self._window: float | None = None

    def _number(self, now: float) -> float:
        return (now - self._anchor + SAME_INSTANT_S) // self._window_s


class FixedWindowThrottle(_WindowedThrottle):
    """Counts admitted calls up to the limit."""

    __slots__ = ()

    def try_admit(self, now: float) -> Decision:
        """See `Throttle`."""
        window = self._number(now)
        if window != self._window:
            self._window, self._count = window, 0
        if self._count >= self._limit:
            return self._refused
        self._count += 1
        return ADMITTED


class PipeLimitThrottle(_WindowedThrottle):
    """Counts attempts; the load, which `red` goes by, is how many times the limit came in the window before."""

    __slots__ = ("_is_red", "_load")

    def __init__(self, settings: PipeLimit, anchor: float = 0.0) -> None:
        super().__init__(settings, anchor)
        self._is_red = settings.algorithm == "red"

    def restart(self, now: float) -> None:
        """See `Throttle`."""
        super().restart(now)
        self._load = 0

    def try_admit(self, now: float) -> Decision:
        """See `Throttle`."""
        self._tick(self._number(now))
        self._count += 1
        if self._is_red:
            return ADMITTED if self._load == 0 or self._count % self._load == 0 else self._refused
        return ADMITTED if self._count <= self._limit else self._refused

    def _tick(self, window: float) -> None:
        if window == self._window:
            return
        follows = self._window is not None and window == self._window + 1
        # A window in which nobody called leaves no load to the next.
        self._load = self._count // self._limit if follows else 0
        self._window, self._count = window, 0


class SlidingWindowThrottle(Throttle):
    """Remembers the last `limit` calls that count; a call exactly `window_s` after the oldest finds its place free."""

    __slots__ = ("_counted", "_counts_attempts", "_limit", "_window_s")

    def __init__(self, settings: SlidingWindowAdmitted | SlidingWindowAttempts) -> None:
        super().__init__(settings)
        self._limit, self._window_s = settings.limit, settings.window_s
        self._counts_attempts = isinstance(settings, SlidingWindowAttempts)
        self._counted: deque[float] = deque(maxlen=settings.limit)

    def try_admit(self, now: float) -> Decision:
        """See `Throttle`."""
        counted = self._counted
        # The window is full exactly if the call that lies `limit` back is still in it; older ones need not be kept.
        if len(counted) == self._limit and now - counted[0] < self._window_s - SAME_INSTANT_S:
            if self._counts_attempts:
                counted.append(now)
            return self._refused
        counted.append(now)
        return ADMITTED

    def used(self, now: float) -> int:
        """See `Throttle`: calls in the window that ends now, `limit` at most."""
        return sum(now - instant < self._window_s - SAME_INSTANT_S for instant in self._counted)

    def restart(self, now: float) -> None:
        """See `Throttle`."""
        self._counted.clear()


class _EvenlyPaced(Throttle):
    """Slots `window_s / limit` apart since an idle instant.

    The next slot is computed from that instant and a count, never by adding up intervals: a day at the limit gathers no
    rounding error. Decisions treat equal instants as equal; whether the slots begin anew is asked exactly, as a start
    ahead of its slot would let the pace creep.
    """

    __slots__ = ("_idle_at", "_limit", "_taken", "_window_s")

    def __init__(self, settings: TokenBucket | Shaper) -> None:
        super().__init__(settings)
        self._limit, self._window_s = settings.limit, settings.window_s
        self._idle_at, self._taken = 0.0, 0

    def _slot(self, number: int) -> float:
        return self._idle_at + number * self._window_s / self._limit

    def _start_again_if_idle(self, now: float) -> None:
        if not self._taken or now >= self._slot(self._taken):
            self._idle_at, self._taken = now, 0

    def used(self, now: float) -> int:
        """See `Throttle`: tokens that are out of the bucket; calls that the shaper holds, or has let go just now."""
        idle_s = now - self._idle_at + SAME_INSTANT_S
        passed = int(idle_s * self._limit / self._window_s) if self._taken else 0
        return max(0, self._taken - passed)

    def restart(self, now: float) -> None:
        """See `Throttle`."""
        self._idle_at, self._taken = now, 0


class TokenBucketThrottle(_EvenlyPaced):
    """A bucket that starts full, as the generic cell rate algorithm of ITU-T I.371, with one cell a call."""

    __slots__ = ("_burst",)

    def __init__(self, settings: TokenBucket) -> None:
        super().__init__(settings)
        self._burst = settings.burst

    def try_admit(self, now: float) -> Decision:
        """See `Throttle`."""
        self._start_again_if_idle(now)
        if self._taken >= self._burst and now < self._slot(self._taken - self._burst + 1) - SAME_INSTANT_S:
            return self._refused
        self._taken += 1
        return ADMITTED


class ShaperThrottle(_EvenlyPaced):
    """A queue that lets one call go at each slot and takes none that would wait longer than `max_delay_s`."""

    __slots__ = ("_max_delay_s",)

    def __init__(self, settings: Shaper) -> None:
        super().__init__(settings)
        self._max_delay_s = settings.max_delay_s

    def try_admit(self, now: float) -> Decision:
        """See `Throttle`."""
        self._start_again_if_idle(now)
        delay_s = self._slot(self._taken) - now
        if delay_s > self._max_delay_s + SAME_INSTANT_S:
            return self._refused
        self._taken += 1
        return Admitted(delay_s) if delay_s > SAME_INSTANT_S else ADMITTED


class OpenThrottle(Throttle):
    """Admits every call."""

    __slots__ = ()

    def try_admit(self, now: float) -> Decision:
        """See `Throttle`."""
        return ADMITTED

    def used(self, now: float) -> int:
        """See `Throttle`: there is no limit to weigh on."""
        return 0

    def restart(self, now: float) -> None:
        """See `Throttle`."""


def make_throttle(settings: ThrottleSettings, anchor: float = 0.0) -> Throttle:
    """The throttle of these settings, unused so far.

    Args:
        settings: what the study says.
        anchor: an instant, on the clock of `try_admit`, at which a fixed window begins (any boundary will do); other
            policies have no windows that begin at an instant of their own.
    """
    match settings:
        case FixedWindow():
            return FixedWindowThrottle(settings, anchor)
        case PipeLimit():
            return PipeLimitThrottle(settings, anchor)
        case SlidingWindowAdmitted() | SlidingWindowAttempts():
            return SlidingWindowThrottle(settings)
        case TokenBucket():
            return TokenBucketThrottle(settings)
        case Shaper():
            return ShaperThrottle(settings)
        case NoThrottle():
            return OpenThrottle(settings)
        case _:
            assert_never(settings)
