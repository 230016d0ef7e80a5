"""`python -m trunkproof.experiments.verification.real_arrivals COUNTS.csv`: check forecasts on real and made arrivals.

A history is fitted on its first part, and 90 % intervals are forecast for the rest. The table says how many counts lie
in their interval, and how wide intervals are. For comparison there are naive intervals: the 5 % and 95 % quantiles of
the past counts of each weekday and hour. The last column says how wide naive intervals must be made, in hindsight, to
contain as many counts as ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer

from trunkproof.experiments.cli.app import out
from trunkproof.experiments.histories.generate import made_attempts
from trunkproof.experiments.histories.truth import Truth
from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.demand.fitting.forecast import tables
from trunkproof.models.demand.fitting.grid import Grid, lay_out
from trunkproof.models.demand.fitting.outlook import look_ahead
from trunkproof.models.demand.fitting.trials import with_trials
from trunkproof.models.distributions import Exponential
from trunkproof.models.throttles.no_throttle import NoThrottle

_COVERAGE = 0.9
_SPLITS = (
    (date(1999, 1, 1), date(1999, 4, 1), date(1999, 7, 1)),
    (date(1999, 1, 1), date(1999, 3, 1), date(1999, 5, 1)),
    (date(1999, 2, 1), date(1999, 5, 1), date(1999, 7, 1)),
    (date(1999, 1, 1), date(1999, 3, 1), date(1999, 7, 1)),
    (date(1999, 1, 1), date(1999, 5, 1), date(1999, 7, 1)),
)
_SCALES = (1.0, 0.25, 5.0)
_WIDENED = np.linspace(0.0, 8.0, 801)
_SHAPE = np.array([1, 1, 0.5, 0.5, 0.5, 1, 3, 8, 16, 22, 26, 27, 25, 22, 23, 24, 22, 18, 13, 9, 6, 4, 2, 1]) / 27
_WEEK = (1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.2)


@dataclass(frozen=True)
class IntervalScore:
    """How well intervals contain the counts that came."""

    covered: float
    width: float
    """Mean width, in calls."""
    naive_covered: float
    naive_width: float
    naive_matched_width: float
    """Mean width of naive intervals, widened in hindsight until they contain as many counts as ours."""


def score_split(past: Grid, rest: Grid) -> tuple[IntervalScore, IntervalScore]:
    """Fit `past`, forecast `rest`, and return scores by hour (whole hours only) and by day."""
    outlook = with_trials(look_ahead(past, np.ones((7, 24)), past.dates[-1]), past)
    hours, days = tables(outlook, list(rest.dates), _COVERAGE)
    whole = rest.minutes == 60
    by_hour, by_day = np.zeros((2, *rest.hours.shape)), np.zeros((2, len(rest)))
    for weekday in np.unique(rest.weekdays):
        of, on = past.weekdays == weekday, rest.weekdays == weekday
        tails = [(1 - _COVERAGE) / 2, (1 + _COVERAGE) / 2]
        by_hour[:, on] = np.quantile(past.hours[of], tails, axis=0)[:, None]
        by_day[:, on] = np.quantile(past.totals[of], tails)[:, None]
    ours = [np.stack([table[name].to_numpy() for name in ("low", "high")]) for table in (hours, days)]
    return (
        _score(ours[0].reshape(2, -1, 24)[:, whole], by_hour[:, whole], rest.hours[whole]),
        _score(ours[1], by_day, rest.totals),
    )


def _score(ours: FloatArray, naive: FloatArray, seen: FloatArray) -> IntervalScore:
    covered = float(_inside(ours, seen).mean())
    middle, half = naive.mean(axis=0), np.maximum((naive[1] - naive[0]) / 2, 0.5)
    wide = [np.stack([np.maximum(middle - factor * half, 0.0), middle + factor * half]) for factor in _WIDENED]
    matched = next((each for each in wide if _inside(each, seen).mean() >= covered), wide[-1])
    return IntervalScore(covered, _width(ours), float(_inside(naive, seen).mean()), _width(naive), _width(matched))


def _inside(bounds: FloatArray, seen: FloatArray) -> BoolArray:
    return np.asarray((seen >= bounds[0]) & (seen <= bounds[1]))


def _width(bounds: FloatArray) -> float:
    return float((bounds[1] - bounds[0]).mean())


def read_grid(path: Path, interval_s: float = 360.0) -> Grid:
    """Read counts (`date`, `start`, `calls`; intervals without a call left out) into days."""
    read = pl.read_csv(path).select(
        (pl.col("date") + " " + pl.col("start")).str.to_datetime("%Y-%m-%d %H:%M", time_unit="us").alias("start_local"),
        pl.col("calls").alias("attempts"),
    )
    first, last = (datetime.fromisoformat(str(read["start_local"].dt.date().sort()[end])) for end in (0, -1))
    slots = pl.datetime_range(first, last + timedelta(days=1), timedelta(seconds=interval_s), closed="left", eager=True)
    every = pl.DataFrame({"start_local": slots}).cast({"start_local": pl.Datetime("us")})
    counts = every.join(read, on="start_local", how="left").with_columns(pl.col("attempts").fill_null(0))
    return lay_out(counts, "attempts", counts, interval_s)


def scaled(grid: Grid, factor: float, seed: int = 1) -> Grid:
    """Return the history with `factor` times the calls: thinned at random below 1, multiplied above."""
    if factor >= 1:
        return _with_hours(grid, grid.hours * factor, grid.periods * factor)
    periods = np.random.default_rng(seed).binomial(grid.periods.astype(np.int64), factor).astype(np.float64)
    return _with_hours(grid, periods.reshape(len(grid), 24, -1).sum(axis=2), periods)


def _with_hours(grid: Grid, hours: FloatArray, periods: FloatArray) -> Grid:
    return Grid(grid.dates, grid.weekdays, hours, grid.minutes, periods, grid.period_s)


def made_history(days: int, seed: int, peak_per_minute: float = 6.0, day_cv: float = 0.15) -> Grid:
    """Return a history of our own generator, without a throttle."""
    first = datetime(2025, 6, 2)
    truth = Truth(
        name="made",
        seed=seed,
        first_day=first.date(),
        days=days,
        timezone="UTC",
        hourly_per_minute=tuple(tuple(peak_per_minute * of * _SHAPE) for of in _WEEK),
        day_cv=day_cv,
        period_cv=0.1,
        holding=Exponential(kind="exponential", mean_s=120.0),
        throttle=NoThrottle(),
    )
    number = (made_attempts(truth)["at_s"].to_numpy() // 900).astype(np.int64)
    calls = np.bincount(number, minlength=days * 96)[: days * 96]
    starts = pl.datetime_range(first, first + timedelta(days=days), "15m", closed="left", eager=True)
    counts = pl.DataFrame({"start_local": starts, "attempts": calls}).cast({"start_local": pl.Datetime("us")})
    return lay_out(counts, "attempts", counts, 900.0)


def split(grid: Grid, first: date, cut: date, end: date) -> tuple[Grid, Grid]:
    """Return the days from `first` to before `cut`, and those from there to before `end`."""
    past = np.array([first <= day < cut for day in grid.dates], dtype=np.bool_)
    rest = np.array([cut <= day < end for day in grid.dates], dtype=np.bool_)
    return grid.keep(past), grid.keep(rest)


def rows(real: Grid) -> Iterator[tuple[str, IntervalScore, IntervalScore]]:
    """Yield name and scores of every split, scale and made history."""
    for first, cut, end in _SPLITS:
        for scale in _SCALES:
            name = f"{first:%b} to {cut - timedelta(days=1):%b}, then to {end - timedelta(days=1):%b}, x {scale:g}"
            yield name, *score_split(*split(scaled(real, scale), first, cut, end))
    for days, ahead in ((21, 14), (56, 28), (91, 91)):
        both = [
            score_split(grid.keep(slice(0, days)), grid.keep(slice(days, days + ahead)))
            for seed in range(1, 6)
            if (grid := made_history(days + ahead, seed)) is not None
        ]
        by_hour, by_day = (_mean([pair[number] for pair in both]) for number in (0, 1))
        yield f"made, {days} days, then {ahead} (mean of 5)", by_hour, by_day


def _mean(scores: list[IntervalScore]) -> IntervalScore:
    table = np.array([list(vars(score).values()) for score in scores])
    return IntervalScore(*map(float, table.mean(axis=0)))


def main(counts: Annotated[Path, typer.Argument(help="CSV: date, start, calls in six minutes.")]) -> None:
    """Print the table."""
    out.print(f"{'':36s} {'covered':>8s} {'width':>8s} {'naive':>8s} {'width':>8s} {'matched':>8s}", markup=False)
    for name, *scores in rows(read_grid(counts)):
        for unit, score in zip(("hour", "day"), scores, strict=True):
            shown = (
                f"{name if unit == 'hour' else '':36s} {unit:4s} {100 * score.covered:5.1f} % {score.width:8.1f} "
                f"{100 * score.naive_covered:5.1f} % {score.naive_width:8.1f} {score.naive_matched_width:8.1f}"
            )
            out.print(shown, markup=False)


if __name__ == "__main__":
    typer.run(main)
