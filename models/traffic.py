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
from trunkproof.models.records import Disposition, FarEnd
from trunkproof.models.settings import Settings
from trunkproof.models.speech import Speech, Voiceprint

Share = Annotated[float, Field(ge=0, le=1)]
PerMinute = Annotated[float, Field(ge=0, le=1_000_000)]
Positive = Annotated[float, Field(gt=0)]


class ConstantArrivals(Settings):
    """One call every 60 / rate seconds."""

    kind: Literal["constant"]
    """Evenly spaced calls."""
    rate_per_minute: PerMinute
    """Calls per minute."""


class PoissonArrivals(Settings):
    """Independent callers at a constant rate."""

    kind: Literal["poisson"]
    """Independent callers."""
    rate_per_minute: PerMinute
    """Calls per minute, on average."""


class RatePoint(Settings):
    """From `at_s` on, this rate (with `shape: linear`: reached at `at_s`)."""

    at_s: Annotated[float, Field(ge=0)]
    """Seconds after the start of the run."""
    rate_per_minute: PerMinute
    """Calls per minute, on average."""


class PiecewiseArrivals(Settings):
    """Poisson with a rate that follows given points, in steps or along straight lines; the last rate stays."""

    kind: Literal["piecewise"]
    """Independent callers at a rate that follows points."""
    points: Annotated[tuple[RatePoint, ...], Field(min_length=1)]
    """The points, in the order of time."""
    shape: Literal["step", "linear"] = "step"
    """Whether the rate jumps at each point or moves along a straight line to it."""

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
    """Independent callers at a rate for each hour of the day."""
    hourly_per_minute: Annotated[tuple[PerMinute, ...], Field(min_length=24, max_length=24)]
    """Calls per minute in each of the 24 hours, from midnight on."""
    start_hour: Annotated[float, Field(ge=0, lt=24)] = 0.0
    """The hour of the day at which the run begins."""
    seconds_per_hour: Positive = 3600.0
    """Less than 3600 plays the day faster, for a test that must not take one."""


class RampArrivals(Settings):
    """Poisson with a rate that rises or falls evenly over the whole run."""

    kind: Literal["ramp"]
    """Independent callers at a rate that rises or falls evenly."""
    from_per_minute: PerMinute
    """Calls per minute at the start."""
    to_per_minute: PerMinute
    """Calls per minute at the end."""


class Stage(Settings):
    """For `for_s`, this rate; with `ramp_from_per_minute` a rate that rises or falls evenly to it."""

    for_s: Annotated[float, Field(ge=0.1, le=31_536_000)]
    """How long the stage lasts, in seconds."""
    calls_per_minute: PerMinute
    """Calls per minute, on average."""
    ramp_from_per_minute: PerMinute | None = None
    """The rate at the beginning of the stage. None: it is `calls_per_minute` all through."""


class StagedArrivals(Settings):
    """Stages one after another. After the last one no call comes, unless they repeat."""

    kind: Literal["stages"]
    """A rate in stages."""
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=10_000)]
    """The stages, in their order."""
    spacing: Literal["poisson", "constant"] = "poisson"
    """Independent callers, or a dialler's even gaps."""
    repeat: bool = False
    """Begin with the first stage again after the last one, until the end of the study."""


class BurstArrivals(Settings):
    """On-off bursts: a two-state Markov-modulated Poisson process (MMPP), exponential times in both states."""

    kind: Literal["bursts"]
    """Independent callers at two rates that take turns."""
    quiet_per_minute: PerMinute
    """Calls per minute between bursts."""
    burst_per_minute: PerMinute
    """Calls per minute in a burst."""
    mean_quiet_s: Positive
    """Mean time between bursts, in seconds."""
    mean_burst_s: Positive
    """Mean length of a burst, in seconds."""


class OverdispersedArrivals(Settings):
    """Poisson whose rate is multiplied, period by period, by a gamma busyness factor of mean 1.

    Source: Avramidis, Deslauriers, L'Ecuyer, "Modeling daily arrivals to a telephone call center" (2004).
    """

    kind: Literal["overdispersed"]
    """Independent callers at a rate that varies more than chance does."""
    rate_per_minute: PerMinute
    """Calls per minute, on average."""
    busyness_cv: Positive
    """Coefficient of variation of the rate from period to period."""
    period_s: Positive = 60.0
    """How long one rate holds, in seconds."""


