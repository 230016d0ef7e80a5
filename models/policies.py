"""What a study says of a trunk's calls-per-minute limit: one class of settings for each algorithm it may have.

Which one the operator uses is not documented, so all plausible ones are here. The objects that decide on calls by them
are `models.throttle`'s.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trunkproof.models.settings import Settings


class Policy(Settings):
    """What holds for a throttle of any kind."""

    refusal_status: Annotated[int, Field(ge=400, le=699)] = 503
    """SIP status of a refusal; with `policy: none`, the status by which a foreign trunk's throttle is recognised."""
    retry_after_s: Annotated[int, Field(ge=0)] | None = 10
    """Retry-After header of a refusal, always the same; none: no header."""
    counts: Literal["outbound", "both"] = "both"
    """Calls of which direction count against the limit (and are refused above it)."""

    @property
    def memory_s(self) -> float:
        """How long an attempt can matter to the decision on a later one: what a warm-up has to cover."""
        return 0.0


class _Limited(Policy):
    limit: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """Calls per `window_s`."""
    window_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0

    @property
    def memory_s(self) -> float:
        """See `Policy`."""
        return self.window_s

    @property
    def _rate(self) -> str:
        return f"{self.limit} calls in {self.window_s:g} s"


class Windowed(_Limited):
    """A limit whose windows begin at fixed instants, so that the anchor of `make_throttle` matters."""

    shares_timer: ClassVar[bool] = False
    """Whether the windows of all trunks with this policy begin together, because one process ends them all."""


class FixedWindow(Windowed):
    """At most `limit` calls between one window boundary and the next; the count then starts again."""

    policy: Literal["fixed_window"] = "fixed_window"

    def describe(self) -> str:
        """The limit as a phrase for people."""
        return f"{self._rate}, fixed window"


class PipeLimit(Windowed):
    """Kamailio's module of that name: attempts, refused ones too, counted between the ticks of the process's one timer.

    `taildrop` admits the first `limit` attempts of a window: a fixed window. `red` looks at the window before: if less
    than twice the limit came in it everything is admitted now, if `n` times the limit came only each n-th attempt is.
    Source: pipelimit of Kamailio 5.6, `pipe_push_direct` and `pl_pipe_timer_update`.
    """

    shares_timer = True
    policy: Literal["pipelimit"] = "pipelimit"
    algorithm: Literal["taildrop", "red"] = "taildrop"
    window_s: Annotated[float, Field(ge=1, le=86_400, multiple_of=1)] = 60.0
    """The timer's interval, in whole seconds; one timer serves all trunks."""

    @property
    def memory_s(self) -> float:
        """See `Policy`."""
        return 2 * self.window_s if self.algorithm == "red" else self.window_s

    def describe(self) -> str:
        """The limit as a phrase for people."""
        return f"{self._rate}, pipelimit with {self.algorithm}"


class SlidingWindowAdmitted(_Limited):
    """At most `limit` admitted calls in any `window_s`; refused attempts do not count."""

    policy: Literal["sliding_window_admitted"] = "sliding_window_admitted"

    def describe(self) -> str:
        """The limit as a phrase for people."""
        return f"{self._rate}, sliding window over admitted calls"


class SlidingWindowAttempts(_Limited):
    """A call is refused if `limit` attempts, refused ones included, came in the `window_s` before it."""

    policy: Literal["sliding_window_attempts"] = "sliding_window_attempts"

    def describe(self) -> str:
        """The limit as a phrase for people."""
        return f"{self._rate}, sliding window over attempts"


class TokenBucket(_Limited):
    """Each call takes a token; `limit` tokens come back evenly over `window_s`, and `burst` fit into the bucket."""

    policy: Literal["token_bucket"] = "token_bucket"
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 20

    @property
    def memory_s(self) -> float:
        """See `Policy`; a bucket that is offered just its limit forgets its level e-fold in 2 burst² / pi² tokens.

        Source: the slowest mode of diffusion between two reflecting walls; Cox and Miller, "The Theory of Stochastic
        Processes" (1965), chapter 5.
        """
        return max(self.window_s, 2 * self.burst**2 / math.pi**2 * self.window_s / self.limit)

    def describe(self) -> str:
        """The limit as a phrase for people."""
        return f"{self._rate}, token bucket of {self.burst}"


class Shaper(_Limited):
    """Calls go on evenly spaced, `window_s / limit` apart, and wait for it; one that would wait too long is refused."""

    policy: Literal["shaper"] = "shaper"
    max_delay_s: Annotated[float, Field(ge=0, le=86_400)] = 2.0

    def describe(self) -> str:
        """The limit as a phrase for people."""
        return f"{self._rate}, shaper that delays by {self.max_delay_s:g} s at most"


class NoThrottle(Policy):
    """Every call is admitted."""

    policy: Literal["none"] = "none"

    def describe(self) -> str:
        """The limit as a phrase for people."""
        return "no throttle"


ThrottleSettings = Annotated[
    FixedWindow | PipeLimit | SlidingWindowAdmitted | SlidingWindowAttempts | TokenBucket | Shaper | NoThrottle,
    Field(discriminator="policy"),
]
