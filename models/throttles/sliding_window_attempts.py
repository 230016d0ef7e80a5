"""The sliding window over attempts: refused ones count too, so redials can keep it full."""

from __future__ import annotations

from typing import ClassVar, Literal

from trunkproof.models.throttles.policy import KernelPart
from trunkproof.models.throttles.sliding import KERNEL, SlidingWindow


class SlidingWindowAttempts(SlidingWindow):
    """A call is refused if `limit` attempts, refused ones included, came in the `window_s` before it."""

    label: ClassVar[str] = "sliding, attempts"
    kernel: ClassVar[KernelPart] = KERNEL
    is_plausible: ClassVar[bool] = True
    has_two_states: ClassVar[bool] = True
    counts_attempts: ClassVar[bool] = True
    policy: Literal["sliding_window_attempts"] = "sliding_window_attempts"
    """Refuses where `limit` attempts came in the window before, refused ones included."""

    @property
    def kind_words(self) -> str:
        """Return how it counts, as a phrase that follows the limit."""
        return "sliding window over attempts"

    def refused_share(self, rate_per_minute: float) -> float:
        """Return the chance of at least `limit` Poisson attempts in the window before a call."""
        from trunkproof.models.teletraffic import sliding_attempts_refused  # noqa: PLC0415  # as in `fixed_window`

        return sliding_attempts_refused(rate_per_minute / 60 * self.window_s, self.limit)
