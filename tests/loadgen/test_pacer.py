import asyncio
import itertools
import random
import time

import pytest

from loadgen.pacer import Instant, Pacer


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
        pacer.schedule(each, action)
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

        pacer.schedule(0.0, action)

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

    pacer.schedule(0.0, waits)
    pacer.schedule(0.01, releases)
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
        pacer.schedule(0.02, last)
        async with asyncio.timeout(5):
            await last_started.wait()

    pacer.schedule(0.0, redials)
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
        pacer.schedule(0.02, action)
        await released.wait()  # so that the pacer is woken by the schedule, not by the end of this

    pacer.schedule(0.3, action)
    pacer.schedule(0.0, inserts)
    run(pacer)
    assert started == [0.02, 0.3]


def test_actions_run_while_the_next_is_awaited_in_naps() -> None:
    ticks = itertools.count()
    pacer = Pacer(clock=lambda: next(ticks) * 0.0001)

    async def action(_: Instant) -> None:
        pass

    pacer.schedule(0.0, action)
    pacer.schedule(0.0014, action)  # within the margin in which no timer is set
    run(pacer, zero=0.0)
    assert pacer.instants[0].started_s < 0.0014


def test_an_instant_that_is_past_starts_at_once_and_its_lateness_is_told() -> None:
    pacer = Pacer()

    async def action(_: Instant) -> None:
        pass

    pacer.schedule(1.0, action)
    run(pacer, zero=time.monotonic() - 3.0)
    (instant,) = pacer.instants
    assert instant.lateness_s >= 2.0


def test_a_blocked_event_loop_shows_as_lateness() -> None:
    pacer = Pacer()

    async def blocks(_: Instant) -> None:
        time.sleep(0.05)  # what a generator out of breath does

    async def action(_: Instant) -> None:
        pass

    pacer.schedule(0.0, blocks)
    pacer.schedule(0.01, action)
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

    pacer.schedule(0.0, stops)
    pacer.schedule(30.0, never)
    pacer.schedule(60.0, never)
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

    pacer.schedule(0.0, blocks_and_stops)
    pacer.schedule(0.01, never)
    pacer.schedule(60.0, never)
    run(pacer)
    assert pacer.overdue == 1


def test_what_an_action_raises_is_raised_by_run() -> None:
    pacer = Pacer()

    async def broken(_: Instant) -> None:
        raise ZeroDivisionError

    async def long(_: Instant) -> None:
        await asyncio.sleep(60)

    pacer.schedule(0.0, long)
    pacer.schedule(0.0, broken)
    with pytest.raises(ExceptionGroup) as caught:
        run(pacer)
    assert caught.group_contains(ZeroDivisionError)


def test_an_empty_schedule_ends_at_once() -> None:
    pacer = Pacer()
    run(pacer)
    assert pacer.instants == []
