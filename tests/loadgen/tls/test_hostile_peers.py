"""Peers that break TLS, or its rules of good behaviour, over real sockets: each costs its own connection alone."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from trunkproof.loadgen.system.loop import loop_factory
from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles, client_context, server_context
from trunkproof.loadgen.tls.connection import (
    MAX_UNSENT_BYTES,
    Closed,
    CloseReason,
    ConnectError,
    ConnectFailure,
    Connection,
)
from trunkproof.loadgen.tls.endpoints import Connector, LocalNetworkError, TlsServer, serve_tls
from trunkproof.loadgen.tls.limiter import ConnectionLimiter, Limit, known_limits

SERVER_NAME = "pstn.trunk.test"
WITHIN_S = 10.0
LOOPS = [None, loop_factory()]
Test = Callable[[TlsServer, Connector, asyncio.Queue[Connection]], Awaitable[None]]


@pytest.fixture(params=LOOPS, ids=["asyncio", "best"])
def serving(
    request: pytest.FixtureRequest, authority: Authority, server_files: CertificateFiles
) -> Callable[[Test], None]:
    """Return a function that runs a test against a TLS server; at its end a good peer must still be served."""

    def run(test: Test, **limits: float) -> None:
        async def scenario() -> None:
            accepted: asyncio.Queue[Connection] = asyncio.Queue()
            limiter = ConnectionLimiter(known=replace(known_limits(), **limits))
            server = await serve_tls("127.0.0.1", 0, server_context(server_files), accepted.put_nowait, limiter=limiter)
            connector = Connector(client_context(authority.ca_file), SERVER_NAME)
            async with asyncio.timeout(WITHIN_S):
                await test(server, connector, accepted)
                good = await connector.connect(*server.address)
                good.close()
                await server.close()
            # Nothing is held for anybody who is gone.
            assert limiter.addresses == 0 or limiter.admit("127.0.0.1", 1e9) is None

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(scenario())

    return run


async def raw(server: TlsServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*server.address)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Everything until the end of the stream, however it ends."""
    read = b""
    try:
        while piece := await reader.read(65_536):
            read += piece
    except ConnectionError:
        pass
    return read


@pytest.mark.parametrize(
    "sent",
    [b"INVITE sip:a@b SIP/2.0\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\x01" * 70_000, b"\x15\x03\x01\x00\x02\x02\x28"],
)
def test_what_is_no_tls_ends_the_handshake_with_its_reason(sent: bytes, serving: Callable[[Test], None]) -> None:
    async def test(server: TlsServer, connector: Connector, accepted: asyncio.Queue[Connection]) -> None:
        reader, writer = await raw(server)
        writer.write(sent)
        await ended(reader)
        writer.close()
        assert server.failures == {ConnectFailure.TLS: 1}
        assert accepted.empty()

    serving(test)


def test_a_peer_that_hangs_up_in_the_handshake_is_noted_and_gone(serving: Callable[[Test], None]) -> None:
    async def test(server: TlsServer, connector: Connector, accepted: asyncio.Queue[Connection]) -> None:
        for linger in (b"", struct.pack("ii", 1, 0)):  # with FIN, then with RST
            _, writer = await raw(server)
            writer.write(b"\x16\x03\x01")
            while not server.connections:
                await asyncio.sleep(0.01)
            if linger:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.close()
            while server.connections:
                await asyncio.sleep(0.01)
        assert server.failures == {ConnectFailure.RESET: 2}

    serving(test)


def test_silent_peers_are_dropped_when_their_time_is_over_and_others_are_served_meanwhile(
    serving: Callable[..., None],
) -> None:
    async def test(server: TlsServer, connector: Connector, accepted: asyncio.Queue[Connection]) -> None:
        silent = [await raw(server) for _ in range(50)]
        good = await connector.connect(*server.address)
        good.close()
        for reader, writer in silent:
            assert await ended(reader) == b""
            writer.close()
        assert server.limiter.counts == {(True, Limit.HANDSHAKE_TIME): 50}
        assert server.failures == {ConnectFailure.TIMEOUT: 50}

    serving(test, handshake_s=0.3)


