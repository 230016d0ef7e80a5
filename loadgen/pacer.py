"""The open-loop pacer: starts each action at its planned instant, whatever became of those before it.

It never waits for an action, so a slow trunk cannot slow its own load down (coordinated omission), and it notes when
each was due and when it was really started. It judges nothing: health.py does, from these notes.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

COARSE_MARGIN_S = 0.0015
"""The event loop's timers end up to 1 ms late (epoll counts in ms), so the last stretch is slept in naps."""
NAP_S = 0.0001
"""Short enough not to be felt by the connections of the same loop, which run between two naps."""


@dataclass(frozen=True, slots=True)
class Instant:
    """When an action was to start and when it did, in seconds after plan zero."""

    due_s: float
    started_s: float

    @property
    def lateness_s(self) -> float:
        """Never negative: the pacer starts nothing early."""
        return self.started_s - self.due_s


Action = Callable[[Instant], Coroutine[Any, Any, None]]
Clock = Callable[[], float]


class Pacer:
    """A schedule that can grow while it runs. `clock` counts seconds and never goes back, as time.monotonic does."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Action]] = []
        self._scheduled = 0
        self._changed = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._stopped_at_s: float | None = None
        self._zero = 0.0
        self.instants: list[Instant] = []
        """One for each action started, in the order of their starts."""

    def schedule(self, due_s: float, action: Action) -> None:
        """Start `action` at `due_s` after plan zero, at once if that is past. Also from within an action (redials).

        Actions due at the same instant start in the order they were scheduled; after `stop` nothing is started.
        """
        heapq.heappush(self._heap, (due_s, self._scheduled, action))
        self._scheduled += 1
        self._changed.set()

    async def run(self, zero: float) -> None:
        """Start all that is scheduled; returns when nothing is left to start and every action has ended.

        `zero` is plan zero on the pacer's clock. What an action raises cancels the others and is raised from here, in
        an ExceptionGroup: results of calls are not exceptions, so it is a bug of ours.
        """
        self._zero = zero
        async with asyncio.TaskGroup() as group:
            while self._stopped_at_s is None and (self._heap or self._running):
                self._changed.clear()
                await self._wait()
                self._start_due(group)

    def stop(self) -> None:
        """Start nothing more. Actions under way go on, and `run` returns when they have ended."""
        if self._stopped_at_s is None:
            self._stopped_at_s = self.now_s()
            self._changed.set()

    def now_s(self) -> float:
        """Seconds after plan zero."""
        return self._clock() - self._zero

    @property
    def overdue(self) -> int:
        """Actions whose instant has passed (up to `stop`, if it came) and that were not started."""
        until_s = self.now_s() if self._stopped_at_s is None else self._stopped_at_s
        return sum(due_s < until_s for due_s, _, _ in self._heap)

    async def _wait(self) -> None:
        """Until the next action is due, or the schedule has changed, or an action has ended."""
        if not self._heap:
            await self._changed.wait()
            return
        due_s = self._heap[0][0]
        if (coarse_s := due_s - self.now_s() - COARSE_MARGIN_S) > 0:
            timer = asyncio.get_running_loop().call_later(coarse_s, self._changed.set)
            await self._changed.wait()
            timer.cancel()
            return
        while self.now_s() < due_s and not self._changed.is_set():
            time.sleep(NAP_S)
            await asyncio.sleep(0)

    def _start_due(self, group: asyncio.TaskGroup) -> None:
        while self._heap and self._stopped_at_s is None and self._heap[0][0] <= self.now_s():
            due_s, _, action = heapq.heappop(self._heap)
            task = group.create_task(self._perform(due_s, action))
            self._running.add(task)
            task.add_done_callback(self._ended)

    async def _perform(self, due_s: float, action: Action) -> None:
        # Taken here, not where the task is made: the wait for the event loop is lateness too.
        instant = Instant(due_s, self.now_s())
        self.instants.append(instant)
        await action(instant)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._changed.set()
