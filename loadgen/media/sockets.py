"""The UDP sockets of one side of a call: a port pair, bound, non-blocking, with kernel time stamps."""

from __future__ import annotations

import resource
import socket

SO_TIMESTAMPNS = 35
"""Of Linux, which the socket module does not name."""
Address = tuple[str, int]


def bind_pair(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Bind the RTP port and the RTCP port above it, non-blocking and with kernel time stamps.

    Raises:
        OSError: one of them is taken.
    """
    rtp = _bound(address, port)
    try:
        return rtp, _bound(address, port + 1)
    except OSError:
        rtp.close()
        raise


def connect(rtp: socket.socket, remote: Address) -> bool:
    """Have the system drop what comes to an RTP port from elsewhere, and find the way there once; whether it did.

    A packet costs a sixth less to send then. What came earlier is still there, from whomever it is.
    """
    try:
        rtp.connect(remote)
    except OSError:
        return False
    return True


def raise_descriptor_limit() -> int:
    """Let this process have as many files open as the hard limit allows; how many. A call takes two sockets a side."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _bound(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        made.bind((address, port))
    except OSError:
        made.close()
        raise
    return made
