"""Find days and hours that were not ordinary: closed days, breakdowns, quiet days, and very busy ones.

A day is compared with the usual day of its weekday at the level of the weeks around it. A breakdown is a run of periods
with far fewer calls than expected from the rest of the same day. A busy day is never an error: it is demand. It is
named, and it stays in the fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import numpy as np

from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.demand.fitting.grid import Grid

_CLOSED = 0.35
"""A day with less than this share of its usual calls counts as closed."""
_ODD_SPREADS = 4.0
_ODD_LEAST = 0.4
"""A smaller deviation of the log is ordinary, however alike days are."""
_NEAR_DAYS = 14
_LEAST_DAYS_FOR_LEVEL = 28
_MISSING = 0.65
"""A period belongs to a breakdown if less than this share of its expected calls came."""
_SURE = 5.5
"""Least lack of calls in all periods of a breakdown together, in standard errors."""
_LEAST_EXPECTED = 15.0
"""Least number of calls that a breakdown must have cost."""
_LEAST_BUSY = 2.0
"""A period that expects fewer calls belongs to no breakdown: no call at all is ordinary there."""
_SILENT = 0.1


class OddKind(StrEnum):
    """What was odd."""

    CLOSED = "closed"
    """Hardly any calls: a holiday, or closed for another reason."""
    OUTAGE = "outage"
    """Hours of an otherwise ordinary day are missing, wholly or in part."""
    QUIET = "quiet"
    """Open, with far fewer calls than usual."""
    BUSY = "busy"
    """Far more calls than usual: demand, kept."""


@dataclass(frozen=True)
class OddDay:
    """One oddity of one day."""

    date: date
    kind: OddKind
    hours: tuple[int, ...]
    """Local hours: of a breakdown those that it touched, otherwise all."""
    share: float
    """Calls in these hours over those expected."""

    @property
    def words(self) -> str:
        """Return the finding in a sentence."""
        percent = f"{100 * self.share:.0f} %"
        if self.kind is OddKind.OUTAGE:
            span = f"{self.hours[0]}:00 to {self.hours[-1] + 1}:00"
            lost = "hardly any calls" if self.share < _SILENT else f"{percent} of the expected calls"
            return f"{self.date}: {lost} from {span}, taken for a breakdown."
        if self.kind is OddKind.CLOSED:
            return f"{self.date}: {percent} of a usual day's calls, taken for a closed day."
        return f"{self.date}: {percent} of a usual day's calls, {self.kind.value}."


def find_odd(grid: Grid) -> tuple[OddDay, ...]:
    """Return the oddities by date; of a weekday that the history has only once, only breakdowns can be found.

    A breakdown of more than half a day shows as a quiet or closed day.
    """
    if len(grid) == 0:
        return ()
    expected = _expected(grid)
    totals = expected.sum(axis=1)
    known = totals > 0
    # Half a call, so that a day without any has a logarithm.
    logs = np.where(known, np.log((grid.totals + 0.5) / (totals + 0.5)), 0.0)
    away = logs - _level(grid, logs)
    # The median of deviations, which odd days cannot widen. For normal values 1.4826 times it is the standard
    # deviation.
    spread = 1.4826 * float(np.median(np.abs(away[known]))) if known.any() else 0.0
    bound = max(_ODD_SPREADS * spread, _ODD_LEAST)
    outages = _outages(grid, expected, np.exp(away) >= _CLOSED)
    found: list[OddDay] = []
    for row, day in enumerate(grid.dates):
        share = float(np.exp(away[row]))
        ours = outages[row]
        missing = sum((1 - part) * calls for _, part, calls in ours)
        # The day as if the calls of its breakdown had come: a breakdown of two hours must not make the day a quiet one
        # as well.
        mended = np.log((grid.totals[row] + missing + 0.5) / (totals[row] + 0.5)) - (logs - away)[row]
        if away[row] < np.log(_CLOSED):
            found.append(OddDay(day, OddKind.CLOSED, tuple(range(24)), share))
            continue
        found += [OddDay(day, OddKind.OUTAGE, hours, part) for hours, part, _ in ours]
        if mended < -bound:
            found.append(OddDay(day, OddKind.QUIET, tuple(range(24)), share))
        elif mended > bound:
            found.append(OddDay(day, OddKind.BUSY, tuple(range(24)), share))
    return tuple(found)


def usable_days(grid: Grid, odd: Sequence[OddDay]) -> BoolArray:
    """Return which days show the demand of a working day, shape (D,): all but closed and quiet days."""
    left = {one.date for one in odd if one.kind in (OddKind.CLOSED, OddKind.QUIET)}
    return np.array([day not in left for day in grid.dates], dtype=np.bool_)


def usable_hours(grid: Grid, odd: Sequence[OddDay]) -> BoolArray:
    """Return which hours can be judged, shape (D, 24): those of `usable_days` without breakdowns."""
    usable = np.repeat(usable_days(grid, odd)[:, None], 24, axis=1)
    rows = {day: row for row, day in enumerate(grid.dates)}
    for one in odd:
        if one.kind is OddKind.OUTAGE and one.date in rows:
            usable[rows[one.date], list(one.hours)] = False
    return usable


def _expected(grid: Grid) -> FloatArray:
    """Return the usual day of each day's weekday, shape (D, periods).

    Its shape is the mean of all days of that weekday, its total their median; of two days, of which one looks closed,
    the larger total.
    """
    usual = np.zeros_like(grid.periods)
    for weekday in np.unique(grid.weekdays):
        of = grid.weekdays == weekday
        table, totals = grid.periods[of], grid.totals[of]
        # A median, because a holiday among four Mondays would lower their mean.
        total = float(np.median(totals))
        if len(totals) == 2 and totals.min() < _CLOSED * totals.max():
            total = float(totals.max())
        typical = table[totals >= 0.5 * total] if total > 0 else table
        # A breakdown lowers a mean, so with enough days a mean around the median is taken.
        cut = len(typical) // 4 if len(typical) >= 4 else 0
        shape = np.sort(typical, axis=0)[cut : len(typical) - cut].mean(axis=0)
        if shape.sum() > 0:
            usual[of] = shape * (total / shape.sum())
    return usual


def _level(grid: Grid, logs: FloatArray) -> FloatArray:
    """Return the median of the days around each day, so that a drifting level makes no day odd."""
    if len(grid) < _LEAST_DAYS_FOR_LEVEL:
        return np.full(len(grid), float(np.median(logs)) if len(grid) >= _NEAR_DAYS else 0.0)
    numbers = np.array([day.toordinal() for day in grid.dates])
    near = np.abs(numbers[:, None] - numbers) <= _NEAR_DAYS
    return np.array([np.median(logs[row]) for row in near])


def _outages(grid: Grid, expected: FloatArray, is_open: BoolArray) -> list[list[tuple[tuple[int, ...], float, float]]]:
    """Return, by day, the hours of each breakdown, the share of calls that came, and the calls expected."""
    counts = grid.periods
    ratios = np.where(expected >= _LEAST_BUSY, counts / np.maximum(expected, 1e-9), np.nan)
    # The level of the day itself is its median period: up to half a day may be missing.
    weights = np.where(np.isnan(ratios), 0.0, expected)
    # By the median and not the total: the total lacks the calls of the breakdown that we look for.
    today = np.array([_weighted_median(*pair) for pair in zip(np.nan_to_num(ratios), weights, strict=True)])
    wanted = expected * today[:, None]
    seen = wanted >= _LEAST_BUSY
    cv2 = _spread2(counts[seen], wanted[seen])
    return [list(_runs(counts[row], wanted[row], cv2)) if is_open[row] else [] for row in range(len(grid))]


def _spread2(counts: FloatArray, wanted: FloatArray) -> float:
    """Return the squared spread of a period's factor without Poisson noise, from the fuller half of the periods."""
    if len(wanted) == 0:
        return 0.0
    filled = wanted >= np.median(wanted)
    deviations = (counts[filled] - wanted[filled]) / wanted[filled]
    spread = 1.4826 * float(np.median(np.abs(deviations)))
    return max(spread**2 - float(np.median(1 / wanted[filled])), 0.0)


def _weighted_median(values: FloatArray, weights: FloatArray) -> float:
    if weights.sum() <= 0:
        return 1.0
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) >= weights.sum() / 2
    return float(values[order][int(np.argmax(reached))])


def _runs(counts: FloatArray, wanted: FloatArray, cv2: float) -> Iterator[tuple[tuple[int, ...], float, float]]:
    """Yield runs of periods that lack calls, together too many to be chance."""
    periods = len(counts)
    # Quiet periods belong to no run: there, no call at all is ordinary.
    is_low = (counts < _MISSING * wanted) & (wanted >= _LEAST_BUSY)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_low, [False]]).astype(np.int8)))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        came, calls = float(counts[start:end].sum()), float(wanted[start:end].sum())
        # Neighbouring periods rise and fall together, so their common part does not average out.
        error = np.sqrt(calls + cv2 * calls**2 * (0.5 + 0.5 / (end - start)))
        # All periods of all days are searched, so the bound is far beyond what one search would need.
        if calls - came >= max(_LEAST_EXPECTED, _SURE * error):
            first, last = int(start * 24 // periods), int((end - 1) * 24 // periods)
            yield tuple(range(first, last + 1)), came / calls, calls
