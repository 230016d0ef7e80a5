"""Where the boundaries of fixed windows can lie: all pairs of window and boundary that explain what was observed.

With a limit of n, an attempt and the one that was counted n before it tell whether a boundary lies between the two: it
does if the attempt was admitted, and does not if it was refused. The boundaries are `anchor + k window`. We look for
every such pair by *branch and bound*: a rectangle of windows and anchors is dropped if some attempt contradicts all of
it, kept if none contradicts any of it, and halved otherwise. So nothing that fits is ever lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trunkproof.models.arrays import BoolArray, FloatArray, IntArray
from trunkproof.models.throttles.observed import (
    ANY_TIME,
    KEPT_RANGES,
    Observed,
    Range,
    round_window,
    spread_out,
)
from trunkproof.models.throttles.policy import Explanation, Limited

_RATIO = 1.05
"""Of the longest to the shortest window in the rectangles at the start."""
_NEVER_S = 1e7


@dataclass(frozen=True, eq=False)
class Betweens:
    """Pairs of instants between which a boundary lies, or does not. All of shape (n,)."""

    from_early_s: FloatArray
    from_late_s: FloatArray
    to_early_s: FloatArray
    to_late_s: FloatArray
    has_boundary: BoolArray


def explain_windows(observed: Observed, make: Callable[[int, float], Limited]) -> list[Explanation]:
    """Return what explains attempts under fixed windows that count admitted calls. `make` makes their settings."""
    found: list[Explanation] = []
    for limit in range(1, _largest_limit(observed.admitted) + 1):
        pairs = betweens(observed, observed.admitted, limit)
        if pairs is None:
            continue
        boxes = find_windows(pairs, max(0.002, observed.doubt_s / 4))
        for group in components(boxes) if len(boxes) else ():
            found.append(_explanation(observed, limit, group, make))
    return found


def _largest_limit(admitted: BoolArray) -> int:
    """Return the fewest calls admitted between two refusals, if any: a whole window's limit was among them."""
    before = np.cumsum(admitted)[~admitted]
    runs = np.diff(np.append(0, before))
    return int(runs[runs > 0].min(initial=len(admitted))) if len(before) and before[0] > 0 else 0


