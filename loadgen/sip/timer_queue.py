"""One queue for the timers of thousands of owners: a heap in which outdated entries are passed over, not searched for.

It keeps no clock; `now` comes from outside, and an owner says itself when it next wants to be woken.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Protocol

_COMPACT_ABOVE = 64


class Timed(Protocol):
    """Something with a timer of its own; `scheduled_s` belongs to the queue."""

    scheduled_s: float | None

    def next_timer(self) -> float | None:
        """When to be woken, or None."""

    def handle_timer(self, now: float) -> None:
        """Be woken."""


class TimerQueue:
    """Owners by the time of their next timer."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._count = 0
        self._outdated = 0

    def schedule(self, owner: Timed) -> None:
        """Note when the owner is next due; call it after anything that may have changed that."""
        due = owner.next_timer()
        if due == owner.scheduled_s:
            return
        if owner.scheduled_s is not None:
            self._outdated += 1
        owner.scheduled_s = due
        if due is not None:
            self._count += 1
            heapq.heappush(self._heap, (due, self._count, owner))
        self._compact()

    def cancel(self, owner: Timed) -> None:
        """Forget the owner, whatever timer it had."""
        if owner.scheduled_s is not None:
            owner.scheduled_s = None
            self._outdated += 1
            self._compact()

    def next_due(self) -> float | None:
        """The earliest timer of all, or None."""
        while self._heap and self._heap[0][2].scheduled_s != self._heap[0][0]:
            heapq.heappop(self._heap)
            self._outdated -= 1
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Iterator[Timed]:
        """Owners whose timer has come, earliest first; each is to be woken and scheduled again."""
        while (due := self.next_due()) is not None and due <= now:
            owner = heapq.heappop(self._heap)[2]
            owner.scheduled_s = None
            yield owner

    def _compact(self) -> None:
        # Most timers are cancelled long before they are due; left in place they would hold ended calls for 32 s.
        if self._outdated > _COMPACT_ABOVE and 2 * self._outdated > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].scheduled_s == entry[0]]
            heapq.heapify(self._heap)
            self._outdated = 0
