"""The UDP sockets of one side of a call: a port pair, bound, non-blocking, with kernel time stamps."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import socket
import struct

SO_TIMESTAMPNS = 35
"""A socket option of Linux. Python's socket module has no name for it."""
Address = tuple[str, int]
"""Host, as IPv4 or IPv6 address, and port."""
_UNSPECIFIED = struct.pack("@H14x", socket.AF_UNSPEC)
"""A `struct sockaddr` of no family."""


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


def connect(rtp: socket.socket, remote: Address) -> bool:
    """Connect an RTP socket to its peer. Return whether that succeeded.

    The system then drops packets from elsewhere, and looks the route up only once: a packet costs a sixth less to send.
    Packets that came before are still in the socket, whoever sent them. So both pumps connect only when the first
    packet of the peer has come: before that they count who else sends, which explains why no audio came.
    """
    with contextlib.suppress(OSError):
        rtp.connect(remote)
        return True
    return False


def disconnect(rtp: socket.socket) -> None:
    """Undo `connect`: the peer's audio moves to another address. The local address stays, because it was bound."""
    # Python's `connect` takes no address without a family.
    ctypes.CDLL(None).connect(rtp.fileno(), _UNSPECIFIED, len(_UNSPECIFIED))


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


def raise_descriptor_limit() -> int:
    """Raise this process's limit of open files to the hard limit. Return it. Each side of a call takes two sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


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
