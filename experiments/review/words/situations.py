"""The table on top of the answer: today, what is recommended, what is asked for, and nothing done for a year."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from trunkproof.experiments.review.courses import Courses
from trunkproof.experiments.review.judging import LOST, Judge
from trunkproof.experiments.review.periods.busy import BusyPeriods
from trunkproof.experiments.review.periods.horizon import Demand
from trunkproof.experiments.review.result import Protection, Situation
from trunkproof.experiments.review.sweep.response import Response
from trunkproof.experiments.review.sweep.sweep import Witness
from trunkproof.experiments.review.verdict import Verdict
from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.result import Ranged, ranged


def situations_of(  # noqa: PLR0917  # what a column is made of
    judge: Judge,
    interpretation: int,
    verdict: Verdict,
    courses: Courses,
    protection: Sequence[Protection],
    busy: BusyPeriods,
) -> tuple[Situation, ...]:
    """Return the columns of the table, under the strictest interpretation.

    Args:
        judge: holds the sweep's responses.
        interpretation: index of the strictest interpretation.
        verdict: says which throttle is recommended.
        courses: the courses that demand may take.
        protection: whether each throttle protects the others.
        busy: the judged periods.
    """
    request = judge.request
    keeps = {one.limit_per_minute: one.holds for one in protection}

    def columns() -> Iterator[Situation]:
        now, asked = request.now_per_minute, request.requested_per_minute
        yield _situation("today", now, _with(judge, courses.today(busy)), interpretation, keeps)
        if verdict.recommended is not None:
            yield _situation("recommended", verdict.recommended, judge, interpretation, keeps)
        yield _situation("asked for", asked, judge, interpretation, keeps)
        later = _with(judge, courses.after_a_year(busy))
        yield _situation("nothing done for a year", now, later, interpretation, keeps)

    return tuple(columns())


def _with(judge: Judge, demand: Demand) -> Judge:
    return replace(judge, courses=(demand,))


def _situation(name: str, limit: int, judge: Judge, interpretation: int, keeps: dict[int, bool | None]) -> Situation:
    model, demand = judge.sweep.response(interpretation, limit), judge.courses[0]
    losing = _worse(judge, interpretation, limit, LOST)
    lost, callers = judge.draws(losing, LOST, demand), losing.draws("calls", demand)
    share, calls = judge.estimate(losing, LOST), float(callers.mean())
    highest = float(np.quantile(demand.relative, 0.9))
    return Situation(
        name=name,
        per_minute=limit,
        offered_per_minute=demand.mean_per_minute,
        refused_share=judge.estimate(_worse(judge, interpretation, limit, "refused_share"), "refused_share"),
        lost_share=share,
        lost_per_day=_times(share, calls, lost * callers),
        peak_concurrency=judge.estimate(model, "peak_concurrency"),
        peak_channels=judge.estimate(model, "peak_channels"),
        channels=judge.request.pop.carrier.channels,
        cores=judge.estimate(model, "cpu_share"),
        protects=keeps.get(limit),
        beyond=highest > float(model.runs.levels[-1]),
    )


def _times(share: Ranged, calls: float, drawn: FloatArray) -> Ranged:
    """Return customers lost: the shown share times the calls, with a range that contains this value."""
    value, range_ = share.value * calls, ranged(drawn, 0.0)
    return Ranged(value, min(value, range_.low), max(value, range_.high))


def _worse(judge: Judge, interpretation: int, limit: int, kpi: str) -> Response:
    """Return the response of the witness that is shown: of a target the less sure one, of anything else the model."""
    _, witness = judge.least_sure(interpretation, limit).get(kpi, (1.0, Witness.MODEL))
    return judge.sweep.response(interpretation, limit, witness)
