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
from trunkproof.loadgen.stacks.control import ControlClient
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

    def __init__(self, stack: str, talk: ControlClient | None, watch: ControlClient | None) -> None:
        self._stack = stack
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

    async def finish(self, *, stop: bool) -> FinalReport:
        """Wait for the trunk's inbound calls (with `stop`, end them); their records.

        Raises:
            StackError: the trunk is gone, or does not answer.
        """
        if self._talk is None:
            return FinalReport()
        finished = await self._talk.finish(stop=stop)
        return FinalReport(read_records(finished.records), finished.health)

    async def events(self) -> AsyncIterator[StackEvent]:
        """What becomes of the trunk's programs; ends with the death of the trunk, and never without a channel."""
        if self._watch is None:
            await asyncio.Event().wait()
            return
        async for event in self._watch.events():
            yield event
            if event.kind is StackEventKind.DIED and event.program == self._stack:
                yield StackEvent(StackEventKind.DIED, THE_TRUNK, event.at, detail=f"died with {event.program}")
        # The trunk process is gone itself.
        yield StackEvent(StackEventKind.DIED, THE_TRUNK, asyncio.get_running_loop().time())


@contextlib.asynccontextmanager
async def open_link(card: TrunkCard) -> AsyncIterator[TrunkLink]:
    """The line to the trunk of that card.

    Raises:
        StackError: its control channel does not answer.
    """
    if card.control_port is None:
        yield TrunkLink(card.stack, None, None)
        return
    talk = await ControlClient.connect(card.host, card.control_port)
    watch = await ControlClient.connect(card.host, card.control_port)
    try:
        yield TrunkLink(card.stack, talk, watch)
    finally:
        await talk.close()
        await watch.close()
