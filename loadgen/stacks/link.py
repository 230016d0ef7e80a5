"""The run's line to the trunk it drives: its state, plan zero, its inbound calls' records, and word of its death.

For a trunk without a control channel (any trunk that is not ours) it knows nothing and says so with empty answers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import polars as pl

from loadgen.stacks.card import TrunkCard
from loadgen.stacks.control import ControlClient
from models.records import read_records


class TrunkLink:
    """An open line; made by `open_link`."""

    def __init__(self, talk: ControlClient | None, watch: ControlClient | None) -> None:
        self._talk = talk
        self._watch = watch

    async def begin(self, zero: float) -> dict[str, float]:
        """Tell the trunk when plan zero is; trunk name -> an instant, relative to it, at which its throttle's window
        began.

        Raises:
            StackError: the trunk is gone.
        """
        if self._talk is None:
            return {}
        answer = await self._talk.ask("begin", zero=zero)
        return {name: float(anchor) for name, anchor in answer["anchors"].items()}

    async def finish(self, *, stop: bool) -> pl.DataFrame | None:
        """Wait for the trunk's inbound calls (with `stop`, end them); their records.

        Raises:
            StackError: the trunk is gone.
        """
        if self._talk is None:
            return None
        answer = await self._talk.ask("finish", stop=stop)
        return read_records(Path(answer["records"]))

    async def died(self) -> None:
        """Return when the trunk is gone; never, for a trunk without a control channel."""
        if self._watch is None:
            await asyncio.Event().wait()
        else:
            await self._watch.closed_by_peer()


@contextlib.asynccontextmanager
async def open_link(card: TrunkCard) -> AsyncIterator[TrunkLink]:
    """The line to the trunk of that card.

    Raises:
        StackError: its control channel does not answer.
    """
    if card.control_port is None:
        yield TrunkLink(None, None)
        return
    talk = await ControlClient.connect(card.host, card.control_port)
    watch = await ControlClient.connect(card.host, card.control_port)
    try:
        yield TrunkLink(talk, watch)
    finally:
        await talk.close()
        await watch.close()
