"""What callers do: when they call, how long it rings, how it ends, how long they talk, whether they try again.

These are settings, read from a study's `traffic:`. `models.draws` draws the numbers; nothing here does.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AliasChoices, BeforeValidator, Field, field_validator, model_validator

from trunkproof.models.destinations import Destination, Destinations, Numbers
from trunkproof.models.distributions import Constant, Distribution, Exponential
from trunkproof.models.records import Disposition
from trunkproof.models.settings import Settings

Share = Annotated[float, Field(ge=0, le=1)]
PerMinute = Annotated[float, Field(ge=0, le=1_000_000)]
Positive = Annotated[float, Field(gt=0)]


class ConstantArrivals(Settings):
    """One call every 60 / rate seconds."""

    kind: Literal["constant"]
    rate_per_minute: PerMinute


class PoissonArrivals(Settings):
    """Independent callers at a constant rate."""

    kind: Literal["poisson"]
    rate_per_minute: PerMinute


class RatePoint(Settings):
    """From `at_s` on, this rate (with `shape: linear`: reached at `at_s`)."""

    at_s: Annotated[float, Field(ge=0)]
    rate_per_minute: PerMinute


class PiecewiseArrivals(Settings):
    """Poisson with a rate that follows given points, in steps or along straight lines; the last rate stays."""

    kind: Literal["piecewise"]
    points: Annotated[tuple[RatePoint, ...], Field(min_length=1)]
    shape: Literal["step", "linear"] = "step"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        instants = [point.at_s for point in self.points]
        if any(later <= earlier for earlier, later in pairwise(instants)):
            raise ValueError("points must be in the order of at_s, each later than the one before")
        return self

    def __getstate__(self) -> dict[Any, Any]:
        """Return what a pickle takes: numbers in the place of points. A review sends thousands of points to workers."""
        state = super().__getstate__()
        numbers = [point.at_s for point in self.points], [point.rate_per_minute for point in self.points]
        return state | {"__dict__": state["__dict__"] | {"points": numbers}}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Make the points again."""
        numbers = zip(*state["__dict__"]["points"], strict=True)
        points = tuple(RatePoint.model_construct(at_s=at_s, rate_per_minute=rate) for at_s, rate in numbers)
        super().__setstate__(state | {"__dict__": state["__dict__"] | {"points": points}})


class DiurnalArrivals(Settings):
    """Poisson with one rate for each hour of the day, repeated daily; the run begins at `start_hour`."""

    kind: Literal["diurnal"]
    hourly_per_minute: Annotated[tuple[PerMinute, ...], Field(min_length=24, max_length=24)]
    start_hour: Annotated[float, Field(ge=0, lt=24)] = 0.0
    seconds_per_hour: Positive = 3600.0
    """Less than 3600 plays the day faster, for a test that must not take one."""


class RampArrivals(Settings):
    """Poisson with a rate that rises or falls evenly over the whole run."""

    kind: Literal["ramp"]
    from_per_minute: PerMinute
    to_per_minute: PerMinute


class Stage(Settings):
    """For `for_s`, this rate; with `ramp_from_per_minute` a rate that rises or falls evenly to it."""

    for_s: Annotated[float, Field(ge=0.1, le=31_536_000)]
    calls_per_minute: PerMinute
    ramp_from_per_minute: PerMinute | None = None
    """The rate at the beginning of the stage. None: it is `calls_per_minute` all through."""


class StagedArrivals(Settings):
    """Stages one after another. After the last one no call comes, unless they repeat."""

    kind: Literal["stages"]
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=10_000)]
    spacing: Literal["poisson", "constant"] = "poisson"
    """Independent callers, or a dialler's even gaps."""
    repeat: bool = False
    """Begin with the first stage again after the last one, until the end of the study."""


class BurstArrivals(Settings):
    """On-off bursts: a two-state Markov-modulated Poisson process (MMPP), exponential times in both states."""

    kind: Literal["bursts"]
    quiet_per_minute: PerMinute
    burst_per_minute: PerMinute
    mean_quiet_s: Positive
    mean_burst_s: Positive


class OverdispersedArrivals(Settings):
    """Poisson whose rate is multiplied, period by period, by a gamma busyness factor of mean 1.

    Source: Avramidis, Deslauriers, L'Ecuyer, "Modeling daily arrivals to a telephone call center" (2004).
    """

    kind: Literal["overdispersed"]
    rate_per_minute: PerMinute
    busyness_cv: Positive
    period_s: Positive = 60.0


