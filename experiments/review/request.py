"""The settings of a request to raise a trunk's throttle: whose history, which trunk, how high, how sure.

`experiments.review.request_file` reads a request from YAML. `experiments.review.review` answers it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trunkproof.models.demand.fitting.settings import Assumed, ThrottleChange
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.settings import Settings
from trunkproof.models.study import Pop, Quality
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.registry import ThrottleSettings, plausible_interpretations, timers_that_differ
from trunkproof.models.traffic import TlsUse
from trunkproof.simulator.run import Engine

PerMinute = Annotated[int, Field(ge=1, le=1_000_000)]
TrunkName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
"""As in a study."""


class Neighbour(Settings):
    """Another trunk of the same PoP, which shares the carrier, the ports and the machine."""

    name: TrunkName
    """Its name in results."""
    per_minute: Annotated[float, Field(ge=0, le=1_000_000)]
    """Calls in the reviewed trunk's busy hour."""
    throttle: ThrottleSettings = FixedWindow()
    """Its limit."""
    mean_hold_s: Annotated[float, Field(gt=0)] = 180.0
    """The mean duration of its calls, in seconds."""


class Protects(Settings):
    """What a throttle protects: a customer who uses all of it must not harm anybody else."""

    neighbours_blocked_max: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest share of admitted calls that may find no free channel or port while this customer uses all of its
    throttle."""
    neighbours_use: Literal["their_demand", "their_throttle"] = "their_demand"
    """The neighbours' calls meanwhile: those of the busy hour that the request states, or all that their throttles
    admit. Channels are seldom enough for all throttles at once, and then no raise of one would protect the others.
    """


class Request(Settings):
    """One customer's request for a higher throttle."""

    name: str
    """Its name in results. Without one it is the file's."""
    trunk: TrunkName = "trunk"
    """The trunk's name."""
    history: HistorySettings
    """The customer's call history."""
    now_per_minute: PerMinute = 200
    """The present throttle, in calls per minute."""
    requested_per_minute: PerMinute
    """The throttle that is asked for, in calls per minute."""
    candidates: tuple[PerMinute, ...] = ()
    """Throttles to simulate; without any, the review searches for the smallest good one."""
    interpretations: Annotated[tuple[ThrottleSettings, ...], Field(min_length=1)] = plausible_interpretations()
    """Ways in which the throttle may count, because the operator does not document it. Each candidate replaces their
    limit; their `window_s` stays."""
    enforced: ThrottleSettings | None = None
    """How the throttle worked while the history was taken, where that is known."""
    horizon_days: Annotated[int, Field(ge=1, le=730)] = 30
    """The decision must hold until so many days after the history's end."""
    growth: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Busy-period demand at the horizon over that at the end of the history. If stated, it replaces any drift of the
    history."""
    growth_cv: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Coefficient of variation of the growth, in addition to the uncertainty of the history's level."""
    headroom: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the smallest throttle that keeps every target which is recommended on top of it."""
    grant: Literal["needed", "asked"] = "needed"
    """`needed`: recommend the smallest throttle that keeps every target, with headroom. `asked`: grant the requested
    throttle if every target holds at it, whether needed or not."""
    protects: Protects = Protects()
    """What the throttle must go on protecting."""
    throttle_history: tuple[ThrottleChange, ...] = ()
    """Changes of the throttle within the history, each with its first day. Without any, the review looks for one."""
    bandwidth_mbit_per_s: Annotated[float, Field(gt=0)] | None = None
    """Bandwidth of the link between customer and PoP, each way; None is no limit."""
    pop: Pop = Pop()
    """What the trunks share."""
    neighbours: Annotated[tuple[Neighbour, ...], Field(max_length=98)] = ()
    """The other trunks of the PoP."""
    quality: Quality = Quality()
    """What is asked of the trunk."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """How sure an approval must be."""
    assumed: Assumed = Assumed()
    """What is assumed where the history does not tell."""
    tls: TlsUse = TlsUse()
    """How the customer's calls use TLS connections."""
    seed: Annotated[int, Field(ge=0)] = 1
    """The seed of all random draws."""
    engine: Engine = Engine.KERNEL
    """The engine that simulates; the answers are the same."""

    @model_validator(mode="after")
    def _is_a_raise(self) -> Self:
        if self.requested_per_minute <= self.now_per_minute:
            raise ValueError(
                f"requested_per_minute ({self.requested_per_minute}) must be above now_per_minute "
                f"({self.now_per_minute}): this is a request for a raise"
            )
        return self

    @model_validator(mode="after")
    def _trunks_differ(self) -> Self:
        names = [self.trunk, *(neighbour.name for neighbour in self.neighbours)]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"several trunks have the name {name}; each needs its own")
        return self

    @model_validator(mode="after")
    def _nothing_is_shared(self) -> Self:
        throttles = [*self.interpretations, *(neighbour.throttle for neighbour in self.neighbours)]
        if self.pop.throttles or any(each.shared for throttle in throttles for each in (throttle, *throttle.parts)):
            raise ValueError("a review looks at a trunk with a throttle of its own; leave `shared` and throttles out")
        return self

    @model_validator(mode="after")
    def _one_timer(self) -> Self:
        throttles = (*self.interpretations, *(neighbour.throttle for neighbour in self.neighbours))
        if several := timers_that_differ(throttles):
            raise ValueError(
                f"interpretations and neighbours with {several} share one timer; give them the same window_s"
            )
        return self
