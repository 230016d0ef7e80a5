"""Whose certificate it is (RFC 5922 section 7), by certificates that trustme and cryptography make."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from trunkproof.loadgen.tls.certificates import Authority, CertificateFiles, client_context, server_context
from trunkproof.loadgen.tls.connection import ConnectError, ConnectFailure
from trunkproof.loadgen.tls.endpoints import Connector, serve_tls
from trunkproof.loadgen.tls.identity import WrongNameError, check_identity, sip_identities

NAME = "pstn.trunk.test"
DNS, URI, IP = "DNS", "URI", "IP Address"


def certificate(*alternatives: tuple[str, str], common_name: str | None = None) -> dict[str, object]:
    subject = () if common_name is None else ((("commonName", common_name),),)
    return {"subject": subject} | ({"subjectAltName": alternatives} if alternatives else {})


@pytest.mark.parametrize(
    ("found", "identities"),
    [
        (certificate((URI, f"sip:{NAME}")), [NAME]),
        (certificate((DNS, NAME), (DNS, "other.test")), [NAME, "other.test"]),
        # DNS names count only where no SIP URI does.
        (certificate((URI, "sip:trunk.test"), (DNS, NAME)), ["trunk.test"]),
        # A user is not a domain, and another scheme is not SIP.
        (certificate((URI, f"sip:operator@{NAME}")), []),
        (certificate((URI, f"https://{NAME}")), []),
        (certificate((URI, f"https://{NAME}"), (DNS, NAME)), [NAME]),
        # The common name counts only where there are no alternatives at all.
        (certificate(common_name=NAME), [NAME]),
        (certificate((IP, "127.0.0.1"), common_name=NAME), []),
    ],
)
def test_rfc5922_7_1_finding_the_sip_identities(found: dict[str, object], identities: list[str]) -> None:
    assert sip_identities(found) == identities


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (certificate((DNS, NAME)), "PSTN.Trunk.test"),
        (certificate((URI, "sip:PSTN.TRUNK.TEST")), NAME),
        (certificate((DNS, "other.test"), (DNS, NAME)), NAME),
        (certificate((IP, "127.0.0.1")), "127.0.0.1"),
        (certificate((IP, "0:0:0:0:0:0:0:1")), "::1"),
        (certificate((IP, "0:0:0:0:0:0:0:1")), "[::1]"),
    ],
)
def test_rfc5922_7_2_names_are_compared_whole_and_in_any_case(found: dict[str, object], name: str) -> None:
    check_identity(found, name)


@pytest.mark.parametrize(
    ("found", "name", "words"),
    [
        (
            certificate((DNS, "*.trunk.test")),
            NAME,
            r"for \*\.trunk\.test, and not for pstn.*wildcard counts for nothing",
        ),
        (certificate((DNS, ".trunk.test")), NAME, r"for \.trunk\.test, and not"),
        (certificate((DNS, "trunk.test")), NAME, "for trunk.test, and not for pstn.trunk.test"),
        (certificate((URI, "sip:trunk.test"), (DNS, NAME)), NAME, "for trunk.test, and not"),
        (certificate((IP, "127.0.0.1"), common_name=NAME), NAME, "names no SIP domain"),
        (certificate((DNS, "127.0.0.1")), "127.0.0.1", "names no address"),
        (certificate((IP, "127.0.0.2")), "127.0.0.1", "give one of its names as the server name"),
        ({}, NAME, "names no SIP domain"),
    ],
)
def test_rfc5922_7_2_what_does_not_match_is_told_with_the_remedy(
    found: dict[str, object], name: str, words: str
) -> None:
    with pytest.raises(WrongNameError, match=words):
        check_identity(found, name)


def with_uri(folder: Path, uri: str) -> tuple[Path, CertificateFiles]:
    """Make an authority, and a certificate with this URI and no other name; trustme makes none with URIs."""
    ca = trustme.CA()
    issuer = x509.load_pem_x509_certificate(ca.cert_pem.bytes())
    signer = ca.private_key_pem.bytes()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    signing = load_pem_private_key(signer, None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "test")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
        .sign(signing, hashes.SHA256())
    )
    files = CertificateFiles(folder / "cert.pem", folder / "key.pem")
    files.cert_chain_pem.write_bytes(made.public_bytes(Encoding.PEM))
    files.key_pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(ca.cert_pem.bytes())
    return ca_file, files


def connects(ca_file: Path, files: CertificateFiles, name: str, address: str = "127.0.0.1") -> ConnectError | None:
    """Return how connecting to a server with this certificate fails, or None where it does not."""

    async def run() -> ConnectError | None:
        server = await serve_tls(address, 0, server_context(files), lambda connection: None)
        try:
            connection = await Connector(client_context(ca_file), name).connect(*server.address)
        except ConnectError as error:
            return error
        else:
            connection.close()
            await connection.wait_closed()
            return None
        finally:
            await server.close()

    return asyncio.run(run())


def test_rfc5922_7_1_a_sip_uri_is_enough_in_a_real_handshake(tmp_path: Path) -> None:
    assert connects(*with_uri(tmp_path, f"sip:{NAME}"), NAME) is None
    error = connects(*with_uri(tmp_path, f"sip:operator@{NAME}"), NAME)
    assert error is not None
    assert error.failure is ConnectFailure.CERTIFICATE


def test_rfc5922_7_2_a_wildcard_ends_the_handshake_with_words(authority: Authority) -> None:
    error = connects(authority.ca_file, authority.issue("*.trunk.test"), NAME)
    assert error is not None
    assert error.failure is ConnectFailure.CERTIFICATE
    assert "a wildcard counts for nothing in SIP" in str(error)


def test_a_certificate_for_an_address_of_either_family(authority: Authority) -> None:
    assert connects(authority.ca_file, authority.issue("127.0.0.1"), "127.0.0.1") is None
    assert connects(authority.ca_file, authority.issue("::1"), str(ipaddress.ip_address("::1")), "::1") is None


def test_a_name_must_be_given_where_the_certificate_is_checked(authority: Authority) -> None:
    from trunkproof.loadgen.tls.engine import TlsEngine

    with pytest.raises(ValueError, match="without the name"):
        TlsEngine(client_context(authority.ca_file), server_side=False)
    assert client_context(authority.ca_file).verify_mode is ssl.CERT_REQUIRED
