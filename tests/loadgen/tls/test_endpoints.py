import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles, TlsVersion, client_context, server_context
from trunkproof.loadgen.tls.connection import CloseReason, ConnectError, ConnectFailure, Connection
from trunkproof.loadgen.tls.endpoints import Connector, LocalNetworkError, TlsServer, serve_tls
from trunkproof.loadgen.tls.limiter import ConnectionLimiter, known_limits
from trunkproof.models.records import ConnectionKind

SERVER_NAME = "pstn.trunk.test"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


def echo(connection: Connection) -> None:
    connection.deliver_to(connection.write)


async def ask(connection: Connection, question: bytes) -> bytes:
    """Write, and the first bytes that come back."""
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    connection.deliver_to(answer.set_result)
    connection.write(question)
    async with asyncio.timeout(5):
        return await answer


async def failure_of(connector: Connector, port: int, timeout_s: float = 5.0) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        await connector.connect("127.0.0.1", port, timeout_s=timeout_s)
    return caught.value


async def failure_against(talk: Talk, connector: Connector, timeout_s: float = 5.0) -> ConnectError:
    """How connecting fails to a server that speaks raw TCP."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        return await failure_of(connector, server.sockets[0].getsockname()[1], timeout_s)


@pytest.fixture
def connector(authority: Authority) -> Connector:
    return Connector(client_context(authority.ca_file), SERVER_NAME)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_full_handshake_then_a_resumed_one(
    authority: Authority, server_files: CertificateFiles, version: TlsVersion
) -> None:
    connector = Connector(client_context(authority.ca_file, versions=[version]), SERVER_NAME)

    async def scenario() -> None:
        server = await serve_tls("127.0.0.1", 0, server_context(server_files), echo)
        first = await connector.connect(*server.address)
        assert await ask(first, b"ping") == b"ping"
        second = await connector.connect(*server.address, session=first.session)
        assert await ask(second, b"pong") == b"pong"
        assert (first.kind, second.kind) == (ConnectionKind.FULL, ConnectionKind.RESUMED)
        assert first.version == second.version == f"TLSv{version}"
        assert first.cipher
        assert min(first.tcp_s, first.tls_s, second.tcp_s, second.tls_s) > 0
        assert server.handshakes == {ConnectionKind.FULL: 1, ConnectionKind.RESUMED: 1}
        first.close()
        second.close()
        await server.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_session_resumes_where_client_certificates_are_asked_for(
    authority: Authority, server_files: CertificateFiles, version: TlsVersion
) -> None:
    customer = authority.issue("customer.test")
    context = client_context(authority.ca_file, client_certificate=customer, versions=[version])
    asking = server_context(server_files, ca_file=authority.ca_file, require_client_certificate=True)

    async def scenario() -> None:
        server = await serve_tls("127.0.0.1", 0, asking, echo)
        connector = Connector(context, SERVER_NAME)
        first = await connector.connect(*server.address)
        await ask(first, b"ping")
        second = await connector.connect(*server.address, session=first.session)
        assert second.kind is ConnectionKind.RESUMED
        assert await ask(second, b"pong") == b"pong"
        first.close()
        second.close()
        await server.close()

    asyncio.run(scenario())


def test_a_server_that_forgot_its_ticket_keys_gets_a_full_handshake(
    connector: Connector, server_files: CertificateFiles
) -> None:
    async def scenario() -> None:
        before = await serve_tls("127.0.0.1", 0, server_context(server_files), echo)
        first = await connector.connect(*before.address)
        await ask(first, b"ping")
        await before.close()
        after = await serve_tls("127.0.0.1", 0, server_context(server_files), echo)
        second = await connector.connect(*after.address, session=first.session)
        assert second.kind is ConnectionKind.FULL
        second.close()
        await after.close()

    asyncio.run(scenario())


def test_the_source_address_is_who_we_are(authority: Authority, server_files: CertificateFiles) -> None:
    connector = Connector(client_context(authority.ca_file), SERVER_NAME, source_address="127.0.0.2")

    async def scenario() -> bytes:
        server = await serve_tls("127.0.0.1", 0, server_context(server_files), lambda c: c.write(c.peer[0].encode()))
        connection = await connector.connect(*server.address)
        assert connection.local[0] == "127.0.0.2"
        assert connection.peer == server.address
        seen = await ask(connection, b"who am I?")
        connection.close()
        await server.close()
        return seen

    assert asyncio.run(scenario()) == b"127.0.0.2"


def test_a_source_address_of_another_machine_is_our_error(authority: Authority) -> None:
    connector = Connector(client_context(authority.ca_file), SERVER_NAME, source_address="203.0.113.7")
    with pytest.raises(LocalNetworkError):
        asyncio.run(connector.connect("127.0.0.1", 9))


def test_a_certificate_for_another_name_is_refused_with_the_reason(authority: Authority, connector: Connector) -> None:
    other = server_context(authority.issue("other.test"))

    async def scenario() -> tuple[ConnectError, TlsServer]:
        server = await serve_tls("127.0.0.1", 0, other, echo)
        error = await failure_of(connector, server.address[1])
        await server.close()
        return error, server

    error, server = asyncio.run(scenario())
    assert error.failure is ConnectFailure.CERTIFICATE
    assert "for other.test, and not for pstn.trunk.test" in error.detail
    assert not server.handshakes


def test_a_certificate_of_another_authority_is_refused(
    tmp_path_factory: pytest.TempPathFactory, server_files: CertificateFiles
) -> None:
    stranger = Authority(tmp_path_factory.mktemp("stranger"))

    async def scenario() -> ConnectError:
        server = await serve_tls("127.0.0.1", 0, server_context(server_files), echo)
        error = await failure_of(Connector(client_context(stranger.ca_file), SERVER_NAME), server.address[1])
        await server.close()
        return error

    error = asyncio.run(scenario())
    assert error.failure is ConnectFailure.CERTIFICATE
    assert "unable to get local issuer" in error.detail


def test_without_verification_any_certificate_will_do(authority: Authority) -> None:
    connector = Connector(client_context(None, verify=False), SERVER_NAME)

    async def scenario() -> bytes:
        server = await serve_tls("127.0.0.1", 0, server_context(authority.issue("other.test")), echo)
        connection = await connector.connect(*server.address)
        answer = await ask(connection, b"ping")
        connection.close()
        await server.close()
        return answer

    assert asyncio.run(scenario()) == b"ping"


def test_tls_1_2_a_caller_without_a_certificate_is_refused_in_the_handshake(
    authority: Authority, server_files: CertificateFiles
) -> None:
    asking = server_context(server_files, ca_file=authority.ca_file, require_client_certificate=True)

    async def scenario() -> tuple[ConnectError, TlsServer]:
        server = await serve_tls("127.0.0.1", 0, asking, echo)
        connector = Connector(client_context(authority.ca_file, versions=["1.2"]), SERVER_NAME)
        error = await failure_of(connector, server.address[1])
        await server.close()
        return error, server

    error, server = asyncio.run(scenario())
    assert error.failure is ConnectFailure.TLS
    assert "HANDSHAKE_FAILURE" in error.detail
    assert server.failures == {ConnectFailure.CERTIFICATE: 1}


def test_tls_1_3_a_caller_without_a_certificate_is_refused_after_the_handshake(
    authority: Authority, server_files: CertificateFiles
) -> None:
    asking = server_context(server_files, ca_file=authority.ca_file, require_client_certificate=True)

    async def scenario() -> None:
        server = await serve_tls("127.0.0.1", 0, asking, echo)
        connector = Connector(client_context(authority.ca_file, versions=["1.3"]), SERVER_NAME)
        connection = await connector.connect(*server.address)
        closed = await connection.wait_closed()
        assert closed.reason is CloseReason.TLS
        assert "CERTIFICATE_REQUIRED" in closed.detail
        assert server.failures == {ConnectFailure.CERTIFICATE: 1}
        await server.close()

    asyncio.run(scenario())


def test_versions_that_do_not_meet(authority: Authority, server_files: CertificateFiles) -> None:
    async def scenario() -> ConnectError:
        server = await serve_tls("127.0.0.1", 0, server_context(server_files, minimum_version="1.3"), echo)
        connector = Connector(client_context(authority.ca_file, versions=["1.2"]), SERVER_NAME)
        error = await failure_of(connector, server.address[1])
        await server.close()
        return error

    assert asyncio.run(scenario()).failure is ConnectFailure.TLS


def test_nobody_listens(connector: Connector) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else can take it
        error = asyncio.run(failure_of(connector, taken.getsockname()[1]))
    assert error.failure is ConnectFailure.REFUSED


def test_a_peer_that_dies_in_the_handshake(connector: Connector) -> None:
    async def read_and_hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(4096)

    error = asyncio.run(failure_against(read_and_hang_up, connector))
    assert error.failure is ConnectFailure.RESET


def test_a_peer_that_resets_in_the_handshake(connector: Connector) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()  # with the rest of the ClientHello unread the kernel sends RST

    error = asyncio.run(failure_against(reset, connector))
    assert error.failure is ConnectFailure.RESET


def test_a_peer_that_does_not_speak_tls(connector: Connector) -> None:
    async def plain_sip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SIP/2.0 400 Bad Request\r\n\r\n")
        await writer.drain()

    error = asyncio.run(failure_against(plain_sip, connector))
    assert error.failure is ConnectFailure.TLS


def test_a_silent_peer_is_given_up(connector: Connector) -> None:
    async def listen_only(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()  # ends when the caller has given up

    error = asyncio.run(failure_against(listen_only, connector, timeout_s=0.1))
    assert error.failure is ConnectFailure.TIMEOUT


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_cancelled_connect_leaves_no_socket(connector: Connector) -> None:
    async def scenario() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            listener.setblocking(False)
            before = open_descriptors()
            task = asyncio.create_task(connector.connect(*listener.getsockname()))
            loop = asyncio.get_running_loop()
            accepted, _ = await loop.sock_accept(listener)
            with accepted:
                await loop.sock_recv(accepted, 1)  # the caller waits for our ServerHello now
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                async with asyncio.timeout(5):
                    while open_descriptors() != before + 1:  # ours
                        await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_a_silent_caller_is_dropped_by_the_server(server_files: CertificateFiles) -> None:
    async def scenario() -> TlsServer:
        limiter = ConnectionLimiter(known=replace(known_limits(), handshake_s=0.05))
        server = await serve_tls("127.0.0.1", 0, server_context(server_files), echo, limiter=limiter)
        reader, writer = await asyncio.open_connection(*server.address)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await server.close()
        return server

    assert asyncio.run(scenario()).failures == {ConnectFailure.TIMEOUT: 1}


def test_a_caller_that_does_not_speak_tls_is_hung_up_on(server_files: CertificateFiles) -> None:
    async def scenario() -> tuple[bytes, TlsServer]:
        server = await serve_tls("127.0.0.1", 0, server_context(server_files), echo)
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"OPTIONS sip:pstn.trunk.test SIP/2.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await server.close()
        return answer, server

    answer, server = asyncio.run(scenario())
    assert answer == b""
    assert server.failures == {ConnectFailure.TLS: 1}


def test_an_edge_restart_resets_refuses_and_comes_back_on_the_same_port(
    connector: Connector, server_files: CertificateFiles
) -> None:
    async def scenario() -> None:
        server = await serve_tls("127.0.0.1", 0, server_context(server_files), echo)
        address = server.address
        connections = [await connector.connect(*address) for _ in range(3)]
        server.drop_all()
        assert {(await each.wait_closed()).reason for each in connections} == {CloseReason.RESET}
        assert (await failure_of(connector, address[1])).failure is ConnectFailure.REFUSED
        assert not server.connections
        await server.resume()
        assert server.address == address
        again = await connector.connect(*address)
        assert await ask(again, b"back") == b"back"
        again.close()
        await server.close()

    asyncio.run(scenario())


def test_an_edge_restart_takes_handshakes_along(connector: Connector, server_files: CertificateFiles) -> None:
    async def scenario() -> set[ConnectFailure]:
        server = await serve_tls("127.0.0.1", 0, server_context(server_files), echo)
        attempts = [asyncio.create_task(connector.connect(*server.address)) for _ in range(20)]
        while len(server.connections) < 5:
            await asyncio.sleep(0)
        server.drop_all()
        outcomes = await asyncio.gather(*attempts, return_exceptions=True)
        ended = [await each.wait_closed() for each in outcomes if isinstance(each, Connection)]
        assert all(each.reason is CloseReason.RESET for each in ended)
        assert not server.connections
        return {each.failure for each in outcomes if isinstance(each, ConnectError)}

    assert asyncio.run(scenario()) <= {ConnectFailure.RESET, ConnectFailure.REFUSED}


def test_a_paused_listener_leaves_connections_alone(connector: Connector, server_files: CertificateFiles) -> None:
    async def scenario() -> None:
        server = await serve_tls("127.0.0.1", 0, server_context(server_files), echo)
        connection = await connector.connect(*server.address)
        assert await ask(connection, b"before") == b"before"
        server.pause()
        assert (await failure_of(connector, server.address[1])).failure is ConnectFailure.REFUSED
        assert await ask(connection, b"after") == b"after"
        connection.close()
        await server.close()

    asyncio.run(scenario())


def test_a_taken_port_is_our_error(server_files: CertificateFiles) -> None:
    async def scenario() -> None:
        server = await serve_tls("127.0.0.1", 0, server_context(server_files), echo)
        with pytest.raises(LocalNetworkError, match="cannot listen"):
            await serve_tls(*server.address, server_context(server_files), echo)
        await server.close()

    asyncio.run(scenario())


def test_the_key_log_holds_the_secrets_of_the_session(
    authority: Authority, server_files: CertificateFiles, tmp_path: Path
) -> None:
    keylog = tmp_path / "keys.log"
    context: ssl.SSLContext = client_context(authority.ca_file, keylog=keylog)

    async def scenario() -> None:
        server = await serve_tls("127.0.0.1", 0, server_context(server_files), echo)
        connection = await Connector(context, SERVER_NAME).connect(*server.address)
        connection.close()
        await server.close()

    asyncio.run(scenario())
    assert "CLIENT_TRAFFIC_SECRET_0" in keylog.read_text()
