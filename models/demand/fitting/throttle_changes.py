"""Did the limit in force change within a history?

A throttle at work shows as a plateau: in minutes with refusals the admitted calls stand at the limit, give or take what
a window's edges do. Where the plateau steps from one height to another, and stays, the limit was changed. A history of
counts without refusals shows a plateau only by calls per interval that hardly vary where callers would.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

import numpy as np
import polars as pl

from trunkproof.models.demand.fitting.grid import FloatArray
from trunkproof.models.demand.history.table import History

_LEAST_DAYS = 2
"""With a plateau, on either side of a change."""
_LEAST_INTERVALS = 3
"""With refusals, for a day to show a plateau."""
_LEAST_STEP = 0.05
"""Of the lower limit: less is what windows and clocks do."""
_SURE = 5.0
"""Standard errors between the plateaus of both sides."""
_ABOVE = 0.1
"""By so much a day's largest count must exceed those of days at the limit, to show that it was another one."""
_PLATEAU = 0.75
"""Quantile of admitted calls in intervals with refusals: a refusal near a window's edge leaves an interval unfilled."""
_WIDE = 0.1
"""Part of a plateau's height by which its upper half may vary."""
_LARGEST = 0.02
"""Share of a day's intervals that are its largest."""
_LEAST_LARGEST = 10
_LEAST_HEIGHT = 10.0
"""Calls per interval: without refusals a lower plateau cannot be told from chance."""
_FLAT = 0.3
"""Range of a day's largest counts in units of a Poisson count's deviation; independent callers' have more than 1."""
_NONE_REFUSED = 1e-4


class OpenSide(StrEnum):
    """Where a limit is only known to have been no lower."""

    NONE = "none"
    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True)
class ThrottleStep:
    """A change that the counts show."""

    first_day: date
    """First local day that shows the new limit; it was changed on it or between it and `last_day_before`."""
    last_day_before: date
    """Last local day that shows the old one."""
    before_per_minute: float
    after_per_minute: float
    open_side: OpenSide = OpenSide.NONE
    """On that side nothing was refused: the limit there was as high as said, or higher."""

    @property
    def words(self) -> str:
        """For people: what was found."""
        before = "at least" if self.open_side is OpenSide.BEFORE else "about"
        after = "at least" if self.open_side is OpenSide.AFTER else "about"
        return (
            f"The limit in force seems to have changed between {self.last_day_before} and {self.first_day}: from "
            f"{before} {self.before_per_minute:.0f} to {after} {self.after_per_minute:.0f} calls per minute. "
            f"Say so in throttle_history."
        )

    def to_json(self) -> dict[str, Any]:
        """All values, ready for `json.dumps`."""
        return {
            "first_day": str(self.first_day),
            "last_day_before": str(self.last_day_before),
            "before_per_minute": self.before_per_minute,
            "after_per_minute": self.after_per_minute,
            "open_side": self.open_side.value,
        }


def find_throttle_change(history: History) -> ThrottleStep | None:
    """Return the clearest change of the limit in force; none where nothing is to be seen.

    A day without a plateau says nothing, so a change on days without refusals is dated to the days around it.
    """
    counts = history.counts.with_columns(
        (pl.col("attempts") - pl.col("refused")).alias("admitted"), pl.col("start_local").dt.date().alias("day")
    )
    plateaus = _plateaus(counts)
    per_minute = 60 / history.interval_s / history.multiplied
    return _step(*plateaus, per_minute) or _opened(counts, *plateaus[:2], per_minute)


def _step(days: list[date], heights: FloatArray, errors: FloatArray, per_minute: float) -> ThrottleStep | None:
    """From one plateau to another: the cut that leaves days nearest to their own side's."""
    best: tuple[float, int] | None = None
    for cut in range(_LEAST_DAYS, len(days) - _LEAST_DAYS + 1):
        left, right = heights[:cut], heights[cut:]
        lower, upper = sorted((float(np.median(left)), float(np.median(right))))
        if upper - lower < max(_LEAST_STEP * lower, 1.0):
            continue
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
    """From a plateau to days that go above it unrefused, or the other way about."""
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
    """Whether hardly any day stands on the other side's plateau: one odd day is no change."""
    middle = (np.median(left) + np.median(right)) / 2
    wrong = np.concatenate(
        [(left > middle) == (np.median(left) < middle), (right > middle) == (np.median(right) < middle)]
    )
    return bool(wrong.mean() <= 0.1)


def _error(heights: FloatArray, errors: FloatArray) -> float:
    """Of a median of days."""
    spread = 1.4826 * float(np.median(np.abs(heights - np.median(heights))))
    return float(max(spread, float(np.median(errors))) * np.sqrt(np.pi / 2 / len(heights)))


def _plateaus(counts: pl.DataFrame) -> tuple[list[date], FloatArray, FloatArray]:
    """Days that show a plateau, its height in admitted calls per interval, and the height's standard error."""
    shows = int(counts["refused"].sum()) > _NONE_REFUSED * max(int(counts["attempts"].sum()), 1)
    pick = _with_refusals if shows else _largest
    found = [
        (day, *picked)
        for (day,), of in sorted(counts.group_by("day"), key=lambda pair: pair[0])
        if (picked := pick(of)) is not None and isinstance(day, date)
    ]
    days, heights, errors = zip(*found, strict=True) if found else ((), (), ())
    return list(days), np.array(heights), np.array(errors)


def _with_refusals(of: pl.DataFrame) -> tuple[float, float] | None:
    admitted = of.filter(pl.col("refused") > 0)["admitted"].to_numpy().astype(np.float64)
    if len(admitted) < _LEAST_INTERVALS:
        return None
    middle, height, top = np.quantile(admitted, [0.5, _PLATEAU, 0.9])
    if top - middle > max(_WIDE * top, 1.0):
        return None
    return float(height), float(np.std(admitted)) / np.sqrt(len(admitted))


def _largest(of: pl.DataFrame) -> tuple[float, float] | None:
    """The day's largest counts, where they are flatter than those of independent callers."""
    admitted = np.sort(of["admitted"].to_numpy().astype(np.float64))
    if len(admitted) < 2 * _LEAST_LARGEST:
        return None
    top = admitted[-max(int(_LARGEST * len(admitted)), _LEAST_LARGEST) :]
    if top[-1] < _LEAST_HEIGHT or top[-1] - top[0] > max(_FLAT * np.sqrt(top[-1]), 1.0):
        return None
    return float(np.median(top)), 0.5
