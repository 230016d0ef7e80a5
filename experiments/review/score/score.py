"""After a raise: compare the new history with the forecast of the review, and say whether to go on.

The rollout in `decision.json` has bands for single judged periods, and a rule that halts the raise. Without a raise
there are no bands: then the demand of the judged periods is compared, and whether an interpretation of the throttle
still fits. Nothing is fitted again. A history that differs from the forecast is a reason for another review.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import polars as pl

from trunkproof.experiments.review.decision_json import plain, to_json
from trunkproof.experiments.review.periods.observed import by_hour, by_period
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import Review
from trunkproof.experiments.review.score.bands import Band
from trunkproof.experiments.review.score.coverage import Coverage, coverage_of
from trunkproof.experiments.review.score.still_fits import (
    DemandSeen,
    InterpretationSeen,
    interpretations_said,
    interpretations_seen,
    periods_of,
    ranged_of,
)
from trunkproof.experiments.review.words.rollout import HOURS_WATCHED, WATCHED
from trunkproof.models.demand.fitting.result import Ranged
from trunkproof.models.demand.fitting.told_apart import told_apart
from trunkproof.models.demand.history.table import CallStatus, History
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.html import html_table
from trunkproof.models.kpis import DEFINITIONS

_NOTABLE_HOLD = 0.05
"""A smaller difference of the mean hold decides nothing, however significant it is."""


class Verdict(StrEnum):
    """How the new history compares with the forecast."""

    AS_FORECAST = "as forecast"
    BETTER = "better"
    WORSE = "worse"
    OTHER = "otherwise than forecast"
    """Demand or holding times differ from the forecast, but no more calls are refused or lost."""
    CANNOT_TELL = "cannot tell"


class Advice(StrEnum):
    """What to do."""

    GO_ON = "go on"
    HALT = "halt"
    WAIT = "wait"
    """Too few busy hours have been seen yet."""
    REVIEW_AGAIN = "review again"
    NONE = "nothing was raised"
    """The review advised no raise, and its forecast holds as far as can be seen."""


@dataclass(frozen=True)
class Hold:
    """The mean holding time, seen and forecast."""

    forecast: Ranged
    seen: Ranged
    differs: bool


@dataclass(frozen=True, eq=False)
class Score:
    """The whole answer."""

    name: str
    per_minute: int
    """The throttle in force."""
    verdict: Verdict
    advice: Advice
    next_per_minute: int | None
    """The next step of the rollout."""
    bands: tuple[Band, ...]
    demand: DemandSeen
    """Of the judged periods."""
    interpretations: tuple[InterpretationSeen, ...]
    """Each interpretation of the throttle that took part, against the refused shares seen at the one in force."""
    hold: Hold | None
    coverage: Coverage
    busy_hours: pl.DataFrame
    """The judged periods: `began`, the indicators seen, and `outside`: those beyond their band."""

    @property
    def said(self) -> str:
        """The answer in a few sentences."""
        broken = [band.breach for band in self.bands if band.kept is False]
        if self.hold is not None and self.hold.differs:
            broken.append(f"calls hold {self.hold.seen.value:.0f} s instead of {self.hold.forecast.value:.0f} s")
        why = f" ({'; '.join(broken)})" if broken else ""
        count = self.busy_hours.height
        plural = "" if count == 1 else "s"
        held = f"{count} judged period{plural} at {self.per_minute} calls per minute: {self.verdict}{why}"
        rest = (self.demand.said, interpretations_said(self.interpretations, self.per_minute), self.coverage.said)
        return " ".join(filter(None, (f"{held}; {self._todo}.", *rest)))

    @property
    def _todo(self) -> str:
        following = self.next_per_minute
        complete = f"the raise is complete at {self.per_minute} per minute"
        return {
            Advice.GO_ON: f"go on to {following} per minute" if following else complete,
            Advice.HALT: "halt, and go back to the step before",
            Advice.WAIT: f"wait until {HOURS_WATCHED} judged periods have been seen",
            Advice.REVIEW_AGAIN: "review again with this history"
            + (" before the next step" if self.bands and following else ""),
            Advice.NONE: "no raise was advised, so there are no bands to keep",
        }[self.advice]

    def __repr__(self) -> str:
        return f"<Score of {self.name!r}: {self.said}>"

    def _repr_html_(self) -> str:
        rows = [
            (DEFINITIONS[band.kpi].title if band.kpi in DEFINITIONS else band.kpi, _word(band)) for band in self.bands
        ]
        return html_table(("indicator", "against its band"), rows, caption=self.said)

    def to_json(self) -> dict[str, Any]:
        """All values, ready for `json.dumps`."""
        return dict(
            plain(
                {
                    "name": self.name,
                    "per_minute": self.per_minute,
                    "verdict": self.verdict,
                    "advice": self.advice,
                    "next_per_minute": self.next_per_minute,
                    "said": self.said,
                    "bands": {band.kpi: band.to_json() for band in self.bands},
                    "demand": self.demand.to_json(),
                    "interpretations": {one.name: one.to_json() for one in self.interpretations},
                    "mean_hold_s": self.hold,
                    "coverage": self.coverage.to_json(),
                    "busy_hours": self.busy_hours,
                }
            )
        )


def _word(band: Band) -> str:
    return {True: "kept", False: band.breach, None: "not seen"}[band.kept]


def score(
    decision: Mapping[str, Any] | Review, history: History, request: Request, *, per_minute: int | None = None
) -> Score:
    """Hold the history since a raise against the review that advised it.

    Args:
        decision: the review, or the content of its `decision.json`.
        history: of the time since the raise only (`history.since` of a request says where it begins).
        request: the review's; its growth is in the forecast.
        per_minute: the throttle in force; None is the first step of the rollout, or today's throttle without a raise.

    Raises:
        InputError: it is not a decision of a review, or it has no such step.
    """
    decision = to_json(decision) if isinstance(decision, Review) else decision
    step, following = _steps(decision, per_minute)
    limit, periods = int(step["per_minute"]), periods_of(decision)
    history = told_apart(history, limit, request.enforced, seed=request.seed)
    busy = by_period(history, periods)
    bands = tuple(Band.of(name, ranged_of(band), busy) for name, band in step["bands"].items())
    demand = DemandSeen.of(decision, busy, periods[0].length_s if periods else 3600.0, request.growth)
    interpretations = interpretations_seen(decision, limit, busy)
    hold = _hold(decision, history)
    if bands:
        verdict, advice = _judge(bands, demand, hold, busy.height)
    else:
        verdict, advice = _judge_without_raise(demand, interpretations, hold)
    return Score(
        name=request.name,
        per_minute=limit,
        verdict=verdict,
        advice=advice,
        next_per_minute=following,
        bands=bands,
        demand=demand,
        interpretations=interpretations,
        hold=hold,
        coverage=coverage_of(decision, by_hour(history), request.growth),
        busy_hours=_marked(busy, bands),
    )


def _steps(decision: Mapping[str, Any], per_minute: int | None) -> tuple[Mapping[str, Any], int | None]:
    """Return the step in force and the next step's throttle; without a raise, today's throttle without bands."""
    missing = [name for name in ("rollout", "fit", "history", "now_per_minute", "busy_hour") if name not in decision]
    if missing:
        raise InputError("decision", [Problem(where=name, what="is missing: no decision.json?") for name in missing])
    steps = decision["rollout"] or [{"per_minute": decision["now_per_minute"], "bands": {}}]
    limits = [int(step["per_minute"]) for step in steps]
    wanted = limits[0] if per_minute is None else per_minute
    if wanted not in limits:
        what = f"{wanted} calls per minute is no step; there are {', '.join(map(str, limits))}"
        raise InputError("decision", [Problem(where="rollout", what=what)])
    at = limits.index(wanted)
    return steps[at], limits[at + 1] if at + 1 < len(limits) else None


def _hold(decision: Mapping[str, Any], history: History) -> Hold | None:
    if history.calls is None:
        return None
    held = history.calls.filter(pl.col("status") == CallStatus.ANSWERED.value)["holding_s"].drop_nulls().to_numpy()
    if len(held) < 2:
        return None
    forecast = ranged_of(decision["fit"]["mean_hold_s"])
    mean, error = float(held.mean()), float(held.std(ddof=1)) / math.sqrt(len(held))
    unsure = math.hypot(error, (forecast.high - forecast.low) / (2 * 1.96))
    apart = abs(mean - forecast.value)
    differs = apart > 2.81 * unsure and apart > _NOTABLE_HOLD * forecast.value  # 2.81: two-sided 0.005
    return Hold(forecast, Ranged(mean, mean - 1.96 * error, mean + 1.96 * error), differs)


def _judge(bands: tuple[Band, ...], demand: DemandSeen, hold: Hold | None, hours: int) -> tuple[Verdict, Advice]:
    watched = [band for band in bands if band.kpi in WATCHED and band.hours]
    if any(band.halts or band.too_high for band in watched):
        return Verdict.WORSE, Advice.HALT
    if not watched:
        return Verdict.CANNOT_TELL, Advice.WAIT
    others = any(band.kept is False for band in bands if band.kpi not in WATCHED)
    others = others or demand.is_higher or (hold is not None and hold.differs)
    better = any(band.too_low for band in watched)
    verdict = Verdict.OTHER if others else Verdict.BETTER if better else Verdict.AS_FORECAST
    if hours < HOURS_WATCHED:
        return verdict, Advice.WAIT
    return verdict, Advice.REVIEW_AGAIN if others else Advice.GO_ON


def _judge_without_raise(
    demand: DemandSeen, interpretations: tuple[InterpretationSeen, ...], hold: Hold | None
) -> tuple[Verdict, Advice]:
    """Compare with the forecast where the throttle stayed: does an interpretation still fit, is demand no higher?"""
    seen = [one for one in interpretations if one.fits is not None]
    if seen and all(one.refused.too_high for one in seen):
        return Verdict.WORSE, Advice.REVIEW_AGAIN
    differs = hold is not None and hold.differs
    if demand.is_higher or differs or (seen and not any(one.fits for one in seen) and not demand.is_lower):
        return Verdict.OTHER, Advice.REVIEW_AGAIN
    if demand.seen is None and not seen:
        return Verdict.CANNOT_TELL, Advice.NONE
    return Verdict.BETTER if demand.is_lower else Verdict.AS_FORECAST, Advice.NONE


def _marked(busy: pl.DataFrame, bands: tuple[Band, ...]) -> pl.DataFrame:
    outside = [
        pl.when((pl.col(band.kpi) < band.forecast.low) | (pl.col(band.kpi) > band.forecast.high)).then(pl.lit(band.kpi))
        for band in bands
        if band.kpi in busy.columns
    ]
    listed = pl.concat_list(outside).list.drop_nulls() if outside else pl.lit([], dtype=pl.List(pl.String))
    return busy.with_columns(outside=listed)
