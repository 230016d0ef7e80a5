"""What a fit says: the traffic behind a history, how sure that is, and whether it is enough to decide on.

Every estimate has an interval, and those that a decision depends on have equally likely alternatives ("draws"), so that
uncertainty of the input can be carried on. How they are found is the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.day_rates import DayRates
from trunkproof.models.demand.fitting.grid import Grid
from trunkproof.models.demand.fitting.levels import Levels
from trunkproof.models.demand.fitting.odd_days import OddDay
from trunkproof.models.demand.fitting.redial_chances import ReasonChances, with_chances
from trunkproof.models.distributions import Distribution
from trunkproof.models.records import Disposition
from trunkproof.models.traffic import (
    Arrivals,
    Outcomes,
    OverdispersedArrivals,
    PoissonArrivals,
    Redial,
    Traffic,
    WeeklyArrivals,
)

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Ranged:
    """A value and the range in which it lies with the confidence asked for (95 % unless said otherwise)."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """All values, ready for `json.dumps`."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class ArrivalFit:
    """Fresh calls offered: what callers wanted, redials left out and refusals put back.

    Arrays of draws have one entry per equally likely alternative; all arrays of draws belong together entry by entry.
    """

    rate_per_minute: FloatArray
    """Shape (7, 24): by weekday, Monday first, and local hour."""
    rate_draws: FloatArray
    """Shape (draws, 7, 24)."""
    day_cv: Ranged
    """Spread of the factor that all hours of a day share."""
    day_cv_draws: FloatArray
    period_cv: Ranged
    """Spread of the factor of each period."""
    period_cv_draws: FloatArray
    period_s: float

    @property
    def busiest(self) -> tuple[int, int]:
        """Weekday and hour with the highest rate."""
        weekday, hour = np.unravel_index(int(np.argmax(self.rate_per_minute)), (7, 24))
        return int(weekday), int(hour)

    @property
    def busiest_per_minute(self) -> Ranged:
        """The rate of the busiest hour of the week, averaged over days."""
        weekday, hour = self.busiest
        low, high = np.quantile(self.rate_draws[:, weekday, hour], [0.025, 0.975])
        return Ranged(float(self.rate_per_minute[weekday, hour]), float(low), float(high))


@dataclass(frozen=True)
class Alternative:
    """One distribution that was tried."""

    distribution: Distribution
    aic: float
    """Akaike's information criterion: lower is better."""


@dataclass(frozen=True, eq=False)
class DurationFit:
    """Durations of one kind."""

    distribution: Distribution
    """The one chosen."""
    mean_s: Ranged
    alternatives: tuple[Alternative, ...]
    """All that were tried, the best first."""
    observed_quantiles_s: FloatArray
    """For a QQ plot, at the probabilities (i + 0.5) / n."""
    fitted_quantiles_s: FloatArray
    count: int


@dataclass(frozen=True, eq=False)
class RedialFit:
    """What callers do after a failure."""

    redial: Redial
    probability: Ranged
    """Of another attempt after one that the throttle refused, whichever it was."""
    observed: bool
    """Whether the history shows that (numbers of both sides, and at least 50 refusals)."""
    by_reason: Mapping[Disposition, Ranged] = field(default_factory=dict)
    """The same after each kind of failure that the history has."""
    chances: tuple[ReasonChances, ...] = ()
    """What they were counted from."""

    def draw(self, rng: np.random.Generator) -> Redial:
        """Return one equally likely alternative of `redial`: all its probabilities drawn from what is known of them."""
        return with_chances(self.redial, {each.reason: each.draw(rng) for each in self.chances})


@dataclass(frozen=True, eq=False)
class Censoring:
    """What the throttle of the time hid."""

    refused_share: float
    """Attempts refused, of all in the history."""
    attempts_per_minute: FloatArray
    """Shape (7, 24): what was seen, redials and refusals included."""
    recovered_calls: float
    """Fresh calls among the refused attempts that were never answered: demand that the answered calls do not show."""
    hours_above_limit: int
    """Hours of the history in which attempts were refused."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Days that were kept out of the fit, against what it forecast for them."""

    asked: float
    """Coverage asked for, such as 0.9."""
    hours: pl.DataFrame
    """`start_local`, `seen`, `low`, `high`, `expected`: attempts per hour."""
    days: pl.DataFrame
    """The same by day."""

    def times(self, factor: float) -> HeldOut:
        """The same of so many times as many calls."""
        return HeldOut(self.asked, times(self.hours, factor), times(self.days, factor))

    @property
    def seen_by_hour(self) -> float:
        """Share of hours inside their interval."""
        return _covered(self.hours)

    @property
    def seen_by_day(self) -> float:
        """Share of days inside their interval."""
        return _covered(self.days)


