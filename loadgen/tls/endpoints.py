"""Open TLS connections (`Connector`) and accept them (`serve_tls`), from any local address, with times and resumption.

All signalling passes through here. It is the only I/O of calls besides the UDP sockets of the audio. This module knows
no SIP and looks up no names: `guard` has decided what may be called, and has resolved its name.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from trunkproof.loadgen.tls.connection import (
    CONNECT_TIMEOUT_S,
    Closed,
    CloseReason,
    ConnectError,
    ConnectFailure,
    Connection,
)
from trunkproof.loadgen.tls.engine import TlsEngine
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

BACKLOG = 4096
"""Connections that the kernel holds for us when many reconnect at once. Linux allows net.core.somaxconn, also 4096."""
_LOCAL_ERRNO = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EACCES, errno.ENOBUFS}


class LocalNetworkError(TrunkproofError):
    """This machine has no more descriptors or ports, or lacks the source address. The peer is not to blame."""


class Connector:
    """Open TLS connections from one customer's address to one server name.

    The peer's certificate must be for `server_hostname`. The peer's whitelist sees us as `source_address`, such as
    127.0.0.2. A session can be resumed only with the context that it was made with.
    """

    def __init__(self, context: ssl.SSLContext, server_hostname: str | None, source_address: str | None = None) -> None:
        self._context = context
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
            engine = TlsEngine(self._context, server_side=False, server_hostname=self._server_hostname, session=session)
        except BaseException:  # cancellation too: nobody else would close the socket
            sock.close()
            raise
        return await self._handshake(sock, engine, loop.time() - started_s, timeout_s)

    async def _handshake(self, sock: socket.socket, engine: TlsEngine, tcp_s: float, timeout_s: float) -> Connection:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[ConnectError | None] = loop.create_future()

        def done(_: Connection, error: ConnectError | None) -> None:
            # The wait may have been cancelled by the time limit.
            if not outcome.done():
                outcome.set_result(error)

        connection = Connection(engine, done, timeout_s=timeout_s, tcp_s=tcp_s)
        await loop.create_connection(lambda: connection, sock=sock)
        try:
            error = await outcome
        except asyncio.CancelledError:  # the time limit, or our caller
            connection.abort("gave up")
            raise
        if error is not None:
            raise error
        return connection


class TlsServer:
    """A TLS listener and all connections that it has accepted. `serve_tls` makes it."""

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        on_connection: Callable[[Connection], None],
        handshake_timeout_s: float,
    ) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._on_connection = on_connection
        self._handshake_timeout_s = handshake_timeout_s
        self._listener: asyncio.Server | None = None
        self._connections: set[Connection] = set()
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
            return
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(self._accept, self._host, self._port, backlog=BACKLOG)
        except OSError as error:
            raise LocalNetworkError(f"cannot listen on {self._host}:{self._port}: {error}") from error
        # Kept, so that a listener on "any port" comes back on the same one after a pause.
        self._port = self._listener.sockets[0].getsockname()[1]

    def pause(self) -> None:
        """Stop listening. New callers are refused, and connections stay."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

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

    def _accept(self) -> Connection:
        engine = TlsEngine(self._context, server_side=True)
        connection = Connection(engine, self._handshaken, timeout_s=self._handshake_timeout_s)
        # Before the handshake: an edge that restarts resets half-open connections too.
        self._connections.add(connection)
        connection.when_closed(lambda _: self._connections.discard(connection))
        if self._listener is None:  # the event loop took it from the kernel before the listener was closed
            connection.abort("not listening")
        return connection

    def _handshaken(self, connection: Connection, error: ConnectError | None) -> None:
        if error is not None:
            self.failures[error.failure] += 1
            return
        self.handshakes[connection.kind] += 1
        self._on_connection(connection)


async def serve_tls(
    host: str,
    port: int,
    context: ssl.SSLContext,
    on_connection: Callable[[Connection], None],
    *,
    handshake_timeout_s: float = CONNECT_TIMEOUT_S,
) -> TlsServer:
    """Listen for TLS. `on_connection` gets each connection after its handshake, and should call `deliver_to`.

    Port 0 takes a free one: `TlsServer.address` says which.

    Raises:
        LocalNetworkError: the port cannot be had.
    """
    server = TlsServer(host, port, context, on_connection, handshake_timeout_s)
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
