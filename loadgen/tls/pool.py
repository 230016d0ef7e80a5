"""The customer's TLS connections as its study wants them: one for all calls, a pool of some, or one for each call.

The pool opens connections on demand, replaces those that have died, and keeps a session for calls that shall resume.
It does not retry: a failed handshake fails all calls that waited for it. It does not know what is sent on a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from trunkproof.loadgen.guard import Target
from trunkproof.loadgen.tls.connection import CONNECT_TIMEOUT_S, ConnectError, Connection
from trunkproof.loadgen.tls.endpoints import Connector, LocalNetworkError
from trunkproof.models.records import ConnectionKind
from trunkproof.models.traffic import TlsPolicy

OnOpen = Callable[[Connection], None]
Locate = Callable[[], Awaitable[Sequence[Target]]]
"""Return the approved targets of a name, in the order in which to try them, or raise ConnectError."""


@dataclass(frozen=True)
class Lease:
    """A connection for one call.

    A call for which a handshake was made has the kind of that handshake. Calls that only waited for it too are REUSED,
    so that the kinds count handshakes. `connect_s` is how long this call waited, in either case.
    """

    connection: Connection
    kind: ConnectionKind
    connect_s: float


class ConnectionPool:
    """Connections from one Connector to one approved target, or to one name that is looked up for each connection.

    `on_open` is called once for each new connection, before any call gets it. With `resumes` calls may ask for a
    resumption, so sessions are kept. Calls may come and go in any order. Close the pool when the run ends.
    """

    def __init__(
        self,
        connector: Connector,
        target: Target | Locate,
        policy: TlsPolicy,
        size: int = 1,
        *,
        resumes: bool = True,
        on_open: OnOpen | None = None,
        timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        self._connector = connector
        self._target = target
        self._policy = policy
        # The other policies do not spread calls, so any key has the slot 0.
        self._size = size if policy is TlsPolicy.POOL else 1
        self._resumes = resumes
        self._on_open = on_open
        self._timeout_s = timeout_s
        self._standing: dict[int, Lease] = {}
        self._opening: dict[int, asyncio.Task[Connection]] = {}
        self._open: set[Connection] = set()
        self._newest: Connection | None = None
        self._session: ssl.SSLSession | None = None
        self._closed = False

    async def acquire(self, key: int, resume: bool = False) -> Lease:
        """Return a connection for the call with number `key`, by which calls are spread over the pool.

        `resume` matters only where a connection has to be opened.

        Raises:
            ConnectError: the peer did not let us connect.
            LocalNetworkError: this machine could not connect, or the pool is closed.
        """
        standing = self.standing(key)
        if standing is not None:
            return standing
        slot = key % self._size
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        if self._policy is TlsPolicy.PER_CALL:
            connection = await self._open_one(resume)
            return Lease(connection, connection.kind, loop.time() - started_s)
        connection, first = await self._open_shared(slot, resume)
        kind = connection.kind if first else ConnectionKind.REUSED
        return Lease(connection, kind, loop.time() - started_s)

    def standing(self, key: int) -> Lease | None:
        """Return what `acquire` would return at once, or None where a connection has to be opened first."""
        standing = self._standing.get(key % self._size)
        # A dead connection is replaced when the next call needs it.
        return standing if standing is not None and standing.connection.closed is None else None

    def release(self, lease: Lease) -> None:
        """Give a connection back when its call is over. It is closed where each call has its own."""
        if self._policy is TlsPolicy.PER_CALL:
            lease.connection.close()

    @property
    def connections(self) -> frozenset[Connection]:
        """Return the connections that are open now."""
        return frozenset(self._open)

    async def close(self) -> None:
        """Close every connection properly, and wait until all are gone, including those that are being opened.

        Calls that wait for a connection, or ask for one later, get LocalNetworkError.
        """
        self._closed = True
        standing = self.connections
        for connection in standing:
            connection.close()
        await asyncio.gather(*(connection.wait_closed() for connection in standing))
        await asyncio.gather(*self._opening.values(), return_exceptions=True)

    async def _open_shared(self, slot: int, resume: bool) -> tuple[Connection, bool]:
        """Return the slot's next connection, and whether it is opened for this caller."""
        task = self._opening.get(slot)
        first = task is None
        if task is None:
            task = asyncio.create_task(self._open_one(resume), name=f"open connection {slot}")
            self._opening[slot] = task
            task.add_done_callback(lambda done: self._opened_shared(slot, done))
        # A call that gives up must not cancel the handshake, because other calls wait for it too.
        return await asyncio.shield(task), first

    def _opened_shared(self, slot: int, task: asyncio.Task[Connection]) -> None:
        del self._opening[slot]
        # `exception()` also marks the exception as seen: asyncio would complain if every waiting call had given up.
        if not task.cancelled() and task.exception() is None:
            self._standing[slot] = Lease(task.result(), ConnectionKind.REUSED, 0.0)

    async def _open_one(self, resume: bool) -> Connection:
        self._refuse_when_closed()
        session = self._latest_session() if resume else None
        connection = await self._connect(session)
        # The pool was closed during the handshake, and nobody else knows of this connection.
        if self._closed:
            connection.abort("the pool was closed")
        self._refuse_when_closed()
        self._open.add(connection)
        connection.when_closed(lambda _: self._open.discard(connection))
        if self._resumes:  # else not: to copy a session out of OpenSSL takes a third of a millisecond
            self._latest_session()  # keep the session of the connection before, which is forgotten below
        self._newest = connection
        # Before any call gets the connection: its first bytes must find a reader.
        if self._on_open is not None:
            self._on_open(connection)
        return connection

    async def _connect(self, session: ssl.SSLSession | None) -> Connection:
        """Connect to the first address of the target that lets us (RFC 3263 section 4.2)."""
        *others, last = [self._target] if isinstance(self._target, Target) else await self._target()
        for target in others:
            with contextlib.suppress(ConnectError):
                return await self._connector.connect(
                    target.address, target.port, session=session, timeout_s=self._timeout_s
                )
        return await self._connector.connect(last.address, last.port, session=session, timeout_s=self._timeout_s)

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise LocalNetworkError("the pool of connections is closed: the run is over")

    def _latest_session(self) -> ssl.SSLSession | None:
        """Return the newest session that can be resumed. Ask late: TLS 1.3 sends tickets after the handshake."""
        if self._newest is not None:
            # A connection whose ticket has not come yet leaves the older session in place.
            self._session = self._newest.session or self._session
        return self._session
