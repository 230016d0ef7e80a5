"""The queue of send instants: a binary heap in an array, the earliest first."""

from __future__ import annotations

from loadgen.media.compiled.memory import Records
from models.compiled import lean


@lean
def push(queue: Records, size: int, at_ns: int, slot: int) -> None:
    """Add an entry to a queue of `size` entries."""
    place = size
    while place > 0 and queue[(place - 1) >> 1].at_ns > at_ns:
        above = queue[(place - 1) >> 1]
        queue[place].at_ns, queue[place].slot = above.at_ns, above.slot
        place = (place - 1) >> 1
    queue[place].at_ns, queue[place].slot = at_ns, slot


@lean
def drop_first(queue: Records, size: int) -> None:
    """Take the first of `size` entries off."""
    size -= 1
    at_ns, slot = queue[size].at_ns, queue[size].slot
    place, below = 0, 1
    while below < size:
        if below + 1 < size and queue[below + 1].at_ns < queue[below].at_ns:
            below += 1
        if at_ns <= queue[below].at_ns:
            break
        queue[place].at_ns, queue[place].slot = queue[below].at_ns, queue[below].slot
        place, below = below, 2 * below + 1
    queue[place].at_ns, queue[place].slot = at_ns, slot
