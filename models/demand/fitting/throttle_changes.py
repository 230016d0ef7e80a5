"""Did the limit in force change within a history?

With refusals, each decision of the throttle contradicts some limits (`models.demand.fitting.limit_profiles`). Two
limits, one up to a day and one after it, are believed under two conditions. They leave few of the contradictions that
the best single limit has. And if the same days are shuffled, hardly any order gains as much: days differ, and there are
many dates to choose from.

Without refusals, a limit shows only as a plateau: the largest counts of a day hardly vary, where callers would. If the
plateau steps from one height to another and stays there, the limit was changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

import numpy as np
import polars as pl

from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.limit_profiles import LimitProfile, limit_profiles
from trunkproof.models.demand.history.table import History

_LEAST_DAYS = 2
"""Least number of days that show the limit, on either side of a change."""
_LEAST_STEP = 0.05
"""Least step over the lower limit: windows and clocks alone make smaller ones."""
_ORDERS = 299
"""Number of random orders of the days; a change must gain more than all but 1 % of them."""
_SIGNIFICANT = 0.01
_MOST_LEFT = 0.67
"""Largest share of a single limit's contradictions that two limits may leave. A policy that no window describes keeps
most of its contradictions with any limits."""
_MOST_ASTRAY = 0.1
"""Largest share of days that the limit of the other side explains better: a single odd day is no change."""
_SURE = 5.0
"""Least difference of both sides' plateaus, in standard errors."""
_ABOVE = 0.1
"""A day had a higher limit if its largest count exceeds those of days at the limit by this share."""
_LARGEST = 0.02
"""Share of a day's intervals that count as its largest."""
_LEAST_LARGEST = 10
_LEAST_HEIGHT = 10.0
"""Least height of a plateau without refusals, in calls per interval: a lower one may be chance."""
_FLAT = 0.3
"""Largest range of a plateau's counts, in Poisson standard deviations; those of independent callers exceed 1."""
_NONE_REFUSED = 1e-4


class OpenSide(StrEnum):
    """The side of a change on which the limit is only a lower bound."""

    NONE = "none"
    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True)
class ThrottleStep:
    """A change of the limit that the history shows."""

    first_day: date
    """First local day that shows the new limit: the change was on it, or between it and `last_day_before`."""
    last_day_before: date
    """Last local day that shows the old limit."""
    before_per_minute: float
    after_per_minute: float
    open_side: OpenSide = OpenSide.NONE
    """The side without refusals: the limit there was as high as stated, or higher."""

    @property
    def words(self) -> str:
        """Return the finding in two sentences, with what to do."""
        before = "at least" if self.open_side is OpenSide.BEFORE else "about"
        after = "at least" if self.open_side is OpenSide.AFTER else "about"
        return (
            f"The limit in force seems to have changed between {self.last_day_before} and {self.first_day}: from "
            f"{before} {self.before_per_minute:.0f} to {after} {self.after_per_minute:.0f} calls per minute. "
            f"If so, state it in `throttle_history`."
        )

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return {
            "first_day": str(self.first_day),
            "last_day_before": str(self.last_day_before),
            "before_per_minute": self.before_per_minute,
            "after_per_minute": self.after_per_minute,
            "open_side": self.open_side.value,
        }


def find_throttle_change(history: History) -> ThrottleStep | None:
    """Return the clearest change of the limit in force; None where there is none.

    A day that came near neither limit tells nothing. A change among such days is dated by the days around them.
    """
    if int(history.counts["refused"].sum()) > _NONE_REFUSED * max(history.attempts, 1):
        cuts = [_best_cut(profile) for profile in limit_profiles(history) if len(profile.days) >= 2 * _LEAST_DAYS]
        return _between_limits(min(cuts, key=lambda cut: cut.left)) if cuts else None
    counts = history.counts.with_columns(
        (pl.col("attempts") - pl.col("refused")).alias("admitted"), pl.col("start_local").dt.date().alias("day")
    )
    plateaus = _plateaus(counts)
    per_minute = 60 / history.interval_s / history.multiplied
    return _step(*plateaus, per_minute) or _opened(counts, *plateaus[:2], per_minute)


