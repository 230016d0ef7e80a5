"""Close a connection whose peer takes too long: a message that does not become complete, or silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from trunkproof.loadgen.tls.connection import Connection
from trunkproof.loadgen.tls.limiter import Limit, PeerLimits


class MessageDeadline:
    """The time limits of one connection. `reached` is called before the connection is reset."""

    __slots__ = ("_connection", "_limit", "_limits", "_loop", "_reached", "_timer")

    def __init__(self, connection: Connection, limits: PeerLimits, reached: Callable[[Limit], object]) -> None:
        self._connection, self._limits, self._reached = connection, limits, reached
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._limit: Limit | None = None
        self.received(in_message=False, completed=True)

    def received(self, *, in_message: bool, completed: bool) -> None:
        """Note that bytes came: whether they end inside a message, and whether they completed one."""
        if not in_message:
            self._set(Limit.IDLE_TIME, self._limits.idle_s)
        # A message that goes on keeps its deadline. Otherwise a byte now and then would hold the connection for ever.
        elif completed or self._limit is not Limit.MESSAGE_TIME:
            self._set(Limit.MESSAGE_TIME, self._limits.message_s)

    def _set(self, limit: Limit, after_s: float | None) -> None:
        self.cancel()
        if after_s is not None:
            self._limit, self._timer = limit, self._loop.call_later(after_s, self._late)

    def cancel(self) -> None:
        """Set no deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._limit = None

    def _late(self) -> None:
        assert self._limit is not None  # set together with the timer
        self._reached(self._limit)
        self._connection.abort(self._limit)
