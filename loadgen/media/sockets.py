"""The UDP sockets of one side of a call: a port pair, bound, non-blocking, with kernel time stamps."""

from __future__ import annotations

import resource
import socket

SO_TIMESTAMPNS = 35
"""A socket option of Linux. Python's socket module has no name for it."""
Address = tuple[str, int]


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
    Packets that came before are still in the socket, whoever sent them.
    """
    try:
        rtp.connect(remote)
    except OSError:
        return False
    return True


def raise_descriptor_limit() -> int:
    """Raise this process's limit of open files to the hard limit. Return it. Each side of a call takes two sockets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _bound(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        # Before `bind`: even the first packet then has its time stamp.
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made
