"""Compute the share of hours and days of a new history that lie in their forecast intervals.

The forecast is the one in `decision.json`. The share covered checks it as a whole. Bands of busy hours belong to the
rollout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from trunkproof.models.demand.fitting.result import times
from trunkproof.models.errors import InputError, Problem

_COLUMNS = ("expected", "low", "high")


@dataclass(frozen=True, eq=False)
class Coverage:
    """Calls of hours and days against their intervals."""

    asked: float | None
    """Coverage of the forecast's intervals, such as 0.9; None where the decision has no forecast."""
    counted: str
    """`fresh calls`, or `attempts` where the history does not tell callers apart."""
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

    @property
    def said(self) -> str:
        """Both shares in a sentence."""
        shares = [
            f"{100 * share:.0f} % of {table.height:,} {what}{'' if table.height == 1 else 's'}"
            for what, table, share in (
                ("hour", self.hours, self.seen_by_hour),
                ("day", self.days, self.seen_by_day),
            )
            if share is not None
        ]
        if self.asked is None or not shares:
            return "The review forecast no hour of this history."
        where = f"in their forecast intervals (asked {100 * self.asked:.0f} %)"
        return f"Of {self.counted}, {' and '.join(shares)} lie {where}."

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
    """Compare the hours of `experiments.review.periods.observed.by_hour` with the decision's forecast.

    The forecast is multiplied by `growth`.

    Raises:
        InputError: the forecast has not the form of `decision.json`.
    """
    fresh = bool(hours["calls"].is_not_null().any())
    seen = hours.select("began", seen=pl.col("calls" if fresh else "attempts").fill_null(0.0))
    by_day = seen.group_by(pl.col("began").dt.truncate("1d")).agg(pl.len(), pl.col("seen").sum())
    # The day on which clocks go forward has 23 hours.
    by_day = by_day.filter(pl.col("len") >= 23).drop("len").sort("began")
    forecast = decision.get("forecast")
    return Coverage(
        None if forecast is None else float(forecast["asked"]),
        "fresh calls" if fresh else "attempts",
        _joined(seen, forecast, "hours", growth),
        _joined(by_day, forecast, "days", growth),
    )


def _joined(seen: pl.DataFrame, forecast: Mapping[str, Any] | None, what: str, growth: float) -> pl.DataFrame:
    """Return what was seen and forecast, where both exist."""
    if forecast is None:
        return seen.clear().with_columns(pl.lit(0.0).alias(name) for name in _COLUMNS)
    try:
        table = pl.DataFrame(forecast[what]).with_columns(pl.col("start_local").str.to_datetime(time_unit="us"))
        table = times(table.select("start_local", *_COLUMNS), growth)
    except (KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise InputError(
            "decision", [Problem(where=f"forecast.{what}", what=f"cannot be read as a forecast ({error})")]
        ) from None
    return seen.join(table, left_on="began", right_on="start_local").sort("began")
