"""A plausible review, made by hand from smooth formulas: what the page's tests lay out, in seconds and without a sweep.

Its figures hang together, but no simulation stands behind them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from trunkproof.experiments.common.provenance import Provenance
from trunkproof.experiments.review.periods.busy import BusyPeriod
from trunkproof.experiments.review.request import Neighbour, Request
from trunkproof.experiments.review.result import (
    BackCast,
    BackCastRow,
    Check,
    Decision,
    Disagreement,
    Endings,
    InterpretationResult,
    Judged,
    Limit,
    Needed,
    Point,
    Protection,
    Replay,
    Resource,
    Review,
    RolloutStep,
    Situation,
    Swing,
    TwoStates,
)
from trunkproof.models.demand.fitting.day_rates import DayRates
from trunkproof.models.demand.fitting.grid import Grid
from trunkproof.models.demand.fitting.odd_days import OddDay, OddKind
from trunkproof.models.demand.fitting.result import (
    Alternative,
    ArrivalFit,
    Censoring,
    DurationFit,
    Fit,
    Fresh,
    HeldOut,
    Ranged,
    RedialFit,
)
from trunkproof.models.demand.history.settings import HistorySettings
from trunkproof.models.demand.history.table import History, Oddity
from trunkproof.models.distributions import Exponential, Lognormal
from trunkproof.models.study import Carrier, Pop
from trunkproof.models.traffic import Outcomes, Redial

CANDIDATES = (200, 250, 300, 350, 400, 460, 520)
GROWTH = tuple(0.8 + 0.05 * step for step in range(17))
DEMAND = 318.0
"""Fresh calls a minute in the busy hour at the planned growth."""
PLANNED = 1.15
SOFTNESS = (14.0, 11.0, 26.5, 9.0)
"""Of the interpretations that the history does not contradict: how early each begins to refuse."""
RECORDED = 1.25
"""So many times what the model loses and refuses is lost and refused in the record."""
BUSY = BusyPeriod((0, 1, 2, 3, 4), 38_700.0, 3600.0, 352.0)
DAYS = 30


def request(name: str = "Three hundred seats, from 200 to 400") -> Request:
    return Request(
        name=name,
        trunk="support",
        history=HistorySettings(path=Path("support.csv")),
        requested_per_minute=400,
        growth=PLANNED,
        horizon_days=90,
        pop=Pop(carrier=Carrier(channels=900, calls_per_second=12)),
        neighbours=(Neighbour(name="sales", per_minute=90),),
    )


def lost_share(limit: int, demand: float, softness: float) -> float:
    return softness * float(np.logaddexp(0, (demand - limit) / softness)) / demand


def wide(value: float, share: float = 0.18) -> Ranged:
    return Ranged(value, value * (1 - share), value * (1 + share))


def _kpis(limit: int, demand: float, softness: float, times: float = 1.0) -> dict[str, Ranged]:
    lost = min(1.0, times * lost_share(limit, demand, softness))
    carried = demand * (1 - lost)
    return {
        "customers_lost_share": wide(lost, 0.3),
        "refused_share": wide(1.7 * lost / (1 + 1.7 * lost), 0.3),
        "srd_p95_ms": wide(196 + 90 * lost, 0.05),
        "ner": Ranged(0.93 * (1 - lost), 0.92 * (1 - lost), min(1.0, 0.95 * (1 - lost))),
        "mos_p5": Ranged(4.36, 4.35, 4.37),
        "peak_concurrency": wide(carried * 2.5, 0.06),
        "peak_channels": wide(carried * 2.65, 0.06),
        "cpu_share": wide(0.0011 * carried * 2.5, 0.08),
    }


def _judged(kpi: str, bound: float, is_upper: bool, value: Ranged) -> Judged:
    spread = max((value.high - value.low) / 4, 1e-9)
    z = (bound - value.value) / spread * (1 if is_upper else -1)
    confidence = 0.5 * (1 + math.erf(z / math.sqrt(2)))
    holds = True if confidence >= 0.95 else False if confidence <= 0.05 else None
    return Judged(kpi, bound, is_upper, value, confidence, holds)


def _point(limit: int, softness: float) -> Point:
    kpis, replayed = _kpis(limit, DEMAND, softness), _kpis(limit, DEMAND, softness, RECORDED)
    record = {kpi: replayed[kpi] for kpi in ("customers_lost_share", "refused_share", "peak_concurrency")}
    bounds = (("customers_lost_share", 0.01, True), ("refused_share", 0.01, True), ("srd_p95_ms", 2000.0, True))
    worse = kpis | {kpi: record[kpi] for kpi in ("customers_lost_share", "refused_share")}
    targets = tuple(_judged(kpi, bound, up, worse[kpi]) for kpi, bound, up in (*bounds, ("mos_p5", 4.0, False)))
    hours = {name: wide(value.value, 0.4) for name, value in kpis.items()}
    least = min(target.confidence for target in targets)
    fails = any(target.holds is False for target in targets)
    return Point(limit, kpis, record, hours, targets, least, True if least >= 0.95 else False if fails else None)


def interpretations() -> tuple[InterpretationResult, ...]:
    found = []
    for interpretation, softness in zip(request().interpretations, SOFTNESS, strict=False):
        points = tuple(_point(limit, softness) for limit in CANDIDATES)
        smallest = min(point.limit_per_minute for point in points if point.holds)
        growing = {
            limit: tuple(lost_share(limit, DEMAND * growth / PLANNED, softness) for growth in GROWTH)
            for limit in CANDIDATES
        }
        found.append(InterpretationResult(interpretation, points, Decision.APPROVE, 400, smallest, growing))
    return tuple(found)


def backcast() -> tuple[BackCast, ...]:
    """All interpretations: the last one is contradicted."""
    found = []
    for number, interpretation in enumerate(request().interpretations):
        off = 1.5 if number == len(SOFTNESS) else 1.0
        rows = [
            _row("the busy periods", "attempts refused", "share", 0.362, 0.355 * off, 0.012, decisive=True),
            _row("the busy periods", "attempts", "per minute", 313.4, 310.2, 4.1, decisive=False),
            _row("the busy periods", "admitted", "per minute", 199.2, 199.6, 0.6, decisive=True),
            _row("the busy periods", "calls at once", "1", 545.0, 541.0, 9.0, decisive=False),
            _row("other hours near the limit", "attempts refused", "share", 0.081, 0.078, 0.006, decisive=True),
            _row("the worst busy periods", "attempts refused", "share", 0.411, 0.398, 0.02, decisive=False),
        ]
        found.append(BackCast(interpretation, tuple(rows)))
    return tuple(found)


def _row(  # noqa: PLR0917  # as they stand in a row
    scope: str, quantity: str, unit: str, seen: float, mean: float, reach: float, *, decisive: bool
) -> BackCastRow:
    p_value = math.erfc(abs(seen - mean) / reach * 1.96 / math.sqrt(2))
    expected = Ranged(mean, mean - reach, mean + reach)
    return BackCastRow(scope, quantity, unit, seen, expected, p_value, decisive, p_value >= 0.01)


def situations() -> tuple[Situation, ...]:
    """Under the third interpretation, which is the strictest; a year of growth is beyond what was simulated."""
    return tuple(
        _situation(name, limit, demand)
        for name, limit, demand in (
            ("today", 200, DEMAND / PLANNED),
            ("recommended", 400, DEMAND),
            ("asked for", 400, DEMAND),
            ("nothing done for a year", 200, 1.6 * DEMAND),
        )
    )


def _situation(name: str, limit: int, demand: float) -> Situation:
    kpis = _kpis(limit, demand, SOFTNESS[2], RECORDED)
    lost = kpis["customers_lost_share"]
    model = _kpis(limit, demand, SOFTNESS[2])
    return Situation(
        name=name,
        per_minute=limit,
        offered_per_minute=wide(demand, 0.05),
        refused_share=kpis["refused_share"],
        lost_share=lost,
        lost_per_day=Ranged(*(60 * demand * part for part in (lost.value, lost.low, lost.high))),
        peak_concurrency=model["peak_concurrency"],
        peak_channels=model["peak_channels"],
        channels=900,
        cores=model["cpu_share"],
        protects=True,
        beyond=demand > 1.5 * DEMAND,
    )


def protection() -> tuple[Protection, ...]:
    found = []
    for limit in CANDIDATES:
        share = 0.004 * (limit / 400) ** 6
        worst, channels = Ranged(share, 0.6 * share, 1.4 * share), 2.1 * limit
        holds = True if worst.high <= 0.01 else False if worst.low > 0.01 else None
        both = {"support": wide(share / 2), "sales": worst}
        found.append(
            Protection(limit, both, wide(channels, 0.02), wide(0.003 * limit), Ranged(4.3, 4.29, 4.31), worst, holds)
        )
    return tuple(found)


def weekly_rate() -> np.ndarray:
    hours = np.arange(24)
    day = 12 + 265 * np.exp(-0.5 * ((hours - 11.5) / 2.0) ** 2) + 190 * np.exp(-0.5 * ((hours - 17) / 2.0) ** 2)
    return np.outer([1.0, 0.97, 0.95, 0.93, 0.96, 0.5, 0.2], day)


def history(days: int = DAYS) -> History:
    random = np.random.default_rng(4)
    rate = weekly_rate()
    start = datetime(2026, 3, 2)
    at = [start + timedelta(minutes=minute) for minute in range(days * 1440)]
    busy = random.gamma(120, 1 / 120, days * 96).repeat(15)
    attempts = random.poisson([rate[t.weekday(), t.hour] for t in at] * busy)
    refused = np.maximum(0, attempts - 200)
    counts = pl.DataFrame({"start_local": at, "attempts": attempts + refused // 2, "refused": refused})
    counts = counts.with_columns(pl.col("start_local").dt.replace_time_zone("UTC").alias("start_utc"))
    oddities = (
        Oddity(kind="duplicate", count=312, what="the same call twice", handled="one kept", rows=(14, 911, 2044)),
        Oddity(
            kind="negative_duration", count=7, what="ends before it begins", handled="duration left out", rows=(88,)
        ),
    )
    return History(
        source="support.csv",
        format="operator",
        timezone="Asia/Kolkata",
        rows_read=int(attempts.sum()) + 319,
        calls=pl.DataFrame(),
        counts=counts,
        interval_s=60.0,
        oddities=oddities,
        closed=(date(2026, 3, 25),),
    )


def days() -> tuple[Grid, DayRates]:
    """The history's days as a fit lays them out."""
    random = np.random.default_rng(8)
    dates = tuple(date(2026, 3, 2) + timedelta(days=day) for day in range(DAYS))
    weekdays = np.array([day.weekday() for day in dates], dtype=np.int64)
    quarters = 15 * weekly_rate()[weekdays].repeat(4, axis=1) * random.gamma(400, 1 / 400, (DAYS, 1))
    counts = random.poisson(quarters).astype(np.float64)
    hours = counts.reshape(DAYS, 24, 4).sum(axis=2)
    grid = Grid(dates, weekdays, hours, np.full((DAYS, 24), 60.0), counts, 900.0)
    classes = ((0, 1, 2, 3, 4), (5, 6))
    return grid, DayRates(
        dates=dates,
        counts=counts,
        period_s=900.0,
        classes=classes,
        shape_classes=classes,
        shape_s=900.0,
        shapes=np.full((2, 96), 1 / 96),
        splits=(),
    )


