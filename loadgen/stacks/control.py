"""A trunk's control channel: one JSON object per line, question and answer, on the trunk's own host.

It lets the run that drives a trunk read its state (the phase of its throttle's window, what is in use) and tell it when
plan zero is. It carries no calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from models.errors import StackError

Answer = dict[str, Any]
Handler = Callable[[Answer], Awaitable[Answer]]


async def serve_control(host: str, handler: Handler) -> asyncio.Server:
    """Answer questions on a free port of `host`, each with what `handler` returns for it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await handler(json.loads(line))).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            return  # The other side went, or does not speak the protocol: nobody is left to be told.
        finally:
            writer.close()

    return await asyncio.start_server(talk, host, 0)


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
            self._writer.write(json.dumps({"do": do, **values}).encode() + b"\n")
            await self._writer.drain()
            line = await self._reader.readline()
        except OSError as error:
            raise StackError(f"the trunk died ({error})") from error
        if not line:
            raise StackError("the trunk died")
        answer: Answer = json.loads(line)
        return answer

    async def closed_by_peer(self) -> None:
        """Return when the other side is gone; for a channel on which nothing is asked."""
        with contextlib.suppress(ConnectionError):
            await self._reader.read(1)

    async def close(self) -> None:
        """Close the channel."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):  # It may be closed by the other side already.
            await self._writer.wait_closed()
