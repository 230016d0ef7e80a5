"""Write and read `decision.json`: a pipeline decides by it, and a later history is scored against it.

The file has values only; each is finite or null. A range is `{value, low, high}`, of 95 % unless said otherwise. The
first ten keys are the contract and stay. Later versions may add keys after them.

    decision                approve, approve_lower, refuse, not_needed or cannot_tell
    requested_per_minute    the throttle that the request asks for
    recommended_per_minute  the throttle that the review recommends; for not_needed the present one; null: none
    confidence              probability that all targets hold together at the recommended throttle, or if there is
                            none, at the requested one
    per_interpretation      by interpretation of the throttle that takes part: its own answer, and `points` by candidate
                            with `targets`, `kpis` (by the model), `record` (the recorded calls, replayed), and
                            `busy_hours` (median of single periods, and the band of nine in ten)
    binding_now, binding_next   the resource that limits first, at the present and at the recommended throttle
    kpis                    now, requested, recommended: indicators under `kpis_interpretation`
    history                 source, first and last day, rows, attempts, oddities
    provenance              command, seed, versions, machine
    headline, reasons       the answer in words, and why
    name, trunk, now_per_minute, asked_confidence   as in the request
    depends_on_enforcement  whether interpretations come to different answers
    kpis_interpretation     the interpretation on which the decision rests
    busy_hour               `hours` in words, `fresh_per_minute` at the horizon, `periods`: the judged ones, with
                            `weekdays` (Monday is 0), `start_s` after midnight, `length_s`, `level_per_minute`
    horizon_days            days from the history's end to the day for which the answer must hold
    backcast                by interpretation: whether it `reproduces` the history, and `rows` (seen, expected, p_value)
    contradicted            interpretations that the history contradicts
    disagreements           throttles at which model and record disagree, with the hours that cause it
    situations              the first table of the page: today, recommended, requested, nothing done for a year. Where
                            `beyond` is true, the figures are lower bounds
    protection              by candidate, if the customer uses all of it: share of calls `blocked` by trunk, channels,
                            cores, MOS
    two_states              attempts refused in `calm` and in `collapsed` periods, for throttles that have both states
    fit                     the traffic behind the history
    limits, needed, tornado, measure_next, rollout, neighbours, checks, warnings, assumptions   as on the page
    forecast                fresh calls of the hours and days after the history, without growth
    simulated_calls, engine what was simulated for the answer, and by which engine
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trunkproof.experiments.review.result import BackCast, InterpretationResult, Point, Review
from trunkproof.loadgen.system.files import write_text
from trunkproof.models.demand.fitting.forecast import forecast
from trunkproof.models.demand.fitting.result import WEEKDAYS, Fit, Ranged
from trunkproof.models.errors import InputError, Problem, why_unreadable
from trunkproof.models.forms import explain

DECISION = "decision.json"
_FORECAST_DAYS, _FORECAST_COVERAGE = 184, 0.9


class _Part(BaseModel):
    """A part of the file that `score` reads. Other keys may stand beside."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class _Range(_Part):
    value: float | None
    low: float | None
    high: float | None


_Limit = Annotated[int, Field(ge=1, le=10**9)]


class _Step(_Part):
    per_minute: _Limit
    bands: dict[str, _Range]


class _Point(_Part):
    per_minute: _Limit
    busy_hours: dict[str, _Range | None] = {}


class _Interpretation(_Part):
    points: list[_Point]


class _Period(_Part):
    weekdays: Annotated[list[Annotated[int, Field(ge=0, le=6)]], Field(min_length=1)]
    start_s: Annotated[float, Field(ge=0, lt=86_400)]
    length_s: Annotated[float, Field(gt=0, le=86_400)]
    level_per_minute: float


class _BusyHour(_Part):
    periods: list[_Period] = []
    fresh_per_minute: _Range


class _Fit(_Part):
    mean_hold_s: _Range


class _Forecast(_Part):
    asked: float
    hours: dict[str, list[str | float | None]]
    days: dict[str, list[str | float | None]]


