"""TLS without a socket: one end of one connection, as an object that turns bytes into bytes.

It wraps `ssl.SSLObject` over memory buffers, because asyncio's own TLS can neither resume a session nor say how long a
handshake took. It knows no transport and no clock (`connection` does). The context checks the chain of the peer's
certificate, and the engine its name, by SIP's rules (`identity`).
"""

from __future__ import annotations

import ssl

from trunkproof.loadgen.tls.identity import WrongNameError, check_identity
from trunkproof.models.records import ConnectionKind

_READ_BYTES = 65_536


class TlsEngine:
    """One side of a TLS connection. Feed it what arrived, then send what `outgoing` returns. Do so after errors too."""

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        # The name is checked only by us, so a caller that verifies has to say it.
        self._name = server_hostname if context.verify_mode is ssl.CERT_REQUIRED and not server_side else None
        if self._name is None and context.verify_mode is ssl.CERT_REQUIRED and not server_side:
            raise ValueError("a certificate cannot be checked without the name that it must be for")
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname, session=session
        )
        self.handshaken = False
        self.is_whole_at_fin = False
        """A stream that ends without close_notify may have been cut (RFC 8446 section 6.1)."""
        self.peer_closed = False
        """The peer sent close_notify: its stream is complete."""

    def handshake(self) -> None:
        """Go on with the handshake as far as the received bytes allow.

        Raises:
            ssl.SSLError: the handshake has failed.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        if self._name is not None:
            try:
                check_identity(self._tls.getpeercert() or {}, self._name)
            except WrongNameError:
                # Our last message of the handshake: without it a TLS 1.3 server does not take us for connected.
                self._outgoing.read()
                raise
        self.handshaken = True

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the network, and return the plaintext in them.

        Raises:
            ssl.SSLError: the peer broke TLS.
        """
        self._incoming.write(data)
        if not self.handshaken:  # plaintext may follow the last handshake record in the same bytes
            self.handshake()
        return self._read_all() if self.handshaken else b""

    def write(self, plaintext: bytes) -> None:
        """Encrypt plaintext. `outgoing` returns the records."""
        self._tls.write(plaintext)

    def close(self) -> None:
        """Send close_notify. Do not wait for the peer's: RFC 8446 section 6.1 does not demand that."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            # Nearly always "want read", because the peer's close_notify has not come. A broken session sends none.
            return

    def outgoing(self) -> bytes:
        """Return the bytes to send to the peer now."""
        return self._outgoing.read()

    @property
    def kind(self) -> ConnectionKind:
        """Return whether the handshake resumed an earlier session or was a full one."""
        return ConnectionKind.RESUMED if self._tls.session_reused else ConnectionKind.FULL

    @property
    def version(self) -> str:
        """Return the version of TLS, such as `TLSv1.3`."""
        return self._tls.version() or ""

    @property
    def cipher(self) -> str:
        """Return OpenSSL's name of the cipher suite."""
        cipher = self._tls.cipher()
        return cipher[0] if cipher else ""

    @property
    def session(self) -> ssl.SSLSession | None:
        """Return the session that a later connection can resume, or None.

        TLS 1.3 sends it after the handshake (RFC 8446 section 4.6.1).
        """
        session = self._tls.session
        # A session object exists from the handshake on. Until its ticket comes it has no id and cannot be resumed.
        return session if session is not None and (session.has_ticket or session.id) else None

    def _read_all(self) -> bytes:
        chunks = []
        try:
            # Ask only while something waits: else OpenSSL raises an exception, which costs more than to read a message.
            while self._incoming.pending or self._tls.pending():
                chunk = self._tls.read(_READ_BYTES)
                # An empty read is how Python reports the peer's close_notify.
                if not chunk:
                    self.peer_closed = True
                    break
                chunks.append(chunk)
        except ssl.SSLWantReadError:
            pass
        # The same, where we have sent our own close_notify already.
        except ssl.SSLZeroReturnError:
            self.peer_closed = True
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