Hourly = Annotated[tuple[PerMinute, ...], Field(min_length=24, max_length=24)]
Cv = Annotated[float, Field(ge=0, le=10)]


class WeeklyArrivals(Settings):
    """Poisson with one rate for each hour of the week, and two gamma busyness factors of mean 1 on top of it: one for
    the whole of a day, one for each period.

    Source: as `OverdispersedArrivals`; the day's factor is what makes the periods of a day move together.
    """

    kind: Literal["weekly"]
    hourly_per_minute: Annotated[tuple[Hourly, ...], Field(min_length=7, max_length=7)]
    """By weekday, Monday first, and hour."""
    start_weekday: Annotated[int, Field(ge=0, le=6)] = 0
    """Monday is 0."""
    start_hour: Annotated[float, Field(ge=0, lt=24)] = 0.0
    day_cv: Cv = 0.0
    period_cv: Cv = 0.0
    period_s: Positive = 900.0


class ReplayedArrivals(Settings):
    """Given instants, exactly."""

    kind: Literal["replay"]
    instants_s: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]


Arrivals = Annotated[
    ConstantArrivals
    | PoissonArrivals
    | PiecewiseArrivals
    | DiurnalArrivals
    | RampArrivals
    | StagedArrivals
    | BurstArrivals
    | OverdispersedArrivals
    | WeeklyArrivals
    | ReplayedArrivals,
    Field(discriminator="kind"),
]


class Rejection(Settings):
    """A share of calls that the far side refuses with this final status."""

    status: Annotated[int, Field(ge=400, le=699)]
    share: Share

    @model_validator(mode="after")
    def _means_rejected(self) -> Self:
        if self.status in {408, 480, 486, 487, 600}:
            raise ValueError(f"{self.status} is no rejection: use the shares busy, no_answer or abandoned instead")
        return self


class Outcomes(Settings):
    """How calls that reach the far side end; what is left over is answered."""

    busy: Share = 0.0
    no_answer: Share = 0.0
    abandoned: Share = 0.0
    rejected: tuple[Rejection, ...] = ()

    @property
    def answered(self) -> float:
        """Return the share of delivered calls that are answered."""
        return 1.0 - self.busy - self.no_answer - self.abandoned - sum(part.share for part in self.rejected)

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if self.answered < -1e-9:
            raise ValueError(f"shares add up to {1 - self.answered:.3g}; they may not exceed 1")
        return self


def _bare_number_is_all(written: Any) -> Any:
    is_number = isinstance(written, int | float) and not isinstance(written, bool)
    return (written,) if is_number else written


MOST_ATTEMPTS = 20
Chances = Annotated[
    tuple[Share, ...], Field(min_length=1, max_length=MOST_ATTEMPTS), BeforeValidator(_bare_number_is_all)
]
"""After the first failed attempt, after the second, and so on; the last one stays. A bare number stands for all."""


class RedialReasons(Settings):
    """Chances of another attempt by how the failed one ended: a field per `Disposition` that is a failure."""

    throttled: Chances | None = None
    not_whitelisted: Chances | None = None
    no_channel: Chances | None = None
    no_port: Chances | None = None
    carrier_rejected: Chances | None = None
    busy: Chances | None = None
    no_answer: Chances | None = None
    abandoned: Chances | None = None
    timed_out: Chances | None = None
    connection_failed: Chances | None = None
    unauthorised: Chances | None = None
    forbidden: Chances | None = None
    not_found: Chances | None = None
    not_acceptable: Chances | None = None
    redirected: Chances | None = None
    media_failed: Chances | None = None
    dropped: Chances | None = None


