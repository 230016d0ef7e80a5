"""The courses that demand may take from the end of the history to the horizon.

If the request states a `growth`, it replaces any drift of the history. If it states none and the history clearly
drifts, there are two courses: the drift stops, and it goes on. If the two lead to different decisions, the review
cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Self

import numpy as np

from trunkproof.experiments.review.judging import Judge
from trunkproof.experiments.review.periods.busy import BusyPeriods
from trunkproof.experiments.review.periods.horizon import DRAWS, Demand, lognormal
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import Decision
from trunkproof.experiments.review.verdict import Answers, Verdict, decide
from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.drift import Drift, find_drift, level_draws, local_level
from trunkproof.models.demand.fitting.result import Fit
from trunkproof.models.demand.fitting.throttle_changes import OpenSide, ThrottleStep, find_throttle_change
from trunkproof.models.demand.history.table import History
from trunkproof.models.streams import generator

YEAR_DAYS = 365
_UNLIMITED = 1_000_000
"""Stands for a throttle that is only known to have refused nothing."""
_SAME_LEVEL = 0.25
"""Largest difference in the logs of calls at which weekdays may be alike."""
_LEAST_ALIKE = 2
"""With so few weekdays, their differences cannot be told from chance."""
_LEAST_CV = 0.01
"""Least uncertainty of growth, however sure somebody is of it."""


@dataclass(frozen=True, eq=False)
class Courses:
    """The one or two courses of a history."""

    request: Request
    fit: Fit
    local: FloatArray
    """Log of each day's level over the level at the history's end, for the days of `DayRates`, shape (all days,)."""
    drift: Drift
    step: ThrottleStep | None
    """A change of the throttle that the request does not state and the history shows."""
    limits: Mapping[date, int]
    """The throttle in force on each day."""

    @classmethod
    def of(cls, request: Request, history: History, fit: Fit) -> Self:
        """Find the drift and the throttles in force of a history that has been fitted."""
        local = local_level(fit.grid)
        step = None if request.throttle_history else find_throttle_change(history)
        drift = find_drift(fit.grid, seed=request.seed)
        return cls(request, fit, local - local[-1], drift, step, _limits(request, fit, step))

    @property
    def to_end(self) -> FloatArray:
        """Factor that brings each day of `DayRates` to the level of the history's end, shape (all days,)."""
        return np.exp(-self.local)

    @property
    def drifts(self) -> bool:
        """Tell whether the level of the history clearly drifts."""
        return self.drift.is_clear

    def demands(self, busy: BusyPeriods) -> tuple[Demand, ...]:
        """Return the demand of the judged periods at the horizon under each course; the page shows the first."""
        days, growth = self.request.horizon_days, self.request.growth
        if self.is_stated:
            return (self._demand(busy, days, growth, continues=False),)
        # A drift that is not clear may still be there: it goes on in as many draws as it is probable.
        first = self._demand(busy, days, growth, continues=not self.drifts)
        if not self.drifts:
            return (first,)
        return (first, self._demand(busy, days, growth, continues=True).over(first.base))

    def today(self, busy: BusyPeriods) -> Demand:
        """Return the demand at the end of the history, without growth."""
        return self._demand(busy, 0, 1.0, continues=False).over(self.demands(busy)[0].base)

    def after_a_year(self, busy: BusyPeriods) -> Demand:
        """Return the demand a year after the history: with the stated growth, or else with a clear drift going on."""
        goes_on = self.drifts and not self.is_stated
        return self._demand(busy, YEAR_DAYS, self.request.growth, continues=goes_on).over(self.demands(busy)[0].base)

    @property
    def is_stated(self) -> bool:
        """Tell whether the request states the growth of demand."""
        return "growth" in self.request.model_fields_set

    def _demand(self, busy: BusyPeriods, days_ahead: int, growth: float, *, continues: bool) -> Demand:
        request, rates = self.request, self.fit.days
        within = round(busy.length_s / rates.period_s)
        firsts = np.round(busy.start_s / rates.period_s).astype(np.int64)
        per_minute = np.array(
            [rates.counts[day, first : first + within].sum() for day, first in zip(busy.days, firsts, strict=True)]
        )
        per_minute = per_minute * rates.multiplied / (busy.length_s / 60)
        level = level_draws(self.fit.grid, days_ahead, DRAWS, generator(request.seed, "level"), continues=continues)
        random = generator(request.seed, "demand")
        unsure = growth * lognormal(max(request.growth_cv, _LEAST_CV), DRAWS, random)
        # The judged weekdays were chosen because they look the busiest. In part that was chance.
        to_horizon = np.exp(np.log(level)[:, None] - self.local[busy.days] + self._towards_alike[busy.days])
        return Demand.of(
            per_minute, to_horizon, unsure, random, optimism=busy.optimism, of_days=self._of_days[busy.days]
        )

    @cached_property
    def _towards_alike(self) -> FloatArray:
        """Return what to add to the log of each day's level, shape (all days,).

        It draws the means of weekdays with about as many calls towards each other, by that part of their differences
        which chance explains. Source: Efron and Morris, "Data analysis using Stein's estimator", JASA 70 (1975).
        """
        rates = self.fit.days
        totals = rates.counts.sum(axis=1)
        logs = np.log(totals + 0.5) - self.local
        _, which, count = np.unique(rates.weekdays, return_inverse=True, return_counts=True)
        means = np.bincount(which, logs) / count
        near = (means > means.max() - _SAME_LEVEL) & (count > 1)
        degrees = int((count[near] - 1).sum())
        if near.sum() <= _LEAST_ALIKE:
            return np.zeros(len(logs))
        chance = float(((logs - means[which])[near[which]] ** 2).sum()) / degrees / count
        between = max(float(means[near].var(ddof=1) - chance[near].mean()), 0.0)
        own = np.where(near, between / (between + chance), 1.0)
        middle = float(np.average(means[near], weights=1 / (between + chance[near])))
        return np.asarray(((own - 1) * (means - middle))[which])

    @cached_property
    def _of_days(self) -> FloatArray:
        """Logs of the days' totals over what is expected from their weekday and level, shape (all days,)."""
        rates = self.fit.days
        logs = np.log(rates.counts.sum(axis=1) + 0.5) - self.local
        found = np.zeros(len(logs))
        for weekday in np.unique(rates.weekdays):
            of = rates.weekdays == weekday
            found[of] = logs[of] - logs[of].mean()
        return found

    def settled(
        self,
        verdict: Verdict,
        judge: Judge,
        interpretations: Sequence[int],
        limits: Sequence[int],
        protects: Answers,
    ) -> Verdict:
        """Return the verdict if every course alone leads to the same decision, otherwise `CANNOT_TELL`."""
        if len(judge.courses) < 2:
            return verdict
        alone = []
        for demand in judge.courses:
            single = Judge(judge.request, judge.sweep, (demand,), judge.lost_anyway, judge.premises)
            holds = {limit: single.holds(interpretations, limit) for limit in limits}
            alone.append(decide(holds, protects, self.request).decision)
        if len(set(alone)) == 1:
            return verdict
        return Verdict(Decision.CANNOT_TELL, None, verdict.smallest, verdict.unprotected)


def _limits(request: Request, fit: Fit, step: ThrottleStep | None) -> dict[date, int]:
    """Return the throttle of each day: the present one, unless the request or the history shows another one."""
    changes = sorted((change.from_, change.per_minute) for change in request.throttle_history)
    if step is not None:
        before = _UNLIMITED if step.open_side is OpenSide.BEFORE else max(1, round(step.before_per_minute))
        changes = [(date.min, before), (step.first_day, request.now_per_minute)]
    found = {}
    for day in fit.days.dates:
        earlier = [limit for first, limit in changes if first <= day]
        found[day] = earlier[-1] if earlier else request.now_per_minute
    return found
