"""The result of a fit: the traffic behind a history, its uncertainty, and whether it is enough for a decision.

Every estimate has an interval. Those on which a decision depends also have equally likely alternatives ("draws"), which
carry their uncertainty into the simulation. The modules beside this one compute them.
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
        """Return all values, ready for `json.dumps`."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class ArrivalFit:
    """Fresh calls offered: first attempts, without redials and with those that were refused.

    Arrays of draws have one entry per equally likely alternative. Entries of different arrays belong together.
    """

    rate_per_minute: FloatArray
    """Rate by weekday, Monday first, and local hour, shape (7, 24)."""
    rate_draws: FloatArray
    """Shape (draws, 7, 24)."""
    day_cv: Ranged
    """Coefficient of variation of the factor that all hours of a day share."""
    day_cv_draws: FloatArray
    period_cv: Ranged
    """Coefficient of variation of the factor of each period."""
    period_cv_draws: FloatArray
    period_s: float

    @property
    def busiest(self) -> tuple[int, int]:
        """Return the weekday and hour with the highest rate."""
        weekday, hour = np.unravel_index(int(np.argmax(self.rate_per_minute)), (7, 24))
        return int(weekday), int(hour)

    @property
    def busiest_per_minute(self) -> Ranged:
        """Return the rate of the busiest hour of the week, averaged over days."""
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
    """The chosen distribution."""
    mean_s: Ranged
    alternatives: tuple[Alternative, ...]
    """All distributions that were tried, the best first."""
    observed_quantiles_s: FloatArray
    """For a QQ plot, at the probabilities (i + 0.5) / n."""
    fitted_quantiles_s: FloatArray
    count: int


@dataclass(frozen=True, eq=False)
class RedialFit:
    """What callers do after a failure."""

    redial: Redial
    probability: Ranged
    """Probability of another attempt after a refusal by the throttle, over attempts of any number."""
    observed: bool
    """Whether the history shows it: it has the numbers of both sides, and at least 50 refusals."""
    by_reason: Mapping[Disposition, Ranged] = field(default_factory=dict)
    """The same probability after each kind of failure in the history."""
    chances: tuple[ReasonChances, ...] = ()
    """The counts and posteriors behind them."""

    def draw(self, rng: np.random.Generator) -> Redial:
        """Return one equally likely alternative of `redial`, with all its probabilities drawn from their posteriors."""
        return with_chances(self.redial, {each.reason: each.draw(rng) for each in self.chances})


@dataclass(frozen=True, eq=False)
class Censoring:
    """The demand that the throttle of the time hid."""

    refused_share: float
    """Share of the history's attempts that were refused."""
    attempts_per_minute: FloatArray
    """Attempts seen, including redials and refusals, shape (7, 24)."""
    recovered_calls: float
    """Fresh calls that were refused and never came through: demand that admitted calls do not show."""
    hours_above_limit: int
    """Number of hours of the history with refused attempts."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Days that were kept out of the fit, with their forecast."""

    asked: float
    """Coverage asked for, such as 0.9."""
    hours: pl.DataFrame
    """`start_local`, `seen`, `low`, `high`, `expected`: attempts per hour."""
    days: pl.DataFrame
    """The same by day."""

    def times(self, factor: float) -> HeldOut:
        """Return the same with all counts multiplied."""
        return HeldOut(self.asked, times(self.hours, factor), times(self.days, factor))

    @property
    def seen_by_hour(self) -> float:
        """Return the share of hours inside their interval."""
        return _covered(self.hours)

    @property
    def seen_by_day(self) -> float:
        """Return the share of days inside their interval."""
        return _covered(self.days)


@dataclass(frozen=True, eq=False)
class Scores:
    """Distances of counts from their expectation, in units of the expected deviation."""

    values: FloatArray
    """Ascending."""
    weights: FloatArray
    """Weights of sum 1: odd days have the weight with which they are expected to come."""

    def __len__(self) -> int:
        return len(self.values)

    def shortest(self, share: float) -> tuple[float, float]:
        """Return the shortest interval that contains the next score with that probability."""
        # The next score is one more than those seen, so the interval must hold a little more of these (conformal
        # prediction). The small number keeps rounding from asking for one score too many.
        held = min(share * (1 + 1 / len(self)), 1.0) - 1e-9
        reached = np.cumsum(self.weights)
        before = reached - self.weights
        # Every interval that holds the share begins at one of these scores. The shortest wins, on whichever side it
        # lies.
        starts = np.flatnonzero(before <= 1 - held)
        ends = np.minimum(np.searchsorted(reached, before[starts] + held), len(self) - 1)
        lengths = self.values[ends] - self.values[starts]
        chosen = int(np.argmin(lengths))
        return float(self.values[starts[chosen]]), float(self.values[ends[chosen]])


