"""What is true of a made-up call history: what customers wanted, how the throttle cut it, what is wrong in the file.

Settings only, read from one YAML file; `experiments.histories.generate` rolls the dice.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import Field, model_validator

from trunkproof.models.distributions import Constant, Distribution, Exponential
from trunkproof.models.records import Disposition
from trunkproof.models.settings import Settings
from trunkproof.models.study_file import read_settings
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.traffic import Cv, Hourly, Outcomes, Redial, Share, WeeklyArrivals

TruthFormat = Literal["operator", "asterisk", "freeswitch", "columns", "counts"]
_MOST_CALLS = 30_000_000
Rows = Annotated[int, Field(ge=0, le=1_000_000)]


class ClockStep(Settings):
    """The recorder's clock is wrong for a while, as after a time server that was, or was not, reached."""

    day: Annotated[int, Field(ge=0)]
    """Of the history; the first is 0."""
    hour: Annotated[float, Field(ge=0, lt=24)]
    step_s: Annotated[float, Field(ge=-86_400, le=86_400)]
    lasts_s: Annotated[float, Field(gt=0, le=86_400)]


class Dirt(Settings):
    """What is wrong in the file: so many rows of each kind, spread evenly over it by chance."""

    duplicates: Rows = 0
    """Written twice."""
    negative_durations: Rows = 0
    """Their end lies before their beginning."""
    missing_ends: Rows = 0
    """Without an end and a duration."""
    unparsable: Rows = 0
    """Their beginning is no time."""
    clock_step: ClockStep | None = None

    @property
    def single_rows(self) -> int:
        """Rows that have something wrong of their own."""
        return self.duplicates + self.negative_durations + self.missing_ends + self.unparsable


class Truth(Settings):
    """One trunk's customers over some days. No channels are modelled: choose what they can carry."""

    name: str
    seed: Annotated[int, Field(ge=0)] = 1
    first_day: date
    days: Annotated[int, Field(ge=1, le=400)]
    timezone: str = "Asia/Kolkata"
    """Of the hours and weekdays below, and of the times in the file."""
    hourly_per_minute: Annotated[tuple[Hourly, ...], Field(min_length=7, max_length=7)]
    """Fresh calls: what customers want, before redials; by weekday, Monday first, and hour."""
    day_cv: Cv = 0.0
    """Of the gamma factor that all hours of a day share."""
    period_cv: Cv = 0.0
    """Of that of each period."""
    period_s: Annotated[float, Field(gt=0)] = 900.0
    holding: Distribution
    ringing: Distribution = Constant(kind="constant", value_s=8.0)
    """To answer, or until it is given up as not answered."""
    patience: Distribution = Exponential(kind="exponential", mean_s=6.0)
    """Ringing of calls that their caller abandons."""
    outcomes: Outcomes = Outcomes()
    """Of attempts that the throttle let pass."""
    redial: Redial = Redial()
    throttle: ThrottleSettings = FixedWindow()
    """As it was enforced at the time."""
    anchor_s: float = 0.0
    """When, after midnight of the first day, one of its windows began."""
    inbound_share: Share = 0.0
    own_numbers: Annotated[int, Field(ge=1, le=10_000)] = 40
    """Numbers of the customer's side."""
    anonymous_share: Share = 0.0
    """Callers who withhold their number, in all their attempts."""
    far_numbers: Annotated[int, Field(ge=1, le=3 * 10**9)] = 3 * 10**9
    """Numbers of the far side. With few of them, two callers have the same pair now and then."""
    format: TruthFormat = "operator"
    times: Literal["local", "offset", "utc"] = "local"
    """How times are written: wall clock without a zone, with its offset, or in UTC. A local hour that daylight saving
    repeats or leaves out then reads as it does in real exports."""
    interval_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Of a history of counts."""
    dirt: Dirt = Dirt()

    @model_validator(mode="after")
    def _zone_exists(self) -> Self:
        if self.timezone not in available_timezones():
            raise ValueError(f"no such time zone: {self.timezone} (IANA names such as Asia/Kolkata)")
        return self

    @model_validator(mode="after")
    def _step_is_inside(self) -> Self:
        if self.dirt.clock_step is not None and self.dirt.clock_step.day >= self.days:
            raise ValueError(f"dirt.clock_step.day ({self.dirt.clock_step.day}) must be below days ({self.days})")
        return self

    @model_validator(mode="after")
    def _counts_are_clean(self) -> Self:
        if self.format == "counts" and (self.dirt.single_rows or self.dirt.clock_step):
            raise ValueError("dirt is of single calls; a history of counts has none")
        return self

    @model_validator(mode="after")
    def _fits_into_memory(self) -> Self:
        weekly = 60 * sum(sum(day) for day in self.hourly_per_minute)
        if weekly * self.days / 7 > _MOST_CALLS:
            what = f"{weekly * self.days / 7:.3g} calls are too many; the most are {_MOST_CALLS:,}"
            raise ValueError(f"days and hourly_per_minute: {what}")
        return self

    def arrivals(self, weekday: int, hour: float) -> WeeklyArrivals:
        """The fresh calls of a stretch of time that begins on that weekday (Monday is 0) at that hour."""
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
        """What a review has to find again."""
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