Hourly = Annotated[tuple[PerMinute, ...], Field(min_length=24, max_length=24)]
Cv = Annotated[float, Field(ge=0, le=10)]


class WeeklyArrivals(Settings):
    """Poisson with one rate for each hour of the week, and two gamma busyness factors of mean 1 on top of it: one for
    the whole of a day, one for each period.

    Source: as `OverdispersedArrivals`; the day's factor is what makes the periods of a day move together.
    """

    kind: Literal["weekly"]
    """Independent callers at a rate for each hour of the week."""
    hourly_per_minute: Annotated[tuple[Hourly, ...], Field(min_length=7, max_length=7)]
    """By weekday, Monday first, and hour."""
    start_weekday: Annotated[int, Field(ge=0, le=6)] = 0
    """Monday is 0."""
    start_hour: Annotated[float, Field(ge=0, lt=24)] = 0.0
    """The hour of the day at which the run begins."""
    day_cv: Cv = 0.0
    """Coefficient of variation of the rate from day to day."""
    period_cv: Cv = 0.0
    """Coefficient of variation of the rate from period to period."""
    period_s: Positive = 900.0
    """How long one rate holds, in seconds."""


class ReplayedArrivals(Settings):
    """Given instants, exactly."""

    kind: Literal["replay"]
    """Calls at given instants."""
    instants_s: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]
    """Seconds after the start of the run, one for each call."""


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
    """The SIP status."""
    share: Share
    """The share of calls that get it."""

    @model_validator(mode="after")
    def _means_rejected(self) -> Self:
        if self.status in {408, 480, 486, 487, 600}:
            raise ValueError(f"{self.status} is no rejection: use the shares busy, no_answer or abandoned instead")
        return self


class Outcomes(Settings):
    """How calls that reach the far side end; what is left over is answered."""

    busy: Share = 0.0
    """The share of calls that hear busy (486)."""
    no_answer: Share = 0.0
    """The share that rings until the far side gives up (480)."""
    abandoned: Share = 0.0
    """The share that the caller cancels while it rings."""
    rejected: tuple[Rejection, ...] = ()
    """Shares that are refused with another status."""

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
    tuple[Share, ...],
    Field(min_length=1, max_length=MOST_ATTEMPTS),
    BeforeValidator(_bare_number_is_all, json_schema_input_type=Share | tuple[Share, ...]),
]
"""After the first failed attempt, after the second, and so on; the last one stays. A bare number stands for all."""


class RedialReasons(Settings):
    """Chances of another attempt by how the failed one ended: a field per `Disposition` that is a failure."""

    throttled: Chances | None = None
    """After a refusal by the throttle."""
    not_whitelisted: Chances | None = None
    """After a refusal of our source address."""
    no_channel: Chances | None = None
    """After a refusal because all carrier channels were in use."""
    no_port: Chances | None = None
    """After a refusal because no media port was free."""
    carrier_rejected: Chances | None = None
    """After another final status from the carrier."""
    busy: Chances | None = None
    """After busy."""
    no_answer: Chances | None = None
    """After ringing without an answer."""
    abandoned: Chances | None = None
    """After the caller has given up."""
    timed_out: Chances | None = None
    """After no response at all."""
    connection_failed: Chances | None = None
    """After no connection, or one that broke."""
    unauthorised: Chances | None = None
    """After a demand for credentials."""
    forbidden: Chances | None = None
    """After 403."""
    not_found: Chances | None = None
    """After a number that does not exist."""
    not_acceptable: Chances | None = None
    """After a refusal of codec, SRTP or SDP."""
    redirected: Chances | None = None
    """After a redirect that was not followed."""
    media_failed: Chances | None = None
    """After an answered call without good audio."""
    dropped: Chances | None = None
    """After a call that the other side ended too early."""


class Redial(Settings):
    """What a caller does after an attempt that failed; `chance` is the rule, `models.redials` applies it."""

    probability: Share = 0.0
    """Chance that a failed attempt is followed by another, independently each time."""
    by_reason: RedialReasons = RedialReasons()
    """Where the chance depends on why the attempt failed; the reasons named here need not stand in `after`."""
    delay: Distribution = Exponential(kind="exponential", mean_s=15.0)
    """From the end of a failed attempt to the next one."""
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
_WrittenVersion = TlsVersion | float


