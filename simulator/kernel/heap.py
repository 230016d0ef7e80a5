"""The event queue, ordered by time and then by the order of scheduling, as SimPy's is; it has three parts.

Two are binary heaps in arrays: `far` has the many long waits (talking, redialling), so that they are out of the way of
the short ones in `near`. Messages on their way are the next to come nearly always, and are soon gone: a few of them are
kept sorted in the ring `soon`, which takes one at its end and gives one at its beginning without any search.
"""

from __future__ import annotations

import numpy as np

from trunkproof.models.compiled import inlined, lean
from trunkproof.simulator.kernel.codes import FAR, NEAR, NONE, SOON
from trunkproof.simulator.kernel.memory import Clock, Event, Heap

PLACES = 16
"""Of the ring; who finds it full goes to the heap."""
_SOON_S = 0.1
"""What lasts longer is hardly a message, not even on a busy machine."""
_ONE, _TWO = np.uint64(1), np.uint64(2)
_MASK = PLACES - 1


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
        # Without a branch, as nobody could foretell it; that there are hardly any ties can be foretold.
        takes_right = np.uint64(right.at < left.at)
        if right.at == left.at:
            takes_right = np.uint64(right.number < left.number)
        below = _TWO * here + _ONE + takes_right
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
def schedule_message(clock: Clock, soon: Heap, near: Heap, delay_s: float, whose: int) -> int:
    """Queue an event that probably comes very soon; its number."""
    if delay_s >= _SOON_S or clock[0].soon == PLACES:
        return schedule(clock, near, delay_s, whose)
    clock[0].number += 1
    at, place = clock[0].now + delay_s, clock[0].soon_first + clock[0].soon
    # None of those before it has a higher number.
    while place > clock[0].soon_first and soon[(place - 1) & _MASK].at > at:
        before, here = (place - 1) & _MASK, place & _MASK
        soon[here].at, soon[here].number, soon[here].whose = soon[before].at, soon[before].number, soon[before].whose
        place -= 1
    soon[place & _MASK].at, soon[place & _MASK].number, soon[place & _MASK].whose = at, clock[0].number, whose
    clock[0].soon += 1
    return int(clock[0].number)


@inlined
def next_in(clock: Clock, soon: Heap, near: Heap, far: Heap) -> int:
    """In which part the next event is: `SOON`, `NEAR`, `FAR` or `NONE`."""
    longer = FAR if clock[0].far > 0 else NONE
    if clock[0].near > 0 and (longer == NONE or _is_before(near[0], far[0])):
        longer = NEAR
    if clock[0].soon == 0:
        return longer
    message = soon[clock[0].soon_first & _MASK]
    if longer == NONE:
        return SOON
    return SOON if _is_before(message, near[0] if longer == NEAR else far[0]) else longer


@inlined
def _is_before(one: Event, other: Event) -> bool:
    return bool(one.at < other.at or (one.at == other.at and one.number < other.number))


@inlined
def first_of(clock: Clock, soon: Heap, near: Heap, far: Heap, part: int) -> Event:
    """The first event of that part."""
    if part == SOON:
        return soon[clock[0].soon_first & _MASK]
    return near[0] if part == NEAR else far[0]


@inlined
def drop_soon(clock: Clock) -> None:
    """Take the first event away."""
    clock[0].soon_first += 1
    clock[0].soon -= 1


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
