"""The truth of a generated call history: what customers wanted, how the throttle cut it, what is wrong in the file.

These are settings only, read from one YAML file. `experiments.histories.generate` draws the calls.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import AliasChoices, Field, model_validator

from trunkproof.models.distributions import Constant, Distribution, Exponential
from trunkproof.models.forms import read_settings
from trunkproof.models.records import Disposition
from trunkproof.models.settings import Settings
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.traffic import Cv, Hourly, Outcomes, Redial, Share, WeeklyArrivals

TruthFormat = Literal["operator", "asterisk", "freeswitch", "columns", "counts"]
_MOST_CALLS = 30_000_000
Rows = Annotated[int, Field(ge=0, le=1_000_000)]


class ClockStep(Settings):
    """The recorder's clock is wrong for a while, as when it loses its time server."""

    day: Annotated[int, Field(ge=0)]
    """Day of the history; the first is 0."""
    hour: Annotated[float, Field(ge=0, lt=24)]
    step_s: Annotated[float, Field(ge=-86_400, le=86_400)]
    lasts_s: Annotated[float, Field(gt=0, le=86_400)]


class Defects(Settings):
    """How many rows of each kind are wrong in the file. They are drawn evenly over it."""

    duplicates: Rows = 0
    """Rows that are written twice."""
    negative_durations: Rows = 0
    """Rows whose end lies before their beginning."""
    missing_ends: Rows = 0
    """Rows without an end and a duration."""
    unparsable: Rows = 0
    """Rows whose beginning is not a time."""
    clock_step: ClockStep | None = None

    @property
    def single_rows(self) -> int:
        """Return the number of rows that are wrong on their own, other than by the clock."""
        return self.duplicates + self.negative_durations + self.missing_ends + self.unparsable


class Truth(Settings):
    """One trunk's customers over some days. Channels are not modelled: choose demand that they can carry."""

    name: str
    seed: Annotated[int, Field(ge=0)] = 1
    first_day: date
    days: Annotated[int, Field(ge=1, le=400)]
    timezone: str = "Asia/Kolkata"
    """IANA zone of the hours and weekdays below, and of the times in the file."""
    hourly_per_minute: Annotated[tuple[Hourly, ...], Field(min_length=7, max_length=7)]
    """Fresh calls per minute, without redials, by weekday (Monday first) and hour."""
    day_cv: Cv = 0.0
    """Coefficient of variation of the gamma factor that all hours of a day share."""
    period_cv: Cv = 0.0
    """Coefficient of variation of the gamma factor of each period."""
    period_s: Annotated[float, Field(gt=0)] = 900.0
    holding: Distribution
    ringing: Distribution = Constant(kind="constant", value_s=8.0)
    """Time to the answer, or until an unanswered call ends."""
    patience: Distribution = Exponential(kind="exponential", mean_s=6.0)
    """Ringing time of calls that their caller abandons."""
    outcomes: Outcomes = Outcomes()
    """How attempts end that the throttle admits."""
    redial: Redial = Redial()
    throttle: ThrottleSettings = FixedWindow()
    """The throttle as it was enforced at the time."""
    anchor_s: float = 0.0
    """An instant, in seconds after midnight of the first day, at which one of its windows begins."""
    inbound_share: Share = 0.0
    own_numbers: Annotated[int, Field(ge=1, le=10_000)] = 40
    """How many numbers the customer has."""
    anonymous_share: Share = 0.0
    """Share of callers who withhold their number, in all their attempts."""
    far_numbers: Annotated[int, Field(ge=1, le=3 * 10**9)] = 3 * 10**9
    """How many numbers the far side has. With few of them, two callers sometimes have the same pair of numbers."""
    format: TruthFormat = "operator"
    times: Literal["local", "offset", "utc"] = "local"
    """How times are written: as wall clock without a zone, with its offset, or in UTC. An hour that daylight saving
    repeats or leaves out looks as in real exports."""
    interval_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Length of the intervals in a history of counts."""
    defects: Defects = Field(default=Defects(), validation_alias=AliasChoices("defects", "dirt"))
    """What is wrong in the file. Older truth files call it `dirt`."""

    @model_validator(mode="after")
    def _zone_exists(self) -> Self:
        if self.timezone not in available_timezones():
            raise ValueError(f"no such time zone: {self.timezone} (IANA names such as Asia/Kolkata)")
        return self

    @model_validator(mode="after")
    def _step_is_inside(self) -> Self:
        if self.defects.clock_step is not None and self.defects.clock_step.day >= self.days:
            raise ValueError(f"defects.clock_step.day ({self.defects.clock_step.day}) must be below days ({self.days})")
        return self

    @model_validator(mode="after")
    def _counts_are_clean(self) -> Self:
        if self.format == "counts" and (self.defects.single_rows or self.defects.clock_step):
            raise ValueError("defects are of single calls: a history of counts can have none")
        return self

    @model_validator(mode="after")
    def _fits_into_memory(self) -> Self:
        weekly = 60 * sum(sum(day) for day in self.hourly_per_minute)
        if weekly * self.days / 7 > _MOST_CALLS:
            what = f"{weekly * self.days / 7:.3g} calls are too many; the most are {_MOST_CALLS:,}"
            raise ValueError(f"days and hourly_per_minute: {what}")
        return self

    def arrivals(self, weekday: int, hour: float) -> WeeklyArrivals:
        """Return the arrivals of a stretch of time that begins on that weekday (Monday is 0) at that hour."""
        return WeeklyArrivals(
            kind="weekly",
            hourly_per_minute=self.hourly_per_minute,
            start_weekday=weekday,
            start_hour=hour,
            day_cv=self.day_cv,
            period_cv=self.period_cv,
            period_s=self.period_s,
        )

    def figures(self) -> dict[str, Any]:
        """Return the figures that a review has to find again."""
        busiest = max(max(day) for day in self.hourly_per_minute)
        return {
            "busiest_per_minute": busiest,
            "day_cv": self.day_cv,
            "period_cv": self.period_cv,
            "mean_hold_s": self.holding.mean(),
            "redial_probability": self.redial.largest(Disposition.THROTTLED),
            "answered_share": self.outcomes.answered,
            "inbound_share": self.inbound_share,
            "throttle": self.throttle.describe(),
        }


def read_truth(path: Path | str) -> Truth:
    """Read a truth from its YAML file.

    Raises:
        InputError: the file cannot be read, is not YAML, or says something impossible; lists all problems.
    """
    return read_settings(path, Truth)
