"""Guesses of throttles that `Policy.explain` cannot search: two limits in tandem, a penalty box, pipelimit's RED.

Each has a mark of its own in the attempts:

    tandem        no single limit accounts for all refusals, but two do, each for some that the other does not
    penalty box   it opens so long after the first refusal of a row (prolonged: after the last), however few called
    RED           of each window, one in n calls passes, where n is how many limits came in the window before

These marks give the values. Whether a guess explains the attempts is decided by the policy's own code (`guesses`). It
is no proof, because other settings may do it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from trunkproof.models.arrays import BoolArray, FloatArray, IntArray
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.observed import USUAL_WINDOWS_S, Observed, round_value
from trunkproof.models.throttles.penalty_box import PenaltyBox
from trunkproof.models.throttles.pipelimit import PipeLimit
from trunkproof.models.throttles.policy import Policy
from trunkproof.models.throttles.sliding_window_admitted import SlidingWindowAdmitted
from trunkproof.models.throttles.tandem import Tandem
from trunkproof.models.throttles.token_bucket import TokenBucket

Guess = tuple[Policy, float | None]
"""Settings, and an instant at which a window begins."""
_ANCHORS = 60
"""Phases of a fixed window that are tried."""
_PER_MINUTE = (10, 20, 30, 50, 60, 100, 120, 150, 180, 200, 240, 250, 300, 400, 500, 600)
"""Paces of a bucket that operators set."""
_MOST_PAIRS = 24
_OWN_REFUSALS = 3
"""So many refusals must be one limit's alone: fewer may be chance."""
_ENOUGH = 5
"""Attempts of a window from which its share that passed can be read."""


def composed_guesses(seen: Observed) -> Iterator[Guess]:
    """Yield what the marks of the attempts suggest, each with its values."""
    if seen.admitted.all() or not seen.admitted.any():
        return
    yield from _penalty_boxes(seen)
    yield from _tandems(seen)
    yield from _reds(seen)


def _windows(seen: Observed, most: float = 1.0) -> list[float]:
    span_s = float(seen.late_s[-1] - seen.early_s[0])
    return [window_s for window_s in USUAL_WINDOWS_S if window_s <= most * span_s]


def _penalty_boxes(seen: Observed) -> Iterator[Guess]:
    at_s, admitted = seen.middle_s, seen.admitted
    starts = np.flatnonzero(~admitted[1:] & admitted[:-1]) + 1
    ends = np.flatnonzero(admitted[1:] & ~admitted[:-1]) + 1
    ends = ends[ends > starts[0]] if len(starts) else ends
    rows = min(len(starts), len(ends))
    if not rows:
        return
    first_s, last_s, next_s = at_s[starts[:rows]], at_s[ends[:rows] - 1], at_s[ends[:rows]]
    passed_s = at_s[admitted]
    within = [(last_s - first_s, next_s - first_s, False)]
    gaps_s = np.diff(at_s)[~admitted[1:] & ~admitted[:-1]]
    within.append((np.full(rows, gaps_s.max(initial=0.0)), next_s - last_s, True))
    for least_s, most_s, prolonged in within:
        # A window that is still full begins another penalty at once, so the shortest row is a single one.
        low_s = float(least_s.max()) if least_s.max() < most_s.min() else float(least_s[int(np.argmin(most_s))])
        high_s = float(most_s.min())
        if not 0 < low_s < high_s:
            continue
        penalty_s = round_value(low_s, high_s)
        for window_s in _windows(seen):
            counts = np.searchsorted(passed_s, first_s) - np.searchsorted(passed_s, first_s - window_s, side="right")
            for limit in sorted({max(1, int(counts.min())), max(1, int(np.median(counts)))}):
                yield PenaltyBox(limit=limit, window_s=window_s, penalty_s=penalty_s, prolonged=prolonged), None


@dataclass(frozen=True, eq=False)
class _Limit:
    """A limit that contradicts hardly any admission: which attempts it would have refused, given what had passed."""

    settings: FixedWindow | SlidingWindowAdmitted | TokenBucket
    anchor_s: float | None
    refuses: BoolArray


