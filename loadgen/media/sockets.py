"""The UDP sockets of one side of a call: a port pair, bound, non-blocking, with kernel time stamps."""

from __future__ import annotations

import socket

SO_TIMESTAMPNS = 35
"""A socket option of Linux. Python's socket module has no name for it."""
Address = tuple[str, int]
"""Host, as IPv4 or IPv6 address, and port."""


def bind_pair(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Bind the RTP port and the RTCP port above it, non-blocking and with kernel time stamps.

    Raises:
        OSError: one of the two ports is taken.
    """
    rtp = _bound(address, port)
    try:
        return rtp, _bound(address, port + 1)
    except OSError:
        # Half a pair is of no use, and would keep the port.
        rtp.close()
        raise


def family_of(host: str) -> socket.AddressFamily:
    """Return the family of an address, which is IPv6 where it has a colon."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def canonical(address: Address) -> Address:
    """Return an address as the system writes it, so that it can be compared with the sender of a packet.

    Raises:
        OSError: the host is no address.
        OverflowError: the port has more than 16 bits.
    """
    host, port = address
    family = family_of(host)
    port.to_bytes(2, "big")
    return socket.inet_ntop(family, socket.inet_pton(family, host)), port


def _bound(address: str, port: int) -> socket.socket:
    made = socket.socket(family_of(address), socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        # Before `bind`: even the first packet then has its time stamp.
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made
