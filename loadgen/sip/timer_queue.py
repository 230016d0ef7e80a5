"""One queue for the timers of thousands of calls and transactions (the owners).

It is a heap of (due, count, owner). An owner has at most one valid entry: the one whose time equals its `scheduled_s`.
When an owner changes its mind its old entry stays in the heap, outdated, because a search for it would cost O(n).
Outdated entries are dropped when they reach the top, or all at once when they are more than half of the heap.

The queue has no clock. `now` comes from outside, and each owner says when it wants to be woken.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Protocol

_COMPACT_ABOVE = 64  # below this many outdated entries a rebuild is not worth its time


class Timed(Protocol):
    """An owner of timers. Only the queue may change `scheduled_s`."""

    scheduled_s: float | None

    def next_timer(self) -> float | None:
        """Return when to be woken, or None."""

    def handle_timer(self, now: float) -> None:
        """Do what is due at `now`."""


class TimerQueue:
    """Owners, ordered by when they are next due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._count = 0
        self._outdated = 0

    def schedule(self, owner: Timed) -> None:
        """Note when the owner is next due. Call it after every step that may have changed that."""
        due = owner.next_timer()
        if due == owner.scheduled_s:
            return
        if owner.scheduled_s is not None:
            self._outdated += 1
        owner.scheduled_s = due
        if due is not None:
            self._count += 1
            # The count decides between equal times: first come, first served. Owners themselves cannot be compared.
            heapq.heappush(self._heap, (due, self._count, owner))
        self._compact()

    def cancel(self, owner: Timed) -> None:
        """Forget the owner, whatever timer it had."""
        if owner.scheduled_s is not None:
            owner.scheduled_s = None
            self._outdated += 1
            self._compact()

    def next_due(self) -> float | None:
        """Return when the first owner is due, or None."""
        while self._heap and self._heap[0][2].scheduled_s != self._heap[0][0]:
            heapq.heappop(self._heap)
            self._outdated -= 1
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Iterator[Timed]:
        """Yield the owners that are due, earliest first. The caller wakes each and schedules it again."""
        while (due := self.next_due()) is not None and due <= now:
            owner = heapq.heappop(self._heap)[2]
            # Else `schedule` would see the old time and take the popped entry for a valid one.
            owner.scheduled_s = None
            yield owner

    def _compact(self) -> None:
        # Most timers are cancelled long before they are due. Left in the heap they would hold ended calls for 32 s.
        if self._outdated > _COMPACT_ABOVE and 2 * self._outdated > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].scheduled_s == entry[0]]
            heapq.heapify(self._heap)
            self._outdated = 0
