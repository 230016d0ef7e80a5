import ssl

import pytest

from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles, client_context, server_context
from trunkproof.loadgen.tls.engine import TlsEngine
from trunkproof.models.records import ConnectionKind


def _pair(authority: Authority, files: CertificateFiles) -> tuple[TlsEngine, TlsEngine]:
    client = TlsEngine(client_context(authority.ca_file), server_side=False, server_hostname="pstn.trunk.test")
    return client, TlsEngine(server_context(files), server_side=True)


def _shake_hands(client: TlsEngine, server: TlsEngine) -> None:
    client.handshake()
    while not (client.handshaken and server.handshaken):
        server.receive(client.outgoing())
        client.receive(server.outgoing())


def test_bytes_arrive_whole_however_they_are_cut(authority: Authority, server_files: CertificateFiles) -> None:
    client, server = _pair(authority, server_files)
    _shake_hands(client, server)
    client.write(b"INVITE" * 1000)
    records = client.outgoing()
    received = b"".join(server.receive(records[at : at + 7]) for at in range(0, len(records), 7))
    assert received == b"INVITE" * 1000


def test_close_notify_is_told_from_an_end_of_stream(authority: Authority, server_files: CertificateFiles) -> None:
    client, server = _pair(authority, server_files)
    _shake_hands(client, server)
    client.write(b"last words")
    client.close()
    assert not server.peer_closed
    assert server.receive(client.outgoing()) == b"last words"
    assert server.peer_closed


def test_rfc8446_4_6_1_a_session_is_offered_only_once_its_ticket_came(
    authority: Authority, server_files: CertificateFiles
) -> None:
    client, server = _pair(authority, server_files)
    client.handshake()
    server.receive(client.outgoing())
    client.receive(server.outgoing())
    assert client.handshaken
    assert client.session is None
    server.receive(client.outgoing())
    client.receive(server.outgoing())
    assert client.session is not None
    assert client.kind is ConnectionKind.FULL


def test_bytes_that_are_not_tls_raise(authority: Authority, server_files: CertificateFiles) -> None:
    _, server = _pair(authority, server_files)
    with pytest.raises(ssl.SSLError, match=r"WRONG_VERSION_NUMBER|HTTP_REQUEST|UNEXPECTED"):
        server.receive(b"OPTIONS sip:pstn.trunk.test SIP/2.0\r\n\r\n")


def test_a_changed_byte_is_noticed(authority: Authority, server_files: CertificateFiles) -> None:
    client, server = _pair(authority, server_files)
    _shake_hands(client, server)
    client.write(b"BYE")
    records = bytearray(client.outgoing())
    records[-1] ^= 1
    with pytest.raises(ssl.SSLError, match=r"BAD_RECORD_MAC|DECRYPTION_FAILED"):
        server.receive(bytes(records))
    assert server.outgoing()  # the alert that tells the peer (RFC 8446 section 5.2)
