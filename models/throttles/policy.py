"""The base class of all throttle policies: their settings in a study, and the questions that other code asks them.

A policy is one class in one file of this folder. Code outside the folder calls these methods. It never compares the
name or the class of a policy.

Some methods have a default answer here. It is safe for every policy, and a policy overrides it with a better one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.settings import Settings
from trunkproof.models.throttles.decision import SAME_INSTANT_S, Refused, Throttle
from trunkproof.models.throttles.observed import Observed, Range
from trunkproof.models.throttles.refused_as import RefusedAs, default_rules

SHARED_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
ROUNDING_S = SAME_INSTANT_S / 10
"""How far a computed boundary may be from the throttle's own. It is less than the throttle's tolerance."""

_PARAMETERS = ("limit", "window_s", "burst", "max_delay_s", "queue_size", "penalty_s")
"""The numbers that policies of one limit have, each its own ones."""


def _takes_nothing_back(_throttles: Any, _rings: FloatArray, _which: int, _now: float) -> float:
    return 0.0


@dataclass(frozen=True)
class KernelPart:
    """What the compiled simulator needs of a policy: its decision function, and the fields of its record.

    Policies that declare a field of the same name share it. All start at 0, and `KernelPart` names only those
    beyond `limit`, `window_s`, `anchor_s` and `ring`, which every throttle has.
    """

    decide: Callable[..., float]
    """`decide(throttles, rings, which, now)`: for how long the call is held, or `REFUSES`.

    A plain function, which `simulator.kernel.throttles` compiles: loops, arithmetic, constants of its module, and no
    calls of other functions. It must decide by the same arithmetic as the policy's throttle object, to the bit.
    `throttles[which]` is its record; `rings[record.ring:]` has room for the `remembered` instants of the settings.

    A policy with a `depth` takes two functions before these: `decide(ask, take_back, throttles, rings, which, now)`.
    They decide, and take back, for the record of any of its parts.
    """
    floats: str = ""
    """Names of fields, separated by spaces."""
    integers: str = ""
    flags: str = ""
    take_back: Callable[..., float] = _takes_nothing_back
    """The same for `Throttle.take_back`, with the parameters of `decide`. What it returns does not matter."""
    depth: int = 0
    """0: it stands alone. Above: it is made of policies of lower depths (`Joined`)."""


@dataclass(frozen=True, eq=False)
class Asked:
    """The instants at which a throttle was asked, each known to lie in [early_s, early_s + within_s]."""

    early_s: FloatArray
    """Ascending, shape (n,)."""
    within_s: float = 0.0


@dataclass(frozen=True)
class Explanation:
    """Settings of one policy that explain every attempt, and how far each of them may lie from the chosen value."""

    settings: Policy
    """One set of values within the bounds, as round as they allow. What a refusal looks like is not known here."""
    bounds: Mapping[str, Range]
    """Key -> where its value must lie. `interval_s` is the time per call of a pace, `anchor_s` a boundary."""
    reopens_s: FloatArray
    """When the next attempt is admitted if none comes before: equally likely ranges, least and most, shape (n, 2)."""
    anchor_s: float | None = None
    """An instant at which a window begins. None where no windows begin at an instant of their own."""
    held_s: FloatArray | None = None
    """For how long each admitted call was held, shape (n,). None: this policy holds none."""


class Policy(Settings, ABC):
    """Settings of a throttle of any kind."""

    label: ClassVar[str]
    """Its name in a figure: two or three words."""
    kernel: ClassVar[KernelPart]
    is_plausible: ClassVar[bool]
    """Whether an operator who does not document the throttle may well use it: a review then looks at it unasked."""
    has_two_states: ClassVar[bool]
    """Whether redials alone can keep it full once a rush has filled it: a review then looks at both states."""
    is_asked: ClassVar[bool] = True
    """Whether there is a throttle to ask. Without one, some stacks answer faster."""
    shares_timer: ClassVar[bool] = False
    """Whether the windows of all trunks with this policy begin together, because one process ends them all."""

    refusal_status: Annotated[int, Field(ge=400, le=699)] = 503
    """SIP status of a refusal; with `policy: none`, the status by which a foreign trunk's throttle is recognised."""
    refused_as: tuple[RefusedAs, ...] | None = None
    """By what its refusals are recognised in real calls: any of these rules. None: `default_rules`."""
    retry_after_s: Annotated[int, Field(ge=0)] | None = 10
    """The Retry-After header of all refusals. None: no header."""
    counts: Literal["outbound", "both"] = "both"
    """Calls of which direction count against the limit (and are refused above it)."""
    shared: Annotated[str, Field(pattern=SHARED_NAME)] | None = None
    """The name in `pop.throttles` of a limit that trunks share. None: the trunk's own. `models.throttles.shared`."""
    per: Literal["account", "trunk"] | None = None
    """Of a limit in `pop.throttles`: one count for each account, or for each trunk. None: one for all that share it."""

    @classmethod
    def name(cls) -> str:
        """Return its name in a study, of which each kind has its own: the default of its `policy`."""
        # The discriminator of the union is the name: a second one could differ from it.
        name: str = cls.model_fields["policy"].default
        return name

    @property
    def is_shared(self) -> bool:
        """Tell whether calls of other trunks may count too."""
        return self.shared is not None and self.per != "trunk"

    @property
    def parts(self) -> tuple[Policy, ...]:
        """Return the policies of which it is made. Empty for one that stands alone."""
        return ()

    @property
    def kind(self) -> str:
        """Return what kind of throttle it is, as a noun for people."""
        return self.label

    @property
    def is_searched(self) -> bool:
        """Tell whether `explain` looks for all of its settings, so that what it leaves out is disproved."""
        return not self.parts

    @property
    def parameters(self) -> Mapping[str, float]:
        """Return the numbers that describe it, by key. Two policies of a kind with the same numbers decide alike."""
        values = {name: getattr(self, name, None) for name in _PARAMETERS}
        return {name: value for name, value in values.items() if value is not None}

    def with_parameter(self, key: str, value: float) -> Self:
        """Return the same with another value of one of its `parameters`. It is not checked."""
        return self.model_copy(update={key: value})

    def refusing_with(self, status: int, retry_after_s: int | None) -> Self:
        """Return the same with other refusals."""
        return self.model_copy(update={"refusal_status": status, "retry_after_s": retry_after_s})

    def as_written(self) -> dict[str, Any]:
        """Return its keys as a study writes them: the numbers, and all others that are not at their defaults."""
        return {"policy": self.name()} | self.model_dump(mode="json", exclude_defaults=True) | dict(self.parameters)

    @property
    def fixed_window_s(self) -> float | None:
        """Return the length of its fixed windows, the longest if several, None without: then no anchor matters."""
        return None

    @property
    def refusal_rules(self) -> tuple[RefusedAs, ...]:
        """Return the rules by which its refusals are recognised: the study's, or the usual ones."""
        return default_rules(self.refusal_status) if self.refused_as is None else self.refused_as

    def describe_refusal_rules(self) -> str:
        """Return what is counted as throttled, as a phrase for people."""
        return ", ".join(map(str, self.refusal_rules)) or "nothing"

    @property
    def sharing_words(self) -> str:
        """Return who shares it, as the end of a description; nothing for a trunk's own."""
        if not self.is_shared:
            return ""
        return f", shared as {self.shared}" + (" by the trunks of an account" if self.per == "account" else "")

    @property
    def refused(self) -> Refused:
        """Return the refusal of a call."""
        return Refused(self.refusal_status, self.retry_after_s)

    @abstractmethod
    def make_throttle(self, anchor: float = 0.0) -> Throttle:
        """Return a throttle of these settings, unused so far.

        `anchor`: an instant, on the clock of `try_admit`, at which a fixed window begins (any boundary will do); other
        policies have no windows that begin at an instant of their own.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return the limit as a phrase for people."""

    @abstractmethod
    def describe_kind(self) -> str:
        """Return the same without the limit, for a table in which the limits stand already."""

    @abstractmethod
    def with_limit(self, per_minute: int) -> Self:
        """Return the same policy at another limit, over the window that it has; all else stays."""

    @property
    @abstractmethod
    def memory_s(self) -> float:
        """Return for how long an attempt can change a later decision. A warm-up must last that long."""

    @property
    @abstractmethod
    def per_minute(self) -> float:
        """Return the most calls per minute that pass in the long run. Infinite without a limit."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Return how many calls the limit is about, in a window or at once. With many, chance matters little."""

    @abstractmethod
    def refused_share(self, rate_per_minute: float) -> float | None:
        """Return the exact share refused of Poisson attempts at this constant rate, above 0, in the long run.

        None: theory has no exact answer. The analytic twin then says so, and a review reckons without chance.

        Raises:
            ValueError: the rate is far beyond the limit, and theory has no stable sum there.
        """

    @abstractmethod
    def passed(self, offered: float, interval_s: float) -> float:
        """Return how many calls pass of those `offered` in each interval, without chance: the steady state."""

    @property
    def full_window_s(self) -> float | None:
        """Return the length of the window that is full when it refuses. None: it can refuse without a full window.

        In a history, failures in a window that is not full were not the throttle's.
        """
        return None

    def may_refuse(self, instants: FloatArray, anchor_s: float) -> BoolArray:
        """Return which of these attempts must be asked about, if no more than these come: by default all of them.

        A throttle that starts unused with the first of a run of them must decide as one that saw everything before.
        """
        # The safe default: whoever asks about all of them cannot miss a refusal.
        return np.ones(len(instants), dtype=np.bool_)

    def refuses_none(self, asked: Asked, anchor_s: float = 0.0) -> bool:
        """Return whether it is sure to let all of them pass at once; `anchor_s` is where a fixed window begins.

        True is proof, False is none. It spares a sweep most of its runs.
        """
        return False

    @classmethod
    def explain(cls, observed: Observed) -> list[Explanation]:
        """Return all settings of this policy that explain every attempt; by default none: it cannot be told.

        Never leaves out settings that fit. Attempts of which none was refused are explained by no throttle alone.
        """
        return []

    @property
    def remembered(self) -> int:
        """Return how many instants it remembers: its room in the compiled simulator's rings."""
        return 0

    def kernel_values(self) -> dict[str, float]:
        """Return the initial values of its record in the compiled simulator, by field."""
        return {}


