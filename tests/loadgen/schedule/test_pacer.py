import asyncio
import itertools
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from trunkproof.loadgen.schedule.pacer import LEAD_S, Instant, Pacer


@dataclass(frozen=True)
class Plain:
    """An action that needs no preparation, and is noted where it does more than start."""

    begin: Callable[[Instant], Coroutine[Any, Any, None]]
    notes: list[str] = field(default_factory=list)

    def prepare(self, _: float) -> None:
        self.notes.append("prepared")

    def start(self, instant: Instant) -> Coroutine[Any, Any, None]:
        self.notes.append("started")
        return self.begin(instant)

    def drop(self) -> None:
        self.notes.append("dropped")


def run(pacer: Pacer, zero: float | None = None) -> None:
    asyncio.run(pacer.run(time.monotonic() if zero is None else zero))


def test_actions_start_in_the_order_of_their_instants_and_never_early() -> None:
    due_s = [index * 0.0005 for index in range(600)]
    shuffled = random.Random(1).sample(due_s, len(due_s))
    pacer = Pacer()
    started: list[float] = []

    async def action(instant: Instant) -> None:
        started.append(instant.due_s)

    for each in shuffled:
        pacer.schedule(each, Plain(action))
    run(pacer)
    assert started == due_s
    assert [instant.due_s for instant in pacer.instants] == due_s
    assert all(instant.lateness_s >= 0 for instant in pacer.instants)
    assert pacer.overdue == 0


def test_equal_instants_start_in_the_order_they_were_scheduled() -> None:
    pacer = Pacer()
    started: list[int] = []

    def schedule(name: int) -> None:
        async def action(_: Instant) -> None:
            started.append(name)

        pacer.schedule(0.0, Plain(action))

    for name in range(50):
        schedule(name)
    run(pacer)
    assert started == list(range(50))


def test_nothing_waits_for_an_action() -> None:
    pacer = Pacer()
    released = asyncio.Event()
    order: list[str] = []

    async def waits(_: Instant) -> None:
        order.append("first starts")
        await released.wait()
        order.append("first ends")

    async def releases(_: Instant) -> None:
        order.append("second starts")
        released.set()

    pacer.schedule(0.0, Plain(waits))
    pacer.schedule(0.01, Plain(releases))
    run(pacer)
    assert order == ["first starts", "second starts", "first ends"]


def test_an_action_may_schedule_another_when_none_is_left_and_wait_for_it() -> None:
    pacer = Pacer()
    last_started = asyncio.Event()
    started: list[float] = []

    async def last(instant: Instant) -> None:
        started.append(instant.due_s)
        last_started.set()

    async def redials(instant: Instant) -> None:
        started.append(instant.due_s)
        await asyncio.sleep(0.005)
        pacer.schedule(0.02, Plain(last))
        async with asyncio.timeout(5):
            await last_started.wait()

    pacer.schedule(0.0, Plain(redials))
    run(pacer)
    assert started == [0.0, 0.02]


def test_an_earlier_instant_scheduled_during_the_wait_comes_first() -> None:
    pacer = Pacer()
    released = asyncio.Event()
    started: list[float] = []

    async def action(instant: Instant) -> None:
        started.append(instant.due_s)
        released.set()

    async def inserts(_: Instant) -> None:
        await asyncio.sleep(0.001)
        pacer.schedule(0.02, Plain(action))
        await released.wait()  # so that the pacer is woken by the schedule, not by the end of this

    pacer.schedule(0.3, Plain(action))
    pacer.schedule(0.0, Plain(inserts))
    run(pacer)
    assert started == [0.02, 0.3]


def test_actions_run_while_the_next_is_awaited_in_naps() -> None:
    ticks = itertools.count()
    pacer = Pacer(clock=lambda: next(ticks) * 0.0001)

    async def action(_: Instant) -> None:
        pass

    pacer.schedule(0.0, Plain(action))
    pacer.schedule(0.0014, Plain(action))  # within the margin in which no timer is set
    run(pacer, zero=0.0)
    assert pacer.instants[0].started_s < 0.0014


def test_an_instant_that_is_past_starts_at_once_and_its_lateness_is_told() -> None:
    pacer = Pacer()

    async def action(_: Instant) -> None:
        pass

    pacer.schedule(1.0, Plain(action))
    run(pacer, zero=time.monotonic() - 3.0)
    (instant,) = pacer.instants
    assert instant.lateness_s >= 2.0


