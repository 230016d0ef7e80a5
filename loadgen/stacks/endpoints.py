"""The endpoints at which the parts of a trunk meet on this machine: ports, folder and certificates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trunkproof.loadgen.tls.certificates import CertificateFiles


@dataclass(frozen=True)
class StackEndpoints:
    """Ports and files of one trunk.

    The addresses are the study's: `pop.address` towards customers, `pop.inner_address` towards the carrier, and
    `pop.carrier.address` for the carrier itself.
    """

    folder: Path
    """The folder of configuration, logs and sockets. Its path must be short enough for a Unix socket."""
    edge_port: int
    """The TLS port at the PoP's address. Customers call it."""
    inner_port: int
    """The TLS port at the inner address. The carrier's inbound calls come here."""
    carrier_port: int
    """The TLS port at the carrier's address. Outbound calls go there."""
    certificate: CertificateFiles
    """A certificate for the PoP's host name and both of its addresses."""
    ca_file: Path
    edge_address: str = ""
    """The address of the edge, where it is not the PoP's."""
    others: tuple[StackEndpoints, ...] = ()
    """The endpoints of further edges: each has folder, ports and certificate of its own, and the same carrier."""
