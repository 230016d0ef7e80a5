"""TCP without TLS through the same connections: bytes as they are, and a FIN is a proper end."""

from __future__ import annotations

import asyncio

import pytest
from tests.loadgen.tls.test_endpoints import ask, echo

from trunkproof.loadgen.tls.connection import CloseReason, ConnectError, ConnectFailure
from trunkproof.loadgen.tls.endpoints import Connector, serve_tls
from trunkproof.loadgen.tls.plain import PlainEngine
from trunkproof.models.records import ConnectionKind

PLAIN = Connector(None, None)


def test_bytes_pass_as_they_are() -> None:
    engine = PlainEngine()
    engine.write(b"INVITE ")
    engine.write(b"sip:")
    assert engine.outgoing() == b"INVITE sip:"
    assert engine.outgoing() == b""
    assert engine.receive(b"SIP/2.0 ") == b"SIP/2.0 "


def test_a_connection_is_open_at_once_and_of_its_own_kind() -> None:
    async def scenario() -> None:
        server = await serve_tls("127.0.0.1", 0, None, echo)
        connection = await PLAIN.connect(*server.address)
        assert await ask(connection, b"ping") == b"ping"
        assert (connection.kind, connection.version, connection.session) == (ConnectionKind.TCP, "", None)
        assert server.handshakes == {ConnectionKind.TCP: 1}
        connection.close()
        assert (await connection.wait_closed()).reason is CloseReason.LOCAL
        await server.close()

    asyncio.run(scenario())


def test_a_fin_is_a_proper_end_and_what_was_written_before_it_arrives() -> None:
    async def scenario() -> None:
        server = await serve_tls("127.0.0.1", 0, None, echo)
        connection = await PLAIN.connect(*server.address)
        heard = bytearray()
        connection.deliver_to(heard.extend)
        connection.write(b"last words")
        connection.close()
        await server.close()
        assert bytes(heard) == b""
        reader, writer = await _half_closed()
        assert await reader.read() == b"last words"
        writer.close()

    async def _half_closed() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        ends: list[CloseReason] = []
        server = await serve_tls("127.0.0.1", 0, None, echo)
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"last words")
        writer.write_eof()
        await asyncio.sleep(0.1)
        for connection in server.connections:
            connection.when_closed(lambda end: ends.append(end.reason))
        await server.close()
        assert set(ends) <= {CloseReason.PEER}
        return reader, writer

    asyncio.run(scenario())


def test_a_reset_and_a_port_without_a_listener_are_told_apart() -> None:
    async def scenario() -> None:
        server = await serve_tls("127.0.0.1", 0, None, echo)
        connection = await PLAIN.connect(*server.address)
        server.drop_all()
        assert (await connection.wait_closed()).reason is CloseReason.RESET
        with pytest.raises(ConnectError) as caught:
            await PLAIN.connect(*server.address)
        assert caught.value.failure is ConnectFailure.REFUSED

    asyncio.run(scenario())
