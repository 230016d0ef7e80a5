"""The compiled searches behind `Policy.explain`: loops over thousands of settings, each tried on every attempt.

`boundaries` and `intervals` say what is searched for, and why nothing that fits is lost.
"""

from __future__ import annotations

import numpy as np

from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.compiled import compiled

MOST_BOXES = 5000
"""Rectangles that one search looks at. Those left over are kept: the answer gets wider, not wrong."""
SHARE = 2e-3
"""A rectangle is not halved further once its boundaries move by less than this share of the window."""


IMPOSSIBLE, POSSIBLE, CERTAIN = 0, 1, 2
"""What all pairs say of a rectangle: none of it fits, some of it may fit, all of it fits."""


@compiled
def judge_box(  # noqa: PLR0917  # compiled functions have no keyword arguments
    box: FloatArray,
    from_early: FloatArray,
    from_late: FloatArray,
    to_early: FloatArray,
    to_late: FloatArray,
    has: BoolArray,
) -> int:
    """Return what all pairs say of one rectangle: shortest and longest window, earliest and latest anchor."""
    shortest, longest, early, late = box[0], box[1], box[2], box[3]
    verdict = CERTAIN
    for i in range(len(has)):
        # If a boundary lies between the two instants, that is possible for the outer ones, and certain for the inner
        # ones. If none does, it is the other way round.
        start, end = (from_early[i], to_late[i]) if has[i] else (from_late[i], to_early[i])
        inner_start, inner_end = (from_late[i], to_early[i]) if has[i] else (from_early[i], to_late[i])
        if has[i]:
            # The first boundary that can lie behind the start must be able to lie before the end.
            k = np.floor((start - late) / (longest if start >= late else shortest)) + 1
            if early + k * (shortest if k >= 0 else longest) > end:
                return IMPOSSIBLE
            k = np.floor((inner_start - early) / (shortest if inner_start >= early else longest)) + 1
            low = early + k * (shortest if k >= 0 else longest)
            if not (low > inner_start and late + k * (longest if k >= 0 else shortest) <= inner_end):
                verdict = POSSIBLE
        else:
            # The last boundary that can lie before the start; the next one must be able to lie behind the end.
            k = np.floor((start - early) / (shortest if start >= early else longest)) + 1
            if late + k * (longest if k >= 0 else shortest) <= end:
                return IMPOSSIBLE
            k = np.floor((inner_start - late) / (longest if inner_start >= late else shortest)) + 1
            low = early + k * (shortest if k >= 0 else longest)
            k -= 1
            if not (low > inner_end and late + k * (longest if k >= 0 else shortest) <= inner_start):
                verdict = POSSIBLE
    return verdict


@compiled
def search_boundaries(  # noqa: PLR0917  # as above
    from_early: FloatArray,
    from_late: FloatArray,
    to_early: FloatArray,
    to_late: FloatArray,
    has: BoolArray,
    scale: FloatArray,
    stack: FloatArray,
    waiting: int,
    kept: FloatArray,
) -> int:
    """Fill `kept` with the rectangles that fit, from the `waiting` first ones of `stack`; return how many there are.

    `scale`: the first and last instant, and by how much a boundary may move inside a rectangle that is kept whole.
    """
    first, last, tolerance = scale[0], scale[1], scale[2]
    found, looked_at = 0, 0
    while waiting > 0:
        waiting -= 1
        shortest, longest = stack[waiting, 0], stack[waiting, 1]
        early, late = stack[waiting, 2], stack[waiting, 3]
        looked_at += 1
        verdict = judge_box(stack[waiting], from_early, from_late, to_early, to_late, has)
        if verdict == IMPOSSIBLE:
            continue
        furthest = max(abs(first - early), abs(last - late))
        moves = (longest - shortest) * max(1.0, np.ceil(furthest / shortest))
        if shortest >= 1.99 * (last - first):
            # Longer than all that was seen: only one boundary is in sight.
            moves = 0.0
        enough = max(tolerance, SHARE * shortest)
        if verdict == CERTAIN or looked_at >= MOST_BOXES or (moves <= enough and late - early <= enough):
            kept[found, 0], kept[found, 1], kept[found, 2], kept[found, 3] = shortest, longest, early, late
            found += 1
            continue
        for half in range(2):
            stack[waiting, 0], stack[waiting, 1] = shortest, longest
            stack[waiting, 2], stack[waiting, 3] = early, late
            if moves > late - early:
                stack[waiting, 1 - half] = (shortest + longest) / 2
            else:
                stack[waiting, 3 - half] = (early + late) / 2
            waiting += 1
    return found


@compiled
def search_intervals(  # noqa: PLR0917  # as above
    early: FloatArray,
    late: FloatArray,
    admitted: BoolArray,
    went_on: FloatArray,
    cells: FloatArray,
    slack: FloatArray,
    slots: FloatArray,
) -> None:
    """Fill `slack` with the range of slack that fits each cell of intervals; where none fits, with an empty range.

    A pace keeps the instant of its next slot. `cells`: shortest and longest interval, shape (n, 2); `slots`: the range
    of the next slot after the last attempt, same shape. `went_on` is infinite for calls that were not held.
    """
    for cell in range(len(cells)):
        shortest, longest = cells[cell, 0], cells[cell, 1]
        slot_low, slot_high = -np.inf, -np.inf
        least, most = 0.0, np.inf
        for i in range(len(early)):
            if admitted[i]:
                least = max(least, slot_low - late[i])
                slot_low, slot_high = max(slot_low, early[i]), max(slot_high, late[i])
                if slot_low > went_on[i]:
                    least = np.inf
                slot_low, slot_high = slot_low + shortest, slot_high + longest
            else:
                most = min(most, slot_high - early[i])
            if least > most:
                break
        slack[cell, 0], slack[cell, 1] = least, most
        slots[cell, 0], slots[cell, 1] = slot_low, slot_high
