"""Whose certificate is it: the SIP domain identities in a certificate, by the rules of RFC 5922 section 7.

They are stricter than those of the web, which OpenSSL applies, so OpenSSL checks the chain here and not the name:

- A URI `sip:domain` among the subjectAltNames is an identity, if it has no user part. Other URIs are none.
- DNS names count only where there is no such URI.
- The subject's common name counts only where there are no subjectAltNames at all.
- Names are compared whole and in any case. A wildcard matches nothing (section 7.2).

RFC 5922 speaks of domains only. For a target that is an address, the certificate must have that address (RFC 5280
section 4.2.1.6).
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from typing import Any

Certificate = Mapping[str, Any]
"""A certificate as `ssl.SSLObject.getpeercert` returns it."""


class WrongNameError(ssl.SSLCertVerificationError):
    """The certificate is valid, but is not for the host that we called."""

    def __init__(self, words: str) -> None:
        super().__init__(1, words)
        # As OpenSSL sets them for its own refusals.
        self.reason, self.verify_message = "CERTIFICATE_VERIFY_FAILED", words


def check_identity(certificate: Certificate, name: str) -> None:
    """Check that a certificate is for `name`, a host name or an address.

    Raises:
        WrongNameError: it is not. The message says for whom it is, and what to do.
    """
    address = _address(name)
    if address is not None:
        found = [text for kind, text in _alternatives(certificate) if kind == "IP Address"]
        if address in map(_address, found):
            return
    else:
        found = sip_identities(certificate)
        if _folded(name) in map(_folded, found):
            return
    raise WrongNameError(_why_not(name, found, is_address=address is not None))


def sip_identities(certificate: Certificate) -> list[str]:
    """Return the SIP domain identities of a certificate (RFC 5922 section 7.1)."""
    alternatives = _alternatives(certificate)
    uris = [text.partition(":") for kind, text in alternatives if kind == "URI"]
    # A user part would make it the identity of one user and not of the domain.
    domains = [rest for scheme, _, rest in uris if scheme.lower() == "sip" and "@" not in rest]
    domains = domains or [text for kind, text in alternatives if kind == "DNS"]
    if domains or alternatives:
        return domains
    subject = certificate.get("subject", ())
    return [value for parts in subject for kind, value in parts if kind == "commonName"]


def _alternatives(certificate: Certificate) -> list[tuple[str, str]]:
    return list(certificate.get("subjectAltName", ()))


def _why_not(name: str, found: list[str], *, is_address: bool) -> str:
    for_whom = f"the certificate is for {', '.join(found)}" if found else "the certificate names no SIP domain"
    if is_address and not found:
        for_whom = "the certificate names no address"
    wild = any("*" in one for one in found)
    rule = "; a wildcard counts for nothing in SIP (RFC 5922 section 7.2)" if wild else ""
    return (
        f"{for_whom}, and not for {name}{rule}; give one of its names as the server name, or have it issued for {name}"
    )


def _folded(name: str) -> str:
    return name.lower().rstrip(".")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
