"""Ports of this machine: TCP ports to listen on, and the range of UDP ports for customers' audio."""

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
"""The range lies outside the trunk's own, so that one machine can play both sides."""


def _socket_for(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)


def free_port(address: str) -> int:
    """Return a TCP port of an address on which nobody listens now, for a program that must be told its port."""
    with _socket_for(address) as probe:
        # Bound and let go again: nothing keeps the port until the program takes it.
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def take_port(who: str, address: str, port: int = 0) -> int:
    """Return the given port, or a free one for 0. Check that it can be had before anything is started.

    Raises:
        StackError: it cannot be had. The message says who cannot listen where, and why.
    """
    try:
        if port == 0:
            return free_port(address)
        with _socket_for(address) as probe:
            # Listeners set this too: old connections on a port then keep nobody from listening there again.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            return port
    except OSError as error:
        raise cannot_listen(who, address, port, error) from error


def cannot_listen(who: str, host: str, port: int, error: BaseException | None) -> StackError:
    """Return the error for a user: who cannot listen where, and why. Port 0 means any port."""
    number = error.errno if isinstance(error, OSError) else None
    why = _WHY.get(number or 0, str(error))
    place = f"[{host}]" if ":" in host and port else host
    return StackError(f"{who} cannot listen on {place}{f':{port}' if port else ''}: {why}")


def customer_ports(index: int = 0, of: int = 1) -> tuple[int, int]:
    """Return the UDP ports of customers' audio: the first one, and the one after the last.

    With `of` the range is divided into so many equal shares, and the share `index` is returned.
    """
    low, high = _CUSTOMER_PORTS
    # Whole pairs: RTP has the even port, RTCP the odd one above it.
    pairs = (high - low) // 2
    return low + 2 * (pairs * index // of), low + 2 * (pairs * (index + 1) // of)
