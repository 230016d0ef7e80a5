"""The busy hour: which hours of the week are judged, and the load that each may have at the planning horizon.

Loads carry all that is not known of them: the fit's own draws, growth, and how busy a day happens to be. What happens
within the hour is simulated; it is `models.rates`'.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.fitting.result import WEEKDAYS, ArrivalFit, Fit, Ranged, ranged

FloatArray = NDArray[np.float64]
NEARLY_BUSIEST = 0.9
"""A weekday is judged if its busiest hour has this share of the rate of the week's busiest one: so that one hour that
the history happened to show busy is not all there is."""

_SINGLE_HOURS = 400


@dataclass(frozen=True)
class BusyHour:
    """The hours that are judged."""

    hours: tuple[tuple[int, int], ...]
    """(weekday, local hour), Monday is 0."""
    per_minute: Ranged
    """Fresh calls offered in them, as in the history: the mean over them and over days."""

    @classmethod
    def of(cls, fit: Fit) -> Self:
        """The busiest hour of every weekday that has a busy one."""
        rates = fit.arrivals.rate_per_minute
        busiest = rates.argmax(axis=1)
        peaks = rates.max(axis=1)
        days = [int(day) for day in np.flatnonzero(peaks >= NEARLY_BUSIEST * peaks.max())]
        hours = tuple((day, int(busiest[day])) for day in days)
        return cls(hours, ranged(_rates(fit.arrivals, hours).mean(axis=1), float(peaks[days].mean())))

    @property
    def words(self) -> str:
        """The hours for people, such as `Monday and Friday 10:00 to 11:00`."""
        days_of: dict[int, list[str]] = {}
        for day, hour in self.hours:
            days_of.setdefault(hour, []).append(WEEKDAYS[day])
        return "; ".join(f"{_listed(days)} {hour}:00 to {hour + 1}:00" for hour, days in sorted(days_of.items()))

    def loads(
        self,
        fit: Fit,
        growth: float,
        growth_cv: float,
        rng: np.random.Generator,
        *,
        draws: int = 400,
        quantiles: int = 11,
    ) -> LoadDraws:
        """Loads that the judged hours may have, given what is known.

        Args:
            fit: the history's.
            growth: expected factor on the demand of the history.
            growth_cv: its coefficient of variation (lognormal).
            rng: for growth; the fit's draws are taken in their order.
            draws: how many equally likely alternatives; beyond the fit's own they come again, with other growth.
            quantiles: in how many equally likely parts the days are divided by how busy they are; each stands with its
                own mean, so that the mean over them is exact.
        """
        entry = np.arange(draws) % len(fit.arrivals.rate_draws)
        rates = _rates(fit.arrivals, self.hours)[entry]
        factors = growth * _lognormal(growth_cv, draws, rng)
        days = np.array([day_factors(float(cv), quantiles) for cv in fit.arrivals.day_cv_draws])[entry]
        loads = rates[:, :, None] * factors[:, None, None] * days[:, None, :]
        points = len(self.hours) * quantiles
        return LoadDraws(loads.reshape(draws, points), np.full(points, 1 / points))


@dataclass(frozen=True, eq=False)
class LoadDraws:
    """Mean fresh calls per minute of busy hours: in each draw a set of hours, all draws equally likely."""

    per_minute: FloatArray
    """Shape (draws, hours)."""
    weights: FloatArray
    """Shape (hours,), of sum 1: how often such an hour is met."""

    @classmethod
    def constant(cls, per_minute: float) -> Self:
        """A load that is known and always the same."""
        return cls(np.array([[per_minute]]), np.ones(1))

    def grown(self, factor: float) -> Self:
        """The same hours with that many times the demand."""
        return replace(self, per_minute=self.per_minute * factor)

    def mean(self, values: FloatArray) -> FloatArray:
        """Mean over the hours of each draw of what an hour has; `values` (draws, hours) -> (draws,)."""
        mean: FloatArray = values @ self.weights
        return mean

    @property
    def mean_per_minute(self) -> Ranged:
        """Of all hours."""
        means = self.mean(self.per_minute)
        return ranged(means, float(means.mean()))

    @cached_property
    def spread(self) -> FloatArray:
        """Equally likely loads of single hours, as the hours of all draws have them, ascending."""
        return self.quantile((np.arange(_SINGLE_HOURS) + 0.5) / _SINGLE_HOURS)

    def quantile(self, shares: FloatArray) -> FloatArray:
        """Loads below which that share of all hours of all draws lies."""
        return weighted_quantile(self.per_minute.ravel(), np.tile(self.weights, len(self.per_minute)), shares)


def day_factors(cv: float, parts: int) -> FloatArray:
    """Gamma factors of mean 1: the mean of each of `parts` equally likely parts, ascending.

    The mean of a gamma variable of shape k between two bounds follows from the distribution of shape k + 1.
    """
    if cv <= 0:
        return np.ones(parts)
    shape = cv**-2
    bounds = stats.gamma.ppf(np.linspace(0, 1, parts + 1), shape)
    return parts * np.diff(stats.gamma.cdf(bounds, shape + 1))


def weighted_quantile(values: FloatArray, weights: FloatArray, shares: FloatArray) -> FloatArray:
    """The smallest values up to which at least those shares of the weight lie."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    found = np.searchsorted(reached, shares * reached[-1] * (1 - 1e-12))
    return np.asarray(values[order][np.minimum(found, len(values) - 1)], dtype=np.float64)


def _rates(arrivals: ArrivalFit, hours: tuple[tuple[int, int], ...]) -> FloatArray:
    """Draws of the rates of these hours, shape (draws, hours)."""
    days, of_day = (np.array(part) for part in zip(*hours, strict=True))
    rates: FloatArray = arrivals.rate_draws[:, days, of_day]
    return rates


def _lognormal(cv: float, count: int, rng: np.random.Generator) -> FloatArray:
    """Factors of mean 1 at evenly spread quantiles, in random order: as unsure, with less noise than single draws."""
    deviation = math.sqrt(math.log1p(cv * cv))
    normal = stats.norm.ppf((rng.permutation(count) + 0.5) / count)
    return np.exp(deviation * normal - deviation**2 / 2)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
