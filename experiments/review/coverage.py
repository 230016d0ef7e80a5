"""How many hours and days of a new history lie in the interval that the review's fit has for them.

By what `decision.json` says of the fit: rates by hour of the week, busyness of days and periods, and how many weeks the
rates were found from. The share covered is a check of the forecast as a whole; the busy hour's bands are the rollout's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import nbinom, poisson

FloatArray = NDArray[np.float64]
_ASKED = 0.9


@dataclass(frozen=True, eq=False)
class Coverage:
    """Calls of hours and days against their intervals."""

    asked: float
    counted: str
    """`fresh calls`, or `attempts` where the history tells no caller from another."""
    hours: pl.DataFrame
    """`began`, `seen`, `expected`, `low`, `high`."""
    days: pl.DataFrame
    """The same by whole days."""

    @property
    def seen_by_hour(self) -> float | None:
        """Share of hours inside; None where there are none."""
        return _inside(self.hours)

    @property
    def seen_by_day(self) -> float | None:
        """Share of days inside; None where there are none."""
        return _inside(self.days)

    def to_json(self) -> dict[str, Any]:
        """The shares, and every day."""
        days = self.days.with_columns(pl.col("began").dt.to_string("%Y-%m-%d"))
        return {
            "asked": self.asked,
            "counted": self.counted,
            "hours": self.hours.height,
            "seen_by_hour": self.seen_by_hour,
            "days": self.days.height,
            "seen_by_day": self.seen_by_day,
            "by_day": days.to_dicts(),
        }


def _inside(table: pl.DataFrame) -> float | None:
    inside = table["seen"].is_between(table["low"], table["high"])
    return int(inside.sum()) / table.height if table.height else None


def coverage_of(decision: Mapping[str, Any], hours: pl.DataFrame, growth: float) -> Coverage:
    """The hours of `experiments.review.observed.by_hour` against what the decision's fit expects of them."""
    fresh = hours["calls"].is_not_null().any()
    expected = _expected(decision, hours, growth)
    table = hours.select(began="hour", seen=pl.col("calls" if fresh else "attempts").fill_null(0.0), expected=expected)
    day = table["began"].dt.truncate("1d")
    whole = table.group_by(day).agg(
        pl.len(), pl.col("seen", "expected").sum(), (pl.col("expected") ** 2).sum().alias("squares")
    )
    whole = whole.filter(pl.col("len") >= 23).sort("began")
    spread = _Spread.of(decision)
    by_hour = spread.bounded(table.with_columns(squares=pl.col("expected") ** 2))
    return Coverage(_ASKED, "fresh calls" if fresh else "attempts", by_hour, spread.bounded(whole.drop("len")))


def _expected(decision: Mapping[str, Any], hours: pl.DataFrame, growth: float) -> pl.Series:
    rates = np.array(decision["fit"]["rate_per_minute"], dtype=np.float64)
    weekday, hour = hours["hour"].dt.weekday().to_numpy() - 1, hours["hour"].dt.hour().to_numpy()
    return pl.Series(60 * growth * rates[weekday, hour])


@dataclass(frozen=True)
class _Spread:
    """Why a count differs from what is expected of it."""

    day_cv: float
    hour_cv: float
    """What is left of the periods' factors in the mean over an hour."""
    weeks: float
    """Of the history behind the rates, each of which has as many days."""

    @classmethod
    def of(cls, decision: Mapping[str, Any]) -> _Spread:
        fit = decision["fit"]
        periods = max(1.0, 3600 / float(fit["period_s"]))
        day_cv, period_cv = float(fit["day_cv"]["value"]), float(fit["period_cv"]["value"])
        return cls(day_cv, period_cv / np.sqrt(periods), max(1.0, decision["history"]["days"] / 7))

    def bounded(self, table: pl.DataFrame) -> pl.DataFrame:
        """With `low` and `high`: the rates are as unsure as a mean over so many weeks is."""
        mean, squares = table["expected"].to_numpy(), table["squares"].to_numpy()
        beyond_poisson = (1 + 1 / self.weeks) * (self.day_cv**2 * mean**2 + self.hour_cv**2 * squares)
        low, high = _interval(mean, beyond_poisson + mean / self.weeks)
        return table.with_columns(low=pl.Series(low), high=pl.Series(high)).drop("squares")


def _interval(mean: FloatArray, beyond_poisson: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Central interval of a count whose variance is the mean and so much more (negative binomial)."""
    tails = ((1 - _ASKED) / 2, (1 + _ASKED) / 2)
    safe = np.maximum(mean, 1e-9)
    shape = safe**2 / np.maximum(beyond_poisson, 1e-12)
    low, high = (
        np.where(beyond_poisson > 1e-9, nbinom.ppf(tail, shape, shape / (shape + safe)), poisson.ppf(tail, safe))
        for tail in tails
    )
    return low, high
