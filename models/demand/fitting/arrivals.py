"""Estimate the rates of fresh calls by weekday and hour, with draws.

A mean over four Mondays is uncertain mostly because days differ. So a weekday's level and its profile over hours are
drawn separately. Similar weekdays are drawn towards each other, as far as they are similar (a normal hierarchy; Gelman
et al., "Bayesian Data Analysis", chapter 5). Otherwise the busiest hour would be the luckiest one.
"""

from __future__ import annotations

import numpy as np

from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.busyness import between_days, day_variance, within_days
from trunkproof.models.demand.fitting.grid import Grid
from trunkproof.models.demand.fitting.result import ArrivalFit

DRAWS = 400
_ALIKE = 1.25
"""Weekdays may be alike if their levels are next to each other and differ by a smaller factor."""
_MANY = 100
"""Least number of calls of an hour of the week for its logarithm to be about normal."""
_TAU_STEPS = 80
_MOST_VARIANCE = 1.0
"""Of a day's factor: days that differ more than by a factor of e are not drawn from one or two degrees of freedom."""
_DAY_CV = 0.1
"""Taken for a history that has no weekday twice; such a history is refused anyway."""


def fit_arrivals(grid: Grid, seed: int, draws: int = DRAWS) -> ArrivalFit:
    """Return rates and busyness of the days of `grid`: typical days only, with some weekday at least twice."""
    random = np.random.default_rng([seed, 1])
    periods = within_days(grid.periods, grid.weekdays, draws, random)
    # Hours are fitted by themselves: the factors of their quarters average out only in part.
    hours = within_days(grid.hours, grid.weekdays, draws, random)
    days = between_days(grid, periods.cv.value, draws, random)
    rates = _Rates(grid, periods.cv.value, hours.cv.value, draws, random)
    return ArrivalFit(
        rate_per_minute=rates.point,
        rate_draws=rates.drawn,
        day_cv=days.cv,
        day_cv_draws=days.draws,
        period_cv=periods.cv,
        period_cv_draws=periods.draws,
        period_s=grid.period_s,
    )