@dataclass(frozen=True, eq=False)
class Outlook:
    """What a forecast needs: a usual week, the level and how it moves, and how far counts are from expectations.

    `models.demand.fitting.forecast` makes intervals of it.
    """

    last: date
    """Last local day of the fit."""
    attempts_per_minute: FloatArray
    """Rate expected on a usual day at the level of the whole history, shape (7, 24)."""
    calls_behind: FloatArray
    """Number of calls behind each of these rates, shape (7, 24)."""
    fresh_share: FloatArray
    """Fresh calls per attempt, shape (7, 24)."""
    month: FloatArray
    """The month's cycle: factors of `models.demand.fitting.month.harmonics`, shape (2,)."""
    levels: Levels
    """The logs of the level over that of the whole history."""
    odd_share: float
    """Expected share of odd days to come: holidays, breakdowns, very busy days."""
    day_cv: float
    """Coefficient of variation of a usual day about its expectation from other weeks."""
    hour_cv: FloatArray
    """The same of each hour, shape (24,)."""
    day_scores: Scores | None
    """Scores of the history's days, each forecast from other weeks; None where the history is too short."""
    hour_scores: tuple[Scores, ...]
    """Scores of hours, by class of expected attempts."""
    shows_odd: bool
    """Whether the scores contain odd days."""

    def level(self, weeks: float) -> tuple[float, float]:
        """Return the log of the level so many weeks after the end over that of the history, and its deviation."""
        return self.levels.at(7 * weeks)


def times(table: pl.DataFrame, factor: float) -> pl.DataFrame:
    """Return a forecast multiplied by a factor."""
    return table.with_columns(pl.exclude("start_local") * factor)


def _covered(table: pl.DataFrame) -> float:
    # Both ends belong to the interval: counts are whole numbers and often lie on one.
    inside = (table["seen"] >= table["low"]) & (table["seen"] <= table["high"])
    return float(inside.mean() or 0.0) if table.height else float("nan")  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Fresh:
    """The fresh calls of a history."""

    table: pl.DataFrame
    """`start_local`, and the number of calls that began then in `column`."""
    column: str
    interval_s: float | None
    """Length of the interval of each row. For single calls it is the rounding of their instants; None if exact."""

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
        # Parts of calls are drawn as whole ones, so that on average as many come.
        whole = np.floor(np.maximum(wanted, 0.0))
        times = (whole + (random.random(len(wanted)) < wanted - whole)).astype(np.int64)
        spread = np.repeat(at_s, times)
        if self.interval_s is not None:
            # Calls at the beginning of each interval would come in batches that nobody saw.
            spread = spread + self.interval_s * random.random(len(spread))
        return np.sort(spread)


@dataclass(frozen=True, eq=False)
class Fit:
    """The traffic behind a history."""

    arrivals: ArrivalFit
    grid: Grid
    """Fresh calls on the usual days."""
    odd: tuple[OddDay, ...]
    """Closed and quiet days, breakdowns, and very busy days, by date."""
    days: DayRates
    """The demand of each of these days, minute by minute."""
    fresh: Fresh
    """The fresh calls themselves, as recorded."""
    holding: DurationFit
    ringing: DurationFit | None
    outcomes: Outcomes
    """How admitted attempts ended."""
    redial: RedialFit
    short_share: Ranged | None
    """Share of answered calls shorter than `short_s`."""
    short_s: float
    inbound_share: float
    censoring: Censoring
    held_out: HeldOut | None
    variance_to_mean: pl.DataFrame
    """`start_local` (or weekday and hour), `mean`, `variance` of counts per period across days."""
    warnings: tuple[str, ...] = field(default=())
    """Sentences that a reader must know before trusting the fit."""
    refusals: tuple[str, ...] = field(default=())
    """Reasons why this history is not enough for a decision; empty if it is."""
    outlook: Outlook | None = None
    """Input of `models.demand.fitting.forecast`; None where the history is too short."""
    multiplied: float = 1.0
    """Factor from the counts of the file to rates. `outlook` is of the file's counts; forecasts are multiplied."""

    def times(self, factor: float) -> Fit:
        """Return the same traffic with rates multiplied; busyness and the behaviour of callers stay."""
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
            # The outlook stays in the file's counts, because its scores depend on how many calls there are.
            multiplied=factor * self.multiplied,
        )

    @property
    def is_enough(self) -> bool:
        """Tell whether the history is enough for a decision."""
        return not self.refusals

    def traffic(self, arrivals: Arrivals | None = None) -> Traffic:
        """Return the fit as the traffic of a study; by default with the arrivals of the whole week."""
        mine = self.arrivals
        weekly = WeeklyArrivals(
            kind="weekly",
            hourly_per_minute=tuple(tuple(map(float, day)) for day in mine.rate_per_minute),
            day_cv=mine.day_cv.value,
            period_cv=mine.period_cv.value,
            period_s=mine.period_s,
        )
        # Without ringing times in the history the study's own default stays.
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
        """Return arrivals of one hour with that mean rate and with the busyness of periods."""
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
    """Return a value with the central range of its draws."""
    # The central range: the draws may be skew.
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Ranged(value, float(low), float(high))


def proportion(yes: float, no: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return Jeffreys' interval of a share, from the numbers of cases seen."""
    tail = (1 - confidence) / 2
    # It keeps within 0 to 1, where a normal interval leaves it for few or many cases.
    return float(stats.beta.ppf(tail, yes + 0.5, no + 0.5)), float(stats.beta.isf(tail, yes + 0.5, no + 0.5))
