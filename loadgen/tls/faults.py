"""What a failure of TLS was, as values: the alert that the peer sent, or why we refused its certificate.

OpenSSL tells both by codes and symbols of its own, which stay the same from version to version. Its words do not.
"""

from __future__ import annotations

import ssl

from trunkproof.loadgen.tls.identity import WrongNameError
from trunkproof.models.faults import CertificateFault, TlsAlert

_ALERT_PREFIXES = ("SSLV3_ALERT_", "TLSV1_ALERT_", "TLSV13_ALERT_", "TLSV1_")
"""OpenSSL's symbols of alerts that the peer sent, such as TLSV1_ALERT_PROTOCOL_VERSION, by the version that defined
them."""

_FAULTS = {
    2: CertificateFault.UNKNOWN_AUTHORITY,
    9: CertificateFault.NOT_YET_VALID,
    10: CertificateFault.EXPIRED,
    18: CertificateFault.SELF_SIGNED,
    19: CertificateFault.SELF_SIGNED,
    20: CertificateFault.UNKNOWN_AUTHORITY,
    21: CertificateFault.UNKNOWN_AUTHORITY,
    62: CertificateFault.WRONG_NAME,
}
"""X509_V_ERR code of OpenSSL -> what it means."""


def alert_of(error: ssl.SSLError | None) -> TlsAlert | None:
    """Return the fatal alert that the peer sent, or None where the failure was another."""
    symbol = (error.reason or "") if error is not None else ""
    for prefix in _ALERT_PREFIXES:
        name = symbol.removeprefix(prefix)
        if name != symbol and name in TlsAlert.__members__:
            return TlsAlert[name]
    return None


def certificate_fault_of(error: ssl.SSLError | None) -> CertificateFault | None:
    """Return why we refused the peer's certificate, or None where we did not."""
    if isinstance(error, WrongNameError):
        return CertificateFault.WRONG_NAME
    if not isinstance(error, ssl.SSLCertVerificationError):
        return None
    return _FAULTS.get(error.verify_code, CertificateFault.OTHER)
