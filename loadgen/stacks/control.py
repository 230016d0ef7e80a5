"""The control channel of a trunk: typed questions and answers, one JSON object per line, on the trunk's own host.

A run uses it to tell plan zero to the trunk, to read its state (the phase of its throttle's window, what is in use) and
to hear when one of its programs dies. It carries no calls.

Every connection begins with `Hello` and the secret of the trunk's card, which only the owner of the card can read.
Without it nothing is answered: whoever may steer a trunk can end its calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from trunkproof.loadgen.bugs import Bug
from trunkproof.loadgen.stack_events import StackEvent
from trunkproof.loadgen.system.messages import Codec
from trunkproof.loadgen.verdict import GeneratorVerdict
from trunkproof.models.errors import StackError

logger = logging.getLogger(__name__)

_ANSWERS_WITHIN_S = 20.0
"""A trunk answers at once unless it has no CPU left. After this long we take it for dead."""
_ENDS_CALLS_WITHIN_S = 60.0
"""To end ten thousand calls takes seconds, and to write a million records some more."""


_HELLO_WITHIN_S = 5.0
"""A run says `Hello` at once. Whoever connects and stays silent must not keep a descriptor."""
_MOST_UNKNOWN = 64
"""Connections that have not said `Hello` yet. A run opens two or three."""


class TrunkDiedError(StackError):
    """The control channel was closed: the trunk process has ended."""


class TrunkSilentError(StackError):
    """The trunk process runs, but does not answer."""


@dataclass(frozen=True)
class Hello:
    """Show the secret of the trunk's card. It is the first message of every connection, and has no answer."""

    secret: str = field(repr=False)


@dataclass(frozen=True)
class AskStatus:
    """Ask what is in use now."""


@dataclass(frozen=True)
class Begin:
    """Tell that plan zero is at `zero` of the machine's monotonic clock."""

    zero: float


@dataclass(frozen=True)
class Finish:
    """Tell that the run is over. The trunk waits for its inbound calls, or ends them if `stop` is set."""

    stop: bool


@dataclass(frozen=True)
class Watch:
    """Ask for all `News` from now on. Nothing else may be asked on this channel."""


