"""Open connections (`Connector`) and accept them (`serve_tls`), from any local address, with times and resumption.

They are TLS connections, or TCP ones where there is no context.

A listener asks its `ConnectionLimiter` about an address before it makes anything for a connection. A refused connection
costs one `accept` and one `close`. That is why it accepts by itself: asyncio's own server makes a transport, a protocol
and a task for each connection before anybody can look at the address.

All signalling passes through here. It is the only I/O of calls besides the UDP sockets of the audio. This module knows
no SIP and looks up no names: `guard` has decided what may be called, and has resolved its name.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from trunkproof.loadgen.tls.connection import (
    CONNECT_TIMEOUT_S,
    RST_ON_CLOSE,
    Closed,
    CloseReason,
    ConnectError,
    ConnectFailure,
    Connection,
    StreamTap,
)
from trunkproof.loadgen.tls.engine import TlsEngine
from trunkproof.loadgen.tls.limiter import ConnectionLimiter, Limit
from trunkproof.loadgen.tls.plain import PlainEngine
from trunkproof.models.errors import TrunkproofError
from trunkproof.models.records import ConnectionKind

__all__ = [
    "CloseReason",
    "Closed",
    "ConnectError",
    "ConnectFailure",
    "Connection",
    "Connector",
    "LocalNetworkError",
    "TlsServer",
    "serve_tls",
]

logger = logging.getLogger(__name__)

BACKLOG = 4096
"""Connections that the kernel holds for us when many reconnect at once. Linux allows net.core.somaxconn, also 4096."""
_ACCEPTED_AT_ONCE = 32
"""Connections accepted in one turn of the event loop. A flood of them must not hold up the calls of others."""
_PAUSE_S = 0.1
"""Without a free descriptor a connection cannot even be refused. So long we let the kernel queue them."""
_LOCAL_ERRNO = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EACCES, errno.ENOBUFS}


class LocalNetworkError(TrunkproofError):
    """This machine has no more descriptors or ports, or lacks the source address. The peer is not to blame."""


class Connector:
    """Open connections from one customer's address to one server name. Without a context they are plain TCP.

    The peer's certificate must be for `server_hostname`. The peer's whitelist sees us as `source_address`, such as
    127.0.0.2. A session can be resumed only with the context that it was made with.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None,
        server_hostname: str | None,
        source_address: str | None = None,
        *,
        make_tap: Callable[[], StreamTap] | None = None,
    ) -> None:
        self._context = context
        self._make_tap = make_tap
        self._server_hostname = server_hostname
        self._source_address = source_address

    async def connect(
        self,
        address: str,
        port: int,
        *,
        session: ssl.SSLSession | None = None,
        timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> Connection:
        """Open a connection to a numeric address. With `session` try to resume it: `Connection.kind` says the result.

        A TLS 1.3 server that refuses our certificate says so only after this has returned. The connection then ends
        with CloseReason.TLS.

        Raises:
            ConnectError: the peer did not let us connect.
            LocalNetworkError: this machine could not connect.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._connect(address, port, session, timeout_s)
        except TimeoutError as error:
            raise ConnectError(ConnectFailure.TIMEOUT, f"no connection within {timeout_s:g} s") from error
        except OSError as error:
            raise _connect_error(error) from error

    async def _connect(self, address: str, port: int, session: ssl.SSLSession | None, timeout_s: float) -> Connection:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        sock = _bound_socket(address, self._source_address)
        try:
            # TCP alone, so that its time can be told from that of TLS.
            await loop.sock_connect(sock, (address, port))
            engine = self._engine(session)
        except BaseException:  # cancellation too: nobody else would close the socket
            sock.close()
            raise
        return await self._handshake(sock, engine, loop.time() - started_s, timeout_s)

    def _engine(self, session: ssl.SSLSession | None) -> TlsEngine | PlainEngine:
        if self._context is None:
            return PlainEngine()
        return TlsEngine(self._context, server_side=False, server_hostname=self._server_hostname, session=session)

    async def _handshake(
        self, sock: socket.socket, engine: TlsEngine | PlainEngine, tcp_s: float, timeout_s: float
    ) -> Connection:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[ConnectError | None] = loop.create_future()

        def done(_: Connection, error: ConnectError | None) -> None:
            # The wait may have been cancelled by the time limit.
            if not outcome.done():
                outcome.set_result(error)

        connection = Connection(engine, done, timeout_s=timeout_s, tcp_s=tcp_s)
        if self._make_tap is not None:
            connection.tap = self._make_tap()
        try:
            # Inside too: uvloop ends a socket that is given up here without a word to the connection.
            await loop.create_connection(lambda: connection, sock=sock)
            error = await outcome
        except asyncio.CancelledError:  # the time limit, or our caller
            connection.abort("gave up")
            raise
        if error is not None:
            raise error
        return connection


class TlsServer:
    """A listener and all connections that it has accepted. `serve_tls` makes it."""

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext | None,
        on_connection: Callable[[Connection], None],
        limiter: ConnectionLimiter,
        *,
        make_tap: Callable[[], StreamTap] | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._on_connection = on_connection
        self._make_tap = make_tap
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._held = False
        self._connections: set[Connection] = set()
        self._attaching: set[asyncio.Task[object]] = set()
        self.limiter = limiter
        """Decides who may connect, and counts what was refused."""
        self.handshakes: Counter[ConnectionKind] = Counter()
        """Finished handshakes, by kind."""
        self.failures: Counter[ConnectFailure] = Counter()
        """Failed handshakes, by reason."""

    @property
    def address(self) -> tuple[str, int]:
        """Return the address and port where it listens, or listened before it was paused."""
        return self._host, self._port

    @property
    def connections(self) -> frozenset[Connection]:
        """Return the connections that are there now, including those in their handshake."""
        return frozenset(self._connections)

    async def resume(self) -> None:
        """Listen. After a pause, listen on the same port again.

        Raises:
            LocalNetworkError: the port cannot be had.
        """
        if self._listener is not None:
            if self._held:
                self._loop.add_reader(self._listener, self._accept_some, self._listener)
                self._held = False
            return
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listener = socket.create_server((self._host, self._port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise LocalNetworkError(f"cannot listen on {self._host}:{self._port}: {error}") from error
        listener.setblocking(False)
        self._listener = listener
        # Kept, so that a listener on "any port" comes back on the same one after a pause.
        self._port = listener.getsockname()[1]
        self._loop.add_reader(listener, self._accept_some, listener)

    def pause(self) -> None:
        """Stop listening. New callers are refused, and connections stay."""
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener, self._held = None, False

    def hold(self) -> None:
        """Act like an edge that went away without a word: reset every connection, and leave new ones to the kernel.

        `resume` takes those that still wait.
        """
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._held = True
        for connection in self.connections:
            connection.abort("edge down")

    def drop_all(self) -> None:
        """Act like an edge that restarts: stop listening, and reset every connection."""
        self.pause()
        for connection in self.connections:
            connection.abort("edge restart")

    async def close(self) -> None:
        """Stop listening, close every connection properly, and wait until all are gone."""
        self.pause()
        standing = self.connections
        for connection in standing:
            connection.close()
        await asyncio.gather(*(connection.wait_closed() for connection in standing))

    def _accept_some(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, name = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:  # the peer was gone before we came to it
                continue
            except OSError as error:
                self._pause_accepting(listener, error)
                return
            address = name[0]
            if self.limiter.admit(address, self._loop.time()) is None:
                self._attach(accepted, address)
            else:
                # With RST: a proper close would leave the connection of a flood in the kernel for a minute.
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
                accepted.close()

    def _pause_accepting(self, listener: socket.socket, error: OSError) -> None:
        # Without the pause the event loop would do nothing else: the connection stays in the kernel's queue.
        logger.warning("cannot accept connections for %g s: %s", _PAUSE_S, error)
        self.limiter.reached(Limit.DESCRIPTORS, self._host)
        self._loop.remove_reader(listener)

        def go_on() -> None:
            if self._listener is listener and not self._held:
                self._loop.add_reader(listener, self._accept_some, listener)

        self._loop.call_later(_PAUSE_S, go_on)

    def _attach(self, accepted: socket.socket, address: str) -> None:
        """Give an accepted socket a `Connection`."""
        accepted.setblocking(False)
        engine = PlainEngine() if self._context is None else TlsEngine(self._context, server_side=True)
        timeout_s = self.limiter.limits_of(address).handshake_s

        def handshaken(connection: Connection, error: ConnectError | None) -> None:
            self.limiter.handshaken(address)
            self._handshaken(connection, error, address)

        connection = Connection(engine, handshaken, timeout_s=timeout_s)
        if self._make_tap is not None:
            connection.tap = self._make_tap()

        def closed(_: Closed) -> None:
            self._connections.discard(connection)
            self.limiter.left(address, self._loop.time())

        # Before the handshake: an edge that restarts resets half-open connections too.
        self._connections.add(connection)
        connection.when_closed(closed)
        attaching: asyncio.Task[object] = self._loop.create_task(
            self._loop.connect_accepted_socket(lambda: connection, accepted)
        )
        self._attaching.add(attaching)

        def attached(task: asyncio.Task[object]) -> None:
            self._attaching.discard(task)
            # The socket broke before there was a transport, and nobody else ends the connection.
            if task.cancelled() or task.exception() is not None:
                accepted.close()
                connection.connection_lost(None)

        attaching.add_done_callback(attached)

    def _handshaken(self, connection: Connection, error: ConnectError | None, address: str) -> None:
        if error is not None:
            self.failures[error.failure] += 1
            if error.failure is ConnectFailure.TIMEOUT:
                self.limiter.reached(Limit.HANDSHAKE_TIME, address)
            return
        self.handshakes[connection.kind] += 1
        self._on_connection(connection)


async def serve_tls(
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    on_connection: Callable[[Connection], None],
    *,
    limiter: ConnectionLimiter | None = None,
    make_tap: Callable[[], StreamTap] | None = None,
) -> TlsServer:
    """Listen for TLS, or for plain TCP without a context.

    `on_connection` gets each connection after its handshake, and should call `deliver_to`.
    `make_tap` makes what is told the bytes of a connection.
    Port 0 takes a free one: `TlsServer.address` says which. Without a limiter all addresses are known ones.

    Raises:
        LocalNetworkError: the port cannot be had.
    """
    server = TlsServer(host, port, context, on_connection, limiter or ConnectionLimiter(), make_tap=make_tap)
    await server.resume()
    return server


def _bound_socket(address: str, source_address: str | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    if source_address is not None:
        try:
            # Without this option bind() reserves the port for all destinations: many connections use up all ports.
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source_address, 0))
        except OSError:
            sock.close()
            raise
    return sock


def _connect_error(error: OSError) -> ConnectError | LocalNetworkError:
    # A generator that runs out of ports must not look like a trunk that refuses.
    if error.errno in _LOCAL_ERRNO:
        return LocalNetworkError(f"no connection can be opened from this machine: {error}")
    failure = ConnectFailure.RESET if isinstance(error, ConnectionResetError) else ConnectFailure.REFUSED
    return ConnectError(failure, str(error))