class _Scored(_Part):
    """What `score` reads. A file of an earlier version may lack some of it: `score` says so."""

    now_per_minute: _Limit | None = None
    rollout: list[_Step] = []
    busy_hour: _BusyHour = _BusyHour(fresh_per_minute=_Range(value=None, low=None, high=None))
    fit: _Fit = _Fit(mean_hold_s=_Range(value=None, low=None, high=None))
    forecast: _Forecast | None = None
    per_interpretation: dict[str, _Interpretation] = {}
    per_reading: dict[str, _Interpretation] = {}


def write_decision(review: Review, folder: Path) -> Path:
    """Write the review's decision into a folder. Return the path of the file."""
    path = folder / DECISION
    write_text(path, json.dumps(to_json(review), indent=2, allow_nan=False) + "\n")
    return path


def read_decision(path: Path) -> dict[str, Any]:
    """Read what `write_decision` wrote.

    Raises:
        InputError: the file cannot be read, or is not a decision.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            str(path), [Problem(where="decision", what=f"cannot be read ({why_unreadable(error)})")]
        ) from None
    if not isinstance(saved, dict) or "decision" not in saved:
        raise InputError(str(path), [Problem(where="decision", what="is no decision.json of `trunkproof review`")])
    try:
        _Scored.model_validate(saved)
    except ValidationError as error:
        problems = [Problem(where=".".join(map(str, one["loc"])), what=explain(one)) for one in error.errors()]
        raise InputError(str(path), problems) from None
    return saved


def to_json(review: Review) -> dict[str, Any]:
    """Return the content of `decision.json`."""
    strictest = review.strictest
    return {
        name: plain(value)
        for name, value in {
            "decision": review.decision,
            "requested_per_minute": review.request.requested_per_minute,
            "recommended_per_minute": review.recommended_per_minute,
            "confidence": review.confidence,
            "per_interpretation": dict(
                zip(names_of(review.interpretations), map(_interpretation, review.interpretations), strict=True)
            ),
            "binding_now": review.binding_now,
            "binding_next": review.binding_next,
            "kpis": _kpis(review, strictest),
            "history": _history(review),
            "provenance": review.provenance.to_json(),
            "headline": review.headline,
            "reasons": review.reasons,
            "name": review.request.name,
            "trunk": review.request.trunk,
            "now_per_minute": review.request.now_per_minute,
            "asked_confidence": review.request.confidence,
            "depends_on_enforcement": review.depends_on_enforcement,
            "kpis_interpretation": None if strictest is None else strictest.interpretation.describe(),
            "busy_hour": {
                "hours": review.busy_hour,
                "fresh_per_minute": review.busy_hour_per_minute,
                "periods": review.busy_periods,
            },
            "horizon_days": review.request.horizon_days,
            "backcast": [_back_cast(one) for one in review.backcast],
            "contradicted": [interpretation.describe() for interpretation in review.contradicted],
            "disagreements": review.disagreements,
            "situations": review.situations,
            "protection": review.protection,
            "two_states": review.states,
            "fit": _fit(review.fit),
            "limits": review.limits,
            "needed": review.needed,
            "tornado": review.tornado,
            "measure_next": review.measure_next,
            "rollout": review.rollout,
            "neighbours": {
                name: {"now": now, "requested": requested} for name, (now, requested) in review.neighbours.items()
            },
            "checks": review.checks,
            "warnings": review.fit.warnings,
            "assumptions": review.assumptions,
            "forecast": _forecast(review.fit),
            "simulated_calls": review.simulated_calls,
            "engine": review.request.engine.value,
        }.items()
    }


def plain(value: Any) -> Any:
    """Return any value of a review as JSON can hold it. Numbers that are not finite become None."""
    value = _unpacked(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _unpacked(value: Any) -> Any:
    """Return the plain content of an enum, table, model, array or dataclass; any other value as it is."""
    match value:
        case Enum():
            return value.value
        case pl.DataFrame():
            return value.with_columns(pl.col(pl.Datetime).dt.to_string("%Y-%m-%dT%H:%M")).to_dicts()
        case BaseModel():
            return value.model_dump(mode="json")
        case np.ndarray() | np.generic():
            return value.tolist()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def names_of(interpretations: Sequence[InterpretationResult]) -> list[str]:
    """Return a key for each interpretation: its policy, with a number where several have the same policy."""
    policies = [result.interpretation.policy for result in interpretations]
    seen: Counter[str] = Counter()
    names = []
    for policy in policies:
        seen[policy] += 1
        names.append(policy if policies.count(policy) == 1 else f"{policy} {seen[policy]}")
    return names


def _back_cast(found: BackCast) -> dict[str, Any]:
    return {"interpretation": found.interpretation.describe(), "reproduces": found.reproduces, "rows": found.rows}


def _interpretation(result: InterpretationResult) -> dict[str, Any]:
    return {
        "interpretation": result.interpretation.describe(),
        "decision": result.decision,
        "recommended_per_minute": result.recommended_per_minute,
        "smallest_per_minute": result.smallest_per_minute,
        "points": [
            {
                "per_minute": point.limit_per_minute,
                "holds": point.holds,
                "confidence": point.confidence,
                "targets": point.targets,
                "kpis": point.kpis,
                "record": point.record,
                "busy_hours": point.busy_hours,
            }
            for point in result.points
        ],
    }


def _kpis(review: Review, strictest: InterpretationResult | None) -> dict[str, Any]:
    request = review.request
    limits = {
        "now": request.now_per_minute,
        "requested": request.requested_per_minute,
        "recommended": review.recommended_per_minute,
    }
    return {name: None if strictest is None else _point(strictest, limit) for name, limit in limits.items()}


def _point(result: InterpretationResult, limit: int | None) -> Mapping[str, Ranged] | None:
    points: list[Point] = [point for point in result.points if point.limit_per_minute == limit]
    return points[0].kpis if points else None


def _history(review: Review) -> dict[str, Any]:
    history, counts = review.history, review.history.counts
    return {
        "source": history.source,
        "format": history.format,
        "timezone": history.timezone,
        "rows_read": history.rows_read,
        "attempts": history.attempts,
        "days": history.days,
        "first": _day(counts, "min"),
        "last": _day(counts, "max"),
        "refused_share": review.fit.censoring.refused_share,
        "odd_rows": sum(oddity.count for oddity in history.oddities),
        "oddities": {oddity.kind: oddity.count for oddity in history.oddities},
        "oddities_explained": [oddity.to_json() for oddity in history.oddities],
    }


def _day(counts: pl.DataFrame, which: str) -> str | None:
    value = getattr(counts["start_local"], which)()
    return None if value is None else str(value.date())


def _fit(fit: Fit) -> dict[str, Any]:
    weekday, hour = fit.arrivals.busiest
    return {
        "offered_per_minute": fit.arrivals.busiest_per_minute,
        "busiest_hour": f"{WEEKDAYS[weekday]} {hour}:00",
        "day_cv": fit.arrivals.day_cv,
        "period_cv": fit.arrivals.period_cv,
        "period_s": fit.arrivals.period_s,
        "mean_hold_s": fit.holding.mean_s,
        "holding": fit.holding.distribution.describe(),
        "redial_probability": fit.redial.probability,
        "redial_observed": fit.redial.observed,
        "redial_by_reason": {reason.value: chance for reason, chance in fit.redial.by_reason.items()},
        "short_share": fit.short_share,
        "inbound_share": fit.inbound_share,
        "outcomes": fit.outcomes,
        "recovered_calls": fit.censoring.recovered_calls,
        "rate_per_minute": fit.arrivals.rate_per_minute,
        "held_out": None
        if fit.held_out is None
        else {"asked": fit.held_out.asked, "by_hour": fit.held_out.seen_by_hour, "by_day": fit.held_out.seen_by_day},
        "is_enough": fit.is_enough,
        "refusals": fit.refusals,
    }


def _forecast(fit: Fit) -> dict[str, Any] | None:
    """Return the forecast of fresh calls after the history, at its level and without growth. None if there is none."""
    if fit.outlook is None:
        return None
    first = fit.outlook.last + timedelta(days=1)
    hours, days = forecast(fit, first, _FORECAST_DAYS, coverage=_FORECAST_COVERAGE, fresh=True)
    return {
        "asked": _FORECAST_COVERAGE,
        "counted": "fresh calls",
        "days": _columns(days, "%Y-%m-%d"),
        "hours": _columns(hours, "%Y-%m-%dT%H:%M"),
    }


def _columns(table: pl.DataFrame, form: str) -> dict[str, list[Any]]:
    rounded = table.with_columns(pl.col("start_local").dt.to_string(form), pl.col("expected", "low", "high").round(1))
    return rounded.to_dict(as_series=False)
