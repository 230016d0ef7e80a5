"""The result of a review: the decision, and everything that a reader needs to defend or doubt it.

Values only: `review` computes them, the page draws them, `decision.json` holds them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.review.periods.busy import BusyPeriod
from trunkproof.experiments.review.request import Request
from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.result import Fit, Ranged
from trunkproof.models.demand.history.table import History
from trunkproof.models.html import html_table
from trunkproof.models.kpis import DEFINITIONS
from trunkproof.models.throttles.registry import ThrottleSettings

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


class Decision(StrEnum):
    """What is advised."""

    APPROVE = "approve"
    """The requested throttle is needed, keeps every target under every interpretation, and still protects the others.
    """
    APPROVE_LOWER = "approve_lower"
    """A lower throttle above the present one does so, and more is not needed or harms others."""
    REFUSE = "refuse"
    """No throttle from the present to the requested one does so."""
    NOT_NEEDED = "not_needed"
    """The present throttle keeps every target at the horizon."""
    CANNOT_TELL = "cannot_tell"
    """The history is not enough, or the intervals are too wide for a decision."""


class Resource(StrEnum):
    """A resource that may run out."""

    THROTTLE = "throttle"
    CHANNELS = "channels"
    CARRIER_RATE = "carrier calls per second"
    PORTS = "ports"
    CORES = "cores"
    BANDWIDTH = "bandwidth"


@dataclass(frozen=True)
class Judged:
    """One quality target at one throttle: the indicator in the busy period, and how sure it is that it holds."""

    kpi: str
    bound: float
    is_upper: bool
    value: Ranged
    """The mean over days, by the worse witness. Its range has the uncertainty of input and simulation, under every
    course of demand."""
    confidence: float
    """Probability that the mean keeps to its bound, by the worse witness."""
    holds: bool | None
    """Whether it holds with the confidence asked for; None where neither this nor its opposite is sure."""


@dataclass(frozen=True)
class Point:
    """One throttle under one interpretation."""

    limit_per_minute: int
    kpis: Mapping[str, Ranged]
    """Indicator of `models.kpis`, `cpu_share` (cores) or `erlang` -> its mean over days' busy periods, by the model."""
    record: Mapping[str, Ranged]
    """The same by the replayed record; empty where no record was replayed."""
    busy_hours: Mapping[str, Ranged]
    """The same indicators -> the median of busy periods, and the band in which nine of ten lie."""
    targets: tuple[Judged, ...]
    confidence: float
    """Probability that all targets hold together, by the worse witness."""
    holds: bool | None
    """Whether all targets hold with the confidence asked for; None where none surely fails and not all surely hold."""


@dataclass(frozen=True)
class InterpretationResult:
    """The answer under one interpretation of the throttle."""

    interpretation: ThrottleSettings
    points: tuple[Point, ...]
    """Ascending; now and requested are among them."""
    decision: Decision
    recommended_per_minute: int | None
    """The throttle that this interpretation alone would recommend."""
    smallest_per_minute: int | None
    """The smallest candidate at which every target holds."""
    refused_by_growth: Mapping[int, tuple[float, ...]]
    """Candidate -> share of customers lost at each of `Review.growth_grid`: for the what-if of the page."""

    def at(self, limit_per_minute: int) -> Point:
        """Return the point of that candidate.

        Raises:
            KeyError: it was not simulated.
        """
        for point in self.points:
            if point.limit_per_minute == limit_per_minute:
                return point
        raise KeyError(limit_per_minute)


def strictest_of(interpretations: Sequence[InterpretationResult], limit_per_minute: int) -> InterpretationResult:
    """Return the interpretation that needs the highest throttle to keep every target; of those, the least sure at a
    limit.
    """
    return max(
        interpretations, key=lambda one: (one.smallest_per_minute or math.inf, -one.at(limit_per_minute).confidence)
    )


