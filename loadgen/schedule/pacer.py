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
from typing import Any, Protocol

LEAD_S = 0.02
"""So long before its instant an action may be prepared: other work of the event loop hardly ever takes as long."""
COARSE_MARGIN_S = 0.0015
"""The event loop's timers end up to 1 ms late (epoll counts in ms), so the last stretch is slept in naps."""
NAP_S = 0.0001
"""Short enough not to be felt by the connections of the same loop, which run between two naps."""
GUARD_S = 0.0004
"""As long as most of what the loop does takes without a pause. It begins nothing so shortly before an instant: what it
would begin is answered so much later, and no call starts late for it.
"""
WAKING_S = 0.00006
"""A sleep ends so late; it is not slept to the end."""


@dataclass(frozen=True, slots=True)
class Instant:
    """When an action was to start and when it did, in seconds after plan zero."""

    due_s: float
    started_s: float

    @property
    def lateness_s(self) -> float:
        """Never negative: the pacer starts nothing early."""
        return self.started_s - self.due_s


class Action(Protocol):
    """What is to be started at an instant."""

    def prepare(self) -> None:
        """Called once, before `start`: what need not wait for the instant."""

    def start(self, instant: Instant) -> Coroutine[Any, Any, None]:
        """At the instant: do at once what may not be late. The rest is done by what it returns."""

    def drop(self) -> None:
        """Called instead of `start`, where it was prepared and the pacer stopped before its instant."""


Clock = Callable[[], float]
_Scheduled = list[tuple[float, int, Action]]
"""A heap of instants, of the order in which they were scheduled, and of actions."""


class Pacer:
    """A schedule that can grow while it runs. `clock` counts seconds and never goes back, as time.monotonic does."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._planned: _Scheduled = []
        self._prepared: _Scheduled = []
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
        heapq.heappush(self._planned, (due_s, self._scheduled, action))
        self._scheduled += 1
        self._changed.set()

    async def run(self, zero: float) -> None:
        """Start all that is scheduled; returns when nothing is left to start and every action has ended.

        `zero` is plan zero on the pacer's clock. What an action raises cancels the others and is raised from here, in
        an ExceptionGroup: results of calls are not exceptions, so it is a bug of ours.
        """
        self._zero = zero
        try:
            async with asyncio.TaskGroup() as group:
                while self._stopped_at_s is None and (self._planned or self._prepared or self._running):
                    self._start_due(group)
                    if self._prepare_one():
                        await asyncio.sleep(0)
                    else:
                        self._changed.clear()
                        await self._wait()
        finally:
            for _, _, action in self._prepared:
                action.drop()

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
        return sum(due_s < until_s for due_s, _, _ in (*self._planned, *self._prepared))

    def _start_due(self, group: asyncio.TaskGroup) -> None:
        while self._stopped_at_s is None and (scheduled := self._next()) and scheduled[0][0] <= self.now_s():
            due_s, _, action = heapq.heappop(scheduled)
            if scheduled is self._planned:
                action.prepare()
            instant = Instant(due_s, self.now_s())
            self.instants.append(instant)
            task = group.create_task(action.start(instant))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _next(self) -> _Scheduled:
        """Where the action is that is to be started next."""
        heaps = [heap for heap in (self._prepared, self._planned) if heap]
        return min(heaps, key=lambda heap: heap[0][:2], default=[])

    def _prepare_one(self) -> bool:
        """Prepare the next action, where its time has come and no other one's start comes before that is done."""
        if self._stopped_at_s is not None or not self._planned or self._planned[0][0] - LEAD_S > self.now_s():
            return False
        if self._prepared and self._prepared[0][0] <= self.now_s() + COARSE_MARGIN_S:
            return False
        scheduled = heapq.heappop(self._planned)
        scheduled[-1].prepare()
        heapq.heappush(self._prepared, scheduled)
        return True

    async def _wait(self) -> None:
        """Until there is something to start or to prepare, or the schedule has changed, or an action has ended."""
        if not (scheduled := self._next()):
            await self._changed.wait()
            return
        due_s = scheduled[0][0]
        wake_s = min([due_s - COARSE_MARGIN_S, *(planned[0] - LEAD_S for planned in self._planned[:1])])
        if (coarse_s := wake_s - self.now_s()) > 0:
            timer = asyncio.get_running_loop().call_later(coarse_s, self._changed.set)
            await self._changed.wait()
            timer.cancel()
            return
        while (left_s := due_s - self.now_s()) > 0 and not self._changed.is_set():
            if left_s > GUARD_S:
                time.sleep(NAP_S)
                await asyncio.sleep(0)
            elif left_s > WAKING_S:
                time.sleep(left_s - WAKING_S)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._changed.set()