def _tandems(seen: Observed) -> Iterator[Guess]:
    refused = ~seen.admitted
    limits = [one for one in _limits(seen) if (one.refuses & refused).sum() >= _OWN_REFUSALS]
    scored = []
    for one, other in combinations(limits, 2):
        if None not in {one.anchor_s, other.anchor_s} and one.anchor_s != other.anchor_s:
            # A tandem's windows begin together, as where one process keeps them.
            continue
        alone = [int((a.refuses & ~b.refuses & refused).sum()) for a, b in ((one, other), (other, one))]
        if min(alone) < _OWN_REFUSALS:
            continue
        either = one.refuses | other.refuses
        scored.append((int((either == refused).sum()), one, other))
    for _, one, other in sorted(scored, key=lambda each: -each[0])[:_MOST_PAIRS]:
        pair = sorted((one, other), key=lambda limit: limit.settings.window_s)
        anchor_s = one.anchor_s if one.anchor_s is not None else other.anchor_s
        for counts in (True, False):
            # Where a limit knows only what it saw itself, the order matters too.
            for ordered in (pair, pair[::-1]):
                settings = tuple(limit.settings for limit in ordered)
                yield Tandem(limits=settings, refused_later_counts=counts), anchor_s


def _limits(seen: Observed) -> Iterator[_Limit]:
    at_s, admitted = seen.middle_s, seen.admitted
    passed_s = at_s[admitted]
    before: IntArray = np.cumsum(admitted) - admitted
    for window_s in _windows(seen):
        # The bounds of an instant may hold one call more in a window than there was.
        left = np.searchsorted(passed_s, at_s - window_s + seen.doubt_s, side="right")
        counts = before - np.minimum(left, before)
        limit = int(counts[admitted].max()) + 1
        yield _Limit(SlidingWindowAdmitted(limit=limit, window_s=window_s), None, counts >= limit)
        best: tuple[int, _Limit] | None = None
        for part in range(_ANCHORS):
            anchor_s = float(at_s[0]) + window_s * part / _ANCHORS
            begins_s = anchor_s + np.floor((at_s - anchor_s) / window_s) * window_s
            counts = before - np.searchsorted(passed_s, begins_s)
            limit = int(counts[admitted].max()) + 1
            refuses = counts >= limit
            right = int((refuses & ~admitted).sum())
            if best is None or right > best[0]:
                best = (right, _Limit(FixedWindow(limit=limit, window_s=window_s), anchor_s, refuses))
        if best is not None:
            yield best[1]
    for per_minute in _PER_MINUTE:
        owed = _tokens_owed(at_s, admitted, per_minute / 60)
        burst = max(1, int(np.ceil(owed[admitted].max() + 1 - 0.05)))
        yield _Limit(TokenBucket(limit=per_minute, burst=burst), None, owed + 1 > burst + 0.05)


def _tokens_owed(at_s: FloatArray, admitted: BoolArray, per_s: float) -> FloatArray:
    """Return how many tokens were out of the bucket when each attempt came, given which had passed."""
    owed, level, last_s = np.zeros(len(at_s)), 0.0, float(at_s[0])
    for number, (now, passed) in enumerate(zip(at_s.tolist(), admitted.tolist(), strict=True)):
        level = max(0.0, level - (now - last_s) * per_s)
        owed[number], last_s = level, now
        level += passed
    return owed


def _reds(seen: Observed) -> Iterator[Guess]:
    at_s, admitted = seen.middle_s, seen.admitted
    for window_s in _windows(seen, most=0.5):
        if not window_s.is_integer():
            continue
        # One attempt on the wrong side of a boundary turns a whole window round, so every phase is tried.
        phases = np.sort(at_s % window_s)
        for anchor_s in (np.append(phases[:-1] + phases[1:], phases[0] + phases[-1] + window_s) / 2).tolist():
            limit = _red_limit(np.floor((at_s - anchor_s) / window_s).astype(np.int64), admitted)
            if limit is not None:
                yield PipeLimit(limit=limit, window_s=window_s, algorithm="red"), anchor_s


def _red_limit(window: IntArray, admitted: BoolArray) -> int | None:
    """Return the limit by which one in n calls passes in each window; None: there is none."""
    window = window - window[0]
    came = np.bincount(window)
    passed = np.bincount(window, weights=admitted)
    low, high = 1.0, float("inf")
    for number in range(1, len(came)):
        if came[number] < _ENOUGH or not passed[number]:
            continue
        load = round(came[number] / passed[number])
        low = max(low, came[number - 1] / (load + 1) + 1e-6)
        high = min(high, came[number - 1] / load) if load > 1 else high
    return round(round_value(low, high)) if low <= high < float("inf") and int(high) >= low else None
