"""The event loop of real calls: exact clock, timers never early, and the same on asyncio's own loop."""

from __future__ import annotations

import asyncio
import gc
import sys
import time

import pytest

from trunkproof.loadgen.system.loop import loop_factory, run_loop


@pytest.fixture(params=["uvloop", "asyncio"])
def which(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The loop to run on; without uvloop the import fails, as where it does not install."""
    name = str(request.param)
    if name == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    else:
        pytest.importorskip("uvloop")
    return name


def test_the_loop_is_the_one_there_is(which: str) -> None:
    async def name() -> str:
        return type(asyncio.get_running_loop()).__mro__[1].__module__

    assert run_loop(name()).startswith("uvloop" if which == "uvloop" else "asyncio")
    assert (loop_factory() is None) == (which == "asyncio")


def test_its_clock_is_the_monotonic_one_in_the_middle_of_a_turn(which: str) -> None:
    async def readings() -> tuple[float, float, float]:
        time.sleep(0.002)
        before, ours = time.monotonic(), asyncio.get_running_loop().time()
        return before, ours, time.monotonic()

    before, ours, after = run_loop(readings())
    assert before <= ours <= after


@pytest.mark.parametrize("delay_s", [0.0, 0.0004, 0.0016, 0.01])
def test_timers_are_never_early_not_even_from_late_in_a_turn(which: str, delay_s: float) -> None:
    async def waited_s() -> list[float]:
        loop = asyncio.get_running_loop()
        waits = []
        for late_s in (0.0, 0.0007, 0.005):
            time.sleep(late_s)
            woken = loop.create_future()
            due = loop.time() + delay_s
            loop.call_at(due, woken.set_result, None)
            await woken
            waits.append(loop.time() - due)
            began = loop.time()
            await asyncio.sleep(delay_s)
            waits.append(loop.time() - began - delay_s)
        return waits

    # asyncio allows its timers the resolution of the clock.
    assert min(run_loop(waited_s())) >= -time.get_clock_info("monotonic").resolution


def test_a_time_that_is_past_and_a_limit_that_never_comes(which: str) -> None:
    async def wait() -> None:
        handle = asyncio.get_running_loop().call_at(time.monotonic() - 5, lambda: None)
        async with asyncio.timeout(None):
            await asyncio.sleep(0.001)
        handle.cancel()

    run_loop(wait())


def test_what_is_raised_is_raised_and_the_collector_is_as_before(which: str) -> None:
    async def fail() -> None:
        assert gc.get_threshold()[0] > 700
        raise LookupError(which)

    before = gc.get_threshold()
    with pytest.raises(LookupError, match=which):
        run_loop(fail())
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_inside_a_running_loop_as_in_a_notebook_it_runs_beside_and_raises_what_is_raised() -> None:
    async def inner() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def failing() -> None:
        raise ValueError("inside")

    async def cell() -> bool:
        with pytest.raises(ValueError, match="inside"):
            run_loop(failing())
        return run_loop(inner()) is not asyncio.get_running_loop()

    assert asyncio.run(cell())
