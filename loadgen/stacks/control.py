"""A trunk's control channel: typed questions and answers, one JSON object a line, on the trunk's own host.

It lets the run that drives a trunk read its state (the phase of its throttle's window, what is in use) and tell it when
plan zero is, and hear what becomes of its programs. It carries no calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from trunkproof.loadgen.stack_events import StackEvent
from trunkproof.loadgen.system.messages import Codec
from trunkproof.loadgen.verdict import GeneratorVerdict
from trunkproof.models.errors import StackError

logger = logging.getLogger(__name__)

_ANSWERS_WITHIN_S = 20.0
"""A trunk answers at once, or is out of CPU; one that takes so long is taken for dead."""
_ENDS_CALLS_WITHIN_S = 60.0
"""Ten thousand calls are ended in seconds, a million records written in some more."""


class TrunkDiedError(StackError):
    """The control channel was closed: the trunk process is gone."""


class TrunkSilentError(StackError):
    """The trunk process lives, and does not answer."""


@dataclass(frozen=True)
class AskStatus:
    """What is in use now?"""


@dataclass(frozen=True)
class Begin:
    """Plan zero is at that instant of the machine's monotonic clock."""

    zero: float


@dataclass(frozen=True)
class Finish:
    """The run is over: wait for the last inbound call, or with `stop` end them."""

    stop: bool


@dataclass(frozen=True)
class Watch:
    """Send every `StackEvent` from now on; nothing else is asked on this channel."""


@dataclass(frozen=True)
class StackStatus:
    """What is in use."""

    calls: int
    channels_used: int
    ports_in_use: int | None
    """`None` where only a relay of others knows."""
    programs: Mapping[str, int] = field(default_factory=dict)
    """Program -> its first process, of a stack of others."""
    handshakes: Mapping[str, int] = field(default_factory=dict)
    """TLS handshakes by kind, of the embedded trunk."""


@dataclass(frozen=True)
class Began:
    """Trunk name -> an instant, relative to plan zero, at which a window of its throttle began."""

    anchors: Mapping[str, float]


@dataclass(frozen=True)
class Finished:
    """What the trunk process has to say when the run is over."""

    records: Path
    """File of the inbound calls' records."""
    health: GeneratorVerdict | None
    """Of the carrier that was played behind the stack; `None` where there was none."""


Question = AskStatus | Begin | Finish | Watch
Answer = StackStatus | Began | Finished | StackEvent
_QUESTIONS: Codec[Question] = Codec(AskStatus, Begin, Finish, Watch)
_ANSWERS: Codec[Answer] = Codec(StackStatus, Began, Finished, StackEvent)
A = TypeVar("A", StackStatus, Began, Finished)


class Controlled(Protocol):
    """The trunk as its control channel sees it."""

    def status(self) -> StackStatus:
        """What is in use now."""

    def begin(self, zero: float) -> Mapping[str, float]:
        """Plan zero; the anchors by trunk."""

    async def finish(self, *, stop: bool) -> Finished:
        """The end of the run."""


class ControlServer:
    """The answering side, which also tells events to everybody who watches."""

    def __init__(self, controlled: Controlled) -> None:
        self._controlled = controlled
        self._watchers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, host: str) -> int:
        """Answer on a free port of `host`, which is returned."""
        self._server = await asyncio.start_server(self._talk, host, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def tell(self, event: StackEvent) -> None:
        """Tell everybody who watches."""
        for writer in self._watchers:
            writer.write(_ANSWERS.encode(event))

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                match _QUESTIONS.decode(line):
                    case Watch():
                        self._watchers.add(writer)
                        continue
                    case AskStatus():
                        answer: Answer = self._controlled.status()
                    case Begin(zero):
                        answer = Began(self._controlled.begin(zero))
                    case Finish(stop):
                        answer = await self._controlled.finish(stop=stop)
                writer.write(_ANSWERS.encode(answer))
                await writer.drain()
        except (ConnectionError, ValueError) as error:
            # The other side went, or does not speak the protocol: nobody is left to be told.
            logger.debug("control channel closed: %s", error)
        finally:
            self._watchers.discard(writer)
            writer.close()


class ControlClient:
    """The asking side; every question raises StackError where the trunk is gone or does not answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, host: str, port: int) -> ControlClient:
        """Open the channel.

        Raises:
            StackError: nobody answers there.
        """
        try:
            return cls(*await asyncio.open_connection(host, port))
        except OSError as error:
            raise StackError(f"the trunk's control channel at {host}:{port} does not answer: {error}") from error

    async def status(self) -> StackStatus:
        """Ask what is in use now."""
        return await self._ask(AskStatus(), StackStatus, _ANSWERS_WITHIN_S)

    async def begin(self, zero: float) -> Began:
        """Tell plan zero."""
        return await self._ask(Begin(zero), Began, _ANSWERS_WITHIN_S)

    async def finish(self, *, stop: bool) -> Finished:
        """Tell that the run is over, and wait for the last inbound call; with `stop` they are ended."""
        return await self._ask(Finish(stop), Finished, _ENDS_CALLS_WITHIN_S if stop else None)

    async def _ask(self, question: Question, kind: type[A], within_s: float | None) -> A:
        try:
            self._writer.write(_QUESTIONS.encode(question))
            async with asyncio.timeout(within_s):
                await self._writer.drain()
                line = await self._reader.readline()
        except TimeoutError:
            raise TrunkSilentError(f"the trunk has not answered for {within_s:g} s") from None
        except OSError as error:
            raise TrunkDiedError(f"the trunk died ({error})") from error
        if not line:
            raise TrunkDiedError("the trunk died")
        try:
            answer = _ANSWERS.decode(line)
        except ValueError as error:
            raise StackError(f"the trunk's control channel speaks another protocol: {error}") from error
        if not isinstance(answer, kind):
            raise StackError(f"the trunk's control channel answers {type(answer).__name__} to {question}")
        return answer

    async def events(self) -> AsyncIterator[StackEvent]:
        """What becomes of the trunk's programs, until it is gone; for a channel on which nothing is asked."""
        self._writer.write(_QUESTIONS.encode(Watch()))
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                event = _ANSWERS.decode(line)
                if isinstance(event, StackEvent):
                    yield event

    async def close(self) -> None:
        """Close the channel."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):  # It may be closed by the other side already.
            await self._writer.wait_closed()
