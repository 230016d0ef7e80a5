"""Find throttles at which the fitted model and the replayed record disagree, and the hours that cause it.

This module only compares; `judging` takes the worse of the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trunkproof.experiments.review.judging import LOST, Judge
from trunkproof.experiments.review.periods.busy import BusyPeriods
from trunkproof.experiments.review.result import Disagreement
from trunkproof.experiments.review.sweep.sweep import Witness
from trunkproof.models.demand.fitting.result import WEEKDAYS, Fit

_COMPARED = ("refused_share", LOST)
_NOTABLE = 0.002
"""A difference of shares below it changes no decision."""
_HOURS = 3


def disagreements_of(
    judge: Judge, interpretations: Sequence[int], limits: Sequence[int], busy: BusyPeriods, fit: Fit
) -> tuple[Disagreement, ...]:
    """Return every throttle at which the witnesses' intervals do not meet, the present and the requested ones first."""
    if Witness.RECORD not in judge.sweep.witnesses:
        return ()
    found = []
    for limit in limits:
        for interpretation in interpretations:
            for kpi in _COMPARED:
                model, record = (judge.sweep.response(interpretation, limit, witness) for witness in Witness)
                said, replayed = judge.estimate(model, kpi), judge.estimate(record, kpi)
                apart = max(said.low - replayed.high, replayed.low - said.high)
                if apart > _NOTABLE:
                    hours = _hours(judge, interpretation, limit, busy, fit)
                    policy = judge.request.interpretations[interpretation]
                    found.append(Disagreement(limit, policy, kpi, said, replayed, hours))
    return tuple(found)


def _hours(judge: Judge, interpretation: int, limit: int, busy: BusyPeriods, fit: Fit) -> tuple[str, ...]:
    """Name the days on which the refusals of the witnesses differ most, each with its busiest five minutes."""
    by_day = []
    for witness in Witness:
        response = judge.sweep.response(interpretation, limit, witness)
        middle = len(response.runs.levels) // 2
        sums = np.bincount(response.runs.day, response.values["refused"][middle], minlength=len(busy.days))
        times = np.bincount(response.runs.day, minlength=len(busy.days))
        by_day.append(np.divide(sums, times, out=np.full(len(busy.days), np.nan), where=times > 0))
    apart = np.nan_to_num(np.abs(by_day[0] - by_day[1]))
    return tuple(
        _named(busy, fit, int(day), by_day[0][day], by_day[1][day]) for day in np.argsort(-apart)[:_HOURS] if apart[day]
    )


def _named(busy: BusyPeriods, fit: Fit, day: int, model: float, record: float) -> str:
    rates, start_s = fit.days, busy.start_s[day]
    within, first = round(busy.length_s / rates.period_s), round(start_s / rates.period_s)
    minutes = rates.counts[busy.days[day], first : first + within]
    each = max(1, round(300 / rates.period_s))
    groups = minutes[: len(minutes) // each * each].reshape(-1, each).sum(axis=1)
    at_s = start_s + int(groups.argmax()) * each * rates.period_s
    on = rates.dates[busy.days[day]]
    clock = f"{int(at_s // 3600):02d}:{int(at_s % 3600 // 60):02d}"
    return (
        f"{WEEKDAYS[on.weekday()]} {on}, busiest at {clock}: {record:.0f} refused as recorded, {model:.0f} by the model"
    )
