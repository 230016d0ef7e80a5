"""The events of a call as its coroutine waits for them: in order, and no longer than it wants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from trunkproof.loadgen.parties.agent import CallEvents, Stopped
from trunkproof.loadgen.system.loop import loop_factory

LOOPS = [None, loop_factory()]
Test = Callable[[CallEvents, asyncio.AbstractEventLoop], Awaitable[None]]


def play(scenario: Test, factory: Any) -> None:
    async def run() -> None:
        async with asyncio.timeout(5):
            await scenario(CallEvents(), asyncio.get_running_loop())

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())


@pytest.mark.parametrize("factory", LOOPS, ids=["asyncio", "best"])
def test_events_come_in_order_and_before_any_deadline(factory: Any) -> None:
    async def scenario(news: CallEvents, loop: asyncio.AbstractEventLoop) -> None:
        first, second = Stopped(), Stopped()
        news.put(first)
        news.put(second)
        assert [await news.next(loop.time() - 1), await news.next()] == [first, second]

    play(scenario, factory)


@pytest.mark.parametrize("factory", LOOPS, ids=["asyncio", "best"])
@pytest.mark.parametrize("delays_s", [(0.02, 0.01), (0.01, 0.02), (0.01, -1.0)])
def test_a_wait_ends_at_its_own_deadline_whichever_is_still_set(factory: Any, delays_s: tuple[float, float]) -> None:
    async def scenario(news: CallEvents, loop: asyncio.AbstractEventLoop) -> None:
        first, second = (loop.time() + delay for delay in delays_s)
        loop.call_soon(news.put, Stopped())
        assert isinstance(await news.next(first), Stopped)
        assert await news.next(second) is None
        assert loop.time() >= second - 1e-3  # asyncio's own loop takes its clock's resolution off
        assert await news.next(first) is None

    play(scenario, factory)


@pytest.mark.parametrize("factory", LOOPS, ids=["asyncio", "best"])
def test_a_deadline_of_an_earlier_wait_does_not_end_a_later_one(factory: Any) -> None:
    async def scenario(news: CallEvents, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon(news.put, Stopped())
        await news.next(loop.time() + 0.01)
        event = Stopped()
        loop.call_later(0.05, news.put, event)
        assert await news.next() is event

    play(scenario, factory)
