"""A caller ends what is under way, and what begins too late."""

from __future__ import annotations

import asyncio

from tests.loadgen.scripted import ScriptedAgent, ScriptedLine, run_manually

from trunkproof.loadgen.parties.agent import CallEvents, Stopped
from trunkproof.loadgen.parties.caller import Caller


def test_those_under_way_are_told_once_and_those_that_ended_are_not() -> None:
    async def run() -> None:
        caller = Caller(ScriptedLine(ScriptedAgent()), 0.0)  # type: ignore[arg-type]
        going, gone, late = CallEvents(), CallEvents(), CallEvents()
        caller.begin(going)
        caller.begin(gone)
        caller.end(gone)
        caller.stop()
        caller.begin(late)
        assert isinstance(await going.next(0.0), Stopped)
        assert isinstance(await late.next(0.0), Stopped)
        assert [await inbox.next(0.0) for inbox in (going, gone, late)] == [None] * 3

    run_manually(run())


def test_seconds_are_counted_from_plan_zero() -> None:
    async def run() -> None:
        caller = Caller(ScriptedLine(ScriptedAgent()), 2.5)  # type: ignore[arg-type]
        assert caller.now_s() == -2.5
        await asyncio.sleep(10)
        assert caller.now_s() == 7.5

    run_manually(run())
