"""The run's line to the trunk it drives: its state, plan zero, its inbound calls' records, and word of its deaths.

For a trunk without a control channel (any trunk that is not ours) it knows nothing and says so with empty answers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.stacks.control import Answer, ControlClient
from trunkproof.loadgen.stacks.registry import edge_of
from trunkproof.loadgen.verdict import GeneratorVerdict, Verdict
from trunkproof.models.records import read_records

THE_TRUNK = "the trunk"


@dataclass(frozen=True)
class Trouble:
    """A program of the trunk that ended without having been told to, or that does not answer."""

    program: str
    at: float
    """On the event loop's clock."""
    how: str = "died"

    @property
    def is_the_trunk(self) -> bool:
        """Whether nothing can be called any more."""
        return self.program == THE_TRUNK


@dataclass(frozen=True)
class Started:
    """A program of the trunk that was started again, as an incident of the study wanted."""

    program: str
    pid: int


@dataclass(frozen=True)
class Farewell:
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
        """Tell the trunk when plan zero is; trunk name -> an instant, relative to it, at which its throttle's window
        began.

        Raises:
            StackError: the trunk is gone.
        """
        if self._talk is None:
            return {}
        answer = await self._talk.ask("begin", zero=zero)
        return {name: float(anchor) for name, anchor in answer["anchors"].items()}

    async def finish(self, *, stop: bool) -> Farewell:
        """Wait for the trunk's inbound calls (with `stop`, end them); their records.

        Raises:
            StackError: the trunk is gone.
        """
        if self._talk is None:
            return Farewell()
        answer = await self._talk.ask("finish", stop=stop)
        return Farewell(read_records(Path(answer["records"])), _verdict(answer["health"]))

    async def news(self) -> AsyncIterator[Trouble | Started]:
        """What becomes of the trunk's programs; ends with the death of the trunk, and never without a channel."""
        if self._watch is None:
            await asyncio.Event().wait()
            return
        async for news in self._watch.news():
            if news["news"] == "started":
                yield Started(news["program"], news["pid"])
            else:
                yield Trouble(news["program"], news["at"], news["how"])
                if news["news"] == "death" and news["program"] == edge_of(self._stack):
                    yield Trouble(THE_TRUNK, news["at"], f"with {news['program']}")
        yield Trouble(THE_TRUNK, asyncio.get_running_loop().time())


def _verdict(answer: Answer | None) -> GeneratorVerdict | None:
    if answer is None:
        return None
    return GeneratorVerdict(**{**answer, "verdict": Verdict(answer["verdict"]), "reasons": tuple(answer["reasons"])})


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
