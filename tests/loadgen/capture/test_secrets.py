"""TLS secrets go to the connection that they belong to, whoever reads when, and the key log stays small."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from trunkproof.loadgen.capture import secrets as module
from trunkproof.loadgen.capture.secrets import TlsSecrets
from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles, client_context, server_context
from trunkproof.loadgen.tls.engine import TlsEngine
from trunkproof.models.traffic import TLS_VERSIONS, TlsVersion


def _handshake(authority: Authority, files: CertificateFiles, keylog: Path, version: TlsVersion = "1.3") -> bytes:
    """Shake hands, and return the client's first flight."""
    context = client_context(authority.ca_file, versions=[version], keylog=keylog)
    client = TlsEngine(context, server_side=False, server_hostname="pstn.trunk.test")
    server = TlsEngine(server_context(files), server_side=True)
    client.handshake()
    first = flight = client.outgoing()
    while not (client.handshaken and server.handshaken):
        server.receive(flight)
        client.receive(server.outgoing())
        flight = client.outgoing()
    return first


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_each_connection_gets_its_own_secrets(
    version: TlsVersion, authority: Authority, server_files: CertificateFiles
) -> None:
    with closing(TlsSecrets()) as secrets:
        flights = [_handshake(authority, server_files, secrets.path, version) for _ in range(3)]
        for flight in reversed(flights):
            lines = secrets.take(flight)
            assert len(lines) == (5 if version == "1.3" else 1)
            assert {line.split()[1] for line in lines} == {flight[11:43].hex()}
            assert secrets.take(flight) == ()


def test_a_key_log_that_the_user_asked_for_is_followed_and_left_whole(
    tmp_path: Path, authority: Authority, server_files: CertificateFiles
) -> None:
    keylog = tmp_path / "keys.log"
    before = _handshake(authority, server_files, keylog)
    with closing(TlsSecrets(keylog)) as secrets:
        after = _handshake(authority, server_files, secrets.path)
        assert secrets.take(before) == ()
        assert len(secrets.take(after)) == 5
    assert len([line for line in keylog.read_text().splitlines() if not line.startswith("#")]) == 10


def test_the_key_log_in_memory_stays_small(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, server_files: CertificateFiles
) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 2000)
    with closing(TlsSecrets()) as secrets:
        for _ in range(20):
            assert len(secrets.take(_handshake(authority, server_files, secrets.path))) == 5
            assert secrets.path.stat().st_size < 3000
