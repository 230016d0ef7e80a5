"""Several limits one behind the other: per second and per minute, or a trunk's own and its account's. All must admit.

They are asked in their order, all at the instant at which the call comes. The first that refuses is the refusal, with
its own status and Retry-After; those behind it are not asked. A call that several delay waits for the longest delay.

**A call that a later limit refuses** has been admitted by the earlier ones. By default they have counted it: each limit
knows only what it saw itself, as where two machines keep them. With `refused_later_counts: false` a call counts only
where all limits admit it, as where one machine looks at all of them first. Limits that count attempts count it anyway.

A limit that does not say its own `refusal_status`, `retry_after_s`, `refused_as` or `counts` has those of the tandem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from trunkproof.models.arrays import FloatArray
from trunkproof.models.throttles.decision import ADMITTED, REFUSES, Admitted, Decision, Refused, Throttle
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.penalty_box import PenaltyBox
from trunkproof.models.throttles.pipelimit import PipeLimit
from trunkproof.models.throttles.policy import Asked, Joined, KernelPart, Policy
from trunkproof.models.throttles.refused_as import RefusedAs
from trunkproof.models.throttles.shaper import Shaper
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.sliding_window_attempts import SlidingWindowAttempts
from trunkproof.models.throttles.token_bucket import TokenBucket

PartSettings = Annotated[
    FixedWindow | PipeLimit | SlidingWindowAdmitted | SlidingWindowAttempts | TokenBucket | Shaper | PenaltyBox,
    Field(discriminator="policy"),
]
"""A limit of a tandem: any policy but none, and no tandem, because a list of lists says no more than a list."""
_INHERITED = ("refusal_status", "retry_after_s", "refused_as", "counts")


def decide(ask: Any, take_back: Any, throttles: Any, rings: FloatArray, which: int, now: float) -> float:  # noqa: PLR0917
    """Decide as `TandemThrottle`, on records: `part` is the first limit, and `rest` a record that has the others."""
    throttle = throttles[which]
    longest_s, link = 0.0, which
    while link >= 0:
        part = throttles[link].part
        delay_s = ask(throttles, rings, part, now)
        if delay_s == REFUSES:
            # Whoever refuses the call reads status and Retry-After here.
            throttle.status, throttle.retry_after_s = throttles[part].status, throttles[part].retry_after_s
            earlier = which
            while not throttle.refused_later_counts and earlier != link:
                take_back(throttles, rings, throttles[earlier].part, now)
                earlier = throttles[earlier].rest
            return REFUSES
        longest_s = max(longest_s, delay_s)
        link = throttles[link].rest
    return longest_s


class Tandem(Joined):
    """A call passes if each of the `limits` admits it."""

    label: ClassVar[str] = "tandem"
    kernel: ClassVar[KernelPart] = KernelPart(decide, integers="part rest", flags="refused_later_counts", depth=2)
    is_plausible: ClassVar[bool] = False
    # As long as one of its limits may have two: looking at both states is safe for the others.
    has_two_states: ClassVar[bool] = True
    policy: Literal["tandem"] = "tandem"
    """Several limits, asked in their order."""
    limits: Annotated[tuple[PartSettings, ...], Field(min_length=1, max_length=8)] = (
        FixedWindow(limit=10, window_s=1.0),
        FixedWindow(),
    )
    """In the order in which a call meets them."""
    refused_later_counts: bool = True
    """Whether a call that a later limit refuses has counted in the earlier ones."""

    @model_validator(mode="before")
    @classmethod
    def _hand_down(cls, written: Any) -> Any:
        if not isinstance(written, dict) or not isinstance(written.get("limits"), list | tuple):
            return written
        common = {key: written[key] for key in _INHERITED if key in written}
        limits = [common | limit if isinstance(limit, dict) else limit for limit in written["limits"]]
        return written | {"limits": limits}

    @model_validator(mode="after")
    def _asks_all(self) -> Self:
        # A throttle is not told a call's direction, so it cannot ask some of its limits only.
        if any(limit.counts != self.counts for limit in self.limits):
            raise ValueError(f"all limits of a tandem count calls of the same directions, here counts: {self.counts}")
        if any(limit in self.limits[:index] for index, limit in enumerate(self.limits)):
            raise ValueError("two limits of a tandem are the same; the second could never refuse")
        return self

    @property
    def parts(self) -> tuple[Policy, ...]:
        """Return the limits."""
        return self.limits

    @property
    def kind(self) -> str:
        """Return how many limits there are in tandem."""
        return f"{len(self.limits)} limits in tandem"

    @property
    def parameters(self) -> Mapping[str, float]:
        """Return the numbers of all limits, such as `limits[0].limit`."""
        return {
            f"limits[{place}].{name}": value
            for place, limit in enumerate(self.limits)
            for name, value in limit.parameters.items()
        }

    def with_parameter(self, key: str, value: float) -> Self:
        """Return the same with another value of one of its `parameters`."""
        limits: list[Any] = list(self.limits)
        where, _, name = key.partition("].")
        place = int(where.removeprefix("limits["))
        limits[place] = limits[place].with_parameter(name, value)
        return self.model_copy(update={"limits": tuple(limits)})

    def refusing_with(self, status: int, retry_after_s: int | None) -> Self:
        """Return the same with other refusals of each limit."""
        limits = tuple(limit.refusing_with(status, retry_after_s) for limit in self.limits)
        return super().refusing_with(status, retry_after_s).model_copy(update={"limits": limits})

    def as_written(self) -> dict[str, Any]:
        """Return its keys as a study writes them, those of each limit too."""
        own = self.model_dump(mode="json", exclude_defaults=True, exclude={"limits"})
        return {"policy": self.name()} | own | {"limits": [limit.as_written() for limit in self.limits]}

    def join(self, parts: Sequence[Throttle]) -> TandemThrottle:
        """Return a throttle that asks these in their order."""
        return TandemThrottle(self, parts)

    @property
    def refusal_rules(self) -> tuple[RefusedAs, ...]:
        """Return the rules of all limits: each refuses in its own way."""
        return tuple(dict.fromkeys(chain.from_iterable(limit.refusal_rules for limit in self.limits)))

    def describe(self) -> str:
        """Return the limits as a phrase for people."""
        return self._joined(limit.describe() for limit in self.limits)

    def describe_kind(self) -> str:
        """Return how each counts, without the limits."""
        return self._joined(limit.describe_kind() for limit in self.limits)

    def _joined(self, phrases: Any) -> str:
        once = "" if self.refused_later_counts or len(self.limits) == 1 else ", counted only where all admit"
        return f"tandem of {', then '.join(phrases)}{once}{self.sharing_words}"

    def with_limit(self, per_minute: int) -> Self:
        """Return the same with this as the tightest limit. Others change only where they would be tighter."""
        tightest = self.per_minute
        limits = tuple(
            limit.with_limit(per_minute) if limit.per_minute == tightest or limit.per_minute < per_minute else limit
            for limit in self.limits
        )
        return self.model_copy(update={"limits": limits})

    @property
    def memory_s(self) -> float:
        """Return the sum: what one limit passes differently, the next remembers."""
        return sum(limit.memory_s for limit in self.limits)

    @property
    def per_minute(self) -> float:
        """Return the tightest limit in calls per minute."""
        return min(limit.per_minute for limit in self.limits)

    @property
    def size(self) -> int:
        """Return that of the smallest limit, where chance matters most."""
        return min(limit.size for limit in self.limits)

    def refused_share(self, rate_per_minute: float) -> float | None:
        """Return that of a single limit. None for several: what one passes is not Poisson to the next."""
        return self.limits[0].refused_share(rate_per_minute) if len(self.limits) == 1 else None

    def passed(self, offered: float, interval_s: float) -> float:
        """Return what is left behind all limits."""
        for limit in self.limits:
            offered = limit.passed(offered, interval_s)
        return offered

    def refuses_none(self, asked: Asked, anchor_s: float = 0.0) -> bool:
        """Tell whether each limit surely admits all of these attempts: then each sees all of them."""
        return all(limit.refuses_none(asked, anchor_s) for limit in self.limits)

    def kernel_values(self) -> dict[str, float]:
        """Return the initial values of its record in the compiled simulator, by field."""
        return {"refused_later_counts": self.refused_later_counts}


class TandemThrottle(Throttle):
    """Asks one throttle after the other."""

    __slots__ = ("_parts", "_refused_later_counts")

    def __init__(self, settings: Tandem, parts: Sequence[Throttle]) -> None:
        super().__init__(settings.refused)
        self._parts, self._refused_later_counts = tuple(parts), settings.refused_later_counts

    @property
    def phase_s(self) -> float | None:
        """Return that of the first limit with fixed windows."""
        return next((part.phase_s for part in self._parts if part.phase_s is not None), None)

    def try_admit(self, now: float) -> Decision:
        """Admit a call that all limits admit."""
        longest_s = 0.0
        for number, part in enumerate(self._parts):
            decision = part.try_admit(now)
            if isinstance(decision, Refused):
                if not self._refused_later_counts:
                    for earlier in self._parts[:number]:
                        earlier.take_back()
                return decision
            longest_s = max(longest_s, decision.delay_s)
        return Admitted(longest_s) if longest_s > 0 else ADMITTED

    def used(self, now: float) -> int:
        """Return the most calls that weigh on one of its limits."""
        return max(part.used(now) for part in self._parts)

    def restart(self, now: float) -> None:
        """Restart all limits."""
        for part in self._parts:
            part.restart(now)