class Redial(Settings):
    """What a caller does after an attempt that failed; `chance` is the rule, `models.redials` applies it."""

    probability: Share = 0.0
    """Chance that a failed attempt is followed by another, independently each time."""
    by_reason: RedialReasons = RedialReasons()
    """Where the chance depends on why the attempt failed; the reasons named here need not stand in `after`."""
    delay: Distribution = Exponential(kind="exponential", mean_s=15.0)
    attempts: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS)] = 5
    """Most attempts of one caller, the first included."""
    obeys_retry_after: bool = True
    """Waits at least as long as the refusal's Retry-After says."""
    after: tuple[Disposition, ...] = (
        Disposition.THROTTLED,
        Disposition.NO_CHANNEL,
        Disposition.NO_PORT,
        Disposition.CARRIER_REJECTED,
        Disposition.TIMED_OUT,
        Disposition.CONNECTION_FAILED,
    )
    """Failures after which `probability` holds, unless `by_reason` names them."""

    def chance(self, reason: Disposition, attempt: int) -> float:
        """Return how likely another attempt follows number `attempt` (0: the first) that ended so."""
        if attempt + 1 >= self.attempts:
            return 0.0
        own: tuple[float, ...] | None = getattr(self.by_reason, reason.value, None)
        if own is not None:
            return own[min(attempt, len(own) - 1)]
        return self.probability if reason in self.after else 0.0

    def largest(self, reason: Disposition) -> float:
        """Return the largest chance after any attempt that ended so."""
        return max(self.chance(reason, attempt) for attempt in range(self.attempts))

    @property
    def is_possible(self) -> bool:
        """Tell whether any failure can lead to another attempt."""
        return any(self.largest(reason) > 0 for reason in Disposition)

    def wait_s(self, delay_s: float | None, retry_after_s: float | None) -> float:
        """Return how long the caller waits: his own delay, and what the refusal asked for if he obeys it."""
        own_s = delay_s or 0.0
        return max(own_s, retry_after_s or 0.0) if self.obeys_retry_after else own_s


class TlsPolicy(StrEnum):
    """How a customer's signalling uses TLS connections."""

    PERSISTENT = "persistent"
    POOL = "pool"
    PER_CALL = "per_call"


TlsVersion = Literal["1.2", "1.3"]
TLS_VERSIONS: tuple[TlsVersion, ...] = get_args(TlsVersion)
"""Oldest first."""


def _one_version_is_a_list(written: Any) -> Any:
    """Return versions as text in a list. YAML reads 1.2 as a number, and the older key `version` has only one."""
    items = written if isinstance(written, list | tuple) else [written]
    return [str(item) if isinstance(item, float) else item for item in items]


class TlsUse(Settings):
    """TLS as a dimension of the load."""

    policy: TlsPolicy = TlsPolicy.PERSISTENT
    pool_size: Annotated[int, Field(ge=1, le=1000)] = 4
    resumption_share: Share = 0.0
    """Share of new connections that resume an earlier session."""
    versions: Annotated[
        tuple[TlsVersion, ...],
        Field(min_length=1, validation_alias=AliasChoices("versions", "version")),
        BeforeValidator(_one_version_is_a_list),
    ] = TLS_VERSIONS
    """The versions that a customer offers; the newest that both sides know is used. The older key `version` names
    one."""

    @field_validator("versions")
    @classmethod
    def _each_once_oldest_first(cls, versions: tuple[TlsVersion, ...]) -> tuple[TlsVersion, ...]:
        return tuple(version for version in TLS_VERSIONS if version in versions)

    @property
    def expected_version(self) -> TlsVersion:
        """Return the version that a trunk which knows all of them agrees to, as our own trunks do."""
        return self.versions[-1]


class Traffic(Settings):
    """The load of one trunk."""

    arrivals: Arrivals
    holding: Distribution
    """Answer to BYE."""
    ringing: Distribution = Constant(kind="constant", value_s=2.0)
    """First ring to the called side's answer or refusal."""
    patience: Distribution = Exponential(kind="exponential", mean_s=2.0)
    """First ring to CANCEL, for calls that their caller abandons."""
    outcomes: Outcomes = Outcomes()
    redial: Redial = Redial()
    inbound_share: Share = 0.0
    ring_patience_s: Annotated[float, Field(gt=0, le=3600)] = 180.0
    """First sign of life (a provisional response) to CANCEL, for a caller who did not plan to give up. Proxies wait as
    long (timer C, RFC 3261 section 16.6)."""
    tls: TlsUse = TlsUse()
    callers: Numbers = ()
    """The Exophones under which the customer calls out, in turn. Empty: an invented one, which only our own trunks
    accept."""
    destinations: tuple[Destination, ...] = ()
    """Where outbound calls go. Empty: to our own answering side, by numbers that are made from the plan."""

    @field_validator("destinations")
    @classmethod
    def _go_together(cls, entries: tuple[Destination, ...]) -> tuple[Destination, ...]:
        if problems := list(Destinations(entries).problems()):
            raise ValueError("; ".join(problems))
        return entries

    @property
    def where(self) -> Destinations:
        """Return the destinations with the order of their numbers."""
        return Destinations(self.destinations)