def _explanation(
    observed: Observed, limit: int, boxes: FloatArray, make: Callable[[int, float], Limited]
) -> Explanation:
    window = Range(float(boxes[:, 0].min()), float(boxes[:, 1].max()))
    window = window if window.high < _NEVER_S else Range(window.low, np.inf)
    settings = make(limit, min(round_window(window), 86_400.0))
    # A boundary of a rectangle that has the chosen window.
    chosen = boxes[int(np.argmin(np.maximum(boxes[:, 0] - settings.window_s, settings.window_s - boxes[:, 1])))]
    admitted = np.flatnonzero(observed.admitted)
    reopens_s = ANY_TIME
    if len(admitted) >= limit:
        start = int(admitted[-limit])
        some = boxes[:: 1 + len(boxes) // KEPT_RANGES]
        low = _first_after(some, float(observed.early_s[start]))[:, 0]
        high = _first_after(some, float(observed.late_s[start]))[:, 1]
        # Closed at least until the last attempt, if that one was refused.
        low = np.maximum(low, observed.early_s[0] if observed.admitted[-1] else observed.early_s[-1])
        begun = float(observed.early_s[0]) - 1e-3
        span_s = float(observed.late_s[-1]) - begun
        reopens_s = np.concatenate(
            [spread_out(float(pair[0]) - begun, float(pair[1]) - begun, span_s) for pair in np.stack([low, high], 1)]
        )
        reopens_s = reopens_s[:: 1 + len(reopens_s) // (2 * KEPT_RANGES)] + begun
    bounds = {
        "limit": Range(limit, limit),
        "window_s": window,
        "anchor_s": Range(float(boxes[:, 2].min()), float(boxes[:, 3].max())),
    }
    return Explanation(settings, bounds, reopens_s, float(chosen[2] + chosen[3]) / 2)


def betweens(observed: Observed, counted: BoolArray, limit: int) -> Betweens | None:
    """Return the pairs that a limit implies, the most telling first. None: an attempt was refused below the limit."""
    numbers: IntArray = np.flatnonzero(counted)
    # The attempt that was counted `limit` before each one: below 0 where fewer came.
    place: IntArray = np.asarray(np.cumsum(counted) - counted - limit)
    if (~observed.admitted & (place < 0)).any():
        return None
    to = np.flatnonzero(place >= 0)
    start = numbers[place[to]]
    refused = ~observed.admitted[to]
    # Of refusals with the same start only the last says anything.
    is_last = np.append(start[1:] != start[:-1], True) | np.append(refused[1:] != refused[:-1], True)
    chosen = np.concatenate([np.flatnonzero(refused & is_last), np.flatnonzero(~refused)])
    to, start = to[chosen], start[chosen]
    return Betweens(
        observed.early_s[start],
        observed.late_s[start],
        observed.early_s[to],
        observed.late_s[to],
        observed.admitted[to],
    )


def find_windows(pairs: Betweens, tolerance_s: float) -> FloatArray:
    """Return rectangles that cover every fitting window and anchor.

    Shape (n, 4): shortest and longest window, earliest and latest anchor. Empty: nothing fits.
    """
    has = pairs.has_boundary
    free_s = pairs.to_early_s[~has] - pairs.from_late_s[~has]
    shortest_s = max(float(free_s.max()) if len(free_s) else 0.0, 0.05)
    if not has.any():
        first = float(pairs.from_late_s.min()) if len(has) else 0.0
        return np.array([[shortest_s, _NEVER_S, first - _NEVER_S, first]])
    widths = np.where(has, pairs.to_late_s - pairs.from_early_s, np.inf)
    tightest = int(np.argmin(widths))
    first_s, last_s = float(pairs.from_early_s.min()), float(pairs.to_late_s.max())
    span_s = last_s - first_s
    if shortest_s < 2 * span_s:
        steps = int(np.ceil(np.log(2 * span_s / shortest_s) / np.log(_RATIO)))
        edges = np.append(np.geomspace(shortest_s, 2 * span_s, steps + 1), _NEVER_S)
    else:
        edges = np.array([shortest_s, _NEVER_S])
    # Imported late, as in `teletraffic`: Numba takes long to load, and a study needs none of it.
    from trunkproof.models.throttles.searches import MOST_BOXES, search_boundaries  # noqa: PLC0415

    stack = np.empty((MOST_BOXES + 64 + len(edges), 4))
    stack[: len(edges) - 1, 0], stack[: len(edges) - 1, 1] = edges[:-1], edges[1:]
    stack[: len(edges) - 1, 2:] = pairs.from_early_s[tightest], pairs.to_late_s[tightest]
    kept = np.empty((2 * MOST_BOXES + 128 + len(edges), 4))
    found = search_boundaries(
        pairs.from_early_s,
        pairs.from_late_s,
        pairs.to_early_s,
        pairs.to_late_s,
        has,
        np.array([first_s, last_s, tolerance_s]),
        stack,
        len(edges) - 1,
        kept,
    )
    return kept[:found]


def components(boxes: FloatArray) -> list[FloatArray]:
    """Return the rectangles in groups of windows that touch each other, ascending."""
    ordered: FloatArray = boxes[np.argsort(boxes[:, 0])]
    reached = np.maximum.accumulate(ordered[:, 1])
    cuts: IntArray = np.flatnonzero(ordered[1:, 0] > reached[:-1] * (1 + 1e-9)) + 1
    return np.split(ordered, cuts)


def _first_after(boxes: FloatArray, instant: float) -> FloatArray:
    """Return the earliest and the latest that the first boundary after an instant can be, shape (n, 2)."""
    shortest, longest, early, late = boxes.T
    number = np.floor((instant - late) / np.where(instant >= late, longest, shortest)) + 1
    low = early + number * np.where(number >= 0, shortest, longest)
    high = late + number * np.where(number >= 0, longest, shortest)
    return np.stack([np.maximum(low, instant), high], axis=1)
