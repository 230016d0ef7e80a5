"""The tempo: plan time and the run's time, with pauses, drains, and changes that do not follow."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest

from trunkproof.loadgen.schedule.pacer import Instant, Pacer
from trunkproof.loadgen.schedule.tempo import Tempo, TempoChange


def test_without_changes_plan_time_is_the_time_of_the_run_to_the_bit() -> None:
    instants = np.random.default_rng(1).uniform(0, 1e5, 1000)
    assert [Tempo().run_s(each) for each in instants] == instants.tolist()
    assert Tempo().all_run_s(instants).tolist() == instants.tolist()


def test_calls_come_faster_stand_still_and_go_on() -> None:
    tempo = Tempo([TempoChange(10.0, 2.0), TempoChange(20.0, 0.0), TempoChange(25.0, 0.5)])
    assert [tempo.run_s(each) for each in (5.0, 10.0, 20.0, 29.0, 30.0, 31.0)] == [5.0, 10.0, 15.0, 19.5, 25.0, 27.0]
    assert [tempo.plan_s(each) for each in (-1.0, 5.0, 15.0, 22.0, 27.0)] == [-1.0, 5.0, 20.0, 30.0, 31.0]
    plan_s = np.linspace(0, 60, 500)
    assert tempo.all_run_s(plan_s).tolist() == [tempo.run_s(each) for each in plan_s]
    assert (np.diff(tempo.all_run_s(plan_s)) > 0).all()


def test_a_drained_run_reaches_nothing_more() -> None:
    tempo = Tempo([TempoChange(10.0, 0.0, is_drained=True)])
    assert (tempo.run_s(9.9), tempo.run_s(10.0)) == (9.9, math.inf)
    assert tempo.drained_after_s == 10.0
    assert tempo.is_drained


def test_changes_must_follow_each_other() -> None:
    tempo = Tempo([TempoChange(10.0, 2.0)])
    for wrong in (TempoChange(9.0, 1.0), TempoChange(11.0, -1.0), TempoChange(11.0, math.inf)):
        with pytest.raises(ValueError, match="does not follow"):
            tempo.change(wrong)


class Noting:
    def __init__(self, due_s: list[float]) -> None:
        self._due_s = due_s

    def prepare(self, due_s: float) -> None:
        self._due_s.append(due_s)

    def start(self, instant: Instant) -> Coroutine[Any, Any, None]:
        return asyncio.sleep(0)

    def drop(self) -> None:
        raise AssertionError("everything that was prepared is started")


def test_the_pacer_starts_a_course_at_its_tempo_and_redials_at_their_own_instants() -> None:
    pacer, course, single = Pacer(), list[float](), list[float]()
    pacer.schedule_course((0.01 * number, Noting(course)) for number in range(20))
    pacer.schedule(0.15, Noting(single))
    changes = [TempoChange(0.1, 0.0), TempoChange(0.2, 5.0), TempoChange(0.2101, 0.0, is_drained=True)]
    for change in changes:
        pacer.change_tempo(change)
    asyncio.run(pacer.run(time.monotonic()))
    assert single == [0.15]
    tempo = Tempo(changes)
    assert course == [due_s for number in range(20) if (due_s := tempo.run_s(0.01 * number)) < math.inf]
    assert 10 < len(course) < 20
    assert pacer.overdue == 0