class _Rates:
    """`point`, shape (7, 24), and `drawn`, shape (draws, 7, 24), in calls per minute."""

    def __init__(self, grid: Grid, period_cv: float, hour_cv: float, draws: int, random: np.random.Generator) -> None:
        self._random, self._hour_cv = random, hour_cv
        self._calls, self._minutes = np.zeros((7, 24)), np.zeros((7, 24))
        np.add.at(self._calls, grid.weekdays, grid.hours)
        np.add.at(self._minutes, grid.weekdays, grid.minutes)
        self._days = np.bincount(grid.weekdays, minlength=7)
        # The noise of callers stays in this variance: it is part of what makes a mean over a few days uncertain.
        variance, _, degrees = day_variance(grid, period_cv)
        if degrees == 0:
            variance, degrees = _DAY_CV**2, 3
        # A variance of few days is itself uncertain. Drawing it gives the draws the wide tails of Student's t.
        self._day_variance = np.minimum(variance * degrees / random.chisquare(degrees, draws), _MOST_VARIANCE)
        # Minutes and not days: where clocks go forward, an hour of the history has no minutes.
        raw = self._calls / np.maximum(self._minutes, 1e-9)
        self.point = raw.copy()
        scale = np.divide(1, self._minutes, out=np.zeros((7, 24)), where=self._minutes > 0)
        # Of the hour's own noise half is the callers', as if there were fewer of them.
        weight = self._thinned(self._calls)
        # A gamma is the posterior of a Poisson rate, and half a call is Jeffreys' prior. The weight makes as many fewer
        # calls in as many fewer minutes: the same rate, known less well.
        self.drawn = random.gamma(self._calls * weight + 0.5, scale / weight, (draws, 7, 24))
        level = np.sqrt(self._day_variance)[:, None] * random.standard_normal((draws, 7))
        # One factor for all hours of a weekday: a busy Monday is busy at all hours, so its hours are not independent.
        self.drawn *= np.exp(level / np.sqrt(np.maximum(self._days, 1)))[:, :, None]
        # Later writes win: in these groups both the point and the draws are replaced by those of the hierarchy.
        for group in self._groups(raw):
            self._share_strength(group)
        self._borrow()

    def _thinned(self, calls: FloatArray) -> FloatArray:
        """Return how much less an hour of the week tells than its number of calls, as hours have their own busyness."""
        per_day = calls / np.maximum(self._days, 1)[:, None]
        return 1 / (1 + self._hour_cv**2 * per_day)

    def _groups(self, raw: FloatArray) -> list[list[int]]:
        """Group the weekdays whose levels are near each other."""
        levels = raw.sum(axis=1)
        # In the order of their levels, so that neighbours in the list are the weekdays that may be alike.
        order = [int(weekday) for weekday in np.argsort(levels) if self._days[weekday] and levels[weekday] > 0]
        groups: list[list[int]] = []
        for weekday in order:
            if groups and levels[weekday] < _ALIKE * levels[groups[-1][-1]]:
                groups[-1].append(weekday)
            else:
                groups.append([weekday])
        # Two weekdays alone do not show how far weekdays of their kind differ.
        return [group for group in groups if len(group) > 2]

    def _share_strength(self, group: list[int]) -> None:
        calls, minutes, days = self._calls[group], self._minutes[group], self._days[group]
        # All weekdays of the group must have enough calls in the hour. Night hours keep their own gamma draws.
        many = (calls >= _MANY).all(axis=0)
        if not many.any():
            return
        # On the log scale the level of a weekday and its profile over hours add up, and can be drawn one by one.
        levels = np.log(calls.sum(axis=1) / minutes.sum(axis=1))
        drawn_levels = self._levels(levels, self._day_variance[:, None] / days)
        parts = np.log(calls[:, many] / minutes[:, many]) - levels[:, None]
        # The variance of a log count: that of callers, 1 / N, and that of the hour's own busyness over the days.
        noise = 1 / calls[:, many] + self._hour_cv**2 / days[:, None]
        logs = drawn_levels[:, :, None] + self._profile(parts, noise, len(drawn_levels))
        cells = np.ix_(np.array(group), np.flatnonzero(many))
        self.point[cells] = np.exp(logs.mean(axis=0))
        self.drawn[:, cells[0], cells[1]] = np.exp(logs)

    def _levels(self, seen: FloatArray, variance: FloatArray) -> FloatArray:
        """Draw the weekdays' log levels, shape (draws, G), from those seen (G,) with a variance (draws, G)."""
        spread = max(float(np.ptp(seen)), float(np.sqrt(variance.mean())))
        # How far weekdays differ (tau) is not estimated but averaged over: with seven weekdays an estimate is often 0,
        # and would then make all weekdays the same.
        taus = (np.arange(_TAU_STEPS) + 0.5) / _TAU_STEPS * 3 * spread
        total = variance[:, None, :] + taus[:, None] ** 2
        precision = (1 / total).sum(axis=2)
        middle = (seen / total).sum(axis=2) / precision
        # The log posterior of each tau, with the common middle integrated out (the last term).
        fit = -((seen - middle[:, :, None]) ** 2 / total + np.log(total)).sum(axis=2) / 2 - np.log(precision) / 2
        # Minus the largest, or all of them could underflow to 0.
        odds = np.cumsum(np.exp(fit - fit.max(axis=1, keepdims=True)), axis=1)
        picks = self._random.random((len(variance), 1)) * odds[:, -1:]
        chosen = (odds < picks).sum(axis=1)
        rows = np.arange(len(variance))
        mean = middle[rows, chosen] + self._random.standard_normal(len(variance)) / np.sqrt(precision[rows, chosen])
        # Given tau, each weekday lies between what was seen and the middle, by their precisions.
        tau2 = taus[chosen][:, None] ** 2
        shrunk = variance * tau2 / (variance + tau2)
        drawn = shrunk * (seen / variance + mean[:, None] / tau2)
        return np.asarray(drawn + np.sqrt(shrunk) * self._random.standard_normal(variance.shape))

    def _profile(self, parts: FloatArray, noise: FloatArray, draws: int) -> FloatArray:
        """Draw log shares of the hours, shape (draws, G, hours), from those seen (G, hours) with variances `noise`."""
        count = len(parts)
        middle = parts.mean(axis=0)
        own = float((((parts - middle) ** 2).sum(axis=0) / (count - 1)).mean() - noise.mean())
        # What differs beyond the noise; by chance less than the noise may be seen.
        tau2 = max(own, 0.0)
        mean = middle + self._normal(draws, 1, parts.shape[1]) * np.sqrt(((noise + tau2).mean(axis=0)) / count)
        kept = tau2 / (noise + tau2)
        # `mean` holds the part's own noise already, as far as it is shared.
        own_part = kept * (parts - middle) + np.sqrt(kept * noise) * self._normal(draws, count, parts.shape[1])
        return np.asarray(mean + own_part)

    def _normal(self, *shape: int) -> FloatArray:
        return np.asarray(self._random.standard_normal(shape))

    def _borrow(self) -> None:
        """Give a weekday that the history does not have the mean of the others."""
        missing, seen = self._days == 0, self._days > 0
        if missing.any() and seen.any():
            self.point[missing] = self.point[seen].mean(axis=0)
            self.drawn[:, missing] = self.drawn[:, seen].mean(axis=1, keepdims=True)
