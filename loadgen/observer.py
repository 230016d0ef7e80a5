"""Observers watch a run while it lasts: a progress bar, a journal, a live page.

An observer overrides the methods that it needs. The run calls them on its event loop, so they must be quick: give slow
work to a thread or a queue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from trunkproof.loadgen.control import AppliedControl
from trunkproof.loadgen.meters.report import Sample
from trunkproof.loadgen.stack_events import StackEvent
from trunkproof.loadgen.verdict import Measurements
from trunkproof.models.records import Record

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run."""

    at_s: float
    """Seconds after plan zero. Negative before it."""
    share: float
    """The share of the plan's time that is over, at most 1. Negative before plan zero."""
    begun: int
    """The number of attempts begun so far, by all workers together."""
    ended: int
    """The number of these that have ended."""
    asked_per_minute: float = 0.0
    """The first attempts per minute that the plan, and whoever controls the run, ask for now."""
    left_s: float | None = None
    """Seconds until the last planned call is over, at the present rate. None for a run that is paused."""

    @property
    def under_way(self) -> int:
        """Return the number of attempts that have begun and not ended."""
        return self.begun - self.ended


class Observer:
    """The base class of observers. Its methods do nothing.

    Attempts are told wherever they are placed: at once where the run itself places them, and less than a second later
    where a worker or, for calls from the PSTN, the trunk's process does. The calls of a trunk that is not ours are told
    by whoever answers them.
    """

    def run_began(self, zero: float, anchors: Mapping[str, float]) -> None:
        """Called when plan zero is known, on the machine's monotonic clock.

        The anchors say for each trunk when a window of its throttle began, in seconds after plan zero.
        """

    def attempt_began(self, record: Record) -> None:
        """Called when an attempt begins. Its record is not filled in yet."""

    def attempt_ended(self, record: Record) -> None:
        """Called when an attempt is over and its record is complete."""

    def stack_event(self, event: StackEvent, at_s: float) -> None:
        """Called when a program of the stack started, died or did not answer, `at_s` after plan zero."""

    def controlled(self, applied: AppliedControl) -> None:
        """Called when the user changes the rate, pauses, resumes, drains or stops the run."""

    def metered(self, samples: Sequence[Sample]) -> None:
        """Called once a second with a reading of the stack's programs. Instants are seconds after plan zero."""

    def measured(self, health: Measurements) -> None:
        """Called once a second by each process that places calls, with its new measurements of itself.

        Instants are those since the last call. The other figures are of the process's whole time.
        """

    def progressed(self, progress: RunProgress) -> None:
        """Called every quarter of a second."""


class Observers(Observer):
    """Several observers as one. One that raises an error is removed, so that it cannot end real calls."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = list(observers)

    def attempt_began(self, record: Record) -> None:
        """Tell all observers."""
        self._tell(lambda observer: observer.attempt_began(record))

    def attempt_ended(self, record: Record) -> None:
        """Tell all observers."""
        self._tell(lambda observer: observer.attempt_ended(record))

    def stack_event(self, event: StackEvent, at_s: float) -> None:
        """Tell all observers."""
        self._tell(lambda observer: observer.stack_event(event, at_s))

    def controlled(self, applied: AppliedControl) -> None:
        """Tell all observers."""
        self._tell(lambda observer: observer.controlled(applied))

    def metered(self, samples: Sequence[Sample]) -> None:
        """Tell all observers."""
        self._tell(lambda observer: observer.metered(samples))

    def run_began(self, zero: float, anchors: Mapping[str, float]) -> None:
        """Tell all observers."""
        self._tell(lambda observer: observer.run_began(zero, anchors))

    def measured(self, health: Measurements) -> None:
        """Tell all observers."""
        self._tell(lambda observer: observer.measured(health))

    def progressed(self, progress: RunProgress) -> None:
        """Tell all observers."""
        self._tell(lambda observer: observer.progressed(progress))

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        for observer in tuple(self._observers):
            try:
                tell(observer)
            except Exception:
                # Catch everything: real calls are under way, and their records matter more than an observer.
                self._observers.remove(observer)
                logger.exception("%s failed and is told no more of this run", type(observer).__name__)