def _held_out() -> HeldOut:
    random = np.random.default_rng(5)
    rate = weekly_rate().ravel() * 60
    start = datetime(2026, 3, 30)
    seen = rate * random.gamma(60, 1 / 60, len(rate))
    hours = pl.DataFrame(
        {
            "start_local": [start + timedelta(hours=hour) for hour in range(len(rate))],
            "seen": seen.round(),
            "low": 0.8 * rate,
            "high": 1.22 * rate,
            "expected": rate,
        }
    )
    days = hours.group_by_dynamic("start_local", every="1d").agg(
        pl.col("seen").sum(),
        (0.93 * pl.col("expected").sum()).alias("low"),
        (1.07 * pl.col("expected").sum()).alias("high"),
        pl.col("expected").sum(),
    )
    return HeldOut(asked=0.9, hours=hours, days=days)


def _ringing() -> DurationFit:
    distribution = Exponential(kind="exponential", mean_s=8.2)
    quantiles = distribution.quantile((np.arange(50) + 0.5) / 50)
    return DurationFit(distribution, Ranged(8.2, 8.1, 8.3), (), quantiles, quantiles, 900_000)


def fit() -> Fit:
    random = np.random.default_rng(6)
    rate = weekly_rate()
    draws = rate * random.normal(1, 0.02, (200, 1, 1))
    mean = rate.ravel() * 15
    variance = (mean + 0.008 * mean**2) * random.gamma(8, 1 / 8, len(mean))
    probabilities = (np.arange(200) + 0.5) / 200
    fitted = Lognormal(kind="lognormal", mean_s=164.0, cv=1.21)
    quantiles = fitted.quantile(probabilities)
    grid, rates = days()
    return Fit(
        grid=grid,
        days=rates,
        odd=(OddDay(date(2026, 3, 17), OddKind.OUTAGE, (14, 15), 0.02),),
        fresh=Fresh(pl.DataFrame({"start_local": [datetime(2026, 3, 2)], "calls": [1.0]}), "calls", None),
        arrivals=ArrivalFit(
            rate_per_minute=rate,
            rate_draws=draws,
            day_cv=Ranged(0.052, 0.038, 0.071),
            day_cv_draws=np.full(200, 0.052),
            period_cv=Ranged(0.071, 0.066, 0.077),
            period_cv_draws=np.full(200, 0.071),
            period_s=900.0,
        ),
        holding=DurationFit(
            distribution=fitted,
            mean_s=Ranged(164.0, 162.9, 165.2),
            alternatives=(
                Alternative(fitted, 100.0),
                Alternative(Exponential(kind="exponential", mean_s=164.0), 9211.0),
            ),
            observed_quantiles_s=quantiles * random.normal(1, 0.02, 200),
            fitted_quantiles_s=quantiles,
            count=1_304_551,
        ),
        ringing=_ringing(),
        outcomes=Outcomes(busy=0.07, no_answer=0.11, abandoned=0.03),
        redial=RedialFit(Redial(probability=0.6), Ranged(0.61, 0.59, 0.63), observed=True),
        short_share=Ranged(0.041, 0.04, 0.042),
        short_s=6.0,
        inbound_share=0.0,
        censoring=Censoring(0.072, rate * 1.1, 18_211.0, 96),
        held_out=_held_out(),
        outlook=None,
        variance_to_mean=pl.DataFrame({"mean": mean, "variance": variance}),
        warnings=("The throttle refused in 96 hours: demand in them is an estimate.",),
    )


