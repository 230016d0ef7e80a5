"""Observers for tests of real runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trunkproof.loadgen.observer import Observer, RunProgress
from trunkproof.loadgen.verdict import Measurements
from trunkproof.models.records import Record


class Listening(Observer):
    """Keeps all attempts that it was told of."""

    def __init__(self) -> None:
        self.began: list[Record] = []
        self.ended: list[Record] = []
        self.zero: float | None = None
        self.health: list[Measurements] = []

    def run_began(self, zero: float, anchors: Mapping[str, float]) -> None:
        self.zero = zero

    def attempt_began(self, record: Record) -> None:
        self.began.append(record)

    def attempt_ended(self, record: Record) -> None:
        self.ended.append(record)

    def measured(self, health: Measurements) -> None:
        self.health.append(health)


class Watching(Observer):
    """Calls a function with every progress."""

    def __init__(self, watch: Callable[[RunProgress], None]) -> None:
        self._watch = watch

    def progressed(self, progress: RunProgress) -> None:
        self._watch(progress)