@dataclass(frozen=True)
class Protection:
    """What happens at one throttle if this customer uses all of it."""

    limit_per_minute: int
    blocked: Mapping[str, Ranged]
    """Trunk -> share of its admitted calls that found no free channel or port. If no neighbour is known, the reviewed
    trunk stands for them, because all callers share the channels."""
    peak_channels: Ranged
    cores: Ranged
    mos_p5: Ranged
    worst: Ranged
    """The largest of `blocked`."""
    holds: bool | None
    """Whether the request's `protects` is kept; None where it is unsure."""


@dataclass(frozen=True)
class BackCastRow:
    """One quantity of the history, as seen and as simulated with the fitted traffic at the throttle of the time."""

    scope: str
    """The hours that are compared, in words."""
    quantity: str
    """The quantity in words, such as `attempts refused`."""
    unit: str
    seen: float
    expected: Ranged
    """Mean over repetitions, and the range in which 95 % of repetitions lie."""
    p_value: float
    """Two-sided posterior predictive p-value: how often chance alone strays so far."""
    is_decisive: bool
    """Whether the interpretation is rejected if this is not reproduced."""
    reproduced: bool


@dataclass(frozen=True)
class BackCast:
    """One interpretation of the throttle, compared with the history."""

    interpretation: ThrottleSettings
    rows: tuple[BackCastRow, ...]

    @property
    def reproduces(self) -> bool:
        """Tell whether all deciding rows are reproduced."""
        return all(row.reproduced for row in self.rows if row.is_decisive)


@dataclass(frozen=True)
class Disagreement:
    """A throttle at which the two witnesses disagree."""

    limit_per_minute: int
    interpretation: ThrottleSettings
    kpi: str
    model: Ranged
    record: Ranged
    hours: tuple[str, ...]
    """The days and minutes that cause it, the largest part first."""


@dataclass(frozen=True)
class Situation:
    """One column of the table on top: one choice, and its figures in the busy period."""

    name: str
    """Such as `today` or `recommended`."""
    per_minute: int
    offered_per_minute: Ranged
    """Fresh calls in the busy period."""
    refused_share: Ranged
    """This and the next by the less sure witness, as `Judged.value`."""
    lost_share: Ranged
    lost_per_day: Ranged
    """Customers lost in a day's busy period."""
    peak_concurrency: Ranged
    peak_channels: Ranged
    channels: int | None
    cores: Ranged
    protects: bool | None
    """Whether it still protects the others if all of it is used."""
    beyond: bool = False
    """Whether demand is beyond the simulated levels, so that figures are lower bounds."""


@dataclass(frozen=True)
class Limit:
    """The capacity and use of one resource."""

    resource: Resource
    capacity: str
    """The capacity in words, such as `660 channels`."""
    capacity_per_minute: float | None
    """Fresh calls per minute in the busy hour up to which targets hold; None where the resource does not limit."""
    used_now: float
    """Busy-hour load over that capacity, behind the present throttle."""
    used_requested: float
    used_wanted: float
    """The same if all demand were admitted."""
    how: str
    """The formula or the simulation behind the figure."""


@dataclass(frozen=True)
class Needed:
    """The resources that a demand needs."""

    per_minute: int
    """Fresh calls a minute in the busy hour."""
    throttle_per_minute: int
    channels: int
    ports: int
    cores: float
    bandwidth_mbit_per_s: float


@dataclass(frozen=True)
class Swing:
    """One bar of the tornado: the effect of one uncertain input on the headroom at the requested throttle."""

    what: str
    low: str
    """The low value of the input, in words."""
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
    """Days to stay at this step."""
    bands: Mapping[str, Ranged]
    """Indicator -> the band in which a busy hour should lie."""
    halt: str
    """The rule that stops the raise."""


@dataclass(frozen=True, eq=False)
class Replay:
    """The worst hour of the history, replayed under the present and a raised throttle."""

    began: datetime
    """Local time."""
    interpretation: ThrottleSettings
    minutes: FloatArray
    """0, 1, 2…, shape (n,); the other arrays have the same shape."""
    offered: FloatArray
    """Fresh calls per minute."""
    now: Mapping[str, FloatArray]
    """`admitted`, `refused` (attempts per minute), `concurrent`."""
    requested: Mapping[str, FloatArray]
    """At the recommended throttle, or at the requested one where none is recommended."""


