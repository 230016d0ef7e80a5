"""Throw-away certificates for a test bed, and the TLS contexts both sides use.

An `Authority` lives for one run in one private folder. This is no PKI: nothing is revoked, renewed or meant to outlive
the run, and a real trunk is called with the CA file that its operator names.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trustme

from trunkproof.models.errors import InputError, Problem

TlsVersion = Literal["1.2", "1.3"]

_VERSIONS: dict[TlsVersion, ssl.TLSVersion] = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True)
class CertificateFiles:
    """A certificate chain and its private key, as PEM files on disk."""

    cert_chain_pem: Path
    key_pem: Path


class Authority:
    """A certificate authority made for one run; `ca_file` is what the other side is to trust.

    The folder is created private (0700), keys inside it are readable by their owner only (0600). The authority's own
    key never leaves memory.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._ca = trustme.CA(organization_name="trunkproof test authority")
        self._issued = 0
        self.ca_file = folder / "ca.pem"
        _write(self.ca_file, self._ca.cert_pem.bytes(), mode=0o644)

    def issue(self, *names: str) -> CertificateFiles:
        """A certificate for host names and IP addresses, fit for a server and for a client (RFC 5922 section 7.1)."""
        leaf = self._ca.issue_cert(*names)
        self._issued += 1
        chain = self._folder / f"{self._issued:03}-cert.pem"
        key = self._folder / f"{self._issued:03}-key.pem"
        _write(chain, b"".join(blob.bytes() for blob in leaf.cert_chain_pems), mode=0o644)
        _write(key, leaf.private_key_pem.bytes(), mode=0o600)
        return CertificateFiles(chain, key)


def server_context(
    files: CertificateFiles,
    *,
    ca_file: Path | None = None,
    require_client_certificate: bool = False,
    minimum_version: TlsVersion = "1.2",
    maximum_version: TlsVersion = "1.3",
    keylog: Path | None = None,
) -> ssl.SSLContext:
    """The context of a listener; asking for client certificates needs the CA that signed them.

    `keylog` receives the session secrets (SSLKEYLOGFILE format) so that a capture can be decoded.
    """
    if require_client_certificate and ca_file is None:
        raise ValueError("client certificates cannot be checked without a CA file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[minimum_version]
    context.maximum_version = _VERSIONS[maximum_version]
    _load_certificate(context, files)
    if ca_file is not None:
        _trust(context, ca_file)
    context.verify_mode = ssl.CERT_REQUIRED if require_client_certificate else ssl.CERT_NONE
    _log_keys(context, keylog)
    return context


def client_context(
    ca_file: Path | None,
    *,
    client_certificate: CertificateFiles | None = None,
    version: TlsVersion | None = None,
    verify: bool = True,
    keylog: Path | None = None,
) -> ssl.SSLContext:
    """The context of a caller, which checks certificate and host name unless `verify=False` says otherwise.

    Without `ca_file` the machine's own list of authorities is trusted; without `version` the newest common one is used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[version or "1.2"]
    context.maximum_version = _VERSIONS[version or "1.3"]
    if not verify:
        context.check_hostname = False
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
    try:
        context.load_cert_chain(files.cert_chain_pem, files.key_pem)
    except OSError as error:  # ssl.SSLError is one: unreadable, not PEM, or a key of another certificate
        raise _unusable(files.cert_chain_pem, "certificate and key", error) from error


def _trust(context: ssl.SSLContext, ca_file: Path) -> None:
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:
        raise _unusable(ca_file, "certificate authority", error) from error


def _unusable(path: Path, what: str, error: OSError) -> InputError:
    return InputError(str(path), [Problem(where=what, what=f"cannot be used: {error}")])


def _log_keys(context: ssl.SSLContext, keylog: Path | None) -> None:
    if keylog is None:
        return
    # OpenSSL would create the file readable by all.
    keylog.touch(mode=0o600)
    context.keylog_filename = str(keylog)


def _write(path: Path, content: bytes, *, mode: int) -> None:
    # The mode is set at creation, so that no moment exists in which others could read a key.
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
