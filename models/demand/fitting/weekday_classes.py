"""Group similar weekdays, and choose how fine the shape of their day is, by forecasting held-out weeks.

A class that is too small learns chance; one that is too large mixes Sundays with Mondays. A shape that is too fine
learns chance; one that is too coarse loses a campaign from 10:00 to 10:40. The likelihood of held-out weeks weighs
both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from trunkproof.models.arrays import BoolArray, FloatArray, IntArray

Classes = tuple[tuple[int, ...], ...]
"""The weekdays (Monday is 0) of each class."""

_HOUR_S = 3600.0
_LENGTHS_S = (3600.0, 1800.0, 900.0, 600.0, 300.0, 60.0)
_MOST_FOLDS = 5
_HALF_A_CALL = 0.5
"""Calls added to each hour, so that an hour without a call is not impossible."""
_LEAST_SPREAD = 0.02
"""Least spread of a day's total about its class: a few days cannot show a smaller one."""


@dataclass(frozen=True)
class Resolution:
    """The chosen classes and resolution."""

    classes: Classes
    """Groups of weekdays that are alike in their number of calls and in their hours."""
    shape_classes: Classes
    """Groups of weekdays that are alike in the shape of their day, however many calls come; as many or fewer."""
    length_s: float
    """Length of the periods within which that shape is flat."""


def choose_resolution(counts: FloatArray, weekdays: IntArray, weeks: IntArray, period_s: float) -> Resolution:
    """Return the classes and the resolution under which held-out weeks are the most likely.

    Args:
        counts: calls, shape (D, P), by day and period.
        weekdays: weekday of each day, shape (D,).
        weeks: the number of each day's week, shape (D,); whole weeks are kept out together.
        period_s: length of the periods.
    """
    if not len(counts):
        every = (tuple(range(7)),)
        return Resolution(every, every, _HOUR_S)
    lengths = [length for length in _LENGTHS_S if length % period_s == 0 and length >= period_s]
    partitions = list(_partitions(counts, weekdays))
    # Whole weeks are kept out: the days of one week share its level, which would give a held-out day away.
    folds = np.unique(weeks) % min(len(np.unique(weeks)), _MOST_FOLDS)
    fold = folds[np.searchsorted(np.unique(weeks), weeks)]
    if len(np.unique(fold)) < 2:
        return Resolution(partitions[-1], partitions[-1], lengths[0] if lengths else period_s)
    totals = np.log(counts.sum(axis=1) + _HALF_A_CALL)
    hour = round(_HOUR_S / period_s)

    def alike(classes: Classes) -> float:
        kinds = _class_of(classes, weekdays)
        return _of_totals(totals, kinds, fold) + _of_shapes(counts, kinds, fold, hour)

    def shaped(pair: tuple[Classes, float]) -> float:
        classes, length = pair
        return _of_shapes(counts, _class_of(classes, weekdays), fold, round(length / period_s))

    # Classes are chosen by hours. With finer periods, the noise of many shapes would hide even the few calls of
    # Sundays.
    shapes, length = max(product(partitions, lengths or [period_s]), key=shaped)
    return Resolution(max(partitions, key=alike), shapes, length)


def shape_of(counts: FloatArray, merged: int) -> FloatArray:
    """Return the share of a day's calls in each period, flat over `merged` periods, of sum 1; `counts` has shape
    (days, P).
    """
    total = counts.sum(axis=0)
    periods = len(total)
    hour = max(1, periods // 24)
    # Each hour gets half a call, however many periods it has.
    smooth = total + _HALF_A_CALL / hour
    smooth = np.repeat(smooth.reshape(-1, merged).mean(axis=1), merged)
    return np.asarray(smooth / smooth.sum())


def _class_of(classes: Classes, weekdays: IntArray) -> IntArray:
    of = np.zeros(7, dtype=np.int64)
    for number, days in enumerate(classes):
        of[list(days)] = number
    return of[weekdays]


def _folds(classes: IntArray, fold: IntArray) -> Iterator[tuple[BoolArray, BoolArray]]:
    """Yield held-out days, and the days of their class that forecast them; all other days if the class has none."""
    for number in np.unique(fold):
        out = fold == number
        for kind in np.unique(classes[out]):
            train = ~out & (classes == kind)
            yield out & (classes == kind), train if train.any() else ~out


def _of_shapes(counts: FloatArray, classes: IntArray, fold: IntArray, merged: int) -> float:
    """Return the multinomial log-likelihood of how held-out days spread their calls over the day."""
    return sum(
        float((counts[test] * np.log(shape_of(counts[train], merged))).sum()) for test, train in _folds(classes, fold)
    )


def _of_totals(totals: FloatArray, classes: IntArray, fold: IntArray) -> float:
    """Return the lognormal log-likelihood of the totals of held-out days; `totals` are logarithms."""
    found = 0.0
    for test, train in _folds(classes, fold):
        # A held-out day differs by its own spread and by the error of the mean of its class.
        wide = _spread(totals, classes, ~test) ** 2 * (1 + 1 / train.sum())
        found -= float(((totals[test] - totals[train].mean()) ** 2 / wide + np.log(wide)).sum()) / 2
    return found


def _spread(totals: FloatArray, classes: IntArray, train: BoolArray) -> float:
    """Return the spread of totals about their class, pooled over classes."""
    squares, degrees = 0.0, 0
    for kind in np.unique(classes[train]):
        of = totals[train & (classes == kind)]
        squares, degrees = squares + float(((of - of.mean()) ** 2).sum()), degrees + len(of) - 1
    return max(_LEAST_SPREAD, float(np.sqrt(squares / max(degrees, 1))))


def _partitions(counts: FloatArray, weekdays: IntArray) -> Iterator[Classes]:
    """Yield partitions from single weekdays to one class; each step joins the two most similar classes."""
    present = [int(day) for day in np.unique(weekdays)]
    days = {day: counts[weekdays == day] for day in present}
    classes: list[tuple[int, ...]] = [(day,) for day in present]
    absent = tuple(day for day in range(7) if day not in present)
    while True:
        yield _complete(classes, absent)
        if len(classes) == 1:
            return
        hours = [_hours(np.concatenate([days[day] for day in one])) for one in classes]
        sizes = [sum(len(days[day]) for day in one) for one in classes]
        pairs = combinations(range(len(classes)), 2)
        # Seven steps of joining the nearest, and not all 877 partitions of seven weekdays.
        first, second = min(pairs, key=lambda pair: _distance(hours, sizes, *pair))
        joined = tuple(sorted(classes[first] + classes[second]))
        classes = [one for index, one in enumerate(classes) if index not in {first, second}] + [joined]


def _complete(classes: Sequence[tuple[int, ...]], absent: tuple[int, ...]) -> Classes:
    """Add the weekdays that the history does not have to the largest class."""
    ordered = sorted(classes)
    largest = max(range(len(ordered)), key=lambda index: len(ordered[index]))
    ordered[largest] = tuple(sorted(ordered[largest] + absent))
    return tuple(ordered)


def _hours(counts: FloatArray) -> FloatArray:
    """Return square roots of mean counts by hour: on that scale the noise of independent callers is constant."""
    by_hour = counts.reshape(len(counts), 24, -1).sum(axis=2)
    return np.asarray(np.sqrt(by_hour.mean(axis=0)))


def _distance(hours: Sequence[FloatArray], sizes: Sequence[int], one: int, other: int) -> float:
    """Return Ward's distance: how much joining adds to the spread within classes."""
    weight = sizes[one] * sizes[other] / (sizes[one] + sizes[other])
    return weight * float(((hours[one] - hours[other]) ** 2).sum())
