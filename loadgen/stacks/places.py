"""Where the parts of a trunk meet on this machine: ports chosen, or not to be had, and files that were made."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from pathlib import Path

from loadgen.certificates import CertificateFiles
from models.errors import StackError

_WHY = {
    errno.EADDRINUSE: "the port is in use",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "only root may use a port below 1024",
}


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


def take_port(who: str, address: str, port: int = 0) -> int:
    """That port, or a free one: before anything is started one knows that it is to be had.

    Raises:
        StackError: it is not; the message says whom that keeps from what, and why.
    """
    try:
        if port == 0:
            return free_port(address)
        with socket.socket() as probe:
            # As listeners do: old connections on a port keep nobody from listening there again.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            return port
    except OSError as error:
        raise cannot_listen(who, address, port, error) from error


def cannot_listen(who: str, host: str, port: int, error: BaseException | None) -> StackError:
    """What the user is told of the error that kept `who` from listening there; port 0: any."""
    number = error.errno if isinstance(error, OSError) else None
    why = _WHY.get(number or 0, str(error))
    return StackError(f"{who} cannot listen on {host}{f':{port}' if port else ''}: {why}")