@dataclass(frozen=True, eq=False)
class Scores:
    """How far what came lay from what was expected, in units of the deviation expected."""

    values: FloatArray
    """Ascending."""
    weights: FloatArray
    """Of sum 1: odd days weigh as often as they are reckoned with."""

    def __len__(self) -> int:
        return len(self.values)

    def shortest(self, share: float) -> tuple[float, float]:
        """Bounds of the shortest interval that holds that share of what comes, one score being yet to come."""
        held = min(share * (1 + 1 / len(self)), 1.0) - 1e-9
        reached = np.cumsum(self.weights)
        before = reached - self.weights
        starts = np.flatnonzero(before <= 1 - held)
        ends = np.minimum(np.searchsorted(reached, before[starts] + held), len(self) - 1)
        lengths = self.values[ends] - self.values[starts]
        chosen = int(np.argmin(lengths))
        return float(self.values[starts[chosen]]), float(self.values[ends[chosen]])


@dataclass(frozen=True, eq=False)
class Outlook:
    """What carries a fit forward in time: a usual week, the level and how it moves, and how far what came lay from what
    was expected. `models.demand.fitting.forecast` makes intervals of it.
    """

    last: date
    """Last local day of the fit."""
    attempts_per_minute: FloatArray
    """Shape (7, 24): expected on a usual day, at the level of the whole history."""
    calls_behind: FloatArray
    """Shape (7, 24): how many calls each of these rates rests on."""
    fresh_share: FloatArray
    """Shape (7, 24): fresh calls of the attempts."""
    month: FloatArray
    """Shape (2,): the month's cycle, by `models.demand.fitting.month.harmonics`."""
    levels: Levels
    """Logs of the level over that of the whole history."""
    odd_share: float
    """Days to come that are reckoned not to be usual: holidays, breakdowns, very busy ones."""
    day_cv: float
    """Spread of a usual day about what other weeks let expect."""
    hour_cv: FloatArray
    """Shape (24,): the same of an hour."""
    day_scores: Scores | None
    """Of the days of the history, each forecast from other weeks; none: the history is too short for trials."""
    hour_scores: tuple[Scores, ...]
    """The same of hours, by class of expected attempts."""
    shows_odd: bool
    """Whether the scores contain odd days."""

    def level(self, weeks: float) -> tuple[float, float]:
        """Log of the level so many weeks after the history's end over that of the whole of it, and its deviation."""
        return self.levels.at(7 * weeks)


def times(table: pl.DataFrame, factor: float) -> pl.DataFrame:
    """A forecast of so many times as many calls."""
    return table.with_columns(pl.exclude("start_local") * factor)


def _covered(table: pl.DataFrame) -> float:
    inside = (table["seen"] >= table["low"]) & (table["seen"] <= table["high"])
    return float(inside.mean() or 0.0) if table.height else float("nan")  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Fresh:
    """The fresh calls of a history."""

    table: pl.DataFrame
    """`start_local`, and in `column` how many began then."""
    column: str
    interval_s: float | None
    """Of a history of counts: each row is of an interval. Of calls: what their instants were rounded to; None: they are
    exact."""

    def instants_s(self, day: date, from_s: float, until_s: float, random: np.random.Generator) -> FloatArray:
        """Return when calls began in a stretch of a day, in seconds from `from_s` (after midnight) on, ascending.

        Calls of an interval are spread over it by chance. A call of which only part is fresh (nobody knows whether an
        anonymous caller tries again) is taken with that probability.
        """
        midnight = datetime.combine(day, time())
        begin, end = midnight + timedelta(seconds=from_s), midnight + timedelta(seconds=until_s)
        rows = self.table.filter(pl.col("start_local").is_between(begin, end, closed="left"))
        at_s = (rows["start_local"] - begin).dt.total_microseconds().to_numpy() / 1e6
        wanted = rows[self.column].to_numpy().astype(np.float64)
        whole = np.floor(np.maximum(wanted, 0.0))
        times = (whole + (random.random(len(wanted)) < wanted - whole)).astype(np.int64)
        spread = np.repeat(at_s, times)
        if self.interval_s is not None:
            spread = spread + self.interval_s * random.random(len(spread))
        return np.sort(spread)