def test_a_blocked_event_loop_shows_as_lateness() -> None:
    pacer = Pacer()

    async def blocks(_: Instant) -> None:
        time.sleep(0.05)  # what a generator that cannot keep up does

    async def action(_: Instant) -> None:
        pass

    pacer.schedule(0.0, Plain(blocks))
    pacer.schedule(0.01, Plain(action))
    run(pacer)
    assert pacer.instants[1].lateness_s >= 0.04


def test_stop_starts_nothing_more_and_lets_what_runs_end() -> None:
    pacer = Pacer()
    ended: list[str] = []

    async def stops(_: Instant) -> None:
        pacer.stop()
        await asyncio.sleep(0.01)
        ended.append("stops")

    async def never(_: Instant) -> None:
        ended.append("never")

    pacer.schedule(0.0, Plain(stops))
    pacer.schedule(30.0, Plain(never))
    pacer.schedule(60.0, Plain(never))
    run(pacer)
    assert ended == ["stops"]
    assert pacer.overdue == 0  # neither instant had come when it was stopped


def test_actions_that_should_have_started_before_the_stop_are_overdue() -> None:
    pacer = Pacer()

    async def never(_: Instant) -> None:
        pytest.fail("started after the stop")

    async def blocks_and_stops(_: Instant) -> None:
        time.sleep(0.02)
        pacer.stop()

    pacer.schedule(0.0, Plain(blocks_and_stops))
    pacer.schedule(0.01, Plain(never))
    pacer.schedule(60.0, Plain(never))
    run(pacer)
    assert pacer.overdue == 1


def test_what_an_action_raises_is_raised_by_run() -> None:
    pacer = Pacer()

    async def broken(_: Instant) -> None:
        raise ZeroDivisionError

    async def long(_: Instant) -> None:
        await asyncio.sleep(60)

    pacer.schedule(0.0, Plain(long))
    pacer.schedule(0.0, Plain(broken))
    with pytest.raises(ExceptionGroup) as caught:
        run(pacer)
    assert caught.group_contains(ZeroDivisionError)


def test_an_empty_schedule_ends_at_once() -> None:
    pacer = Pacer()
    run(pacer)
    assert pacer.instants == []


async def nothing(_: Instant) -> None:
    """An action with nothing left to do once started."""


def test_actions_are_prepared_before_their_instants() -> None:
    ticks = itertools.count()
    # Each reading of this clock is a tick later, so that no stall of the machine is seen.
    pacer = Pacer(clock=lambda: next(ticks) * 0.0001)
    prepared_s: list[float] = []

    class Timed(Plain):
        def prepare(self, _: float) -> None:
            prepared_s.append(pacer.now_s())

    for due_s in (LEAD_S, 2 * LEAD_S):
        pacer.schedule(due_s, Timed(nothing))
    run(pacer, zero=0.0)
    for at_s, instant in zip(prepared_s, pacer.instants, strict=True):
        assert instant.due_s - LEAD_S <= at_s < instant.due_s <= instant.started_s


def test_what_is_overdue_is_prepared_and_started_in_order() -> None:
    pacer, notes = Pacer(), list[str]()
    for due_s in (0.2, 0.1, 0.3):
        pacer.schedule(due_s, Plain(nothing, notes))
    run(pacer, zero=time.monotonic() - 1.0)
    assert notes == ["prepared", "started"] * 3
    assert [instant.due_s for instant in pacer.instants] == [0.1, 0.2, 0.3]


def test_what_was_prepared_is_dropped_at_a_stop() -> None:
    # Its instant is not reached, on a clock that stands still just before it.
    pacer = Pacer(clock=lambda: 1.0 - LEAD_S / 2)
    prepared, planned = Plain(nothing), Plain(nothing)

    async def stops(_: Instant) -> None:
        await asyncio.sleep(0)
        while not prepared.notes:
            await asyncio.sleep(0)
        pacer.stop()

    pacer.schedule(0.0, Plain(stops))
    pacer.schedule(1.0, prepared)
    pacer.schedule(2.0, planned)
    run(pacer, zero=0.0)
    assert prepared.notes == ["prepared", "dropped"]
    assert planned.notes == []


def test_what_cannot_be_started_ends_the_run_and_drops_the_others() -> None:
    def broken(_: Instant) -> Coroutine[Any, Any, None]:
        raise ZeroDivisionError

    pacer, other = Pacer(clock=lambda: 1.0), Plain(nothing)
    pacer.schedule(1.0 + LEAD_S / 2, other)

    async def then_breaks(_: Instant) -> None:
        while not other.notes:
            await asyncio.sleep(0)
        pacer.schedule(0.5, Plain(broken))

    pacer.schedule(0.0, Plain(then_breaks))
    with pytest.raises(ZeroDivisionError):
        run(pacer, zero=0.0)
    assert other.notes == ["prepared", "dropped"]
