"""SimPy's environment without the events that change nothing: the order of all others is SimPy's, to the last tie.

A call's process begins at once instead of by an event, and nobody waits for its end. It is no other way of writing
processes: what `trunk` yields are SimPy's events, and any other SimPy process may live beside it.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import simpy
from simpy.events import NORMAL


class Timeout(simpy.Timeout):
    """SimPy's, made and scheduled by `Clock.timeout`: a call waits for six."""

    _ok = True
    _value: Any = None


class Clock(simpy.Environment):
    """Simulated time: an environment for processes that do not fail, for a failure ends the simulation."""

    if not TYPE_CHECKING:
        # An attribute is read much quicker than SimPy's property, and it is read all the time.
        now = 0.0

    def timeout(self, delay: float = 0, value: Any = None) -> Timeout:
        """An event that happens after so many seconds."""
        if delay < 0:
            raise ValueError(f"negative delay {delay}")
        # Without calling its class, which takes longer than all that it has to do.
        event = Timeout.__new__(Timeout)
        event.env, event.callbacks, event._delay = self, [], delay
        if value is not None:
            event._value = value
        heappush(self._queue, (self.now + delay, NORMAL, next(self._eid), event))
        return event

    def run(self, until: float | None = None) -> None:  # type: ignore[override]  # no event ends a run
        """Let everything happen that happens before `until`; by default, until nothing is left to happen."""
        end = math.inf if until is None else until
        if end <= self._now:
            raise ValueError(f"the end ({end:g} s) is not after the present ({self._now:g} s)")
        queue = self._queue
        while queue and queue[0][0] < end:
            at, _, _, event = heappop(queue)
            self._now = self.now = at  # type: ignore[misc]  # see above
            callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]  # as SimPy marks it done
            for callback in callbacks:
                callback(event)
            if not event._ok and not event.defused:
                raise event._value
        if until is not None:
            self._now = self.now = until  # type: ignore[misc]


class CallProcess(simpy.Process):
    """A process whose end nobody awaits, so that it needs no event; what it raises ends the simulation."""

    def __init__(self, env: Clock, generator: Generator[simpy.Event, object, None]) -> None:
        """Begin at once, up to the first event that the process waits for."""
        self.env = env
        self.callbacks = []
        self._generator = generator
        self._resume(Timeout.__new__(Timeout))  # Any event that has happened.

    def _resume(self, event: simpy.Event) -> None:
        env = self.env
        env._active_proc = self
        try:
            if event._ok:
                target = self._generator.send(event._value)
            else:
                event.defused = True
                target = self._generator.throw(event._value)
        except StopIteration:
            self._ok, self._value = True, None
        else:
            self._target = target
            target.callbacks.append(self._resume)
        env._active_proc = None
