"""No throttle: every call is admitted."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, Self

import numpy as np

from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.throttles.decision import ADMITTED, Decision, Throttle
from trunkproof.models.throttles.observed import ANY_TIME, Observed
from trunkproof.models.throttles.policy import Asked, Explanation, KernelPart, Policy


def decide(_throttles: Any, _rings: FloatArray, _which: int, _now: float) -> float:
    """Admit at once."""
    return 0.0


class NoThrottle(Policy):
    """Every call is admitted."""

    label: ClassVar[str] = "no throttle"
    kernel: ClassVar[KernelPart] = KernelPart(decide)
    is_plausible: ClassVar[bool] = False
    has_two_states: ClassVar[bool] = False
    is_asked: ClassVar[bool] = False
    policy: Literal["none"] = "none"
    """No limit."""

    def make_throttle(self, anchor: float = 0.0) -> OpenThrottle:
        """Return a throttle of these settings, unused so far."""
        return OpenThrottle(self.refused)

    def describe(self) -> str:
        """Return the limit as a phrase for people."""
        return "no throttle"

    def describe_kind(self) -> str:
        """Return how it counts, without the limit."""
        return "no throttle"

    def with_limit(self, per_minute: int) -> Self:
        """Return the same policy: there is no limit to change."""
        return self

    @property
    def memory_s(self) -> float:
        """Return 0: it remembers nothing."""
        return 0.0

    @property
    def per_minute(self) -> float:
        """Return infinity."""
        return math.inf

    @property
    def size(self) -> int:
        """Return 0: there is no limit."""
        return 0

    def refused_share(self, rate_per_minute: float) -> float:
        """Return 0: nothing is refused."""
        return 0.0

    def passed(self, offered: float, interval_s: float) -> float:
        """Return all that is offered."""
        return offered

    def may_refuse(self, instants: FloatArray, anchor_s: float) -> BoolArray:
        """Return False for all attempts."""
        return np.zeros(len(instants), dtype=np.bool_)

    def refuses_none(self, asked: Asked, anchor_s: float = 0.0) -> bool:
        """Return True: it admits everything."""
        return True

    @classmethod
    def explain(cls, observed: Observed) -> list[Explanation]:
        """Return the policy if nothing was refused."""
        return [Explanation(cls(), {}, ANY_TIME)] if bool(observed.admitted.all()) else []


class OpenThrottle(Throttle):
    """Admits every call."""

    __slots__ = ()

    def try_admit(self, now: float) -> Decision:
        """Admit."""
        return ADMITTED

    def used(self, now: float) -> int:
        """Return 0: there is no limit to weigh on."""
        return 0

    def restart(self, now: float) -> None:
        """Forget nothing: it remembers nothing."""