def _limits() -> tuple[Limit, ...]:
    return (
        Limit(Resource.THROTTLE, "200 calls a minute", 188.0, 1.69, 0.85, 0.85, "simulation"),
        Limit(Resource.CHANNELS, "900 channels", 372.0, 0.55, 0.86, 0.86, "Erlang B at the refusals asked for"),
        Limit(Resource.CORES, "2 cores", 731.0, 0.28, 0.44, 0.44, "calibration kamailio, utilisation below 0.7"),
        Limit(Resource.PORTS, "15,000 port pairs", 5400.0, 0.04, 0.06, 0.06, "occupancy with quarantine"),
        Limit(Resource.BANDWIDTH, "no limit given", None, 0.0, 0.0, 0.0, "the request gives no link"),
    )


def _replay() -> Replay:
    random = np.random.default_rng(7)
    minutes = np.arange(60.0)
    offered = random.poisson(np.full(60, DEMAND)).astype(float)

    def behind(limit: float) -> dict[str, np.ndarray]:
        attempts = offered + 0.5 * np.maximum(0, offered - limit)
        admitted = np.minimum(attempts, limit)
        return {"admitted": admitted, "refused": attempts - admitted, "concurrent": admitted * 2.4}

    started = datetime(2026, 3, 9, 11)
    return Replay(started, request().interpretations[0], minutes, offered, behind(200), behind(400))


