"""Observers hear what they ask for, and one that fails is told no more."""

from __future__ import annotations

import logging

import pytest

from trunkproof.loadgen.observer import Observer, Observers, RunProgress
from trunkproof.loadgen.stack_events import StackEvent, StackEventKind

PROGRESS = RunProgress(at_s=1.0, share=0.1, begun=5, ended=3)


class Noting(Observer):
    def __init__(self) -> None:
        self.noted: list[object] = []

    def progressed(self, progress: RunProgress) -> None:
        self.noted.append(progress)

    def stack_event(self, event: StackEvent, at_s: float) -> None:
        self.noted.append((str(event), at_s))


class Failing(Noting):
    def progressed(self, progress: RunProgress) -> None:
        super().progressed(progress)
        raise OSError("the disk is full")


def test_all_are_told_and_what_nobody_overrides_is_nothing() -> None:
    first, second = Noting(), Noting()
    observers = Observers([first, Observer(), second])
    observers.progressed(PROGRESS)
    observers.metered([])
    observers.stack_event(StackEvent(StackEventKind.SILENT, "kamailio", 12.0), 2.0)
    assert first.noted == second.noted == [PROGRESS, ("kamailio does not answer", 2.0)]
    assert PROGRESS.under_way == 2


def test_one_that_fails_is_told_no_more_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    failing, other = Failing(), Noting()
    observers = Observers([failing, other])
    with caplog.at_level(logging.ERROR):
        observers.progressed(PROGRESS)
        observers.progressed(PROGRESS)
    assert (len(failing.noted), len(other.noted)) == (1, 2)
    assert [record.getMessage() for record in caplog.records] == ["Failing failed and is told no more of this run"]
