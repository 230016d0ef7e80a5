"""The event queue: a binary heap in an array, ordered by time and then by the order of scheduling, as SimPy's is.

There are two of them, so that the many long waits (talking, redialling) are out of the way of the short ones.
"""

from __future__ import annotations

import numpy as np

from models.compiled import inlined, lean
from simulator.kernel.memory import Clock, Heap

_ONE, _TWO = np.uint64(1), np.uint64(2)


@lean
def _rise(heap: Heap, place: int | np.uint64, at: float, number: int, whose: int) -> None:
    here = np.uint64(place)  # Of signed numbers it would be asked each time whether they count from the end.
    while here > 0:
        above = (here - _ONE) >> _ONE
        if heap[above].at < at or (heap[above].at == at and heap[above].number < number):
            break
        _move(heap, above, here)
        here = above
    heap[here].at, heap[here].number, heap[here].whose = at, number, whose


@lean
def _sink(heap: Heap, size: int) -> None:
    """Put the entry behind the last one in the place of the first.

    It comes from below and nearly always belongs there: so the gap goes down to the bottom first, without a look at it.
    """
    here, end = np.uint64(0), np.uint64(size)
    while _TWO * here + _TWO < end:
        left, right = heap[_TWO * here + _ONE], heap[_TWO * here + _TWO]
        # Without branches, as nobody could foretell them.
        takes_right = (right.at < left.at) | ((right.at == left.at) & (right.number < left.number))
        below = _TWO * here + _ONE + np.uint64(takes_right)
        _move(heap, below, here)
        here = below
    if _TWO * here + _ONE < end:
        _move(heap, _TWO * here + _ONE, here)
        here = _TWO * here + _ONE
    _rise(heap, here, heap[size].at, heap[size].number, heap[size].whose)


@inlined
def _move(heap: Heap, source: np.uint64, target: np.uint64) -> None:
    heap[target].at, heap[target].number, heap[target].whose = heap[source].at, heap[source].number, heap[source].whose


@inlined
def schedule(clock: Clock, near: Heap, delay_s: float, whose: int) -> int:
    """Queue an event that comes soon; its number."""
    clock[0].number += 1
    _rise(near, clock[0].near, clock[0].now + delay_s, clock[0].number, whose)
    clock[0].near += 1
    return int(clock[0].number)


@inlined
def schedule_far(clock: Clock, far: Heap, delay_s: float, whose: int) -> int:
    """Queue an event that comes late; its number."""
    clock[0].number += 1
    _rise(far, clock[0].far, clock[0].now + delay_s, clock[0].number, whose)
    clock[0].far += 1
    return int(clock[0].number)


@inlined
def next_is_near(clock: Clock, near: Heap, far: Heap) -> bool:
    """In which of the queues the next event is; one of them must hold one."""
    if clock[0].near == 0:
        return False
    if clock[0].far == 0 or near[0].at < far[0].at:
        return True
    return bool(near[0].at == far[0].at and near[0].number < far[0].number)


@inlined
def drop_near(clock: Clock, near: Heap) -> None:
    """Take the first event away."""
    clock[0].near -= 1
    _sink(near, clock[0].near)


@inlined
def drop_far(clock: Clock, far: Heap) -> None:
    """Take the first event away."""
    clock[0].far -= 1
    _sink(far, clock[0].far)
