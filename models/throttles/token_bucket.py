"""The token bucket: each call takes a token, and tokens come back evenly."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from trunkproof.models.arrays import FloatArray
from trunkproof.models.throttles.decision import ADMITTED, REFUSES, SAME_INSTANT_S, Decision
from trunkproof.models.throttles.intervals import Paces, bursts, find_paces
from trunkproof.models.throttles.observed import Observed, Range, limit_of_interval, round_value
from trunkproof.models.throttles.pace import KERNEL_FLOATS, KERNEL_INTEGERS, PacedThrottle, take_back
from trunkproof.models.throttles.policy import Asked, Explanation, KernelPart, Limited


def decide(throttles: Any, _: FloatArray, which: int, now: float) -> float:
    """Decide as `TokenBucketThrottle`, on records."""
    throttle = throttles[which]
    idle_at_s, window_s, limit = throttle.idle_at_s, throttle.window_s, throttle.limit
    if throttle.taken == 0 or now >= idle_at_s + throttle.taken * window_s / limit:
        idle_at_s = now
        throttle.idle_at_s, throttle.taken = now, 0
    if throttle.taken >= throttle.burst:
        # Token k is back k intervals after the idle instant. With all of the bucket out, the call needs number taken -
        # burst + 1.
        free_at_s = idle_at_s + (throttle.taken - throttle.burst + 1) * window_s / limit
        if now < free_at_s - SAME_INSTANT_S:
            return REFUSES
    throttle.taken += 1
    return 0.0


class TokenBucket(Limited):
    """Each call takes a token; `limit` tokens come back evenly over `window_s`, and `burst` fit into the bucket."""

    label: ClassVar[str] = "token bucket"
    kernel: ClassVar[KernelPart] = KernelPart(decide, KERNEL_FLOATS, f"{KERNEL_INTEGERS} burst", take_back=take_back)
    is_plausible: ClassVar[bool] = True
    has_two_states: ClassVar[bool] = False
    policy: Literal["token_bucket"] = "token_bucket"
    """Tokens come at an even rate. A call takes one."""
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """The most tokens that wait: calls that may come at once."""

    @property
    def kind_words(self) -> str:
        """Return how it counts, as a phrase that follows the limit."""
        return f"token bucket of {self.burst}"

    def make_throttle(self, anchor: float = 0.0) -> TokenBucketThrottle:
        """Return a throttle of these settings, unused so far."""
        return TokenBucketThrottle(self)

    @property
    def memory_s(self) -> float:
        """Return for how long its level matters: at its limit, it decays to 1/e in 2 burst² / pi² tokens.

        Source: the slowest mode of diffusion between two reflecting walls; Cox and Miller, "The Theory of Stochastic
        Processes" (1965), chapter 5.
        """
        return max(self.window_s, 2 * self.burst**2 / math.pi**2 * self.window_s / self.limit)

    @property
    def size(self) -> int:
        """Return the limit or the bucket, whichever is larger."""
        return max(self.limit, self.burst)

    def refused_share(self, rate_per_minute: float) -> float:
        """Return the share refused: the tokens missing from the bucket are the queue of M/D/1/burst."""
        from trunkproof.models.teletraffic import token_bucket_refused  # noqa: PLC0415  # as in `fixed_window`

        return token_bucket_refused(rate_per_minute, self.per_minute, self.burst)

    def refuses_none(self, asked: Asked, anchor_s: float = 0.0) -> bool:
        """Tell whether it surely admits all of these attempts at once."""
        return self._most_tokens_out(asked) <= self.burst

    def _most_tokens_out(self, asked: Asked) -> float:
        """Return the most tokens that can have been out at once.

        It is the largest number of attempts in a stretch of time, minus the tokens that came back in it.
        """
        if not len(asked.early_s):
            return 0.0
        per_s = self.limit / self.window_s
        # Attempts minus tokens since the start. Its rise above the lowest value so far is the bucket's deficit.
        ahead = np.arange(len(asked.early_s)) - per_s * asked.early_s
        largest = float((ahead - np.minimum.accumulate(ahead)).max())
        # The attempt that begins the stretch is one more. Instants that are not exact may leave time for fewer tokens.
        # And a rounding error must not make the answer unsafe.
        return largest + 1 + per_s * asked.within_s + 1e-6

    @classmethod
    def explain(cls, observed: Observed) -> list[Explanation]:
        """Return all paces and buckets that explain every attempt."""
        return [cls._explanation(paces) for paces in find_paces(observed, holds=False, whole=True)]

    @classmethod
    def _explanation(cls, paces: Paces) -> Explanation:
        each = bursts(paces)
        fewest, most = float(each[:, 0].min()), float(each[:, 1].max())
        burst = round(round_value(fewest, most))
        fitting = paces.where((each[:, 0] <= burst) & (burst <= each[:, 1]))
        limit, window_s = limit_of_interval((fitting if len(fitting.interval_s) else paces).interval)
        bounds = {"interval_s": paces.interval, "burst": Range(fewest, most)}
        return Explanation(cls(limit=limit, window_s=window_s, burst=burst), bounds, paces.reopens_s)

    def kernel_values(self) -> dict[str, float]:
        """Return the initial values of its record in the compiled simulator, by field."""
        return super().kernel_values() | {"burst": self.burst}


class TokenBucketThrottle(PacedThrottle):
    """A bucket that starts full, as the generic cell rate algorithm of ITU-T I.371, with one cell a call."""

    __slots__ = ("_burst",)

    def __init__(self, settings: TokenBucket) -> None:
        super().__init__(settings)
        self._burst = settings.burst

    def try_admit(self, now: float) -> Decision:
        """Admit a call that finds a token."""
        self._start_again_if_idle(now)
        if self._taken >= self._burst and now < self._slot(self._taken - self._burst + 1) - SAME_INSTANT_S:
            return self._refused
        self._taken += 1
        return ADMITTED
