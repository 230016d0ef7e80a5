"""The open-loop pacer starts each action at its planned instant.

It never waits for an action to end. So a slow trunk cannot slow down its own load, an error known as coordinated
omission. It notes when each action was due and when it started; `loadgen.verdict` judges these notes.

One turn of the loop in `run`:

1. Start every action that is due.
2. If there is time before the next start, prepare one action that is due within `LEAD_S`, and begin again.
3. Otherwise wait for the next instant. Use a timer of the event loop until `COARSE_MARGIN_S` before it, naps of
   `NAP_S` (between them the event loop runs) until `GUARD_S` before it, and one last sleep that ends `WAKING_S` early.

A new action in the schedule, or the end of a running one, ends the wait.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

LEAD_S = 0.02
"""An action may be prepared this long before its instant. Other work of the event loop is nearly always shorter."""
COARSE_MARGIN_S = 0.0015
"""Timers of the event loop end up to 1 ms late, because epoll counts in ms. Naps bridge the rest."""
NAP_S = 0.0001
"""Short enough that connections of the same loop, which run between two naps, are not delayed noticeably."""
GUARD_S = 0.0004
"""So long before an instant, the event loop may begin no further step.

Most of its steps take at most this long. A step that comes now waits until after the start, so that no call starts late
because of it.
"""
WAKING_S = 0.00006
"""A sleep ends about this late, so we sleep this much less."""


@dataclass(frozen=True, slots=True)
class Instant:
    """When an action was due and when it started, in seconds after plan zero."""

    due_s: float
    started_s: float

    @property
    def lateness_s(self) -> float:
        """Return how late the action started. Never negative: the pacer starts nothing early."""
        return self.started_s - self.due_s


class Action(Protocol):
    """Something to start at an instant."""

    def prepare(self) -> None:
        """Do what can be done before the instant. Called once, before `start`."""

    def start(self, instant: Instant) -> Coroutine[Any, Any, None]:
        """Do at once what must not be late. Return a coroutine that does the rest."""

    def drop(self) -> None:
        """Release what was prepared. Called instead of `start` where the pacer stopped before the instant."""


Clock = Callable[[], float]
_Scheduled = list[tuple[float, int, Action]]
"""A heap of (instant, number in the order of scheduling, action)."""


class Pacer:
    """A schedule that can grow while it runs. `clock` counts seconds and never goes back, like time.monotonic."""

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
        """One for each started action, in the order of their starts."""

    def schedule(self, due_s: float, action: Action) -> None:
        """Start `action` at `due_s` after plan zero, or at once if that is past. Actions may schedule others (redials).

        Actions due at the same instant start in the order in which they were scheduled. After `stop` nothing starts.
        """
        heapq.heappush(self._planned, (due_s, self._scheduled, action))
        # The number decides between equal instants, and keeps the heap from comparing actions, which have no order.
        self._scheduled += 1
        self._changed.set()

    async def run(self, zero: float) -> None:
        """Start all that is scheduled. Return when nothing is left to start and every action has ended.

        Args:
            zero: plan zero on the pacer's clock.

        Raises:
            ExceptionGroup: an action raised an error; the others are cancelled. It is a bug of ours, because failed
                calls raise nothing.
            Exception: another bug of ours. It is raised when the actions under way have ended.
        """
        self._zero = zero
        failure: Exception | None = None
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    await self._start_all(group)
                except Exception as error:
                    # Not raised inside the group, which would cancel the calls under way: nothing is wrong with them.
                    failure = error
                    self.stop()
            if failure is not None:
                raise failure
        finally:
            for _, _, action in self._prepared:
                # These hold ports already, and will never start.
                action.drop()

    async def _start_all(self, group: asyncio.TaskGroup) -> None:
        while self._stopped_at_s is None and (self._planned or self._prepared or self._running):
            # First: starts are what the pacer is judged by. Preparing can wait.
            self._start_due(group)
            if self._prepare_one():
                # After each action, so that the connections of this loop are served in between.
                await asyncio.sleep(0)
            else:
                # No await between this line and the wait in `_wait`, so no change is missed.
                self._changed.clear()
                await self._wait()

    def stop(self) -> None:
        """Start nothing more. Actions under way go on, and `run` returns when they have ended."""
        # The first stop counts: `overdue` judges us by what was due before it.
        if self._stopped_at_s is None:
            self._stopped_at_s = self.now_s()
            self._changed.set()

    def now_s(self) -> float:
        """Return the seconds after plan zero."""
        return self._clock() - self._zero

    @property
    def overdue(self) -> int:
        """Return how many actions were due by now, or before `stop`, and were not started."""
        until_s = self.now_s() if self._stopped_at_s is None else self._stopped_at_s
        return sum(due_s < until_s for due_s, _, _ in (*self._planned, *self._prepared))

    def _start_due(self, group: asyncio.TaskGroup) -> None:
        while self._stopped_at_s is None and (scheduled := self._next()) and scheduled[0][0] <= self.now_s():
            due_s, _, action = heapq.heappop(scheduled)
            # It was scheduled for a time that is past, or there was no time to prepare it before.
            if scheduled is self._planned:
                action.prepare()
            instant = Instant(due_s, self.now_s())
            self.instants.append(instant)
            # `start` itself runs here and now. Only the coroutine that it returns waits for its turn.
            task = group.create_task(action.start(instant))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _next(self) -> _Scheduled:
        """Return the heap that has the next action to start."""
        heaps = [heap for heap in (self._prepared, self._planned) if heap]
        # By instant and number only: a heap may end in an action, and these have no order.
        return min(heaps, key=lambda heap: heap[0][:2], default=[])

    def _prepare_one(self) -> bool:
        """Prepare the next action if it is due within `LEAD_S` and no start comes in between. Return whether it did."""
        if self._stopped_at_s is not None or not self._planned or self._planned[0][0] - LEAD_S > self.now_s():
            return False
        # A preparation may take longer than this, and the prepared action would start late.
        if self._prepared and self._prepared[0][0] <= self.now_s() + COARSE_MARGIN_S:
            return False
        scheduled = heapq.heappop(self._planned)
        scheduled[-1].prepare()
        heapq.heappush(self._prepared, scheduled)
        return True

    async def _wait(self) -> None:
        """Wait until there is something to start or prepare, the schedule has changed, or an action has ended."""
        if not (scheduled := self._next()):
            await self._changed.wait()
            return
        due_s = scheduled[0][0]
        wake_s = min([due_s - COARSE_MARGIN_S, *(planned[0] - LEAD_S for planned in self._planned[:1])])
        if (coarse_s := wake_s - self.now_s()) > 0:
            timer = asyncio.get_running_loop().call_later(coarse_s, self._changed.set)
            await self._changed.wait()
            # Where the change came first, the timer would end a later wait too early.
            timer.cancel()
            return
        # These sleeps block the whole event loop, on purpose: a timer of the loop is too coarse, and a busy loop
        # would use a core.
        while (left_s := due_s - self.now_s()) > 0 and not self._changed.is_set():
            if left_s > GUARD_S:
                time.sleep(NAP_S)
                await asyncio.sleep(0)
            elif left_s > WAKING_S:
                time.sleep(left_s - WAKING_S)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._changed.set()