class Limited(Policy):
    """A policy with one limit: so many calls per window."""

    limit: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """Calls per `window_s`."""
    window_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """The time in which `limit` calls may come, in seconds."""

    @property
    @abstractmethod
    def kind_words(self) -> str:
        """Return how it counts, as a phrase that follows the limit."""

    def describe(self) -> str:
        """Return the limit as a phrase for people."""
        return f"{self.limit} calls in {self.window_s:g} s, {self.kind_words}{self.sharing_words}"

    def describe_kind(self) -> str:
        """Return the same without the limit; the window and the direction where they are not the usual ones."""
        # A minute is what "calls per minute" says, so only other windows are named.
        window = "" if self.window_s == 60 else f", per {self.window_s:g} s"
        direction = ", outbound calls only" if self.counts == "outbound" else ""
        return f"{self.kind_words}{window}{direction}{self.sharing_words}"

    def with_limit(self, per_minute: int) -> Self:
        """Return the same at another limit; a limit below one call per window is one."""
        # At least 1: a limit of 0 would refuse everything, which no request means.
        return self.model_copy(update={"limit": max(1, round(per_minute * self.window_s / 60))})

    @property
    def memory_s(self) -> float:
        """Return one window."""
        return self.window_s

    @property
    def per_minute(self) -> float:
        """Return the limit in calls per minute."""
        return self.limit * 60 / self.window_s

    @property
    def size(self) -> int:
        """Return the limit."""
        return self.limit

    def passed(self, offered: float, interval_s: float) -> float:
        """Return what is offered, up to the limit."""
        return min(offered, self.limit * interval_s / self.window_s)

    def kernel_values(self) -> dict[str, float]:
        """Return the limit and its window."""
        return {"limit": self.limit, "window_s": self.window_s}


class Joined(Policy):
    """A policy that is made of others, each with a throttle object, and a compiled simulator's record, of its own."""

    def make_throttle(self, anchor: float = 0.0) -> Throttle:
        """Return a throttle of these settings, unused so far, whose parts nobody else uses."""
        return self.join([part.make_throttle(anchor) for part in self.parts])

    @abstractmethod
    def join(self, parts: Sequence[Throttle]) -> Throttle:
        """Return a throttle whose parts are these, one for each of `parts`. Other throttles may use them too."""

    @property
    def fixed_window_s(self) -> float | None:
        """Return the longest fixed window of its parts."""
        return max((part.fixed_window_s for part in self.parts if part.fixed_window_s is not None), default=None)
