"""Ports of this machine: TCP ports to listen on, and the range of UDP ports that customers' audio has."""

from __future__ import annotations

import errno
import socket

from trunkproof.models.errors import StackError

_WHY = {
    errno.EADDRINUSE: "the port is in use",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "only root may use a port below 1024",
}
_CUSTOMER_PORTS = (50_000, 60_998)
"""Outside the trunk's range, so that both can be played on one machine."""


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


def customer_ports(index: int = 0, of: int = 1) -> tuple[int, int]:
    """The UDP ports of customers' audio, the first one and the one after the last; or one of so many equal shares."""
    low, high = _CUSTOMER_PORTS
    pairs = (high - low) // 2
    return low + 2 * (pairs * index // of), low + 2 * (pairs * (index + 1) // of)
