"""Look into the certificate and key files of a user before OpenSSL does, and say in words what is wrong with them.

OpenSSL's own words name its functions, and for a key with a password it would ask at the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from trunkproof.models.errors import InputError, Problem, why_unreadable


def check_authority(path: Path) -> None:
    """Check a file of certificate authorities.

    Raises:
        InputError: it cannot be read, is not PEM, holds no certificate, or all in it have expired.
    """
    problems = list(_authority_problems(path))
    if problems:
        raise InputError(str(path), [Problem(where="certificate authority", what=what) for what in problems])


def check_certificate(chain_file: Path, key_file: Path) -> None:
    """Check a certificate chain and its private key.

    Raises:
        InputError: one of them cannot be read or used, the certificate has expired, or the key belongs to another one.
    """
    problems = []
    chain: Sequence[x509.Certificate] = ()
    key: PrivateKeyTypes | None = None
    try:
        chain = _certificates(chain_file)
    except ValueError as error:
        problems.append(Problem(where=f"certificate {chain_file}", what=str(error)))
    try:
        key = _private_key(key_file)
    except ValueError as error:
        problems.append(Problem(where=f"key {key_file}", what=str(error)))
    if chain and (over := _expiry(chain[0])):
        problems.append(Problem(where=f"certificate {chain_file}", what=f"{over}: ask its issuer for a new one"))
    if chain and key is not None and _public(key.public_key()) != _public(chain[0].public_key()):
        what = (
            f"does not belong to the first certificate in {chain_file}: name the key that the certificate was made "
            "for, and put that certificate before those of its issuers"
        )
        problems.append(Problem(where=f"key {key_file}", what=what))
    if problems:
        raise InputError("certificate and key", problems)


def _authority_problems(path: Path) -> Iterator[str]:
    try:
        found = _certificates(path)
    except ValueError as error:
        yield str(error)
        return
    over = [_expiry(one) for one in found]
    if all(over):
        yield f"{over[0]}: ask the operator of the trunk for the present file"


def _certificates(path: Path) -> list[x509.Certificate]:
    text = _pem(path, "openssl x509 -inform der -in FILE -out FILE.pem")
    try:
        return x509.load_pem_x509_certificates(text)
    except ValueError as error:
        raise ValueError("holds no certificate that can be read: it may be a key, or cut") from error


def _private_key(path: Path) -> PrivateKeyTypes:
    text = _pem(path, "openssl pkey -inform der -in FILE -out FILE.pem")
    try:
        return load_pem_private_key(text, password=None)
    except TypeError as error:
        what = "is protected by a password: write it without one (openssl pkey -in FILE -out FILE.open)"
        raise ValueError(what) from error
    except Exception as error:  # The library has an error of its own for algorithms that it does not know.
        raise ValueError("holds no private key that can be read: it may be a certificate, or cut") from error


def _pem(path: Path, remedy: str) -> bytes:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({why_unreadable(error)}): check its path and who may read it") from error
    if b"-----BEGIN" not in text:
        raise ValueError(f"is not PEM, as it has no line with -----BEGIN: convert it ({remedy})")
    return text


def _expiry(certificate: x509.Certificate) -> str | None:
    """Return in words that a certificate has expired; None where it has not."""
    end = certificate.not_valid_after_utc
    return f"expired on {end:%Y-%m-%d}" if end < datetime.now(UTC) else None


def _public(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]
