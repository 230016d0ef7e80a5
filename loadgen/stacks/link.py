"""Link a run to its trunk: plan zero, the records of inbound calls, and the events of the trunk's programs.

A trunk that we did not start has no control channel. Its link returns empty answers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from trunkproof.loadgen.bugs import Bug
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.stack_events import THE_TRUNK, StackEvent, StackEventKind
from trunkproof.loadgen.stacks.control import ControlClient, Finished, InboundAttempt, News
from trunkproof.loadgen.stacks.registry import edge_of
from trunkproof.loadgen.verdict import GeneratorVerdict
from trunkproof.models.records import read_records

_ASK_EVERY_S = 5.0
"""Seldom enough that it costs the trunk nothing that a meter could see."""


@dataclass(frozen=True)
class FinalReport:
    """The trunk's results when the run is over. Empty for a trunk without a control channel."""

    inbound: pl.DataFrame | None = None
    carrier: GeneratorVerdict | None = None
    """The health of the carrier that we play behind it."""
    bugs: tuple[Bug, ...] = ()
    """Errors of trunkproof itself that the trunk's process has met."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """What -> how often it was refused by the limits that protect the trunk from its peers."""
    keys: Mapping[int, str] = field(default_factory=dict)
    """Plan row -> keys that the called side in the PSTN received."""


class TrunkLink:
    """An open link. `open_link` makes it."""

    def __init__(self, card: TrunkCard, talk: ControlClient | None, watch: ControlClient | None) -> None:
        self._card = card
        self._talk = talk
        self._watch = watch

    async def begin(self, zero: float) -> dict[str, float]:
        """Tell plan zero to the trunk.

        Returns:
            Trunk name -> an instant, relative to plan zero, at which its throttle's window began.

        Raises:
            StackError: the trunk has ended, or does not answer.
        """
        return {} if self._talk is None else dict((await self._talk.begin(zero)).anchors)

    async def finish(self, stop: asyncio.Event) -> FinalReport:
        """Wait for the trunk's inbound calls, and return the trunk's results. Once `stop` is set, end the calls.

        Raises:
            StackError: the trunk has ended, or does not answer.
        """
        if self._talk is None:
            return FinalReport()
        # Without this, the trunk would first be asked to wait for calls that shall end.
        if stop.is_set():
            return _read(await self._talk.finish(stop=True))
        asked = asyncio.create_task(self._talk.finish(stop=False))
        stopping = asyncio.create_task(stop.wait())
        # The calls may last for hours, so the answer has no time limit. A trunk that hangs meanwhile is noticed by
        # questions that it must answer at once.
        hanging = asyncio.create_task(self._ask_until_silent())
        tasks: tuple[asyncio.Task[Any], ...] = (asked, stopping, hanging)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            # Several may be done at once. The answer that is there already is the best one.
            if asked.done():
                return _read(await asked)
            if hanging.done():
                await hanging
            return _read(await self._end_calls())
        finally:
            for task in tasks:
                # Also `asked`: after a stop its answer comes on the other channel.
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask_until_silent(self) -> None:
        """Ask for the status again and again.

        Raises:
            StackError: the trunk has ended, or does not answer.
        """
        await asyncio.sleep(_ASK_EVERY_S)
        # Only now: most runs have their answer before.
        client = await _connect(self._card)
        try:
            while True:
                await client.status()
                await asyncio.sleep(_ASK_EVERY_S)
        finally:
            await client.close()

    async def _end_calls(self) -> Finished:
        # Use a new channel: the first one reads its next question only after it has answered the last.
        client = await _connect(self._card)
        try:
            return await client.finish(stop=True)
        finally:
            await client.close()

    async def events(self) -> AsyncIterator[News]:
        """Yield the news of the trunk until it dies. Without a control channel, wait forever."""
        if self._watch is None:
            await asyncio.Event().wait()
            return
        async for event in self._watch.events():
            yield event
            if isinstance(event, InboundAttempt):
                continue
            if event.kind is StackEventKind.DIED and event.program == edge_of(self._card.stack):
                # The trunk process may live on, but without its edge no call reaches it.
                yield StackEvent(StackEventKind.DIED, THE_TRUNK, event.at, detail=f"died with {event.program}")
        # The channel was closed, so the trunk process itself has ended.
        yield StackEvent(StackEventKind.DIED, THE_TRUNK, asyncio.get_running_loop().time())


def _read(finished: Finished) -> FinalReport:
    return FinalReport(read_records(finished.records), finished.health, finished.bugs, finished.refused, finished.keys)


@contextlib.asynccontextmanager
async def open_link(card: TrunkCard) -> AsyncIterator[TrunkLink]:
    """Open the link to the trunk of that card.

    Raises:
        StackError: its control channel does not answer.
    """
    if card.control_port is None:
        yield TrunkLink(card, None, None)
        return
    async with contextlib.AsyncExitStack() as stack:
        talk = await _connect(card)
        # Before the second connection: where that fails, the first one is closed too.
        stack.push_async_callback(talk.close)
        # A channel of its own: on a channel that is watched nothing else may be asked.
        watch = await _connect(card)
        stack.push_async_callback(watch.close)
        yield TrunkLink(card, talk, watch)


async def _connect(card: TrunkCard) -> ControlClient:
    assert card.control_port is not None
    return await ControlClient.connect(card.host, card.control_port, card.control_secret or "")
