"""What a throttle says of a call, and the object that says it: admitted or refused, one call after the other.

Throttles are pure: time is a parameter, in seconds on any clock, and may stand still but never goes backwards from one
call to the next. What a refusal looks like on the wire is not known here, beyond its status and Retry-After.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

SAME_INSTANT_S = 1e-6
"""Instants closer than this are the same instant; every policy uses it, and the compiled one too."""
# Why 1 us: call 200 of 200 evenly spaced ones comes one window after call 0, but in floating point a little before or
# behind. The error is some units in the last place of the clock: 4e-9 s after a year, 1e-8 s on a machine that has been
# up for two. 1 us lies a hundred times above that, and far below what a trunk can tell: one SIP message takes longer
# on a wire of 1 Gbit/s.

REFUSES: Final = -1.0
"""What compiled code says instead of a delay: the call is refused."""


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

    def __init__(self, refused: Refused) -> None:
        self._refused = refused

    @property
    def phase_s(self) -> float | None:
        """Return where, within `window_s`, a window begins on the caller's clock. None where no windows are fixed."""
        return None

    @abstractmethod
    def try_admit(self, now: float) -> Decision:
        """Decide on a call that arrives at `now`, and count it. `now` must not be before that of an earlier call."""

    def take_back(self) -> None:  # noqa: B027  # nothing to undo is an answer
        """Undo the last decision, an admission, because another limit refused the call. No call came in between.

        Throttles that count attempts undo nothing: a refused attempt counts too.
        """

    @abstractmethod
    def used(self, now: float) -> int:
        """Return how many calls weigh on the limit at `now`, for a status display; changes nothing."""

    @abstractmethod
    def restart(self, now: float) -> None:
        """Forget everything, as when the process that keeps the count starts again; a fixed window begins at `now`."""
