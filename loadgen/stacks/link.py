"""The run's line to the trunk it drives: its state, plan zero, its inbound calls' records, and word of its deaths.

For a trunk without a control channel (any trunk that is not ours) it knows nothing and says so with empty answers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import polars as pl

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.stack_events import THE_TRUNK, StackEvent, StackEventKind
from trunkproof.loadgen.stacks.control import ControlClient, Finished
from trunkproof.loadgen.stacks.registry import edge_of
from trunkproof.loadgen.verdict import GeneratorVerdict
from trunkproof.models.records import read_records


@dataclass(frozen=True)
class FinalReport:
    """What the trunk has to say when the run is over; empty where nobody can be asked."""

    inbound: pl.DataFrame | None = None
    carrier: GeneratorVerdict | None = None
    """Whether the carrier that was played behind it was healthy."""


class TrunkLink:
    """An open line; made by `open_link`."""

    def __init__(self, card: TrunkCard, talk: ControlClient | None, watch: ControlClient | None) -> None:
        self._card = card
        self._talk = talk
        self._watch = watch

    async def begin(self, zero: float) -> dict[str, float]:
        """Tell the trunk when plan zero is.

        Returns:
            Trunk name -> an instant, relative to plan zero, at which its throttle's window began.

        Raises:
            StackError: the trunk is gone, or does not answer.
        """
        return {} if self._talk is None else dict((await self._talk.begin(zero)).anchors)

    async def finish(self, stop: asyncio.Event) -> FinalReport:
        """Wait for the trunk's inbound calls; once `stop` is set, end them. Their records.

        Raises:
            StackError: the trunk is gone, or does not answer.
        """
        if self._talk is None:
            return FinalReport()
        if stop.is_set():
            return _read(await self._talk.finish(stop=True))
        asked = asyncio.create_task(self._talk.finish(stop=False))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({asked, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return _read(await asked if asked.done() else await self._end_calls())
        finally:
            for task in (asked, stopping):
                task.cancel()
            await asyncio.gather(asked, stopping, return_exceptions=True)

    async def _end_calls(self) -> Finished:
        # The channel on which we asked is busy: its next question would be read after the answer that takes so long.
        port = self._card.control_port
        assert port is not None
        client = await ControlClient.connect(self._card.host, port)
        try:
            return await client.finish(stop=True)
        finally:
            await client.close()

    async def events(self) -> AsyncIterator[StackEvent]:
        """What becomes of the trunk's programs; ends with the death of the trunk, and never without a channel."""
        if self._watch is None:
            await asyncio.Event().wait()
            return
        async for event in self._watch.events():
            yield event
            if event.kind is StackEventKind.DIED and event.program == edge_of(self._card.stack):
                yield StackEvent(StackEventKind.DIED, THE_TRUNK, event.at, detail=f"died with {event.program}")
        # The trunk process is gone itself.
        yield StackEvent(StackEventKind.DIED, THE_TRUNK, asyncio.get_running_loop().time())


def _read(finished: Finished) -> FinalReport:
    return FinalReport(read_records(finished.records), finished.health)


@contextlib.asynccontextmanager
async def open_link(card: TrunkCard) -> AsyncIterator[TrunkLink]:
    """The line to the trunk of that card.

    Raises:
        StackError: its control channel does not answer.
    """
    if card.control_port is None:
        yield TrunkLink(card, None, None)
        return
    talk = await ControlClient.connect(card.host, card.control_port)
    watch = await ControlClient.connect(card.host, card.control_port)
    try:
        yield TrunkLink(card, talk, watch)
    finally:
        await talk.close()
        await watch.close()
