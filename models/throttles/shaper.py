"""The shaper: calls go on evenly spaced, and wait for it in a queue with a bound.

The bound may be a time or a number of calls. As slots are evenly spaced, a queue of n calls is a wait of n slots.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from trunkproof.models.arrays import FloatArray
from trunkproof.models.throttles.decision import ADMITTED, REFUSES, SAME_INSTANT_S, Admitted, Decision
from trunkproof.models.throttles.intervals import Paces, find_paces, held
from trunkproof.models.throttles.observed import Observed, limit_of_interval, round_value
from trunkproof.models.throttles.pace import KERNEL_FLOATS, KERNEL_INTEGERS, PacedThrottle, take_back
from trunkproof.models.throttles.policy import Explanation, KernelPart, Limited


def decide(throttles: Any, _: FloatArray, which: int, now: float) -> float:
    """Decide as `ShaperThrottle`, on records."""
    throttle = throttles[which]
    idle_at_s, window_s, limit = throttle.idle_at_s, throttle.window_s, throttle.limit
    if throttle.taken == 0 or now >= idle_at_s + throttle.taken * window_s / limit:
        idle_at_s = now
        throttle.idle_at_s, throttle.taken = now, 0
    delay_s = idle_at_s + throttle.taken * window_s / limit - now
    # A call that waits exactly the longest delay is taken, also where rounding makes it a little more.
    if delay_s > throttle.max_delay_s + SAME_INSTANT_S:
        return REFUSES
    throttle.taken += 1
    # A slot that begins now, but for rounding, is no delay.
    return float(delay_s) if delay_s > SAME_INSTANT_S else 0.0


class Shaper(Limited):
    """Calls go on evenly spaced, `window_s / limit` apart, and wait for it; one that would wait too long is refused."""

    label: ClassVar[str] = "shaper"
    kernel: ClassVar[KernelPart] = KernelPart(
        decide, f"{KERNEL_FLOATS} max_delay_s", KERNEL_INTEGERS, take_back=take_back
    )
    is_plausible: ClassVar[bool] = True
    has_two_states: ClassVar[bool] = False
    policy: Literal["shaper"] = "shaper"
    """Calls wait for their turn at an even rate."""
    max_delay_s: Annotated[float, Field(ge=0, le=86_400)] = 2.0
    """The longest wait, in seconds. Who would wait longer is refused."""
    queue_size: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """How many calls may wait at once; 0: none waits. None: `max_delay_s` alone is the bound."""

    @property
    def longest_delay_s(self) -> float:
        """Return how long a call waits at most, by whichever bound is the tighter one."""
        # A call that finds n others waiting waits longer than n slots and at most n + 1, of which one may be partly
        # over. So at most `queue_size` wait exactly if none waits longer than `queue_size` slots.
        in_queue_s = math.inf if self.queue_size is None else self.queue_size * self.window_s / self.limit
        return min(self.max_delay_s, in_queue_s)

    @property
    def kind_words(self) -> str:
        """Return how it counts, as a phrase that follows the limit."""
        queue = "" if self.queue_size is None else f" and lets {self.queue_size} wait at most"
        return f"shaper that delays by {self.max_delay_s:g} s at most{queue}"

    def make_throttle(self, anchor: float = 0.0) -> ShaperThrottle:
        """Return a throttle of these settings, unused so far."""
        return ShaperThrottle(self)

    def refused_share(self, rate_per_minute: float) -> float:
        """Return the share refused: M/D/1 without the calls that would wait longer than is allowed."""
        from trunkproof.models.teletraffic import shaper_refused  # noqa: PLC0415  # as in `fixed_window`

        return shaper_refused(rate_per_minute, self.per_minute, self.longest_delay_s)

    @classmethod
    def explain(cls, observed: Observed) -> list[Explanation]:
        """Return all paces and longest delays that explain every attempt, and let no call go on before its slot."""
        return [cls._explanation(observed, paces) for paces in find_paces(observed, holds=True, whole=False)]

    @classmethod
    def _explanation(cls, observed: Observed, paces: Paces) -> Explanation:
        limit, window_s = limit_of_interval(paces.interval)
        slack = paces.slack
        delay_s = round_value(slack.low, slack.high) if slack.low > 0 else 0.0
        settings = cls(limit=limit, window_s=window_s, max_delay_s=min(delay_s, 86_400.0))
        bounds = {"interval_s": paces.interval, "max_delay_s": slack}
        return Explanation(settings, bounds, paces.reopens_s, held_s=held(observed, window_s / limit))

    def kernel_values(self) -> dict[str, float]:
        """Return the initial values of its record in the compiled simulator, by field."""
        return super().kernel_values() | {"max_delay_s": self.longest_delay_s}


class ShaperThrottle(PacedThrottle):
    """A queue that lets one call go at each slot and takes none that would wait longer than is allowed."""

    __slots__ = ("_max_delay_s",)

    def __init__(self, settings: Shaper) -> None:
        super().__init__(settings)
        self._max_delay_s = settings.longest_delay_s

    def try_admit(self, now: float) -> Decision:
        """Give the call the next slot, if it is not too far off."""
        # A queue that ran empty owes nothing: the next call begins a new row of slots.
        self._start_again_if_idle(now)
        delay_s = self._slot(self._taken) - now
        if delay_s > self._max_delay_s + SAME_INSTANT_S:
            return self._refused
        # The slot is taken only now: a refused call must not lengthen the queue.
        self._taken += 1
        return Admitted(delay_s) if delay_s > SAME_INSTANT_S else ADMITTED
