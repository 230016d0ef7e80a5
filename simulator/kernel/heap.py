"""The event queue, ordered by time and then by the order of scheduling, as SimPy's is. It has three parts.

- `far`, a binary heap of the many long waits (talking, redialling). They are kept apart so that `near` stays small.
- `near`, a binary heap of the short waits.
- `soon`, a sorted ring of at most 16 messages on their way. They are nearly always the next events, and soon gone. A
  new one goes to the end of the ring and the next one is taken from its beginning, nearly always without any search.

The next event is the first of the three parts' first events.
"""

from __future__ import annotations

import numpy as np

from trunkproof.models.compiled import inlined, lean
from trunkproof.simulator.kernel.codes import FAR, NEAR, NONE, SOON
from trunkproof.simulator.kernel.memory import Clock, Event, Heap

PLACES = 16
"""Places of the ring. Where it is full, an event goes to the heap `near`."""
_SOON_S = 0.1
"""A wait that lasts longer is hardly a message on its way, not even on a busy machine."""
_ONE, _TWO = np.uint64(1), np.uint64(2)
_MASK = PLACES - 1


@lean
def _rise(heap: Heap, place: int | np.uint64, at: float, number: int, whose: int) -> None:
    here = np.uint64(place)  # unsigned: with a signed index Numba would check each time whether it is negative
    while here > 0:
        above = (here - _ONE) >> _ONE
        if heap[above].at < at or (heap[above].at == at and heap[above].number < number):
            break
        _move(heap, above, here)
        here = above
    heap[here].at, heap[here].number, heap[here].whose = at, number, whose


@lean
def _sink(heap: Heap, size: int) -> None:
    """Remove the first entry, and put the entry behind the last one into the heap again.

    That entry comes from the bottom and nearly always belongs there. So the gap sinks to the bottom first, without a
    comparison with the entry, and then the entry rises from there.
    """
    here, end = np.uint64(0), np.uint64(size)
    while _TWO * here + _TWO < end:
        left, right = heap[_TWO * here + _ONE], heap[_TWO * here + _TWO]
        # No branch here: the processor could not predict it. The branch for ties below is hardly ever taken, so it can.
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
    """Queue an event after a short wait. Return its number."""
    clock[0].number += 1
    _rise(near, clock[0].near, clock[0].now + delay_s, clock[0].number, whose)
    clock[0].near += 1
    return int(clock[0].number)


@inlined
def schedule_far(clock: Clock, far: Heap, delay_s: float, whose: int) -> int:
    """Queue an event after a long wait. Return its number."""
    clock[0].number += 1
    _rise(far, clock[0].far, clock[0].now + delay_s, clock[0].number, whose)
    clock[0].far += 1
    return int(clock[0].number)


@inlined
def schedule_message(clock: Clock, soon: Heap, near: Heap, delay_s: float, whose: int) -> int:
    """Queue an event that probably comes very soon, such as the arrival of a message. Return its number."""
    # Any wait may go to the heap: where an event lies changes the speed only, never the order.
    if delay_s >= _SOON_S or clock[0].soon == PLACES:
        return schedule(clock, near, delay_s, whose)
    clock[0].number += 1
    at, place = clock[0].now + delay_s, clock[0].soon_first + clock[0].soon
    # A tie needs no swap: all events that are in the ring already have lower numbers.
    while place > clock[0].soon_first and soon[(place - 1) & _MASK].at > at:
        before, here = (place - 1) & _MASK, place & _MASK
        soon[here].at, soon[here].number, soon[here].whose = soon[before].at, soon[before].number, soon[before].whose
        place -= 1
    soon[place & _MASK].at, soon[place & _MASK].number, soon[place & _MASK].whose = at, clock[0].number, whose
    clock[0].soon += 1
    return int(clock[0].number)


@inlined
def next_in(clock: Clock, soon: Heap, near: Heap, far: Heap) -> int:
    """Return the part that holds the next event: `SOON`, `NEAR`, `FAR` or `NONE`."""
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
    """Return the first event of a part."""
    if part == SOON:
        return soon[clock[0].soon_first & _MASK]
    return near[0] if part == NEAR else far[0]


@inlined
def drop_soon(clock: Clock) -> None:
    """Remove the first event of the ring."""
    clock[0].soon_first += 1
    clock[0].soon -= 1


@inlined
def drop_near(clock: Clock, near: Heap) -> None:
    """Remove the first event of the heap of short waits."""
    clock[0].near -= 1
    _sink(near, clock[0].near)


@inlined
def drop_far(clock: Clock, far: Heap) -> None:
    """Remove the first event of the heap of long waits."""
    clock[0].far -= 1
    _sink(far, clock[0].far)
