"""Where the parts of a trunk meet on this machine: ports that were chosen, and files that were made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trunkproof.loadgen.tls.certificates import CertificateFiles


@dataclass(frozen=True)
class StackEndpoints:
    """Addresses are the study's: `pop.address` outside, `pop.inner_address` inside, `pop.carrier.address` beyond."""

    folder: Path
    """For configuration, logs and sockets; short enough for a Unix socket's path."""
    edge_port: int
    """TLS, at the PoP's address: customers call here."""
    inner_port: int
    """TLS, at the inner address: the carrier's inbound calls come here."""
    carrier_port: int
    """TLS, at the carrier's address: outbound calls go here."""
    certificate: CertificateFiles
    """Carries the PoP's host name and both its addresses."""
    ca_file: Path
