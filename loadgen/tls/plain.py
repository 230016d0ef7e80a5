"""The engine of a TCP connection without TLS: bytes pass as they are. `Connection` runs it like a `TlsEngine`."""

from __future__ import annotations

from trunkproof.models.records import ConnectionKind


class PlainEngine:
    """One side of a TCP connection, with the methods of `TlsEngine`."""

    handshaken = True
    """There is nothing to shake hands about: TCP has done it."""
    peer_closed = False
    """Only a FIN ends the stream, and the transport reports it."""
    is_whole_at_fin = True
    """A FIN is the proper end of a stream without TLS."""
    kind = ConnectionKind.TCP
    version = cipher = ""
    session = None

    def __init__(self) -> None:
        self._outgoing = bytearray()

    def receive(self, data: bytes) -> bytes:
        """Return the bytes as they came."""
        return data

    def write(self, data: bytes) -> None:
        """Take bytes to send. `outgoing` returns them."""
        self._outgoing += data

    def close(self) -> None:
        """Do nothing: the transport's FIN closes the stream."""

    def outgoing(self) -> bytes:
        """Return the bytes to send to the peer now."""
        data, self._outgoing = bytes(self._outgoing), bytearray()
        return data