def _tornado() -> tuple[Swing, ...]:
    return (
        Swing("growth of demand", "1.05 times", "1.30 times", 1.34, 1.08, True),
        Swing("redial probability", "0.4", "0.8", 1.29, 1.2, False),
        Swing("mean holding time", "163 s", "165 s", 1.25, 1.24, False),
    )


def _rollout() -> tuple[RolloutStep, ...]:
    bands = {"customers_lost_share": Ranged(0.04, 0.02, 0.07), "peak_concurrency": Ranged(700, 640, 760)}
    halt = "customers lost above 7.00 % in two busy hours running"
    return (RolloutStep(300, 3, bands, halt), RolloutStep(400, 7, bands, halt))


def _disagreements() -> tuple[Disagreement, ...]:
    hours = ("Monday 2026-03-09, busiest at 11:05: 812 refused as recorded, 391 by the model",)
    model, record = Ranged(0.061, 0.055, 0.067), Ranged(0.084, 0.078, 0.09)
    return (Disagreement(300, request().interpretations[1], "refused_share", model, record, hours),)


def _provenance() -> Provenance:
    versions = {"python": "3.11.2", "trunkproof": "0.1"}
    machine = {"processor": "a processor", "cores": "2", "system": "Linux 6"}
    return Provenance("0123456789abcdef", 1, "trunkproof review support.yaml", "2026-04-07T09:30:00", versions, machine)


