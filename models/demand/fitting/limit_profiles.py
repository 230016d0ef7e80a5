"""Which limit explains what a throttle admitted and refused? Count, by day, the decisions that contradict each limit.

A throttle refuses an attempt when its window is full. The record shows how many calls each window held before each
attempt, so every decision of the throttle contradicts some limits. An example with a window of one minute:

    before the attempt    decision    contradicts
    19 admitted           admitted    limits of 19 and less: the window would have been full
    20 admitted           refused     limits of 21 and more: there would have been room
    20 admitted           admitted    limits of 20 and less

With a true limit of 20 and a perfect record, only 20 is never contradicted. Real records have clock errors and missing
rows, so the limit with the fewest contradictions is taken.

What the window is depends on the policy. Three kinds are tried: a fixed minute (at the phase with the fewest
contradictions), the last minute with admitted calls counted, and the last minute with all attempts counted. A history
of counts tells the same about whole intervals: one with refusals was full, one without had room.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from trunkproof.models.arrays import BoolArray, FloatArray, IntArray
from trunkproof.models.demand.history.table import CallStatus, History

_WINDOW_S = 60.0
_PHASES = 60
"""Number of phases of a fixed window that are tried: a window that begins a second off tells the limit well enough."""
_PHASE_PARTS = 8
_PHASE_ATTEMPTS = 50_000
"""Attempts that are enough to find the phase."""
_MOST_LIMITS = 240
"""Most limits that are compared; of a wider range, an even selection."""
_RELEVANT = 0.7
"""Attempts below this part of the smallest load with refusals (without its lowest percent) are left out: they
contradict no limit that could be meant."""


@dataclass(frozen=True, eq=False)
class LimitProfile:
    """The contradictions of each limit, for one kind of window."""

    days: tuple[date, ...]
    """Days with decisions near a limit, ascending, shape (D,)."""
    limits: FloatArray
    """Calls per window, ascending, shape (L,); the last is above all that was seen."""
    contradicted: FloatArray
    """Number of decisions that contradict a limit, by day, shape (D, L)."""
    per_minute: float
    """Factor from a limit per window to calls per minute."""


def limit_profiles(history: History) -> Iterator[LimitProfile]:
    """Yield a profile for each kind of window; none where nothing was refused."""
    if not int(history.counts["refused"].sum()):
        return
    if history.calls is None:
        yield _of_counts(history)
        return
    calls = history.calls.sort("start_utc", "row").select(
        (pl.col("start_utc").dt.epoch("us") / 1e6).alias("at_s"),
        pl.col("start_local").dt.date().alias("day"),
        (pl.col("status") == CallStatus.REFUSED.value).alias("refused"),
    )
    at_s, refused = calls["at_s"].to_numpy(), calls["refused"].to_numpy()
    if not refused.any():
        return
    relevant = _relevant(at_s, refused)
    day = calls["day"]
    for before in _in_windows(at_s, refused, relevant):
        yield _profile(day.gather(relevant), before, refused[relevant], 60 / _WINDOW_S)


def _of_counts(history: History) -> LimitProfile:
    """Return the profile of a history of counts.

    An interval with refusals was full. One without refusals had room for its last call.
    """
    counts = history.counts
    attempts, refused = (counts[name].to_numpy() for name in ("attempts", "refused"))
    # Where something was refused, the window held what was admitted. Else its last call still found room.
    before = np.where(refused > 0, attempts - refused, np.maximum(attempts - 1, 0))
    return _profile(counts["start_local"].dt.date(), before, refused > 0, 60 / history.interval_s / history.multiplied)


def _relevant(at_s: FloatArray, refused: BoolArray) -> IntArray:
    """Return the indices of the attempts at a load at which something could have been refused."""
    # A call exactly one window ago has left the window, as in `models.throttles.sliding`.
    load = np.arange(len(at_s)) - np.searchsorted(at_s, at_s - _WINDOW_S, side="right")
    # Not the smallest load with a refusal: a clock error or a missing row can make a single one very small.
    least = _RELEVANT * float(np.quantile(load[refused], 0.01))
    return np.flatnonzero((load >= least) | refused)


def _in_windows(at_s: FloatArray, refused: BoolArray, which: IntArray) -> Iterator[IntArray]:
    """Yield how many calls the window held before each of some attempts, for each kind of window.

    The kinds are: admitted calls of a fixed window, admitted calls of the last minute, all attempts of the last minute.
    """
    admitted = np.concatenate([[0], np.cumsum(~refused)])
    # Every n-th attempt is enough: the phase is one number, and each of its 60 values is tried on all of them.
    some = which[:: max(1, len(which) // _PHASE_ATTEMPTS)]
    phases = np.arange(_PHASES) * _WINDOW_S / _PHASES

    def fixed(phase_s: float, of: IntArray) -> IntArray:
        begin = np.floor((at_s[of] - phase_s) / _WINDOW_S) * _WINDOW_S + phase_s
        found: IntArray = admitted[of] - admitted[np.searchsorted(at_s, begin, side="left")]
        return found

    # The phase is found over parts of the history: where the limit changed, no single limit fits with any phase.
    parts = np.array_split(some, _PHASE_PARTS)
    wrong = [sum(_least_wrong(fixed(phase, part), refused[part]) for part in parts) for phase in phases]
    # The phase is chosen in favour of the fixed window. The true limit still has contradictions under a wrong kind.
    yield fixed(float(phases[int(np.argmin(wrong))]), which)
    begin = np.searchsorted(at_s, at_s[which] - _WINDOW_S, side="right")
    yield admitted[which] - admitted[begin]
    # Both refused and admitted attempts: the index itself counts them.
    yield which - begin


def _least_wrong(before: IntArray, refused: BoolArray) -> float:
    """Return the number of contradictions of the best single limit."""
    size = int(before.max(initial=0)) + 2
    passed, turned_away = (np.bincount(before[of], minlength=size) for of in (~refused, refused))
    # A limit is contradicted by refusals with fewer calls in the window, and by admissions with as many or more.
    below = np.concatenate([[0], np.cumsum(turned_away)[:-1]])
    return float((below + passed[::-1].cumsum()[::-1]).min())


def _profile(day: pl.Series, before: IntArray, refused: BoolArray, per_minute: float) -> LimitProfile:
    lowest, highest = max(int(before[refused].min()), 1), int(before.max()) + 1
    limits = np.unique(np.round(np.linspace(lowest, highest, min(highest - lowest + 1, _MOST_LIMITS))))
    found = pl.DataFrame({"day": day, "place": np.searchsorted(limits, before, side="right"), "refused": refused})
    table = found.group_by("day", "place", "refused").len()
    days = sorted(found["day"].unique().to_list())
    row = table["day"].replace_strict(days, range(len(days)), return_dtype=pl.Int64).to_numpy()
    # Limits up to a decision's place were reached. An admitted call contradicts those, a refused one all others.
    sums = np.zeros((2, len(days), len(limits) + 1))
    np.add.at(
        sums, (table["refused"].cast(pl.Int64).to_numpy(), row, table["place"].to_numpy()), table["len"].to_numpy()
    )
    passed = sums[0][:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    turned_away = sums[1].cumsum(axis=1)[:, :-1]
    return LimitProfile(tuple(days), limits, passed + turned_away, per_minute)