@dataclass(frozen=True, eq=False)
class Fit:
    """The traffic behind a history."""

    arrivals: ArrivalFit
    grid: Grid
    """Fresh calls of the usual days."""
    odd: tuple[OddDay, ...]
    """Closed and quiet days, breakdowns, and very busy days, by date."""
    days: DayRates
    """What each of these days wanted, minute by minute."""
    fresh: Fresh
    """The fresh calls themselves, as recorded."""
    holding: DurationFit
    ringing: DurationFit | None
    outcomes: Outcomes
    """Of attempts that the throttle let pass."""
    redial: RedialFit
    short_share: Ranged | None
    """Answered calls shorter than `short_s`."""
    short_s: float
    inbound_share: float
    censoring: Censoring
    held_out: HeldOut | None
    variance_to_mean: pl.DataFrame
    """`start_local` (or weekday and hour), `mean`, `variance` of counts per period across days."""
    warnings: tuple[str, ...] = field(default=())
    """What a reader must know before he trusts it."""
    refusals: tuple[str, ...] = field(default=())
    """Why this history is not enough to decide on; none: it is."""
    outlook: Outlook | None = None
    """For `models.demand.fitting.forecast`; none where the history is too short."""
    multiplied: float = 1.0
    """How many times larger than the file's counts its rates are: `outlook` is of those counts, forecasts are not."""

    def times(self, factor: float) -> Fit:
        """The same callers, so many times as many, and as busy together: rates grow, busyness stays."""
        arrivals, censoring, held_out = self.arrivals, self.censoring, self.held_out
        return replace(
            self,
            arrivals=replace(
                arrivals,
                rate_per_minute=factor * arrivals.rate_per_minute,
                rate_draws=factor * arrivals.rate_draws,
            ),
            days=self.days.times(factor),
            censoring=replace(
                censoring,
                attempts_per_minute=factor * censoring.attempts_per_minute,
                recovered_calls=factor * censoring.recovered_calls,
            ),
            held_out=None if held_out is None else held_out.times(factor),
            multiplied=factor * self.multiplied,
        )

    @property
    def is_enough(self) -> bool:
        """Whether a decision can be based on it."""
        return not self.refusals

    def traffic(self, arrivals: Arrivals | None = None) -> Traffic:
        """The fit as a study's traffic; by default with the whole week's arrivals."""
        mine = self.arrivals
        weekly = WeeklyArrivals(
            kind="weekly",
            hourly_per_minute=tuple(tuple(map(float, day)) for day in mine.rate_per_minute),
            day_cv=mine.day_cv.value,
            period_cv=mine.period_cv.value,
            period_s=mine.period_s,
        )
        base: dict[str, Any] = {} if self.ringing is None else {"ringing": self.ringing.distribution}
        return Traffic(
            arrivals=arrivals or weekly,
            holding=self.holding.distribution,
            outcomes=self.outcomes,
            redial=self.redial.redial,
            inbound_share=self.inbound_share,
            **base,
        )

    def hour(self, rate_per_minute: float) -> Arrivals:
        """Arrivals of one hour with that mean rate, and with the busyness of its periods."""
        cv = self.arrivals.period_cv.value
        if cv <= 0:
            return PoissonArrivals(kind="poisson", rate_per_minute=rate_per_minute)
        return OverdispersedArrivals(
            kind="overdispersed",
            rate_per_minute=rate_per_minute,
            busyness_cv=cv,
            period_s=self.arrivals.period_s,
        )

    def __repr__(self) -> str:
        weekday, hour = self.arrivals.busiest
        rate = self.arrivals.busiest_per_minute
        return (
            f"<Fit: up to {rate.value:.0f} ({rate.low:.0f} to {rate.high:.0f}) fresh calls per minute, "
            f"{WEEKDAYS[weekday]} {hour}:00; hold {self.holding.mean_s.value:.0f} s>"
        )


def ranged(draws: Sequence[float] | FloatArray, value: float, confidence: float = 0.95) -> Ranged:
    """A value with the central range of its draws."""
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Ranged(value, float(low), float(high))


def proportion(yes: float, no: float, confidence: float = 0.95) -> tuple[float, float]:
    """Jeffreys' interval for a share, of which so many cases were seen."""
    tail = (1 - confidence) / 2
    return float(stats.beta.ppf(tail, yes + 0.5, no + 0.5)), float(stats.beta.isf(tail, yes + 0.5, no + 0.5))
