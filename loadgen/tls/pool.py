"""The customer's TLS connections as its study wants them: one for all calls, a pool of some, or one for each call.

It opens on demand, replaces what has died, and remembers a session for those that are to resume. It neither retries
(a failed handshake fails the calls that waited for it) nor knows what is said over a connection.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from trunkproof.loadgen.guard import Target
from trunkproof.loadgen.tls.connection import CONNECT_TIMEOUT_S, Connection
from trunkproof.loadgen.tls.endpoints import Connector, LocalNetworkError
from trunkproof.models.records import ConnectionKind
from trunkproof.models.traffic import TlsPolicy

OnOpen = Callable[[Connection], None]


@dataclass(frozen=True)
class Lease:
    """A connection for one call.

    The one call that a handshake was made for has its kind; calls that joined its wait are REUSED, so that kinds
    count handshakes. `connect_s` is what this call waited, joined or not.
    """

    connection: Connection
    kind: ConnectionKind
    connect_s: float


class ConnectionPool:
    """Connections from one Connector to one approved target. `on_open` sees each new connection once, before any lease.

    `resumes`: whether any call may ask for a resumption, so that sessions are to be kept. Close it when the run ends;
    until then calls may come and go in any order.
    """

    def __init__(
        self,
        connector: Connector,
        target: Target,
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
        """A connection for the call `key`; a pool spreads calls over its connections by it.

        `resume` counts where a connection has to be opened. Raises ConnectError and LocalNetworkError.
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
        """What `acquire` would give at once; `None` where a connection has to be opened first."""
        standing = self._standing.get(key % self._size)
        return standing if standing is not None and standing.connection.closed is None else None

    def release(self, lease: Lease) -> None:
        """The call is over: closes its connection where each call has its own."""
        if self._policy is TlsPolicy.PER_CALL:
            lease.connection.close()

    @property
    def connections(self) -> frozenset[Connection]:
        """The connections that stand now."""
        return frozenset(self._open)

    async def close(self) -> None:
        """Close every connection in good order and wait until all are gone, those still being opened included.

        Calls that wait for a connection, or ask for one later, get LocalNetworkError.
        """
        self._closed = True
        standing = self.connections
        for connection in standing:
            connection.close()
        await asyncio.gather(*(connection.wait_closed() for connection in standing))
        await asyncio.gather(*self._opening.values(), return_exceptions=True)

    async def _open_shared(self, slot: int, resume: bool) -> tuple[Connection, bool]:
        """The slot's next connection, and whether this caller is the one it is opened for."""
        task = self._opening.get(slot)
        first = task is None
        if task is None:
            task = asyncio.create_task(self._open_one(resume), name=f"open connection {slot}")
            self._opening[slot] = task
            task.add_done_callback(lambda done: self._opened_shared(slot, done))
        # A call that gives up must not take the handshake away from those that wait with it.
        return await asyncio.shield(task), first

    def _opened_shared(self, slot: int, task: asyncio.Task[Connection]) -> None:
        del self._opening[slot]
        # Asking for the exception also marks it as seen, should every waiting call have given up.
        if not task.cancelled() and task.exception() is None:
            self._standing[slot] = Lease(task.result(), ConnectionKind.REUSED, 0.0)

    async def _open_one(self, resume: bool) -> Connection:
        self._refuse_when_closed()
        session = self._latest_session() if resume else None
        connection = await self._connector.connect(
            self._target.address, self._target.port, session=session, timeout_s=self._timeout_s
        )
        if self._closed:
            connection.abort("the pool was closed")
        self._refuse_when_closed()
        self._open.add(connection)
        connection.when_closed(lambda _: self._open.discard(connection))
        if self._resumes:  # copying a session out of OpenSSL takes a third of a millisecond
            self._latest_session()  # keeps what the connection before this one was given
        self._newest = connection
        if self._on_open is not None:
            self._on_open(connection)
        return connection

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise LocalNetworkError("the pool of connections is closed: the run is over")

    def _latest_session(self) -> ssl.SSLSession | None:
        """The newest session that can be resumed. Asked late, because TLS 1.3 sends tickets after the handshake."""
        if self._newest is not None:
            self._session = self._newest.session or self._session
        return self._session
