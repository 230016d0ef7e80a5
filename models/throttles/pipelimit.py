"""Kamailio's pipelimit as it counts: attempts between the ticks of one timer, with two algorithms to choose from."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from trunkproof.models.arrays import FloatArray
from trunkproof.models.throttles.decision import ADMITTED, REFUSES, SAME_INSTANT_S, Decision
from trunkproof.models.throttles.policy import Asked, KernelPart
from trunkproof.models.throttles.windows import (
    KERNEL_FLAGS,
    KERNEL_FLOATS,
    KERNEL_INTEGERS,
    Windowed,
    WindowedThrottle,
)


def decide(throttles: Any, _: FloatArray, which: int, now: float) -> float:
    """Decide as `PipeLimitThrottle`, on records."""
    throttle = throttles[which]
    window = (now - throttle.anchor_s + SAME_INSTANT_S) // throttle.window_s
    if throttle.has_window == 0 or window != throttle.window:
        # Only the window directly before counts. After a window in which nobody called, the load is 0.
        follows = throttle.has_window == 1 and window == throttle.window + 1
        # Whole multiples of the limit. At 0 and at 1 every attempt passes.
        throttle.load = throttle.count // throttle.limit if follows else 0
        throttle.has_window, throttle.window, throttle.count = 1, window, 0
    # Refused attempts count too, so the count grows before the decision.
    throttle.count += 1
    if throttle.is_red:
        return 0.0 if throttle.load == 0 or throttle.count % throttle.load == 0 else REFUSES
    return 0.0 if throttle.count <= throttle.limit else REFUSES


class PipeLimit(Windowed):
    """Kamailio's module of that name: attempts, refused ones too, counted between the ticks of the process's one timer.

    `taildrop` admits the first `limit` attempts of a window: a fixed window. `red` looks at the window before: if less
    than twice the limit came in it everything is admitted now, if `n` times the limit came only each n-th attempt is.
    Source: pipelimit of Kamailio 5.6, `pipe_push_direct` and `pl_pipe_timer_update`.
    """

    label: ClassVar[str] = "pipelimit"
    kernel: ClassVar[KernelPart] = KernelPart(
        decide, KERNEL_FLOATS, f"{KERNEL_INTEGERS} load", f"{KERNEL_FLAGS} is_red"
    )
    is_plausible: ClassVar[bool] = False
    has_two_states: ClassVar[bool] = False
    shares_timer: ClassVar[bool] = True
    policy: Literal["pipelimit"] = "pipelimit"
    """Kamailio's module pipelimit."""
    algorithm: Literal["taildrop", "red"] = "taildrop"
    """`taildrop` refuses above the limit, `red` more and more often towards it."""
    window_s: Annotated[float, Field(ge=1, le=86_400, multiple_of=1)] = 60.0
    """The timer's interval, in whole seconds; one timer serves all trunks."""

    @property
    def is_red(self) -> bool:
        """Tell whether it decides by the window before."""
        return self.algorithm == "red"

    @property
    def is_searched(self) -> bool:
        """Return False for `red`: `taildrop` is a fixed window, which is looked for under that name."""
        return not self.is_red

    @property
    def kind_words(self) -> str:
        """Return how it counts, as a phrase that follows the limit."""
        return f"pipelimit with {self.algorithm}"

    def make_throttle(self, anchor: float = 0.0) -> PipeLimitThrottle:
        """Return a throttle of these settings, unused so far."""
        return PipeLimitThrottle(self, anchor)

    @property
    def memory_s(self) -> float:
        """Return one window, or two for `red`, which looks at the window before."""
        return 2 * self.window_s if self.is_red else self.window_s

    def refused_share(self, rate_per_minute: float) -> float:
        """Return the share that the chosen algorithm refuses. `taildrop` is a fixed window."""
        from trunkproof.models.teletraffic import fixed_window_refused  # noqa: PLC0415  # as in `fixed_window`

        offered = rate_per_minute / 60 * self.window_s
        return (red_refused if self.is_red else fixed_window_refused)(offered, self.limit)

    def passed(self, offered: float, interval_s: float) -> float:
        """Return how many calls pass. At n times the limit `red` admits each n-th attempt, so more than the limit."""
        if not self.is_red:
            return super().passed(offered, interval_s)
        return offered / max(1, math.floor(offered * self.window_s / (self.limit * interval_s)))

    @property
    def full_window_s(self) -> float | None:
        """Return the window for `taildrop`. None for `red`, which refuses by the window before."""
        return None if self.is_red else self.window_s

    def refuses_none(self, asked: Asked, anchor_s: float = 0.0) -> bool:
        """Tell whether it surely admits all of these attempts at once."""
        most = self.most_in_a_window(asked, anchor_s)
        # From twice the limit in one window on, `red` refuses some attempts of the next.
        return most < 2 * self.limit if self.is_red else most <= self.limit

    def kernel_values(self) -> dict[str, float]:
        """Return the initial values of its record in the compiled simulator, by field."""
        return super().kernel_values() | {"is_red": self.is_red}


class PipeLimitThrottle(WindowedThrottle):
    """Counts attempts; the load, which `red` goes by, is how many times the limit came in the window before."""

    __slots__ = ("_is_red", "_load")

    def __init__(self, settings: PipeLimit, anchor: float = 0.0) -> None:
        super().__init__(settings, anchor)
        self._is_red = settings.is_red

    def restart(self, now: float) -> None:
        """Forget the count and the load; a window begins now."""
        super().restart(now)
        self._load = 0

    def try_admit(self, now: float) -> Decision:
        """Count the attempt, and admit it by its number in the window."""
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


def red_refused(offered: float, limit: int) -> float:
    """Return the share that `red` refuses, with `offered` Poisson attempts per window on average.

    Windows are independent, so the attempts X of one and those of the one before, which set its load L = Y // limit,
    are too: 1 - E[X // max(1, L)] / a, summed exactly.
    """
    from trunkproof.models.teletraffic import poisson_chances  # noqa: PLC0415  # as in `fixed_window`

    attempts = np.arange(math.ceil(offered + 40 * math.sqrt(offered) + 40) + 1)
    chances = poisson_chances(attempts, offered)
    each = np.bincount(np.maximum(1, attempts // limit), weights=chances)
    admitted = sum(chance * float(chances @ (attempts // load)) for load, chance in enumerate(each) if load)
    return 1 - float(admitted) / offered
