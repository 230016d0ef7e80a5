"""Who watches a run while it lasts: a progress bar, a journal, a live page. The run knows none of them.

An observer overrides what it wants to hear of. All methods are called on the run's event loop: they must be quick, and
hand anything slow to a thread or queue of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from trunkproof.loadgen.meters.report import Sample
from trunkproof.loadgen.stack_events import StackEvent
from trunkproof.models.records import Record

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunProgress:
    """How far a run is."""

    at_s: float
    """After plan zero; below 0 before it."""
    share: float
    """Of the plan's time that is over, at most 1; below 0 before plan zero."""
    begun: int
    """Attempts begun so far, by all workers together."""
    ended: int
    """Attempts of those that have ended."""

    @property
    def under_way(self) -> int:
        """Attempts that have begun and not ended."""
        return self.begun - self.ended


class Observer:
    """Told of a run; every method does nothing unless it is overridden.

    Single attempts are told where the run places them itself (one worker). Of attempts in worker processes only the
    counts arrive, with each `progressed`: a message an attempt would cost more than it tells. Attempts from the PSTN
    are placed by the trunk process; their records come at the run's end, with its result.
    """

    def attempt_began(self, record: Record) -> None:
        """An attempt's instant has come; its record is not filled in yet."""

    def attempt_ended(self, record: Record) -> None:
        """An attempt is over, and its record complete."""

    def stack_event(self, event: StackEvent, at_s: float) -> None:
        """Something became of a program of the stack, so many seconds after plan zero."""

    def metered(self, samples: Sequence[Sample]) -> None:
        """A reading of the stack's programs was taken, once a second; instants are seconds after plan zero."""

    def progressed(self, progress: RunProgress) -> None:
        """Another quarter of a second is over."""


class Observers(Observer):
    """Several observers as one. One that fails is told no more: it must not end anybody's calls."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = list(observers)

    def attempt_began(self, record: Record) -> None:
        """Tell all of them."""
        self._tell(lambda observer: observer.attempt_began(record))

    def attempt_ended(self, record: Record) -> None:
        """Tell all of them."""
        self._tell(lambda observer: observer.attempt_ended(record))

    def stack_event(self, event: StackEvent, at_s: float) -> None:
        """Tell all of them."""
        self._tell(lambda observer: observer.stack_event(event, at_s))

    def metered(self, samples: Sequence[Sample]) -> None:
        """Tell all of them."""
        self._tell(lambda observer: observer.metered(samples))

    def progressed(self, progress: RunProgress) -> None:
        """Tell all of them."""
        self._tell(lambda observer: observer.progressed(progress))

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        for observer in tuple(self._observers):
            try:
                tell(observer)
            except Exception:
                # Whatever it is: real calls are under way, and their records matter more than who watches them.
                self._observers.remove(observer)
                logger.exception("%s failed and is told no more of this run", type(observer).__name__)
