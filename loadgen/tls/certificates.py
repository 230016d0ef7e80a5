"""Throw-away certificates for a test bed, and the TLS contexts that both sides use.

An `Authority` lives for one run, in one private folder. It is no PKI: it revokes and renews nothing, and its
certificates are of no use after the run. For a real trunk, use the CA file that its operator names.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme

from trunkproof.loadgen.tls.pem import check_authority, check_certificate
from trunkproof.models.errors import InputError, Problem, why_unreadable
from trunkproof.models.traffic import TLS_VERSIONS, TlsVersion

__all__ = ["Authority", "CertificateFiles", "TlsVersion", "client_context", "server_context"]

_VERSIONS: dict[TlsVersion, ssl.TLSVersion] = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True)
class CertificateFiles:
    """A certificate chain and its private key, as PEM files on disk."""

    cert_chain_pem: Path
    key_pem: Path


class Authority:
    """A certificate authority for one run. The other side must trust its `ca_file`.

    The folder is private (0700), and only the owner can read the keys in it (0600). The authority's own key never
    leaves memory.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._ca = trustme.CA(organization_name="trunkproof test authority")
        self._issued = 0
        self.ca_file = folder / "ca.pem"
        _write(self.ca_file, self._ca.cert_pem.bytes(), mode=0o644)

    def issue(self, *names: str) -> CertificateFiles:
        """Issue a certificate for host names and IP addresses, for a server or a client (RFC 5922 section 7.1)."""
        leaf = self._ca.issue_cert(*names)
        self._issued += 1
        chain = self._folder / f"{self._issued:03}-cert.pem"
        key = self._folder / f"{self._issued:03}-key.pem"
        _write(chain, b"".join(blob.bytes() for blob in leaf.cert_chain_pems), mode=0o644)
        _write(key, leaf.private_key_pem.bytes(), mode=0o600)
        return CertificateFiles(chain, key)

    def discard(self) -> None:
        """Remove the private keys. The run that needed them is over."""
        discard_keys(self._folder)


def discard_keys(folder: Path) -> None:
    """Remove the private keys that an `Authority` issued into this folder, also one of a process that is gone."""
    for key in folder.glob("*-key.pem"):
        key.unlink(missing_ok=True)


def server_context(
    files: CertificateFiles,
    *,
    ca_file: Path | None = None,
    require_client_certificate: bool = False,
    minimum_version: TlsVersion = "1.2",
    maximum_version: TlsVersion = "1.3",
    keylog: Path | None = None,
) -> ssl.SSLContext:
    """Return the context of a listener. To require client certificates it needs the CA that signed them.

    The session secrets are written to `keylog` (SSLKEYLOGFILE format), so that a capture can be decoded.

    Raises:
        InputError: a file cannot be read or used.
    """
    if require_client_certificate and ca_file is None:
        raise ValueError("client certificates cannot be checked without a CA file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[minimum_version]
    context.maximum_version = _VERSIONS[maximum_version]
    _load_certificate(context, files)
    if ca_file is not None:
        _trust(context, ca_file)
    # By default a TLS server asks for no certificate: the trunk knows its customers by their address.
    context.verify_mode = ssl.CERT_REQUIRED if require_client_certificate else ssl.CERT_NONE
    _log_keys(context, keylog)
    return context


def client_context(
    ca_file: Path | None,
    *,
    client_certificate: CertificateFiles | None = None,
    versions: Sequence[TlsVersion] = TLS_VERSIONS,
    verify: bool = True,
    keylog: Path | None = None,
) -> ssl.SSLContext:
    """Return the context of a caller. It checks the peer's certificate, unless `verify` is False.

    The chain is all that the context checks. Whether the certificate is for the host that was called, `TlsEngine`
    checks by the rules of SIP, which OpenSSL does not know.

    Without `ca_file` it trusts the machine's own list of authorities. The newest of `versions` that both sides know is
    used.

    Raises:
        InputError: a file cannot be read or used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[min(versions)]
    context.maximum_version = _VERSIONS[max(versions)]
    # OpenSSL would match wildcards, and knows no URIs.
    context.check_hostname = False
    if not verify:
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is None:
        context.load_default_certs()
    else:
        _trust(context, ca_file)
    if client_certificate is not None:
        _load_certificate(context, client_certificate)
    _log_keys(context, keylog)
    return context


def _load_certificate(context: ssl.SSLContext, files: CertificateFiles) -> None:
    check_certificate(files.cert_chain_pem, files.key_pem)
    try:
        context.load_cert_chain(files.cert_chain_pem, files.key_pem)
    except OSError as error:  # also ssl.SSLError, for example for a key that OpenSSL takes for too short
        raise _unusable(files.cert_chain_pem, "certificate and key", error) from error


def _trust(context: ssl.SSLContext, ca_file: Path) -> None:
    check_authority(ca_file)
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        raise _unusable(ca_file, "certificate authority", error) from error


def _unusable(path: Path, what: str, error: OSError) -> InputError:
    why = (error.reason or "").lower().replace("_", " ") if isinstance(error, ssl.SSLError) else why_unreadable(error)
    return InputError(str(path), [Problem(where=what, what=f"cannot be used: {why}")])


def _log_keys(context: ssl.SSLContext, keylog: Path | None) -> None:
    if keylog is None:
        return
    # OpenSSL would create the file so that everybody could read it.
    keylog.touch(mode=0o600)
    context.keylog_filename = str(keylog)


def _write(path: Path, content: bytes, *, mode: int) -> None:
    # The mode is set at creation, so that there is no moment in which others could read a key.
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