@dataclass(frozen=True)
class StackStatus:
    """What is in use now."""

    calls: int
    channels_used: int
    ports_in_use: int | None
    """None where only the media relay of a foreign stack knows it."""
    programs: Mapping[str, int] = field(default_factory=dict)
    """Program of a foreign stack -> the id of its first process."""
    handshakes: Mapping[str, int] = field(default_factory=dict)
    """Kind -> number of TLS handshakes, for the embedded trunk."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """What -> how often it was refused by the limits that protect the trunk from its peers."""


@dataclass(frozen=True)
class InboundAttempt:
    """Tell watchers that a call from the PSTN began, or is over."""

    record: Mapping[str, Any]
    """As `models.records.record_to_json` gives it."""
    over: bool


@dataclass(frozen=True)
class Began:
    """The answer to `Begin`: trunk name -> when a window of its throttle began, relative to plan zero."""

    anchors: Mapping[str, float]


@dataclass(frozen=True)
class Finished:
    """The answer to `Finish`: the trunk's results."""

    records: Path
    """The file with the records of the inbound calls."""
    health: GeneratorVerdict | None
    """The health of the carrier that we play behind a foreign stack. None for the embedded trunk."""
    bugs: tuple[Bug, ...] = ()
    """Errors of trunkproof itself that the trunk's process has met so far."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """As in `StackStatus`."""
    keys: Mapping[int, str] = field(default_factory=dict)
    """Plan row -> keys that the called side in the PSTN received."""


Question = Hello | AskStatus | Begin | Finish | Watch
News = StackEvent | InboundAttempt
"""What watchers of a trunk are told."""
Answer = StackStatus | Began | Finished | StackEvent | InboundAttempt
_QUESTIONS: Codec[Question] = Codec(Hello, AskStatus, Begin, Finish, Watch)
_ANSWERS: Codec[Answer] = Codec(StackStatus, Began, Finished, StackEvent, InboundAttempt)
A = TypeVar("A", StackStatus, Began, Finished)


class Controlled(Protocol):
    """What the control channel needs of a trunk."""

    def status(self) -> StackStatus:
        """Return what is in use now."""

    def begin(self, zero: float) -> Mapping[str, float]:
        """Set plan zero. Return the anchors by trunk name."""

    async def finish(self, *, stop: bool) -> Finished:
        """End the run and return its results."""


class ControlServer:
    """The trunk's side of the channel: it answers questions, and sends events to all watchers."""

    def __init__(self, controlled: Controlled) -> None:
        self._controlled = controlled
        self._watchers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._unknown = 0
        self.secret = secrets.token_urlsafe(32)
        """What a client must show. It belongs into the card."""
        self.refused = 0
        """Connections that did not show it."""

    async def listen(self, host: str) -> int:
        """Listen on a free port of `host`, and return the port."""
        # On the trunk's own host, which by default is loopback: nobody else shall steer a trunk.
        self._server = await asyncio.start_server(self._talk, host, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def tell(self, event: News) -> None:
        """Send news to all watchers."""
        # Without `drain`: a watcher that does not read must not stop the trunk.
        for writer in self._watchers:
            writer.write(_ANSWERS.encode(event))

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not await self._is_known(reader):
                self.refused += 1
                logger.warning("control channel: refused %s, who does not know the secret", _peer_of(writer))
                return
            while line := await reader.readline():
                match _QUESTIONS.decode(line):
                    case Hello():
                        continue
                    case Watch():
                        self._watchers.add(writer)
                        continue
                    case AskStatus():
                        answer: Answer = self._controlled.status()
                    case Begin(zero):
                        answer = Began(self._controlled.begin(zero))
                    # This may take until the last inbound call, and the channel reads no other question meanwhile.
                    case Finish(stop):
                        answer = await self._controlled.finish(stop=stop)
                writer.write(_ANSWERS.encode(answer))
                await writer.drain()
        except (ConnectionError, ValueError) as error:
            # The other side has closed the channel, or does not speak the protocol. Nobody can be told.
            logger.debug("control channel closed: %s", error)
        finally:
            # Events must not be written to a channel that is closed.
            self._watchers.discard(writer)
            writer.close()

    async def _is_known(self, reader: asyncio.StreamReader) -> bool:
        if self._unknown >= _MOST_UNKNOWN:
            return False
        self._unknown += 1
        try:
            async with asyncio.timeout(_HELLO_WITHIN_S):
                hello = _QUESTIONS.decode(await reader.readline())
        except (TimeoutError, ConnectionError, ValueError):
            return False
        finally:
            self._unknown -= 1
        # In constant time: how long a comparison takes must not tell how much of a guess is right.
        return isinstance(hello, Hello) and hmac.compare_digest(hello.secret.encode(), self.secret.encode())


class ControlClient:
    """The run's side of the channel. Every question raises StackError where the trunk has ended or does not answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, host: str, port: int, secret: str) -> ControlClient:
        """Open the channel, and show the secret of the trunk's card.

        Raises:
            StackError: nothing answers at that address.
        """
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            raise StackError(f"the trunk's control channel at {host}:{port} does not answer: {error}") from error
        writer.write(_QUESTIONS.encode(Hello(secret)))
        return cls(reader, writer)

    async def status(self) -> StackStatus:
        """Ask what is in use now."""
        return await self._ask(AskStatus(), StackStatus, _ANSWERS_WITHIN_S)

    async def begin(self, zero: float) -> Began:
        """Tell plan zero to the trunk, and return its anchors."""
        return await self._ask(Begin(zero), Began, _ANSWERS_WITHIN_S)

    async def finish(self, *, stop: bool) -> Finished:
        """Tell that the run is over. Wait for the last inbound call, or end all of them if `stop` is set."""
        # Without `stop` there is no limit: calls may last as long as the plan says.
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
        # The end of the stream, without an answer.
        if not line:
            raise TrunkDiedError("the trunk died")
        try:
            answer = _ANSWERS.decode(line)
        except ValueError as error:
            raise StackError(f"the trunk's control channel speaks another protocol: {error}") from error
        if not isinstance(answer, kind):
            raise StackError(f"the trunk's control channel answers {type(answer).__name__} to {question}")
        return answer

    async def events(self) -> AsyncIterator[News]:
        """Yield the news of the trunk until it ends. Ask nothing else on this channel."""
        self._writer.write(_QUESTIONS.encode(Watch()))
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                event = _ANSWERS.decode(line)
                if isinstance(event, StackEvent | InboundAttempt):
                    yield event

    async def close(self) -> None:
        """Close the channel."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):  # The other side may have closed it already.
            await self._writer.wait_closed()


def _peer_of(writer: asyncio.StreamWriter) -> str:
    name = writer.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if name else "a peer that is gone"
