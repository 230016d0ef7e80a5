"""Warnings about a fit, and reasons why a history is not enough for a decision.

This module makes sentences only; all figures are estimated elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.demand.fitting.drift import find_drift
from trunkproof.models.demand.fitting.durations import misfit
from trunkproof.models.demand.fitting.grid import Grid
from trunkproof.models.demand.fitting.odd_days import OddDay, usable_days
from trunkproof.models.demand.fitting.outlook import profile
from trunkproof.models.demand.fitting.result import WEEKDAYS, ArrivalFit, HeldOut
from trunkproof.models.demand.history.table import History
from trunkproof.models.distributions import Distribution

LEAST_DAYS = 7
LEAST_ATTEMPTS = 500
_SHORT_DAYS = 14
_BAD_FIT = 0.05
_BUSY_SHARE = 0.9
_FEW_OF_WEEKDAY = 2
_NAMED = 8
"""Number of odd days that are named one by one."""


def refusals(history: History, fresh: Grid) -> tuple[str, ...]:
    """Return the reasons why the history is not enough for a decision; empty if it is enough."""
    said = []
    days = len(fresh)
    if days < LEAST_DAYS:
        said.append(
            f"The history has {days} complete day{'' if days == 1 else 's'}; a decision needs {LEAST_DAYS} at least, "
            f"better {2 * _SHORT_DAYS}: fewer days do not show how much days differ."
        )
    if history.attempts < LEAST_ATTEMPTS:
        said.append(f"The history has {history.attempts} attempts; a decision needs {LEAST_ATTEMPTS} at least.")
    if not said and not _busy_hour_seen_twice(fresh):
        said.append(
            "No weekday with a busy hour is in the history twice, so it does not show how much busy hours differ."
        )
    return tuple(said)


def _busy_hour_seen_twice(fresh: Grid) -> bool:
    busiest = fresh.hours.max(axis=1)
    # Compared with a median of the busiest quarter of the days, so that a single extraordinary day sets no standard.
    busy = busiest >= _BUSY_SHARE * np.median(np.sort(busiest)[-max(len(busiest) // 4, 1) :])
    return bool((np.bincount(fresh.weekdays[busy], minlength=7) >= _FEW_OF_WEEKDAY).any())


def warnings_of_days(history: History, fresh: Grid, odd: Sequence[OddDay]) -> Iterator[str]:
    """Yield warnings of short, missing, odd and closed days."""
    if LEAST_DAYS <= len(fresh) < _SHORT_DAYS:
        yield f"Only {len(fresh)} complete days: intervals are wide, and weeks cannot be compared."
    seen = np.bincount(fresh.weekdays, minlength=7)
    few = [WEEKDAYS[weekday] for weekday in range(7) if seen[weekday] < _FEW_OF_WEEKDAY]
    if few:
        yield f"Fewer than {_FEW_OF_WEEKDAY} complete days of: {', '.join(few)}."
    left = history.days - len(fresh) - len(history.closed)
    if left > 2:
        yield f"{left} of {history.days} days are incomplete and were not fitted."
    if history.closed:
        yield f"{len(history.closed)} days were named as closed and not fitted."
    yield from (one.words for one in odd[:_NAMED])
    if len(odd) > _NAMED:
        yield f"{len(odd) - _NAMED} more days were odd."
    gaps = _gaps(fresh, usable_days(fresh, odd))
    if gaps:
        yield f"{gaps} hours without a call, where 100 or more are usual: the history may have gaps."


def _gaps(fresh: Grid, usual: BoolArray) -> int:
    expected = profile(fresh.keep(usual)).per_minute[fresh.weekdays] * fresh.minutes
    # Independent callers leave an hour of 100 expected calls empty with a probability of e^-100.
    return int(((fresh.hours == 0) & (expected >= 100) & usual[:, None]).sum())


def warnings_of_clock(history: History) -> Iterator[str]:
    """Yield warnings of oddities that shift times."""
    for oddity in history.oddities:
        if any(word in oddity.kind for word in ("clock", "order", "zone", "daylight")):
            yield f"{oddity.what} ({oddity.count}): {oddity.handled}"


def warnings_of_arrivals(fresh: Grid, arrivals: ArrivalFit) -> Iterator[str]:
    """Yield warnings of drift, and of counts that are far from Poisson."""
    if len(fresh) >= LEAST_DAYS and (drift := find_drift(fresh)).is_clear:
        yield drift.words
    ratio, p_value = dispersion(fresh)
    # Both: in a long history the smallest excess is significant, and in a short one a large excess may be chance.
    if ratio > 1.5 and p_value < 1e-3:
        yield (
            f"Counts vary {ratio:.1f} times as much as independent callers would (chi-square, p below 0.001): "
            f"busyness factors model it (days {arrivals.day_cv.value:.3f}, periods {arrivals.period_cv.value:.3f})."
        )


def dispersion(fresh: Grid) -> tuple[float, float]:
    """Return chi-square over degrees of freedom of periods about their weekday's mean, and its p-value."""
    square, degrees = 0.0, 0
    for weekday in np.unique(fresh.weekdays):
        table = fresh.periods[fresh.weekdays == weekday]
        means = table.mean(axis=0)
        # The usual bound for chi-square: with smaller expected counts its distribution does not hold.
        counted = means >= 5
        square += float(((table - means) ** 2 / np.maximum(means, 1e-9))[:, counted].sum())
        degrees += (len(table) - 1) * int(counted.sum())
    return (square / degrees, float(stats.chi2.sf(square, degrees))) if degrees else (1.0, 1.0)


def warnings_of_durations(what: str, seconds: FloatArray, distribution: Distribution) -> Iterator[str]:
    """Yield a warning if the distribution does not fit."""
    gap = misfit(seconds, distribution)
    if gap > _BAD_FIT:
        yield f"{what} follow no tried distribution well: distribution functions are {gap:.2f} apart (see the QQ plot)."


def warnings_of_forecast(held_out: HeldOut | None) -> Iterator[str]:
    """Yield a warning if the forecast missed too many held-out days or hours."""
    if held_out is None:
        return
    for what, seen, count in (
        ("hours", held_out.seen_by_hour, held_out.hours.height),
        ("days", held_out.seen_by_day, held_out.days.height),
    ):
        # Days of one level miss together, so only a quarter of them counts as independent. Three standard errors.
        slack = 3 * np.sqrt(held_out.asked * (1 - held_out.asked) / max(count / 4, 1))
        if seen < held_out.asked - slack:
            asked = 100 * held_out.asked
            yield f"{100 * seen:.0f} % of the held-out {what} lie in their intervals; {asked:.0f} % should."