@dataclass(frozen=True, eq=False)
class _Cut:
    """The two limits and the date that leave the fewest contradictions."""

    profile: LimitProfile
    left: float
    """Contradictions that remain."""
    gained: float
    """Contradictions of the best single limit minus those that remain."""
    last_before: int
    """Index of the last day before the change."""
    first_after: int


def _best_cut(profile: LimitProfile) -> _Cut:
    left, single = _left(profile.contradicted)
    # Several dates may leave equally few: the days between them came near neither limit.
    best = np.flatnonzero(left == left.min())
    return _Cut(
        profile=profile,
        left=float(left.min()),
        gained=single - float(left.min()),
        last_before=int(best[0]) + _LEAST_DAYS - 1,
        first_after=int(best[-1]) + _LEAST_DAYS,
    )


def _left(contradicted: FloatArray) -> tuple[FloatArray, float]:
    """Return the contradictions of the best two limits for a change after the second day, the third and so on.

    The second value is the contradictions of the best single limit.
    """
    until = contradicted.cumsum(axis=0)
    # Sums up to each day serve both sides: what is not before the change comes after it.
    cuts = slice(_LEAST_DAYS - 1, len(until) - _LEAST_DAYS)
    return until[cuts].min(axis=1) + (until[-1] - until[cuts]).min(axis=1), float(until[-1].min())


def _between_limits(cut: _Cut) -> ThrottleStep | None:
    """Return the change if it is believed."""
    profile, contradicted = cut.profile, cut.profile.contradicted
    sides = contradicted[: cut.last_before + 1], contradicted[cut.first_after :]
    (before, above_before), (after, above_after) = (_limit_of(side.sum(axis=0), profile.limits) for side in sides)
    if abs(after - before) < max(_LEAST_STEP * min(before, after), 1.0) or (above_before and above_after):
        return None
    if cut.left > _MOST_LEFT * (cut.left + cut.gained) or _astray(sides) > _MOST_ASTRAY:
        return None
    # The test that costs the most comes last.
    if float(np.mean([gained >= cut.gained for gained in _by_chance(contradicted)])) > _SIGNIFICANT:
        return None
    return ThrottleStep(
        first_day=profile.days[cut.first_after],
        last_day_before=profile.days[cut.last_before],
        before_per_minute=before * profile.per_minute,
        after_per_minute=after * profile.per_minute,
        open_side=OpenSide.BEFORE if above_before else OpenSide.AFTER if above_after else OpenSide.NONE,
    )


def _limit_of(contradicted: FloatArray, limits: FloatArray) -> tuple[float, bool]:
    """Return the limit with the fewest contradictions, and whether it is only a lower bound.

    Of several such limits it is the middle one. If the highest limit of the profile is among them, it is the lowest of
    them, and a lower bound.
    """
    best = limits[contradicted == contradicted.min()]
    return (float(best[0]), True) if best[-1] == limits[-1] else (float(np.floor(np.median(best))), False)


def _astray(sides: tuple[FloatArray, FloatArray]) -> float:
    """Return the share of days that the other side's limit explains better, of those that tell both limits apart."""
    own, other = (int(side.sum(axis=0).argmin()) for side in sides)
    apart = np.concatenate([sides[0][:, own] - sides[0][:, other], sides[1][:, other] - sides[1][:, own]])
    return float((apart > 0).sum() / max((apart != 0).sum(), 1))


def _by_chance(contradicted: FloatArray) -> Iterator[float]:
    """Yield what two limits gain with the days in a random order."""
    # Shuffled days have as many dates to choose from, so what choosing alone gains is in these gains. The seed is
    # fixed: the same history always gives the same answer.
    random = np.random.default_rng(len(contradicted))
    for _ in range(_ORDERS):
        left, single = _left(contradicted[random.permutation(len(contradicted))])
        yield single - float(left.min())


