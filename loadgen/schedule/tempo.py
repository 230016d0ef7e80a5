"""The tempo of a run: how fast plan time passes in it. Calls are placed faster or slower by it, in the plan's order.

A plan has an instant for every first attempt. A run places them when *plan time* reaches these instants. At speed 1
plan time is the run's own time. At speed 2 the same calls come twice as fast, at speed 0 none comes. Each change holds
from one instant of the run on, so several processes that know the changes place each call at the same instant, to the
bit.

What this keeps: the order of the calls, who calls whom, what becomes of each call, and the shape of the arrivals
(Poisson stays Poisson, because a Poisson process seen through a faster clock is one). What it does not touch: redials,
holding times and ringing times. They pass in the run's own time.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from trunkproof.models.arrays import FloatArray


@dataclass(frozen=True)
class TempoChange:
    """From `at_s` after plan zero on, plan time passes `speed` times as fast as the run's time."""

    at_s: float
    speed: float
    is_drained: bool = False
    """No first attempt is placed any more, and none can be later. Redials go on."""


class Tempo:
    """Maps plan time to the run's time, in seconds after plan zero. It begins with speed 1."""

    def __init__(self, changes: Iterable[TempoChange] = ()) -> None:
        self.changes: list[TempoChange] = []
        self._starts_s, self._plan_s, self._speeds = [0.0], [0.0], [1.0]
        for change in changes:
            self.change(change)

    def change(self, change: TempoChange) -> None:
        """Add a change. Changes come in the order of time.

        Raises:
            ValueError: it lies before the last one, or has no speed that can be.
        """
        if change.at_s < max(0.0, self._starts_s[-1]) or not 0 <= change.speed < math.inf:
            raise ValueError(f"{change} does not follow the change at {self._starts_s[-1]} s")
        self._plan_s.append(self.plan_s(change.at_s))
        self._starts_s.append(change.at_s)
        self._speeds.append(0.0 if change.is_drained else change.speed)
        self.changes.append(change)

    @property
    def speed(self) -> float:
        """Return the speed after the last change."""
        return self._speeds[-1]

    @property
    def is_drained(self) -> bool:
        """Tell whether no first attempt is to be placed after the last change."""
        return bool(self.changes) and self.changes[-1].is_drained

    @property
    def drained_after_s(self) -> float:
        """Return the plan time after which no first attempt is placed. Infinite for a run that is not drained."""
        return self._plan_s[-1] if self.is_drained else math.inf

    def plan_s(self, run_s: float) -> float:
        """Return the plan time at an instant of the run."""
        at = max(0, bisect_right(self._starts_s, run_s) - 1)
        return self._plan_s[at] + (run_s - self._starts_s[at]) * self._speeds[at]

    def speed_at(self, run_s: float) -> float:
        """Return the speed at an instant of the run."""
        return self._speeds[max(0, bisect_right(self._starts_s, run_s) - 1)]

    def run_s(self, plan_s: float) -> float:
        """Return the instant of the run at which plan time is `plan_s`. Infinite while that is not to be reached."""
        # The last stretch that begins at or before it. A pause has no plan time of its own, so what follows it wins.
        at = bisect_right(self._plan_s, plan_s) - 1
        speed = self._speeds[at]
        return self._starts_s[at] + (plan_s - self._plan_s[at]) / speed if speed > 0 else math.inf

    def all_run_s(self, plan_s: FloatArray) -> FloatArray:
        """Return `run_s` of many instants."""
        at = np.searchsorted(self._plan_s, plan_s, side="right") - 1
        speed = np.array(self._speeds)[at]
        begun = plan_s - np.array(self._plan_s)[at]
        passed = np.divide(begun, speed, out=np.full(len(begun), np.inf), where=speed > 0)
        instants: FloatArray = np.array(self._starts_s)[at] + passed
        return instants
