"""Refuse strangers: answer 403 to what an address on no whitelist sends, and remember nothing of it.

A stateless server is what RFC 3261 section 8.2.7 allows here: no transaction, no call, no task, no timer but that of
the connection. So a flood of INVITEs costs their parsing up to the rate of `limiter`, then one `accept` a connection.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from trunkproof.loadgen.bugs import noting_bugs
from trunkproof.loadgen.parties.deadline import MessageDeadline
from trunkproof.loadgen.parties.refusal import Refusal
from trunkproof.loadgen.sip.fields import MalformedFieldError
from trunkproof.loadgen.sip.message import MalformedMessageError, Request, response_to, serialize
from trunkproof.loadgen.sip.parser import StreamParser
from trunkproof.loadgen.sip.screening import check_identity, note_source
from trunkproof.loadgen.sip.trace import Trace
from trunkproof.loadgen.tls.connection import Connection
from trunkproof.loadgen.tls.limiter import ConnectionLimiter, Limit
from trunkproof.models.records import Disposition

_REFUSAL = Refusal.of(Disposition.NOT_WHITELISTED)

OnRefused = Callable[[Request, str], None]
"""Is called with an INVITE that was refused, and its source address."""


class StrangerRefuser:
    """Answers strangers."""

    def __init__(
        self, limiter: ConnectionLimiter, *, on_refused: OnRefused | None = None, trace: Trace | None = None
    ) -> None:
        self._limiter = limiter
        self._on_refused = on_refused
        self._trace = trace
        self._key = os.urandom(16)

    def attach(self, connection: Connection) -> None:
        """Answer what comes over a connection until it closes."""
        address = connection.peer[0]
        limits = self._limiter.limits_of(address)
        deadline = MessageDeadline(connection, limits, lambda limit: self._limiter.reached(limit, address))
        trace = self._trace
        parser = StreamParser(observe=None if trace is None else lambda data: trace("received", data))

        def receive(data: bytes) -> None:
            with noting_bugs("a message of a stranger"):
                completed = self._receive(connection, parser, data)
                # Nothing more is parsed of a connection that was closed, so what waits there is no long message.
                open_still = connection.closed is None
                if open_still and limits.message_bytes is not None and parser.pending_bytes > limits.message_bytes:
                    self._limiter.reached(Limit.MESSAGE_SIZE, address)
                    connection.abort(Limit.MESSAGE_SIZE)
                if connection.closed is None:
                    deadline.received(in_message=parser.in_message, completed=completed)

        connection.when_closed(lambda _: deadline.cancel())
        connection.deliver_to(receive)

    def _receive(self, connection: Connection, parser: StreamParser, data: bytes) -> bool:
        """Answer whole messages. Return whether there was any."""
        parser.receive_data(data)
        completed = False
        try:
            # After the first refusal by the rate nothing more of the connection is parsed.
            while connection.closed is None and (message := parser.next_message()) is not None:
                completed = True
                # ACK is never answered, and a response is to nothing that we have asked.
                if isinstance(message, Request) and message.method != "ACK" and self._may_ask(connection):
                    self._refuse(connection, message)
        except (MalformedMessageError, MalformedFieldError) as error:
            # A stranger is owed no explanation.
            connection.abort(str(error))
        for _ in range(parser.take_pings()):
            if connection.closed is not None or not self._may_ask(connection):
                break
            connection.write(b"\r\n")
        return completed

    def _may_ask(self, connection: Connection) -> bool:
        refusal = self._limiter.request(connection.peer[0], connection.now())
        if refusal is not None:
            connection.abort(refusal)
        return refusal is None

    def _refuse(self, connection: Connection, request: Request) -> None:
        check_identity(request)
        note_source(request, connection.peer)
        # The same request gets the same tag, although nothing is remembered (RFC 3261 section 8.2.7).
        tag = hashlib.blake2s(request.call_id.encode(), key=self._key, digest_size=8).hexdigest()
        response = response_to(request, _REFUSAL.status, _REFUSAL.phrase, to_tag=tag, headers=_REFUSAL.headers)
        data = serialize(response)
        connection.write(data)
        if self._trace is not None:
            self._trace("sent", data)
        if request.method == "INVITE" and self._on_refused is not None:
            self._on_refused(request, connection.peer[0])