def _one_version_is_a_list(written: Any) -> Any:
    """Return versions as text in a list. YAML reads 1.2 as a number, and the older key `version` has only one."""
    items = written if isinstance(written, list | tuple) else [written]
    return [str(item) if isinstance(item, float) else item for item in items]


class TlsUse(Settings):
    """TLS as a dimension of the load."""

    policy: TlsPolicy = TlsPolicy.PERSISTENT
    """One connection for all calls, a pool, or a connection for each call."""
    pool_size: Annotated[int, Field(ge=1, le=1000)] = 4
    """The connections of a pool."""
    resumption_share: Share = 0.0
    """Share of new connections that resume an earlier session."""
    versions: Annotated[
        tuple[TlsVersion, ...],
        Field(min_length=1, validation_alias=AliasChoices("versions", "version")),
        BeforeValidator(_one_version_is_a_list, json_schema_input_type=_WrittenVersion | tuple[_WrittenVersion, ...]),
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


def _one_entry_is_a_list(written: Any) -> Any:
    return [written] if isinstance(written, dict) else written


class Traffic(Speech):
    """The load of one trunk. What is said holds for all its calls, unless a destination says something else."""

    arrivals: Arrivals
    """When calls are placed."""
    holding: Distribution
    """How long calls last, from answer to BYE."""
    ringing: Distribution = Constant(kind="constant", value_s=2.0)
    """How long it rings, up to the answer or refusal of the called side."""
    patience: Distribution = Exponential(kind="exponential", mean_s=2.0)
    """How long callers who will give up let it ring."""
    outcomes: Outcomes = Outcomes()
    """How calls end that reach the far side."""
    redial: Redial = Redial()
    """Who tries again after a failure."""
    inbound_share: Share = 0.0
    """The share of calls that come from the telephone network."""
    ring_patience_s: Annotated[float, Field(gt=0, le=3600)] = 180.0
    """First sign of life (a provisional response) to CANCEL, for a caller who did not plan to give up. Proxies wait as
    long (timer C, RFC 3261 section 16.6)."""
    tls: TlsUse = TlsUse()
    """How calls use TLS connections."""
    callers: Numbers = ()
    """The Exophones under which the customer calls out, in turn. Empty: an invented one, which only our own trunks
    accept."""
    destinations: tuple[Destination, ...] = ()
    """Where outbound calls go. Empty: to our own answering side, by numbers that are made from the plan."""

    inbound: Annotated[tuple[Destination, ...], BeforeValidator(_one_entry_is_a_list)] = ()
    """The Exophones at which the customer answers, and what it does there, whoever calls. `holding` is how long until
    it hangs up; None: only its caller does. These calls come from a trunk that others run: no plan has them."""

    @field_validator("inbound")
    @classmethod
    def _are_answered(cls, entries: tuple[Destination, ...]) -> tuple[Destination, ...]:
        for entry in entries:
            if entry.far_end is FarEnd.PLAN:
                raise ValueError("far_end: plan has no numbers of its own; write what these numbers do")
            if entry.audio is not None or entry.digits is not None:
                raise ValueError("audio and digits are what a caller says, and here others call: leave them out")
            if entry.share is not None or entry.is_limited:
                raise ValueError("share, at_once and per_minute are about calls that we place, and these come to us")
        return cls._go_together(entries)

    @field_validator("destinations")
    @classmethod
    def _go_together(cls, entries: tuple[Destination, ...]) -> tuple[Destination, ...]:
        if problems := list(Destinations(entries).problems()):
            raise ValueError("; ".join(problems))
        return entries

    def speech(self, entry: Destination | None) -> Speech:
        """Return what is said in calls to a destination. None: in inbound calls, and where none are listed."""
        is_ours = entry is None or entry.far_end is FarEnd.PLAN
        otherwise = Voiceprint.BYTES if is_ours else Voiceprint.TONES
        return (self if entry is None else entry).over(self, otherwise)

    @property
    def is_silent(self) -> bool:
        """Tell whether nobody calls out: a rate of 0, as where only inbound calls of others are awaited."""
        return isinstance(self.arrivals, ConstantArrivals | PoissonArrivals) and not self.arrivals.rate_per_minute

    @property
    def answered(self) -> Destinations:
        """Return the inbound numbers with their order."""
        return Destinations(self.inbound)

    @property
    def where(self) -> Destinations:
        """Return the destinations with the order of their numbers."""
        return Destinations(self.destinations)
