"""Where the parts of a foreign trunk meet on this machine: ports that were chosen, files that were made."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from loadgen.certificates import CertificateFiles


@dataclass(frozen=True)
class Places:
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


def free_port(address: str) -> int:
    """A TCP port of that address which nobody listens on now, for a program that must be told its port."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port
