"""One TLS or TCP connection over an asyncio transport, the same class on the calling and on the accepting side.

It moves bytes, and says how it began (kind of handshake, times) and how it ended. It knows no SIP.
`endpoints` opens and accepts connections. `engine` does TLS itself, and `plain` passes bytes on where there is none.

    CONNECTING  ->  HANDSHAKING  ->  OPEN  ->  ENDED

Every way to the end goes through `_end`, from any state, and only the first one counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Protocol, cast

from trunkproof.loadgen.tls.engine import TlsEngine
from trunkproof.loadgen.tls.faults import alert_of, certificate_fault_of
from trunkproof.loadgen.tls.plain import PlainEngine
from trunkproof.models.errors import RemoteError
from trunkproof.models.faults import CertificateFault, TlsAlert
from trunkproof.models.records import ConnectionKind

CONNECT_TIMEOUT_S = 10.0
"""For TCP and TLS together. Kamailio's tcp_connect_timeout is 10 s too."""
CLOSE_GRACE_S = 1.0
"""After our close the peer has this long to take what is still unsent, and to close its own side."""
MAX_UNSENT_BYTES = 1_048_576
"""A peer that does not read must not fill our memory. So much is about a thousand SIP messages."""
_MOST_GATHERED_BYTES = 65_536


class ConnectFailure(StrEnum):
    """Why a connection could not be opened."""

    REFUSED = "refused"
    """Nobody listens there, or there is no route."""
    TIMEOUT = "timeout"
    CERTIFICATE = "certificate"
    """One side did not accept the other's certificate: wrong authority, host name or dates, or none at all."""
    TLS = "tls"
    """The two sides have no common version or cipher, or the peer does not speak TLS."""
    RESET = "reset"
    """The peer hung up before the handshake was over."""


class ConnectError(RemoteError):
    """The peer did not let us open a connection."""

    def __init__(
        self,
        failure: ConnectFailure,
        detail: str,
        alert: TlsAlert | None = None,
        certificate: CertificateFault | None = None,
    ) -> None:
        self.failure = failure
        self.detail = detail
        self.alert = alert
        """The peer's alert, where it sent one."""
        self.certificate = certificate
        """Why we refused the peer's certificate, where we did."""
        super().__init__(f"{failure}: {detail}")


class CloseReason(StrEnum):
    """How an open connection ended."""

    LOCAL = "local"
    """We closed it."""
    ABORTED = "aborted"
    """We reset it."""
    PEER = "peer"
    """The peer closed it properly: with close_notify, or without TLS with a FIN."""
    TRUNCATED = "truncated"
    """The peer's stream ended without close_notify: its process died, or it does not close properly."""
    RESET = "reset"
    """The peer reset it, or the network lost it."""
    TLS = "tls"
    """A fatal alert, or a record that breaks TLS. A TLS 1.3 server refuses a client's certificate this way."""
    STALLED = "stalled"
    """The peer did not read, until too much was unsent."""
    FLOODED = "flooded"
    """The peer sent more than we were ready to read."""


@dataclass(frozen=True)
class Closed:
    """The end of a connection, with the words of the side that reported it."""

    reason: CloseReason
    detail: str = ""
    alert: TlsAlert | None = None
    """The fatal alert of the peer, where it sent one."""


class _State(Enum):
    CONNECTING = auto()
    HANDSHAKING = auto()
    OPEN = auto()
    ENDED = auto()