@dataclass(frozen=True)
class TwoStates:
    """The two states of a throttle that counts refused attempts: once full, it may stay full of redials."""

    interpretation: ThrottleSettings
    limit_per_minute: int
    calm: Ranged
    """Share of attempts refused in busy periods that begin calmly."""
    collapsed: Ranged
    """The same in periods that begin with a rush."""


@dataclass(frozen=True, eq=False)
class Endings:
    """How calls end in the busy hour: share of callers by disposition."""

    now: Mapping[str, float]
    requested: Mapping[str, float]


@dataclass(frozen=True)
class Check:
    """One check of the review itself."""

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
    """Probability that all targets hold together under every interpretation, at the recommended throttle, or at the
    requested one where none is recommended; the least over witnesses and courses of demand."""
    headline: str
    """The answer in one or two sentences, with its intervals."""
    reasons: tuple[str, ...]
    """The reasons, the weightiest first."""
    depends_on_enforcement: bool
    """Whether the interpretations of the throttle disagree on the decision or on the recommended value."""
    busy_hour: str
    """The judged periods, in words."""
    busy_periods: tuple[BusyPeriod, ...]
    busy_hour_per_minute: Ranged
    """Fresh calls offered in the judged periods at the planning horizon."""
    interpretations: tuple[InterpretationResult, ...]
    """Those that the history does not contradict."""
    contradicted: tuple[ThrottleSettings, ...]
    """Interpretations that do not reproduce the history while others do: they take no part in the decision."""
    backcast: tuple[BackCast, ...]
    """The back-cast of every interpretation."""
    disagreements: tuple[Disagreement, ...]
    situations: tuple[Situation, ...]
    protection: tuple[Protection, ...]
    """By candidate, ascending."""
    states: tuple[TwoStates, ...]
    """Of interpretations whose throttle may stay full of redials: calm, and collapsed."""
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

    @property
    def strictest(self) -> InterpretationResult | None:
        """The interpretation that the decision rests on: that which needs most, and of those the least sure; None:
        nothing was simulated.
        """
        chosen = self.recommended_per_minute or self.request.requested_per_minute
        return strictest_of(self.interpretations, chosen) if self.interpretations else None

    def plot(self, kpi: str = "customers_lost_share") -> Figure:
        """Return a Plotly figure of one indicator at every throttle: a line and its 95 % band per interpretation."""
        from trunkproof.models.plots import Banded, banded_lines, shown  # noqa: PLC0415  # Plotly takes long to load.

        def line(of: InterpretationResult) -> Banded:
            found = [(point.limit_per_minute, point.kpis[kpi]) for point in of.points if kpi in point.kpis]
            known = [(limit, one) for limit, one in found if math.isfinite(one.value)]
            limits, values = [limit for limit, _ in known], [one for _, one in known]
            edges = ([one.low for one in values], [one.high for one in values])
            return Banded(of.interpretation.describe_kind(), limits, [one.value for one in values], *edges)

        definition, request = DEFINITIONS[kpi], self.request
        marks: dict[str, float] = {"now": request.now_per_minute, "requested": request.requested_per_minute}
        if self.recommended_per_minute is not None:
            marks["recommended"] = self.recommended_per_minute
        lines = [line(one) for one in self.interpretations]
        figure = banded_lines(lines, "throttle, calls per minute", definition.title, marks)
        figure.update_yaxes(tickformat=".1%" if definition.unit == "share" else None)
        return shown(figure, f"{definition.title}: {request.name}")

    def __repr__(self) -> str:
        return f"<Review of {self.request.name!r}: {self.decision}, {self.recommended_per_minute}>"

    def _repr_html_(self) -> str:
        return html_table(("why",), [(reason,) for reason in self.reasons], caption=self.headline)
