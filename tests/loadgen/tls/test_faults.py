"""Failures of TLS as values, from real handshakes: the peer's alert, and why a certificate was refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles, client_context, server_context
from trunkproof.loadgen.tls.connection import ConnectError, Connection
from trunkproof.loadgen.tls.endpoints import Connector, serve_tls
from trunkproof.models.faults import CertificateFault, TlsAlert

NAME = "pstn.trunk.test"


def ignore(connection: Connection) -> None:
    connection.deliver_to(lambda data: None)


async def failure(connector: Connector, files: CertificateFiles, **options: object) -> ConnectError:
    server = await serve_tls("127.0.0.1", 0, server_context(files, **options), ignore)  # type: ignore[arg-type]
    with pytest.raises(ConnectError) as caught:
        await connector.connect(*server.address)
    await server.close()
    return caught.value


def test_rfc8446_6_2_versions_that_do_not_meet_are_an_alert(authority: Authority) -> None:
    connector = Connector(client_context(authority.ca_file, versions=["1.2"]), NAME)
    error = asyncio.run(failure(connector, authority.issue(NAME), minimum_version="1.3"))
    assert (error.alert, error.certificate) == (TlsAlert.PROTOCOL_VERSION, None)


def test_rfc8446_4_4_2_4_a_missing_certificate_is_an_alert_after_the_handshake(authority: Authority) -> None:
    connector = Connector(client_context(authority.ca_file, versions=["1.3"]), NAME)
    asking = server_context(authority.issue(NAME), ca_file=authority.ca_file, require_client_certificate=True)

    async def scenario() -> TlsAlert | None:
        server = await serve_tls("127.0.0.1", 0, asking, ignore)
        closed = await (await connector.connect(*server.address)).wait_closed()
        await server.close()
        return closed.alert

    assert asyncio.run(scenario()) is TlsAlert.CERTIFICATE_REQUIRED


def test_rfc5922_7_the_fault_of_a_certificate_is_told(authority: Authority, tmp_path: Path) -> None:
    connector = Connector(client_context(authority.ca_file), NAME)
    error = asyncio.run(failure(connector, authority.issue("other.test")))
    assert (error.alert, error.certificate) == (None, CertificateFault.WRONG_NAME)
    stranger = Authority(tmp_path / "stranger")
    error = asyncio.run(failure(connector, stranger.issue(NAME)))
    assert error.certificate is CertificateFault.UNKNOWN_AUTHORITY
