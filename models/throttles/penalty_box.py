"""The penalty box: whoever exceeds a limit is refused for a while, however few calls come then.

The limit is a window over admitted calls, sliding or fixed. The attempt that finds it full begins the penalty. While it
lasts, every attempt is refused, and the window is not asked: attempts during the penalty do not count in it. Afterwards
the window decides again. It goes on as it was, so a penalty that is shorter than the window may be followed by another
one at once.

With `prolonged`, each attempt during the penalty begins it anew: only a caller who keeps still for `penalty_s` is free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from trunkproof.models.arrays import FloatArray
from trunkproof.models.throttles.decision import REFUSES, SAME_INSTANT_S, Decision, Refused, Throttle
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.policy import Asked, Joined, KernelPart, Limited
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted


def decide(ask: Any, _take_back: Any, throttles: Any, rings: FloatArray, which: int, now: float) -> float:
    """Decide as `PenaltyBoxThrottle`, on records: the window's is its `part`."""
    throttle = throttles[which]
    if now < throttle.until_s - SAME_INSTANT_S:
        if throttle.is_prolonged:
            throttle.until_s = now + throttle.penalty_s
        return REFUSES
    delay_s = ask(throttles, rings, throttle.part, now)
    if delay_s == REFUSES:
        throttle.until_s = now + throttle.penalty_s
    return float(delay_s)


def take_back(_ask: Any, take_part_back: Any, throttles: Any, rings: FloatArray, which: int, now: float) -> float:
    """Undo an admission as `PenaltyBoxThrottle`, on records."""
    return float(take_part_back(throttles, rings, throttles[which].part, now))


class PenaltyBox(Limited, Joined):
    """At most `limit` admitted calls in a window; whoever exceeds is refused for `penalty_s` from then on."""

    label: ClassVar[str] = "penalty box"
    kernel: ClassVar[KernelPart] = KernelPart(
        decide, "until_s penalty_s", "part", "is_prolonged", take_back=take_back, depth=1
    )
    is_plausible: ClassVar[bool] = False
    # Redials of those in the box bring them back into it, or keep them there.
    has_two_states: ClassVar[bool] = True
    policy: Literal["penalty_box"] = "penalty_box"
    """Whoever exceeds the limit is refused for a while."""
    window: Literal["sliding", "fixed"] = "sliding"
    """How the calls before the penalty are counted."""
    penalty_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """How long the penalty lasts, in seconds."""
    prolonged: bool = False
    """Whether attempts during the penalty begin it anew."""

    @property
    def kind_words(self) -> str:
        """Return how it counts, as a phrase that follows the limit."""
        again = ", begun anew by each attempt" if self.prolonged else ""
        return f"{self.window} window with a penalty of {self.penalty_s:g} s{again}"

    @property
    def parts(self) -> tuple[FixedWindow | SlidingWindowAdmitted]:
        """Return the window."""
        kind = FixedWindow if self.window == "fixed" else SlidingWindowAdmitted
        return (kind(limit=self.limit, window_s=self.window_s),)

    def join(self, parts: Sequence[Throttle]) -> PenaltyBoxThrottle:
        """Return a throttle with that window."""
        (window,) = parts
        return PenaltyBoxThrottle(self, window)

    @property
    def memory_s(self) -> float:
        """Return the window and the penalty: the last call of one may begin the other."""
        return self.window_s + self.penalty_s

    def refused_share(self, rate_per_minute: float) -> None:
        """Return None: theory has no exact answer."""

    def passed(self, offered: float, interval_s: float) -> float:
        """Return all up to the limit. Above it, cycles of a window that fills and the penalties until it is free."""
        if offered * self.window_s <= self.limit * interval_s:
            return offered
        if self.prolonged:
            # Evenly spaced calls are never `penalty_s` apart, unless hardly any come.
            return 0.0 if offered * self.penalty_s > interval_s else interval_s / self.penalty_s
        fill_s = self.limit * interval_s / offered
        penalties = max(1, math.ceil((self.window_s - fill_s) / self.penalty_s))
        return self.limit * interval_s / (fill_s + penalties * self.penalty_s)

    def refuses_none(self, asked: Asked, anchor_s: float = 0.0) -> bool:
        """Tell whether the window surely admits all of these attempts: then no penalty begins."""
        return self.parts[0].refuses_none(asked, anchor_s)

    def kernel_values(self) -> dict[str, float]:
        """Return the initial values of its record in the compiled simulator, by field."""
        own = {"penalty_s": self.penalty_s, "is_prolonged": self.prolonged, "until_s": -math.inf}
        return super().kernel_values() | own


class PenaltyBoxThrottle(Throttle):
    """Knows until when it refuses, and asks the window afterwards."""

    __slots__ = ("_is_prolonged", "_penalty_s", "_until_s", "_window")

    def __init__(self, settings: PenaltyBox, window: Throttle) -> None:
        super().__init__(settings.refused)
        self._penalty_s, self._is_prolonged = settings.penalty_s, settings.prolonged
        self._window, self._until_s = window, -math.inf

    @property
    def phase_s(self) -> float | None:
        """Return that of the window."""
        return self._window.phase_s

    def try_admit(self, now: float) -> Decision:
        """Refuse during a penalty. Otherwise ask the window, whose refusal begins one."""
        # With the tolerance, a call that comes at the end of the penalty is free, also where rounding makes it early.
        if now < self._until_s - SAME_INSTANT_S:
            if self._is_prolonged:
                self._until_s = now + self._penalty_s
            return self._refused
        decision = self._window.try_admit(now)
        if isinstance(decision, Refused):
            self._until_s = now + self._penalty_s
            return self._refused
        return decision

    def take_back(self) -> None:
        """Undo the window's admission."""
        self._window.take_back()

    def used(self, now: float) -> int:
        """Return the calls in the window."""
        return self._window.used(now)

    def restart(self, now: float) -> None:
        """Forget the penalty and the window."""
        self._window.restart(now)
        self._until_s = -math.inf