def test_an_alert_in_mid_connection_ends_it_with_its_reason(
    serving: Callable[[Test], None], authority: Authority
) -> None:
    async def test(server: TlsServer, connector: Connector, accepted: asyncio.Queue[Connection]) -> None:
        connection = await connector.connect(*server.address)
        theirs = await accepted.get()
        # A record that nobody encrypted: an attacker on the way has changed it.
        assert connection._transport is not None
        connection._transport.write(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        assert (await theirs.wait_closed()).reason is CloseReason.TLS
        # The peer is told by an alert.
        assert (await connection.wait_closed()).reason is CloseReason.TLS

    serving(test)


def test_a_peer_that_closes_in_mid_record_is_truncated(serving: Callable[[Test], None]) -> None:
    async def test(server: TlsServer, connector: Connector, accepted: asyncio.Queue[Connection]) -> None:
        connection = await connector.connect(*server.address)
        theirs = await accepted.get()
        assert connection._transport is not None
        connection._transport.write(b"\x17\x03\x03\x01\x00half")
        connection._transport.write_eof()
        assert (await theirs.wait_closed()).reason is CloseReason.TRUNCATED
        connection.abort()

    serving(test)


def test_a_peer_that_never_reads_is_dropped_before_it_fills_our_memory(serving: Callable[[Test], None]) -> None:
    async def test(server: TlsServer, connector: Connector, accepted: asyncio.Queue[Connection]) -> None:
        connection = await connector.connect(*server.address)
        theirs = await accepted.get()
        assert connection._transport is not None
        connection._transport.pause_reading()
        written = 0
        while theirs.closed is None and written < 64 * MAX_UNSENT_BYTES:
            theirs.write(b"x" * 65_536)
            written += 65_536
            await asyncio.sleep(0)
        assert (await theirs.wait_closed()).reason is CloseReason.STALLED
        # What the kernel's buffers take comes on top.
        assert written < 32 * MAX_UNSENT_BYTES
        connection.abort()

    serving(test)


def test_a_peer_that_sends_before_anybody_reads_is_dropped_before_it_fills_our_memory(
    serving: Callable[[Test], None],
) -> None:
    async def test(server: TlsServer, connector: Connector, accepted: asyncio.Queue[Connection]) -> None:
        connection = await connector.connect(*server.address)
        theirs = await accepted.get()
        for _ in range(2 * MAX_UNSENT_BYTES // 16_384):
            connection.write(b"x" * 16_384)
            await asyncio.sleep(0)
        assert (await theirs.wait_closed()).reason is CloseReason.FLOODED
        connection.abort()

    serving(test)


def test_a_closed_connection_refers_to_nobody_who_refers_to_it(serving: Callable[[Test], None]) -> None:
    async def test(server: TlsServer, connector: Connector, accepted: asyncio.Queue[Connection]) -> None:
        connection = await connector.connect(*server.address)
        theirs = await accepted.get()
        theirs.deliver_to(theirs.write)
        connection.close()
        await theirs.wait_closed()
        # Its memory, with OpenSSL's, is free without the garbage collector, which looks seldom.
        assert (theirs._deliver, theirs._transport, theirs._close_callbacks) == (None, None, [])

    serving(test)


@pytest.mark.parametrize("factory", LOOPS, ids=["asyncio", "best"])
def test_a_connection_that_is_given_up_at_any_instant_leaves_no_error_behind(
    factory: Any, authority: Authority
) -> None:
    failed: list[dict[str, Any]] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        connector = Connector(client_context(authority.ca_file), SERVER_NAME)

        async def give_up(timeout_s: float) -> None:
            with pytest.raises((ConnectError, LocalNetworkError)):
                await connector.connect("127.0.0.1", silent.getsockname()[1], timeout_s=timeout_s)

        with socket.create_server(("127.0.0.1", 0), backlog=1024) as silent:
            await asyncio.gather(*(give_up(n * 0.0002) for n in range(300)))
        await asyncio.sleep(0.1)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scenario())
    assert failed == []


def test_without_descriptors_accepting_pauses_and_goes_on(
    serving: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(server: TlsServer, connector: Connector, accepted: asyncio.Queue[Connection]) -> None:
        listener, failed = server._listener, list[int]()
        assert listener is not None

        class Exhausted:
            """The listener of a process that has no descriptor left."""

            def __getattr__(self, name: str) -> object:
                return getattr(listener, name)

            def accept(self) -> tuple[socket.socket, tuple[str, int]]:
                failed.append(1)
                raise OSError(24, "Too many open files")

        server._accept_some(Exhausted())  # type: ignore[arg-type]
        server._loop.remove_reader(listener)
        assert server.limiter.counts == {(True, Limit.DESCRIPTORS): 1}
        assert len(failed) == 1
        server._loop.add_reader(listener, server._accept_some, listener)

    serving(test)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_renegotiation_that_a_peer_asks_for_is_refused(authority: Authority, server_files: CertificateFiles) -> None:
    async def scenario() -> tuple[bytes, Closed]:
        accepted: asyncio.Queue[Connection] = asyncio.Queue()
        context = server_context(server_files, maximum_version="1.2")
        server = await serve_tls("127.0.0.1", 0, context, accepted.put_nowait)
        process = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{server.address[1]}"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdin is not None
        async with asyncio.timeout(WITHIN_S):
            connection = await accepted.get()
            process.stdin.write(b"R\n")
            said, _ = await process.communicate()
            end = await connection.wait_closed()
            await server.close()
        return said, end

    said, end = asyncio.run(scenario())
    assert b"RENEGOTIATING" in said
    # RFC 5746 section 4.4: an alert no_renegotiation, which this client takes for fatal.
    assert b"no renegotiation" in said
    assert end.reason in {CloseReason.TLS, CloseReason.TRUNCATED, CloseReason.PEER}


def test_neither_side_compresses_or_renegotiates(server_files: CertificateFiles) -> None:
    context = server_context(server_files)
    assert context.options & ssl.OP_NO_COMPRESSION
