"""What a review comes to: the decision, and everything that a reader needs to defend or doubt it.

Values only. The page draws them, `decision.json` holds them, `review` makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from experiments.provenance import Provenance
from experiments.review.request import Request
from models.fitting.result import Fit, Ranged
from models.history.table import History
from models.policies import ThrottleSettings

FloatArray = NDArray[np.float64]


class Decision(StrEnum):
    """What is advised."""

    APPROVE = "approve"
    """Every target holds at the requested throttle, with the confidence asked for, under every reading."""
    APPROVE_LOWER = "approve_lower"
    """Not at the requested one, but at a lower one above the present."""
    REFUSE = "refuse"
    """At none between the present and the requested one."""
    CANNOT_TELL = "cannot_tell"
    """The history is not enough, or the intervals are wider than the question."""


class Resource(StrEnum):
    """What may run out."""

    THROTTLE = "throttle"
    CHANNELS = "channels"
    CARRIER_RATE = "carrier calls per second"
    PORTS = "ports"
    CORES = "cores"
    BANDWIDTH = "bandwidth"


@dataclass(frozen=True)
class Judged:
    """One quality target at one throttle: the indicator in a busy hour, and how sure it is that it keeps."""

    kpi: str
    bound: float
    is_upper: bool
    value: Ranged
    """The mean over busy hours; the range is of that mean, for what is not known of input and simulation."""
    confidence: float
    """Probability that the mean keeps to its bound."""
    holds: bool | None
    """With the confidence asked for; None: neither this nor its opposite can be said."""


@dataclass(frozen=True)
class Point:
    """One throttle under one reading."""

    limit_per_minute: int
    kpis: Mapping[str, Ranged]
    """Indicator of `models.kpis`, `cpu_share` (cores) or `erlang` -> its mean over busy hours."""
    busy_hours: Mapping[str, Ranged]
    """The same indicators -> median busy hour, and the band in which nine of ten busy hours lie."""
    targets: tuple[Judged, ...]

    @property
    def holds(self) -> bool | None:
        """Whether all targets do; None: none is known to fail, and not all are known to hold."""
        answers = [target.holds for target in self.targets]
        return False if False in answers else None if None in answers else True

    @property
    def confidence(self) -> float:
        """Of the least sure target."""
        return min((target.confidence for target in self.targets), default=1.0)


@dataclass(frozen=True)
class ReadingResult:
    """One reading of the throttle."""

    reading: ThrottleSettings
    points: tuple[Point, ...]
    """Ascending; now and requested are among them."""
    decision: Decision
    recommended_per_minute: int | None
    """The largest candidate up to the requested one at which every target holds."""
    largest_per_minute: int | None
    """The same without that end."""
    refused_by_growth: Mapping[int, tuple[float, ...]]
    """Candidate -> share of customers lost at each of `Review.growth_grid`: for the what-if of the page."""

    def at(self, limit_per_minute: int) -> Point:
        """The point of that candidate; KeyError where there is none."""
        for point in self.points:
            if point.limit_per_minute == limit_per_minute:
                return point
        raise KeyError(limit_per_minute)


@dataclass(frozen=True)
class Limit:
    """What one resource allows."""

    resource: Resource
    capacity: str
    """For people, such as `660 channels`."""
    capacity_per_minute: float | None
    """Fresh calls a minute in the busy hour up to which it keeps the targets; none: nothing limits it."""
    used_now: float
    """Busy-hour demand over that capacity, behind the present throttle."""
    used_requested: float
    used_wanted: float
    """If all demand were let in."""
    how: str
    """The formula or the simulation behind the figure."""


@dataclass(frozen=True)
class Needed:
    """The inverse question: what a wish would need."""

    per_minute: int
    """Fresh calls a minute in the busy hour."""
    throttle_per_minute: int
    channels: int
    ports: int
    cores: float
    bandwidth_mbit_per_s: float


@dataclass(frozen=True)
class Swing:
    """One bar of the tornado: what not knowing one input does to the headroom at the requested throttle."""

    what: str
    low: str
    """For people: the low value of the input."""
    high: str
    headroom_low: float
    """Growth of demand up to which every target holds, with the low value."""
    headroom_high: float
    changes_decision: bool


@dataclass(frozen=True)
class RolloutStep:
    """One step of a raise."""

    per_minute: int
    days: int
    """To stay there before the next step."""
    bands: Mapping[str, Ranged]
    """Indicator -> what a busy hour should show; outside its band it is not as forecast."""
    halt: str
    """The rule that stops the raise."""


@dataclass(frozen=True, eq=False)
class Replay:
    """One bad hour of the history, again, under the present and the requested throttle."""

    began: datetime
    """Local time."""
    reading: ThrottleSettings
    minutes: FloatArray
    """0, 1, 2…, shape (n,); the other arrays have as many entries."""
    offered: FloatArray
    """Fresh calls per minute."""
    now: Mapping[str, FloatArray]
    """`admitted`, `refused` (attempts per minute), `concurrent`."""
    requested: Mapping[str, FloatArray]


@dataclass(frozen=True, eq=False)
class Endings:
    """Where calls end in the busy hour: share of callers by disposition."""

    now: Mapping[str, float]
    requested: Mapping[str, float]


@dataclass(frozen=True)
class Check:
    """One reason to believe, or not to."""

    name: str
    """Such as `exact theory`."""
    said: str
    holds: bool | None


@dataclass(frozen=True, eq=False)
class Review:
    """The whole answer."""

    request: Request
    history: History
    fit: Fit
    decision: Decision
    recommended_per_minute: int | None
    confidence: float
    """Of every target at the recommended throttle, or at the requested one where none is recommended; the least over
    the readings."""
    headline: str
    """The answer in one or two sentences, with its intervals."""
    reasons: tuple[str, ...]
    """Why, in the order of weight."""
    depends_on_enforcement: bool
    """Whether the readings of the throttle disagree on the decision or on the recommended value."""
    busy_hour: str
    """Which hours are judged, for people."""
    busy_hour_per_minute: Ranged
    """Fresh calls offered in it, at the planning horizon."""
    readings: tuple[ReadingResult, ...]
    growth_grid: tuple[float, ...]
    limits: tuple[Limit, ...]
    """In the order in which they bind as demand grows."""
    binding_now: Resource | None
    binding_next: Resource | None
    """After the raise."""
    neighbours: Mapping[str, tuple[Ranged, Ranged]]
    """Other trunk -> share of its attempts refused, now and at the requested throttle."""
    needed: tuple[Needed, ...]
    """For the requested throttle's worth of calls, and for all demand."""
    tornado: tuple[Swing, ...]
    """Widest first."""
    measure_next: str
    """Which unknown to measure next."""
    rollout: tuple[RolloutStep, ...]
    replay: Replay | None
    endings: Endings | None
    checks: tuple[Check, ...]
    assumptions: tuple[str, ...]
    provenance: Provenance
    simulated_calls: int

    def __repr__(self) -> str:
        return f"<Review of {self.request.name!r}: {self.decision}, {self.recommended_per_minute}>"
