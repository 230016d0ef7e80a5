"""TLS without a socket: one endpoint of one connection as an object that turns bytes into bytes.

It wraps `ssl.SSLObject` over memory buffers, because asyncio's own TLS neither resumes a session nor says how long a
handshake took. It knows no transport, no clock and no certificate policy: those are net.py's and the context's.
"""

from __future__ import annotations

import ssl

from trunkproof.models.records import ConnectionKind

_READ_BYTES = 65_536


class TlsEngine:
    """One side of a TLS connection. Feed it what arrived, then send what `outgoing` holds, after errors as well."""

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname, session=session
        )
        self.handshaken = False
        self.peer_closed = False
        """The peer said close_notify: its stream ended where it meant it to."""

    def handshake(self) -> None:
        """Go on with the handshake as far as the bytes reach. Raises ssl.SSLError when it has failed."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.handshaken = True

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the wire; returns the plaintext in them. Raises ssl.SSLError when the peer broke TLS."""
        self._incoming.write(data)
        if not self.handshaken:
            self.handshake()
        return self._read_all() if self.handshaken else b""

    def write(self, plaintext: bytes) -> None:
        """Encrypt; the records are in `outgoing`."""
        self._tls.write(plaintext)

    def close(self) -> None:
        """Say close_notify, without waiting for the peer's (RFC 8446 section 6.1 does not ask for it)."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            # Nearly always "want read": the peer's close_notify is not awaited. A broken session has none to say.
            return

    def outgoing(self) -> bytes:
        """Bytes to be sent to the peer now."""
        return self._outgoing.read()

    @property
    def kind(self) -> ConnectionKind:
        """Whether the handshake resumed an earlier session or was a full one."""
        return ConnectionKind.RESUMED if self._tls.session_reused else ConnectionKind.FULL

    @property
    def version(self) -> str:
        """Such as `TLSv1.3`."""
        return self._tls.version() or ""

    @property
    def cipher(self) -> str:
        """OpenSSL's name of the cipher suite."""
        cipher = self._tls.cipher()
        return cipher[0] if cipher else ""

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection can resume, or None; TLS 1.3 sends it after the handshake (RFC 8446, 4.6.1)."""
        session = self._tls.session
        # A session object exists from the handshake on; before its ticket has come it has no name and resumes nothing.
        return session if session is not None and (session.has_ticket or session.id) else None

    def _read_all(self) -> bytes:
        chunks = []
        try:
            # Asked for more than there is, OpenSSL answers with an exception, which costs more than reading a message.
            while self._incoming.pending or self._tls.pending():
                chunk = self._tls.read(_READ_BYTES)
                if not chunk:
                    self.peer_closed = True
                    break
                chunks.append(chunk)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.peer_closed = True
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