RST_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 s: close() sends RST and drops what is unsent."""


class StreamTap(Protocol):
    """Is told the bytes of one connection as they go to the network and come from it."""

    def began(self, connection: Connection) -> None:
        """Called when TCP is connected, and both addresses are known."""

    def note(self, data: bytes, *, sent: bool) -> None:
        """Called with bytes before they are sent, or when they were received."""

    def opened(self, connection: Connection) -> None:
        """Called when the handshake is finished."""


_HandshakeDone = Callable[["Connection", ConnectError | None], None]


class Connection(asyncio.Protocol):
    """One connection. `Connector.connect` and `serve_tls` make them: do not make one yourself.

    Plaintext goes to the function given to `deliver_to`. What came before is kept for it.
    Every function given to `when_closed` is called once at the end, also if it is given after the end.
    """

    def __init__(
        self,
        engine: TlsEngine | PlainEngine,
        on_handshake: _HandshakeDone,
        *,
        timeout_s: float,
        tcp_s: float = 0.0,
    ) -> None:
        self._engine = engine
        self._on_handshake = on_handshake
        self._timeout_s = timeout_s
        self._state = _State.CONNECTING
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._deliver: Callable[[bytes], None] | None = None
        self._undelivered = bytearray()
        self._gathering = False
        self._gathered = bytearray()
        self._close_callbacks: list[Callable[[Closed], None]] = []
        self._ending: Closed | None = None
        self._started_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self.tcp_s = tcp_s
        """Time of the TCP handshake in seconds. 0 on the accepting side, which cannot see it."""
        self.tls_s = 0.0
        """Time of the TLS handshake in seconds, as this side saw it."""
        self.peer: tuple[str, int] = ("", 0)
        self.local: tuple[str, int] = ("", 0)
        self.tap: StreamTap | None = None
        """Set it before the connection is made."""

    @property
    def kind(self) -> ConnectionKind:
        """Return whether the handshake was FULL or RESUMED, or TCP without TLS."""
        return self._engine.kind

    @property
    def version(self) -> str:
        """Return the version of TLS, such as `TLSv1.3`. Empty without TLS."""
        return self._engine.version

    @property
    def cipher(self) -> str:
        """Return OpenSSL's name of the cipher suite."""
        return self._engine.cipher

    @property
    def session(self) -> ssl.SSLSession | None:
        """Return the session that a later connection of the same Connector can resume. None until the peer sent one."""
        return self._engine.session

    @property
    def closed(self) -> Closed | None:
        """Return how the connection ended, or None while bytes can be written."""
        return self._ending

    def now(self) -> float:
        """Return the time of the event loop's clock."""
        return self._loop.time()

    def deliver_to(self, receiver: Callable[[bytes], None]) -> None:
        """Give received plaintext to `receiver`, beginning at once with what waits."""
        self._deliver = receiver
        if self._undelivered:
            waiting, self._undelivered = bytes(self._undelivered), bytearray()
            receiver(waiting)

    def when_closed(self, callback: Callable[[Closed], None]) -> None:
        """Call `callback` after the last byte was delivered, or soon where that has happened."""
        if self._ended.done():
            # Not at once: the caller may be in the middle of something that the callback changes.
            self._loop.call_soon(callback, self._ended.result())
        else:
            self._close_callbacks.append(callback)

    def write(self, data: bytes) -> None:
        """Send plaintext at once. Further writes in the same turn of the event loop are sent together at its end.

        On a connection that has ended it does nothing: `when_closed` reports the end.
        """
        if self._state is not _State.OPEN:
            return
        if self._gathering:
            # One TLS record and one system call for all further writes of a turn: in a burst these two cost more than
            # the messages themselves.
            self._gathered += data
            if len(self._gathered) > _MOST_GATHERED_BYTES:
                self._send_gathered()
            return
        # The first write of a turn goes out at once, so a single message, which is the usual case, is never delayed.
        self._gathering = True
        self._loop.call_soon(self._end_gathering)
        self._send(data)

    def _end_gathering(self) -> None:
        self._gathering = False
        self._send_gathered()

    def _send_gathered(self) -> None:
        if self._gathered and self._state is _State.OPEN:
            data, self._gathered = bytes(self._gathered), bytearray()
            self._send(data)

    def _send(self, data: bytes) -> None:
        self._engine.write(data)
        self._flush()
        if self._transport is not None and self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self._end(Closed(CloseReason.STALLED, f"more than {MAX_UNSENT_BYTES} bytes unsent"), abort=True)

    def close(self) -> None:
        """Close properly: send what was written, then close_notify and FIN."""
        # What was written in this turn comes before the close_notify, after which nothing may be sent.
        self._send_gathered()
        if self._state is _State.OPEN:
            self._engine.close()
        self._end(Closed(CloseReason.LOCAL))

    def abort(self, reason: str = "") -> None:
        """Reset the connection (TCP RST). Unsent bytes are lost, as when a host restarts."""
        self._end(Closed(CloseReason.ABORTED, reason), abort=True)

    async def wait_closed(self) -> Closed:
        """Wait until the socket is gone. Return how the connection ended."""
        # Several may wait for this future. One that is cancelled must not cancel it for the others.
        return cast(Closed, await asyncio.shield(self._ended))

    # The four methods below are those of asyncio.Protocol. The event loop calls them.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin TLS, now that the TCP connection is there."""
        self._transport = cast(asyncio.Transport, transport)
        # It was closed or aborted while TCP was still connecting.
        if self._state is _State.ENDED:
            self._hang_up(self._transport, abort=True)
            return
        try:
            self.peer = _endpoint(transport.get_extra_info("peername"))
            self.local = _endpoint(transport.get_extra_info("sockname"))
            # Otherwise the system would hold a small message back until the one before it is acknowledged (Nagle's
            # algorithm).
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            # The socket was closed or reset between its connection and this turn of the event loop.
            self._transport = None
            transport.close()
            self._end(Closed(CloseReason.RESET, str(error)))
            return
        self._started_s = self._loop.time()
        self._state = _State.HANDSHAKING
        if self.tap is not None:
            self.tap.began(self)
        self._deadline = self._loop.call_later(self._timeout_s, self._handshake_timed_out)
        self.data_received(b"")  # on the calling side this makes the ClientHello

    def data_received(self, data: bytes) -> None:
        """Take bytes from the network."""
        if self._state is _State.ENDED:
            return
        if self.tap is not None and data:
            self.tap.note(data, sent=False)
        try:
            plaintext = self._engine.receive(data)
        except ssl.SSLError as error:
            # The alert that tells the peer is sent in `_end`, by `_flush`.
            self._tls_broken(error)
            return
        self._flush()
        if self._state is _State.HANDSHAKING and self._engine.handshaken:
            self._opened()
        if plaintext:
            self._received(plaintext)
        if self._engine.peer_closed:
            # TLS can be closed on one side: what we have still to say may follow the peer's close_notify.
            self._send_gathered()
            self._engine.close()
            self._end(Closed(CloseReason.PEER))

    def eof_received(self) -> bool:
        """Take the peer's FIN. Before a close_notify it means a cut stream. After the end it changes nothing."""
        if self._engine.is_whole_at_fin:
            # What was written in this turn may still reach the peer, which has closed only its own side.
            self._send_gathered()
            self._end(Closed(CloseReason.PEER))
        else:
            self._end(Closed(CloseReason.TRUNCATED, "stream ended without close_notify"))
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Report the end, now that the socket is gone."""
        if self._ended.done():
            return
        # It counts only where nothing else ended the connection before.
        self._end(Closed(CloseReason.RESET, str(error or "connection lost")))
        if self._deadline is not None:
            self._deadline.cancel()
        ending = self._ending or Closed(CloseReason.RESET)
        self._ended.set_result(ending)
        for callback in self._close_callbacks:
            callback(ending)
        self._close_callbacks.clear()
        # These refer to what refers to us. Without the cycle the memory of the connection, most of it OpenSSL's, is
        # free at once. The garbage collector looks seldom (`system.loop`), and does not see OpenSSL's memory.
        self._deliver = self._transport = None

    def _opened(self) -> None:
        self._state = _State.OPEN
        self.tls_s = self._loop.time() - self._started_s
        if self._deadline is not None:
            self._deadline.cancel()
        if self.tap is not None:
            self.tap.opened(self)
        self._on_handshake(self, None)

    def _received(self, plaintext: bytes) -> None:
        if self._deliver is None:
            self._undelivered += plaintext
            # Nobody reads yet, and the peer must not fill our memory until somebody does.
            if len(self._undelivered) > MAX_UNSENT_BYTES:
                self._end(Closed(CloseReason.FLOODED, f"more than {MAX_UNSENT_BYTES} bytes unread"), abort=True)
        else:
            self._deliver(plaintext)

    def _flush(self) -> None:
        if self._transport is not None and (data := self._engine.outgoing()):
            if self.tap is not None:
                self.tap.note(data, sent=True)
            self._transport.write(data)

    def _tls_broken(self, error: ssl.SSLError) -> None:
        failure = ConnectFailure.CERTIFICATE if _is_about_certificates(error) else ConnectFailure.TLS
        ending = Closed(CloseReason.TLS, _words(error), alert_of(error))
        self._end(ending, failure=failure, certificate=certificate_fault_of(error))

    def _handshake_timed_out(self) -> None:
        ending = Closed(CloseReason.ABORTED, "TLS handshake not finished in time")
        self._end(ending, failure=ConnectFailure.TIMEOUT, abort=True)

    def _end(
        self,
        ending: Closed,
        *,
        failure: ConnectFailure = ConnectFailure.RESET,
        certificate: CertificateFault | None = None,
        abort: bool = False,
    ) -> None:
        """End the connection. Every way to the end comes through here, and only the first one counts."""
        if self._state is _State.ENDED:
            return
        was, self._state, self._ending = self._state, _State.ENDED, ending
        # It stood for the handshake. `_hang_up` sets a new one for the close.
        if self._deadline is not None:
            self._deadline.cancel()
        # An alert or a close_notify may wait, and goes out before the socket is closed.
        self._flush()
        if self._transport is not None:  # else connection_made hangs up
            self._hang_up(self._transport, abort=abort)
        # Whoever waits for the handshake must hear of its failure.
        if was is not _State.OPEN:
            error = ConnectError(failure, ending.detail or ending.reason, ending.alert, certificate)
            self._on_handshake(self, error)

    def _hang_up(self, transport: asyncio.Transport, *, abort: bool) -> None:
        if abort:
            # The socket may be gone already, where the event loop has closed it by itself.
            with contextlib.suppress(OSError, ValueError):
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
            transport.abort()
            return
        # To close a socket with unread bytes (such as a late TLS 1.3 ticket) sends RST, and the peer then loses what it
        # has not read yet. So we close only our side, and read theirs to its end.
        try:
            transport.write_eof()
        except OSError:  # the peer has reset the connection, and the event loop has not told us yet
            transport.abort()
        else:
            self._deadline = self._loop.call_later(CLOSE_GRACE_S, transport.abort)


def _is_about_certificates(error: ssl.SSLError) -> bool:
    # Our own refusal has a class of its own. The peer's comes as an alert, such as TLSV1_ALERT_UNKNOWN_CA.
    words = error.reason or ""
    return isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE" in words or "UNKNOWN_CA" in words


def _words(error: ssl.SSLError) -> str:
    return error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else (error.reason or str(error))


def _endpoint(name: tuple[str, int] | tuple[str, int, int, int] | None) -> tuple[str, int]:
    return (name[0], name[1]) if name else ("", 0)