def _step(days: list[date], heights: FloatArray, errors: FloatArray, per_minute: float) -> ThrottleStep | None:
    """Find a step from one plateau to another: the cut at which days are nearest to the plateau of their own side."""
    best: tuple[float, int] | None = None
    for cut in range(_LEAST_DAYS, len(days) - _LEAST_DAYS + 1):
        left, right = heights[:cut], heights[cut:]
        lower, upper = sorted((float(np.median(left)), float(np.median(right))))
        if upper - lower < max(_LEAST_STEP * lower, 1.0):
            continue
        # Absolute and not squared distances: one odd day must not decide where the cut is.
        wrong = float(np.abs(left - np.median(left)).sum() + np.abs(right - np.median(right)).sum())
        if best is None or wrong < best[0]:
            best = (wrong, cut)
    if best is None:
        return None
    cut = best[1]
    left, right = heights[:cut], heights[cut:]
    noise = np.hypot(_error(left, errors[:cut]), _error(right, errors[cut:]))
    if abs(float(np.median(right) - np.median(left))) < _SURE * noise or not _stays(left, right):
        return None
    before, after = float(np.median(left)) * per_minute, float(np.median(right)) * per_minute
    return ThrottleStep(days[cut], days[cut - 1], before, after)


def _opened(counts: pl.DataFrame, days: list[date], heights: FloatArray, per_minute: float) -> ThrottleStep | None:
    """Find a step from a plateau to days that exceed it without refusals, or the other way round."""
    if len(days) < _LEAST_DAYS:
        return None
    largest = counts.group_by("day").agg(pl.col("admitted").max(), pl.col("refused").sum()).sort("day")
    held = float(largest.filter(pl.col("day").is_in(days))["admitted"].max())  # type: ignore[arg-type]
    above = largest.filter((pl.col("admitted") > (1 + _ABOVE) * held) & (pl.col("refused") == 0))
    free: list[date] = above["day"].to_list()
    if len(free) < _LEAST_DAYS or not (free[0] > days[-1] or free[-1] < days[0]):
        return None
    plateau, seen = float(np.median(heights)) * per_minute, float(above["admitted"].median()) * per_minute  # type: ignore[arg-type]
    if free[0] > days[-1]:
        return ThrottleStep(free[0], days[-1], plateau, seen, OpenSide.AFTER)
    return ThrottleStep(days[0], free[-1], seen, plateau, OpenSide.BEFORE)


def _stays(left: FloatArray, right: FloatArray) -> bool:
    """Return whether hardly any day stands on the other side's plateau: one odd day is no change."""
    middle = (np.median(left) + np.median(right)) / 2
    wrong = np.concatenate(
        [(left > middle) == (np.median(left) < middle), (right > middle) == (np.median(right) < middle)]
    )
    return bool(wrong.mean() <= 0.1)


def _error(heights: FloatArray, errors: FloatArray) -> float:
    """Return the standard error of the median of some days."""
    spread = 1.4826 * float(np.median(np.abs(heights - np.median(heights))))
    # The standard error of a median of normal values is sqrt(pi / 2) times that of their mean.
    return float(max(spread, float(np.median(errors))) * np.sqrt(np.pi / 2 / len(heights)))


def _plateaus(counts: pl.DataFrame) -> tuple[list[date], FloatArray, FloatArray]:
    """Return the days that show a plateau, its height in admitted calls per interval, and its standard error."""
    found = [
        (day, *picked)
        for (day,), of in sorted(counts.group_by("day"), key=lambda pair: pair[0])
        if (picked := _largest(of)) is not None and isinstance(day, date)
    ]
    days, heights, errors = zip(*found, strict=True) if found else ((), (), ())
    return list(days), np.array(heights), np.array(errors)


def _largest(of: pl.DataFrame) -> tuple[float, float] | None:
    """Return the median of the day's largest counts and its error, or None if they are not flatter than by chance."""
    admitted = np.sort(of["admitted"].to_numpy().astype(np.float64))
    if len(admitted) < 2 * _LEAST_LARGEST:
        return None
    # Only the largest counts of a day come near the limit. All others show the callers.
    top = admitted[-max(int(_LARGEST * len(admitted)), _LEAST_LARGEST) :]
    if top[-1] < _LEAST_HEIGHT or top[-1] - top[0] > max(_FLAT * np.sqrt(top[-1]), 1.0):
        return None
    return float(np.median(top)), 0.5