def review(name: str = "Three hundred seats, from 200 to 400") -> Review:
    """An approval that is robust, with everything that a page can show."""
    return Review(
        request=request(name),
        history=history(),
        fit=fit(),
        decision=Decision.APPROVE,
        recommended_per_minute=400,
        confidence=min(interpretation.at(400).confidence for interpretation in interpretations()),
        headline="Raise to 400. The busy period will bring 318 (302 to 335) fresh calls per minute; at 400, 0.46 % "
        "(0.32 to 0.60 %) of customers are lost.",
        reasons=(
            "At 200 a minute 37 % of callers give up; 318 (302 to 335) fresh calls a minute are offered.",
            "At 400 every target holds with 97 % confidence under every interpretation.",
            "Channels bind next, at 372 calls a minute.",
        ),
        depends_on_enforcement=False,
        busy_hour=BUSY.words,
        busy_periods=(BUSY,),
        busy_hour_per_minute=Ranged(DEMAND, 302.0, 335.0),
        interpretations=interpretations(),
        contradicted=request().interpretations[len(SOFTNESS) :],
        backcast=backcast(),
        disagreements=_disagreements(),
        situations=situations(),
        protection=protection(),
        states=(TwoStates(request().interpretations[2], 400, Ranged(0.0004, 0.0, 0.002), Ranged(0.21, 0.12, 0.31)),),
        growth_grid=GROWTH,
        limits=_limits(),
        binding_now=Resource.THROTTLE,
        binding_next=Resource.CHANNELS,
        neighbours={"sales": (Ranged(0.0, 0.0, 0.0004), Ranged(0.0021, 0.0004, 0.006))},
        needed=(Needed(400, 440, 1010, 1010, 1.21, 67.2), Needed(318, 352, 820, 820, 0.96, 53.4)),
        tornado=_tornado(),
        measure_next="growth of demand: ask the customer for the campaign calendar.",
        rollout=_rollout(),
        replay=_replay(),
        endings=Endings(
            {"completed": 0.50, "throttled": 0.371, "no_answer": 0.07, "busy": 0.045, "abandoned": 0.014},
            {"completed": 0.79, "throttled": 0.0003, "no_answer": 0.11, "busy": 0.07, "abandoned": 0.0297},
        ),
        checks=(
            Check("exact theory", "five cases with |z| at most 2.1", True),
            Check("held-out days", "92 % of hours inside 90 % intervals", True),
            Check("real calls", "no run of this machine was found", None),
        ),
        assumptions=("Callers redial after the throttle's refusals as after others.", "The week repeats."),
        provenance=_provenance(),
        simulated_calls=2_411_030,
    )


def lower() -> Review:
    """An approval of less than was asked, where the interpretations disagree and nothing else is odd."""
    whole = review()
    first, *others = whole.interpretations
    today, _, asked, later = whole.situations
    at_350 = replace(_situation("recommended", 350, DEMAND), protects=True)
    return replace(
        whole,
        decision=Decision.APPROVE_LOWER,
        recommended_per_minute=350,
        depends_on_enforcement=True,
        interpretations=(replace(first, decision=Decision.APPROVE_LOWER, recommended_per_minute=350), *others),
        situations=(today, at_350, replace(asked, protects=False), later),
        disagreements=(),
        states=(),
    )


def not_needed() -> Review:
    """The present throttle keeps every target."""
    whole = review()
    today, _, asked, later = whole.situations
    return replace(
        whole,
        decision=Decision.NOT_NEEDED,
        recommended_per_minute=200,
        headline="No raise is needed. The busy period will bring 3.0 (2.7 to 3.3) fresh calls per minute.",
        situations=(today, asked, later),
        rollout=(),
    )


def undecided(refusals: Sequence[str] = ("Three days are too few: at least two weeks are needed.",)) -> Review:
    """A history that is not enough: nothing was simulated."""
    whole = review()
    unknown = Ranged(math.nan, math.nan, math.nan)
    weak = replace(
        whole.fit, held_out=None, refusals=tuple(refusals), variance_to_mean=whole.fit.variance_to_mean.clear()
    )
    return replace(
        whole,
        history=history(3),
        fit=weak,
        decision=Decision.CANNOT_TELL,
        recommended_per_minute=None,
        confidence=math.nan,
        headline="It cannot be told whether 400 calls per minute would do: the history has three days.",
        reasons=(),
        busy_hour="none",
        busy_periods=(),
        busy_hour_per_minute=unknown,
        interpretations=(),
        contradicted=(),
        backcast=(),
        disagreements=(),
        situations=(),
        protection=(),
        states=(),
        growth_grid=(),
        limits=(),
        binding_now=None,
        binding_next=None,
        neighbours={},
        needed=(),
        tornado=(),
        measure_next="The customer's calls of at least two weeks.",
        rollout=(),
        replay=None,
        endings=None,
        checks=(),
        assumptions=(),
        simulated_calls=0,
    )
