"""The open-loop pacer starts each action at its planned instant.

It never waits for an action to end. So a slow trunk cannot slow down its own load, an error known as coordinated
omission. It notes when each action was due and when it started; `loadgen.verdict` judges these notes.

One turn of the loop in `run`:

1. Start every action that is due.
2. If there is time before the next start, prepare one action that is due within `LEAD_S`, and begin again.
3. Otherwise wait for the next instant. Use a timer of the event loop until `COARSE_MARGIN_S` before it, naps of
   `NAP_S` (between them the event loop runs) until `GUARD_S` before it, and one last sleep that ends `WAKING_S` early.

A new action in the schedule, a change of the tempo, or the end of a running one, ends the wait.

Actions are scheduled in two ways: each at its own instant (redials), or all at once as a course in plan time, which the
run's tempo maps to instants. A change of the tempo moves a whole course without touching its actions.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from trunkproof.loadgen.schedule.tempo import Tempo, TempoChange

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

    def prepare(self, due_s: float) -> None:
        """Do what can be done before the instant `due_s` after plan zero. Called once, before `start`."""

    def start(self, instant: Instant) -> Coroutine[Any, Any, None]:
        """Do at once what must not be late. Return a coroutine that does the rest."""

    def drop(self) -> None:
        """Release what was prepared. Called instead of `start` where the pacer stopped before the instant."""


Clock = Callable[[], float]
_Entry = tuple[float, int, Action]
"""Instant, number in the order of scheduling, action."""


class _Scheduled:
    """What is to start, in the order of instants: single actions in a heap, and a course that the tempo moves."""

    def __init__(self, tempo: Tempo) -> None:
        self._tempo = tempo
        self._heap: list[_Entry] = []
        self._course: deque[_Entry] = deque()
        """In plan time, ascending."""
        self._head: tuple[float, int] | None = None
        """The instant and the number of the first of the course. None where they are to be found again."""

    def push(self, entry: _Entry) -> None:
        heapq.heappush(self._heap, entry)

    def add_course(self, entries: Iterable[_Entry]) -> None:
        self._course = deque(sorted([*self._course, *entries], key=lambda entry: entry[:2]))
        self._head = None

    def moved(self) -> None:
        """Look at the tempo again, because it has changed."""
        self._head = None
        while self._course and self._course[-1][0] >= self._tempo.drained_after_s:
            self._course.pop()

    def _course_head(self) -> tuple[float, int]:
        if self._head is None:
            plan_s, number, _ = self._course[0]
            self._head = (self._tempo.run_s(plan_s), number)
        return self._head

    def _is_course_next(self) -> bool:
        # By instant and number only: a heap may end in an action, and these have no order.
        return bool(self._course) and not (self._heap and self._heap[0][:2] < self._course_head())

    def __bool__(self) -> bool:
        return bool(self._heap or self._course)

    def first(self) -> tuple[float, int]:
        """Return the instant and the number of the next action. The instant is infinite while the tempo is 0."""
        return self._course_head() if self._is_course_next() else self._heap[0][:2]

    def pop(self) -> _Entry:
        if not self._is_course_next():
            return heapq.heappop(self._heap)
        due_s, number = self._course_head()
        self._head = None
        return due_s, number, self._course.popleft()[-1]

    def instants(self) -> Iterator[float]:
        yield from (due_s for due_s, *_ in self._heap)
        yield from (self._tempo.run_s(plan_s) for plan_s, *_ in self._course)

    def actions(self) -> Iterator[Action]:
        yield from (entry[-1] for entry in (*self._heap, *self._course))


class Pacer:
    """A schedule that can grow while it runs. `clock` counts seconds and never goes back, like time.monotonic."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.tempo = Tempo()
        """How fast the course is started."""
        self._planned = _Scheduled(self.tempo)
        self._prepared = _Scheduled(self.tempo)
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
        self._planned.push((due_s, self._scheduled, action))
        # The number decides between equal instants, and keeps the heap from comparing actions, which have no order.
        self._scheduled += 1
        self._changed.set()

    def schedule_course(self, course: Iterable[tuple[float, Action]]) -> None:
        """Start each action when plan time reaches its instant. At first plan time is the time after plan zero."""
        entries = [(plan_s, self._scheduled + number, action) for number, (plan_s, action) in enumerate(course)]
        self._scheduled += len(entries)
        self._planned.add_course(entries)
        self._changed.set()

    def change_tempo(self, change: TempoChange) -> None:
        """Start the course faster, slower or not from an instant on. What was started or prepared before stays so.

        Raises:
            ValueError: it lies before the last change.
        """
        self.tempo.change(change)
        self._planned.moved()
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
            for action in self._prepared.actions():
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
        return sum(due_s < until_s for each in (self._planned, self._prepared) for due_s in each.instants())

    def _start_due(self, group: asyncio.TaskGroup) -> None:
        while self._stopped_at_s is None and (scheduled := self._next()) and scheduled.first()[0] <= self.now_s():
            due_s, _, action = scheduled.pop()
            # It was scheduled for a time that is past, or there was no time to prepare it before.
            if scheduled is self._planned:
                action.prepare(due_s)
            instant = Instant(due_s, self.now_s())
            self.instants.append(instant)
            # `start` itself runs here and now. Only the coroutine that it returns waits for its turn.
            task = group.create_task(action.start(instant))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _next(self) -> _Scheduled | None:
        """Return the schedule that has the next action to start."""
        return min((each for each in (self._prepared, self._planned) if each), key=_Scheduled.first, default=None)

    def _prepare_one(self) -> bool:
        """Prepare the next action if it is due within `LEAD_S` and no start comes in between. Return whether it did."""
        if self._stopped_at_s is not None or not self._planned or self._planned.first()[0] - LEAD_S > self.now_s():
            return False
        # A preparation may take longer than this, and the prepared action would start late.
        if self._prepared and self._prepared.first()[0] <= self.now_s() + COARSE_MARGIN_S:
            return False
        scheduled = due_s, _, action = self._planned.pop()
        action.prepare(due_s)
        self._prepared.push(scheduled)
        return True

    async def _wait(self) -> None:
        """Wait until there is something to start or prepare, the schedule has changed, or an action has ended."""
        scheduled = self._next()
        due_s = scheduled.first()[0] if scheduled else math.inf
        # Nothing, or a course that is paused.
        if due_s == math.inf:
            await self._changed.wait()
            return
        wake_s = due_s - COARSE_MARGIN_S
        if self._planned:
            wake_s = min(wake_s, self._planned.first()[0] - LEAD_S)
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
