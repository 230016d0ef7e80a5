"""Observers for tests of real runs."""

from __future__ import annotations

from collections.abc import Callable

from trunkproof.loadgen.observer import Observer, RunProgress


class Watching(Observer):
    """Calls a function with every progress."""

    def __init__(self, watch: Callable[[RunProgress], None]) -> None:
        self._watch = watch

    def progressed(self, progress: RunProgress) -> None:
        self._watch(progress)
