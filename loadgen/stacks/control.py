"""A trunk's control channel: one JSON object per line, question and answer, on the trunk's own host.

It lets the run that drives a trunk read its state (the phase of its throttle's window, what is in use) and tell it when
plan zero is, and hear what becomes of its programs. It carries no calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from trunkproof.models.errors import StackError

Answer = dict[str, Any]
Handler = Callable[[Answer], Awaitable[Answer]]


class ControlServer:
    """The answering side, which can also tell news to everybody who watches."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._watchers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, host: str) -> int:
        """Answer on a free port of `host`, which is returned."""
        self._server = await asyncio.start_server(self._talk, host, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def tell(self, news: Answer) -> None:
        """Tell everybody who watches."""
        for writer in self._watchers:
            writer.write(_line(news))

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                question = json.loads(line)
                if question == {"do": "watch"}:
                    self._watchers.add(writer)
                    continue
                writer.write(_line(await self._handler(question)))
                await writer.drain()
        except (ConnectionError, ValueError):
            return  # The other side went, or does not speak the protocol: nobody is left to be told.
        finally:
            self._watchers.discard(writer)
            writer.close()


class ControlClient:
    """The asking side."""

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

    async def ask(self, do: str, **values: Any) -> Answer:
        """Ask and wait for the answer.

        Raises:
            StackError: the trunk is gone.
        """
        try:
            self._writer.write(_line({"do": do, **values}))
            await self._writer.drain()
            line = await self._reader.readline()
        except OSError as error:
            raise StackError(f"the trunk died ({error})") from error
        if not line:
            raise StackError("the trunk died")
        answer: Answer = json.loads(line)
        return answer

    async def news(self) -> AsyncIterator[Answer]:
        """What the trunk tells, until it is gone; for a channel on which nothing is asked."""
        self._writer.write(_line({"do": "watch"}))
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                yield json.loads(line)

    async def close(self) -> None:
        """Close the channel."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):  # It may be closed by the other side already.
            await self._writer.wait_closed()


def _line(value: Answer) -> bytes:
    return json.dumps(value).encode() + b"\n"
