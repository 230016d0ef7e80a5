"""The sliding window over admitted calls: at most `limit` of them in any `window_s`."""

from __future__ import annotations

from typing import ClassVar, Literal

from trunkproof.models.throttles.policy import KernelPart
from trunkproof.models.throttles.sliding import KERNEL, SlidingWindow


class SlidingWindowAdmitted(SlidingWindow):
    """At most `limit` admitted calls in any `window_s`; refused attempts do not count."""

    label: ClassVar[str] = "sliding, admitted"
    kernel: ClassVar[KernelPart] = KERNEL
    is_plausible: ClassVar[bool] = True
    has_two_states: ClassVar[bool] = False
    counts_attempts: ClassVar[bool] = False
    policy: Literal["sliding_window_admitted"] = "sliding_window_admitted"
    """At most `limit` admitted calls in any window."""

    @property
    def kind_words(self) -> str:
        """Return how it counts, as a phrase that follows the limit."""
        return "sliding window over admitted calls"

    def refused_share(self, rate_per_minute: float) -> float:
        """Return Erlang's loss: an admitted call holds one of `limit` places for exactly one window."""
        from trunkproof.models.teletraffic import sliding_admitted_refused  # noqa: PLC0415  # as in `fixed_window`

        return sliding_admitted_refused(rate_per_minute / 60 * self.window_s, self.limit)
