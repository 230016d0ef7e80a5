"""Link a run to its trunk: plan zero, the records of inbound calls, and the events of the trunk's programs.

A trunk that we did not start has no control channel. Its link returns empty answers.
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
    """The trunk's results when the run is over. Empty for a trunk without a control channel."""

    inbound: pl.DataFrame | None = None
    carrier: GeneratorVerdict | None = None
    """The health of the carrier that we play behind it."""


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
        try:
            await asyncio.wait({asked, stopping}, return_when=asyncio.FIRST_COMPLETED)
            # Both may be done at once. The answer that is there already is the better one.
            return _read(await asked if asked.done() else await self._end_calls())
        finally:
            for task in (asked, stopping):
                # Also `asked`: after a stop its answer comes on the other channel.
                task.cancel()
            await asyncio.gather(asked, stopping, return_exceptions=True)

    async def _end_calls(self) -> Finished:
        # Use a new channel: the first one reads its next question only after it has answered the last.
        port = self._card.control_port
        assert port is not None
        client = await ControlClient.connect(self._card.host, port)
        try:
            return await client.finish(stop=True)
        finally:
            await client.close()

    async def events(self) -> AsyncIterator[StackEvent]:
        """Yield the events of the trunk's programs until the trunk dies. Without a control channel, wait forever."""
        if self._watch is None:
            await asyncio.Event().wait()
            return
        async for event in self._watch.events():
            yield event
            if event.kind is StackEventKind.DIED and event.program == edge_of(self._card.stack):
                # The trunk process may live on, but without its edge no call reaches it.
                yield StackEvent(StackEventKind.DIED, THE_TRUNK, event.at, detail=f"died with {event.program}")
        # The channel was closed, so the trunk process itself has ended.
        yield StackEvent(StackEventKind.DIED, THE_TRUNK, asyncio.get_running_loop().time())


def _read(finished: Finished) -> FinalReport:
    return FinalReport(read_records(finished.records), finished.health)


@contextlib.asynccontextmanager
async def open_link(card: TrunkCard) -> AsyncIterator[TrunkLink]:
    """Open the link to the trunk of that card.

    Raises:
        StackError: its control channel does not answer.
    """
    if card.control_port is None:
        yield TrunkLink(card, None, None)
        return
    talk = await ControlClient.connect(card.host, card.control_port)
    # A channel of its own: on a channel that is watched nothing else may be asked.
    watch = await ControlClient.connect(card.host, card.control_port)
    try:
        yield TrunkLink(card, talk, watch)
    finally:
        await talk.close()
        await watch.close()
