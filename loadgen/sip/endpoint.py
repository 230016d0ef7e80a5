"""One SIP user agent without input or output: messages and `now` go in, bytes and events come out.

An adapter, which owns sockets and clock, uses it like this:

    endpoint.receive(connection_id, message, now)        # or a method of a call, or handle_timer(now)
    for connection_id, data in endpoint.messages_to_send(): ...
    for event in endpoint.events(): ...
    wake_at(endpoint.next_timer())

What the endpoint is made of, and how a message passes through it:

- `Flights` holds the transactions under way. A received response, or a repeated request, finds its transaction there
  by branch and method. The transaction says what to send and what happened. `_drain` moves both on, and drops the
  flight once its transaction is over.
- A transaction's events go to its handler: a method of the call that started it.
- `_keyed` finds the call that a new request belongs to, by Call-ID and our tag. A call answers it through the methods
  under "what calls ask for".
- A call belongs to the peer with whom it began. The adapter says with `know_peer` who is at the other end of each
  connection. What comes over a connection of somebody else finds neither call nor transaction, and changes nothing.
  The same peer may come back over a new connection. Without `know_peer` all connections lead to one peer.
- `TimerQueue` holds flights and calls together, since both have `next_timer` and `handle_timer`. After every step the
  owner is scheduled again.
- `_users` lists who uses a connection, so that the loss of a connection costs time only for its own users.

A new INVITE makes a `ServerCall`, whose user decides. Any other request that belongs to no call is answered here:
OPTIONS with 200, the rest with the refusal that `screening` names.
"""

from __future__ import annotations

import random
from collections.abc import Hashable

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call import Call, ConnectionId, Handler, UserAgent
from trunkproof.loadgen.sip.capabilities import ACCEPT, CAPABILITIES
from trunkproof.loadgen.sip.client_call import ClientCall
from trunkproof.loadgen.sip.dialog import CallKey
from trunkproof.loadgen.sip.events import Event, Probe
from trunkproof.loadgen.sip.fields import MalformedFieldError, uri_host
from trunkproof.loadgen.sip.flights import Flight, Flights
from trunkproof.loadgen.sip.headers import Header
from trunkproof.loadgen.sip.identifiers import Identifiers
from trunkproof.loadgen.sip.message import (
    REASON_PHRASES,
    MalformedMessageError,
    Request,
    Response,
    response_to,
    serialize,
)
from trunkproof.loadgen.sip.screening import (
    TransactionKey,
    call_key,
    check_identity,
    check_request,
    merge_key,
    note_source,
    refuse,
    server_key,
)
from trunkproof.loadgen.sip.server_call import IncomingInvite, ServerCall
from trunkproof.loadgen.sip.timer_queue import TimerQueue
from trunkproof.loadgen.sip.transaction import (
    ClientTransaction,
    InviteClientTransaction,
    InviteServerTransaction,
    ServerTransaction,
    TransactionEvent,
    TransactionFailure,
)


class SipEndpoint:
    """A user agent.

    After every call of a method here or on a call, drain `messages_to_send` and `events`, and arrange that
    `handle_timer` is called at `next_timer`. Times are seconds of the clock that `now` is read from.
    """

    def __init__(self, agent: UserAgent, source: random.Random) -> None:
        self.agent = agent
        self.ids = Identifiers(source)
        self._flights = Flights()
        # A call changes its `connection_id` itself. The value here is the one under which `_users` lists it.
        self._calls: dict[Call, ConnectionId | None] = {}
        self._keyed: dict[CallKey, Call] = {}
        # The inner dictionaries are sets that keep their order: a lost connection fails its users in the same order
        # in every run.
        self._users: dict[ConnectionId, dict[Flight | Call, None]] = {}
        self._peers: dict[ConnectionId, Hashable] = {}
        self._agents: dict[ConnectionId, UserAgent] = {}
        self._owners: dict[Call, Hashable] = {}
        self._timers = TimerQueue()
        self._outbox: list[tuple[ConnectionId, bytes]] = []
        self._events: list[Event] = []
        self.malformed = 0
        """How many messages could not be read."""
        self.foreign = 0
        """How many messages named a call or a request of another peer. They were ignored, or got a 481."""

    # ------------------------------------------------------------------------------------------ what users ask for

    def know_peer(self, connection_id: ConnectionId, peer: Hashable, agent: UserAgent | None = None) -> None:
        """Note who is at the other end of a new connection: any value that is equal for equal peers.

        `agent` is how the endpoint introduces itself there, where that differs from `self.agent`.
        """
        self._peers[connection_id] = peer
        if agent is not None:
            self._agents[connection_id] = agent

    def start_call(self, connection_id: ConnectionId, invite: Request, now: float) -> ClientCall:
        """Place a call with an INVITE, such as `invite.outbound_invite` builds. Return the call."""
        call = ClientCall(self, connection_id, invite, now)
        self.attach(call)
        return call

    def send_options(self, connection_id: ConnectionId, target: str, now: float) -> Probe:
        """Ask `target`, a SIP URI, whether it is alive (RFC 3261 section 11). The event ProbeAnswered ends it."""
        probe = Probe()
        own = f"sip:{uri_host(self.agent.host)}:{self.agent.port};transport={self.agent.transport}"
        # `rport` asks for the port from which the peer sees us (RFC 3581 section 3). So the answer shows a NAT.
        rows = [("Via", f"{self.agent.via(self.ids.branch())};rport"), ("Max-Forwards", "70")]
        rows += [("From", f"<{own}>;tag={self.ids.tag()}"), ("To", f"<{target}>"), ("Contact", f"<{own}>")]
        rows += [("Call-ID", self.ids.call_id(self.agent.host)), ("CSeq", "102 OPTIONS"), ("Accept", ACCEPT)]
        rows += [("User-Agent", self.agent.product)]

        def answered(event: TransactionEvent, at_s: float) -> None:
            # The values of the two failures are the statuses 408 and 503.
            if isinstance(event, TransactionFailure):
                self.emit(events.ProbeAnswered(at_s, probe, event.value, None))
            elif isinstance(event, Response) and event.status >= 200:
                self.emit(events.ProbeAnswered(at_s, probe, event.status, event))

        self.start(connection_id, Request("OPTIONS", target, rows), answered, now)
        return probe

    def messages_to_send(self) -> list[tuple[ConnectionId, bytes]]:
        """Return the bytes to write and the connection of each piece, in order. Each is handed out once."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def events(self) -> list[Event]:
        """Return what happened, in order. Each event is handed out once."""
        happened, self._events = self._events, []
        return happened

    def next_timer(self) -> float | None:
        """Return when `handle_timer` is next due, or None."""
        return self._timers.next_due()

    def handle_timer(self, now: float) -> None:
        """Do everything that is due."""
        for owner in self._timers.pop_due(now):
            owner.handle_timer(now)
            if isinstance(owner, Flight):
                self._drain(owner, now)
            elif owner in self._calls:  # a call that its own timer ended is gone by now
                self._timers.schedule(owner)

    @property
    def calls(self) -> tuple[Call, ...]:
        """Return the calls that have not ended."""
        return tuple(self._calls)

    @property
    def idle(self) -> bool:
        """Return whether nothing is remembered: no call, no transaction, no timer."""
        remembered = (self._flights, self._calls, self._keyed, self._owners, self._users)
        return not any(remembered) and self.next_timer() is None

    def transactions(self, connection_id: ConnectionId) -> int:
        """Return how many transactions are under way on a connection."""
        return self._flights.on(connection_id)

    def connection_lost(self, connection_id: ConnectionId, now: float) -> None:
        """Note that a connection is gone: its transactions fail, its answered calls are Detached and live on."""
        # Taken out first: the steps below leave connections, and must not change the dictionary that we walk through.
        users = self._users.pop(connection_id, {})
        self._peers.pop(connection_id, None)
        self._agents.pop(connection_id, None)
        # Transactions first: their failure ends the unanswered calls, and only those that are left are told.
        for user in users:
            if isinstance(user, Flight):
                user.transaction.connection_lost(now)
                self._drain(user, now)
        for user in users:
            if isinstance(user, Call) and self._calls.get(user) == connection_id:
                self._calls[user] = None
                user.connection_lost(now)

    # --------------------------------------------------------------------------------------------------- receiving

    def receive(
        self,
        connection_id: ConnectionId,
        message: Request | Response,
        now: float,
        source: tuple[str, int] | None = None,
    ) -> None:
        """Take a message. `source` is the peer's address and port. Where given, they go into its Via (RFC 3581)."""
        try:
            if isinstance(message, Response):
                return self._receive_response(connection_id, message, now)
            if source is not None:
                note_source(message, source)
            return self._receive_request(connection_id, message, now)
        except MalformedFieldError as error:
            return self.reject_malformed(connection_id, MalformedMessageError(str(error), message))

    def reject_malformed(self, connection_id: ConnectionId, error: MalformedMessageError) -> None:
        """Count a malformed message. Answer a request, by 400 or what `error` says, if it says where to send that."""
        self.malformed += 1
        head = error.head
        # An ACK never gets a response, and neither does a response. Without a Via nobody knows where to send the 400.
        if isinstance(head, Request) and head.method != "ACK" and "Via" in head.headers:
            reason = f"{REASON_PHRASES[error.status]} ({error})"
            self.send(connection_id, response_to(head, error.status, reason, to_tag=self.ids.tag()))

    def _receive_response(self, connection_id: ConnectionId, response: Response, now: float) -> None:
        # A response without a transaction came too late or is a stray: there is nothing that it could change.
        flight = self._flights.client(response)
        if flight is None or not isinstance(flight.transaction, ClientTransaction):
            return
        if flight.peer != self._peers.get(connection_id):
            self.foreign += 1
            return
        headers = response.headers
        # With a second Via it was meant for somebody before us (section 8.1.3.3). Repeated names and lists are rare.
        if (headers.repeats or "," in headers.firsts().get("Via", "")) and len(headers.elements("Via")) > 1:
            raise MalformedFieldError("response for another hop")
        # Before the check, because the check parses whatever has not been taken over.
        flight.transaction.recognise(response)
        check_identity(response)
        flight.transaction.receive(response, now)
        self._drain(flight, now)

    def _receive_request(self, connection_id: ConnectionId, request: Request, now: float) -> None:
        check_identity(request)
        if request.cseq.method != request.method:
            raise MalformedFieldError("CSeq names another method")
        # ACK and CANCEL have the branch of their INVITE, and concern its transaction (RFC 3261 sections 9.2, 17.2.3).
        key = server_key(request, "INVITE" if request.method in ("ACK", "CANCEL") else request.method)
        flight = self._flights.server(key, self._peers.get(connection_id))
        if request.method == "CANCEL":
            self._receive_cancel(connection_id, request, flight, now)
        # A repetition, or the ACK of a failure. Only the ACK of a 2xx has a branch of its own and goes to the dialog.
        elif flight is not None and isinstance(flight.transaction, ServerTransaction):
            flight.transaction.receive(request, now)
            self._drain(flight, now)
        elif request.method == "ACK":
            call = self._call_of(connection_id, request)
            if call is not None:
                call.receive_ack(request, now)
        else:
            self._receive_new(connection_id, request, key, now)

    def _call_of(self, connection_id: ConnectionId, request: Request) -> Call | None:
        """Return the call that a request inside a dialog belongs to. None where its peer has no such call."""
        call = self._keyed.get(call_key(request))
        if call is not None and self._owners.get(call) != self._peers.get(connection_id):
            self.foreign += 1
            return None
        return call

    def _receive_cancel(self, connection_id: ConnectionId, request: Request, target: Flight | None, now: float) -> None:
        """Answer a CANCEL: 200 where its INVITE is known, whatever became of it, else 481 (RFC 3261 section 9.2)."""
        # The same To tag as in the responses to the INVITE, where it has one.
        dialog = target.call.dialog if target is not None and target.call is not None else None
        tag = dialog.local_tag if dialog is not None else self.ids.tag()
        # No transaction of its own: over a reliable transport a CANCEL is not repeated.
        self.send(connection_id, response_to(request, 200 if target else 481, to_tag=tag))
        if target is not None and target.call is not None:
            target.call.cancelled(now)

    def _receive_new(self, connection_id: ConnectionId, request: Request, key: TransactionKey, now: float) -> None:
        # These read headers and may raise, and must do so before a transaction is remembered.
        check_request(request)
        call = self._call_of(connection_id, request)
        merged = call is None and self._flights.serves(merge_key(request), self._peers.get(connection_id))
        refusal = refuse(request, call is not None, merged, self.agent.min_se_s)
        if refusal is None and request.method == "INVITE" and call is None:
            return self._receive_invite(connection_id, request, key, now)
        flight = self._serve(connection_id, request, key)
        if refusal is not None:
            status, rows = refusal
            self._refuse(flight, request, status, rows, now)
        elif call is None:
            self._refuse(flight, request, 200, CAPABILITIES, now)  # OPTIONS outside a dialog (section 11.2)
        else:
            self._in_dialog(call, request, flight, now)
        return None

    def _in_dialog(self, call: Call, request: Request, flight: Flight, now: float) -> None:
        transaction = flight.transaction
        assert isinstance(transaction, ServerTransaction)  # `_serve` made it
        try:
            call.receive(request, transaction, flight.connection_id, now)
        except MalformedFieldError:
            self._refuse(flight, request, 400, (), now)

    def _receive_invite(self, connection_id: ConnectionId, invite: Request, key: TransactionKey, now: float) -> None:
        transaction = InviteServerTransaction(invite)
        # This raises for an INVITE that makes no dialog. Nothing is remembered yet, so a 400 is all that it leaves
        # behind.
        call = ServerCall(self, connection_id, invite, transaction)
        peer, merge = self._peers.get(connection_id), merge_key(invite)
        flight = Flight(transaction, key, connection_id, call.on_invite_transaction, peer, merge, call)
        self._board(flight, now)
        self.attach(call)
        self.emit(IncomingInvite(now, call, invite))

    def _refuse(self, flight: Flight, request: Request, status: int, rows: tuple[Header, ...], now: float) -> None:
        assert isinstance(flight.transaction, ServerTransaction)  # only servers respond
        response = response_to(request, status, to_tag=self.ids.tag(), headers=rows)
        self.respond(flight.transaction, response, now)

    # ------------------------------------------------------------------------------- what calls ask for (call.Core)

    def send(self, connection_id: ConnectionId | None, message: Request | Response) -> None:
        """Send outside any transaction. Without a connection the message is dropped, as a network might drop it."""
        if connection_id is not None:
            self._outbox.append((connection_id, serialize(message)))

    def start(self, connection_id: ConnectionId | None, request: Request, handler: Handler, now: float) -> None:
        """Send a non-INVITE request in a client transaction of its own."""
        self._launch(connection_id, ClientTransaction(request, now), handler, now)

    def start_invite(
        self, connection_id: ConnectionId | None, request: Request, handler: Handler, now: float
    ) -> InviteClientTransaction:
        """Send an INVITE in a client transaction of its own. Return the transaction."""
        transaction = InviteClientTransaction(request, now)
        self._launch(connection_id, transaction, handler, now)
        return transaction

    def _launch(
        self, connection_id: ConnectionId | None, transaction: ClientTransaction, handler: Handler, now: float
    ) -> None:
        if connection_id is None:
            # The call learns of it in the same way as of a connection that breaks later.
            return handler(TransactionFailure.CONNECTION_LOST, now)
        request = transaction.request
        firsts = request.headers.firsts()
        key, verbatim = (request.via.branch, "", request.method), (firsts.get("Via"), firsts.get("CSeq"))
        peer = self._peers.get(connection_id)
        return self._board(Flight(transaction, key, connection_id, handler, peer, verbatim=verbatim), now)

    def abandon(self, transaction: InviteClientTransaction, now: float) -> None:
        """Give up an INVITE that will not be answered (RFC 3261 section 9.1)."""
        flight = self._flights.of(transaction)
        if flight is not None:
            transaction.abandon(now)
            self._drain(flight, now)

    def respond(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Respond in a server transaction. Do nothing where it is over."""
        flight = self._flights.of(transaction)
        if flight is not None:
            transaction.respond(response, now)
            self._drain(flight, now)

    def agent_on(self, connection_id: ConnectionId | None) -> UserAgent:
        """Return how the endpoint introduces itself to the peer of a connection."""
        return self.agent if connection_id is None else self._agents.get(connection_id, self.agent)

    def emit(self, event: Event) -> None:
        """Hand an event to the user."""
        self._events.append(event)

    def attach(self, call: Call) -> None:
        """Note a call, and its present connection."""
        # An ended call must not come back: nothing would ever forget it again.
        if call.ended:
            return
        self._owners.setdefault(call, self._peers.get(call.connection_id) if call.connection_id is not None else None)
        before = self._calls.get(call)
        if before is not None and before != call.connection_id:
            self._leave(before, call)
        self._calls[call] = call.connection_id
        if call.connection_id is not None:
            self._users.setdefault(call.connection_id, {})[call] = None
        self._keyed[call.key] = call

    def schedule(self, call: Call) -> None:
        """Ask the call again when it is next due, because its timers changed."""
        self._timers.schedule(call)

    def forget(self, call: Call) -> None:
        """Forget a call that is over. Its transactions stay while they still absorb repetitions."""
        self._timers.cancel(call)
        self._owners.pop(call, None)
        connection_id = self._calls.pop(call, None)
        if connection_id is not None:
            self._leave(connection_id, call)
        # Only the call that is listed under the key may remove it.
        if self._keyed.get(call.key) is call:
            del self._keyed[call.key]

    # ------------------------------------------------------------------------------------------------ book-keeping

    def _serve(self, connection_id: ConnectionId, request: Request, key: TransactionKey) -> Flight:
        invite = request.method == "INVITE"
        transaction = InviteServerTransaction(request) if invite else ServerTransaction(request)
        # Only an INVITE stays for a while: any other request is answered at once, and its copy would meet nothing.
        merge = merge_key(request) if invite else None
        flight = Flight(transaction, key, connection_id, _nobody, self._peers.get(connection_id), merge)
        self._enter(flight)
        return flight

    def _board(self, flight: Flight, now: float) -> None:
        self._enter(flight)
        self._drain(flight, now)

    def _enter(self, flight: Flight) -> None:
        self._flights.enter(flight)
        self._users.setdefault(flight.connection_id, {})[flight] = None

    def _drain(self, flight: Flight, now: float) -> None:
        """Send a transaction's messages, pass its events on, and forget it once it is over."""
        transaction = flight.transaction
        for message in transaction.messages_to_send():
            self._outbox.append((flight.connection_id, serialize(message)))
        # The handlers come last: they may start new transactions, and must see this one dropped or scheduled.
        happened = transaction.events()
        if not transaction.terminated:
            self._timers.schedule(flight)
        elif self._flights.drop(flight):
            self._timers.cancel(flight)
            self._leave(flight.connection_id, flight)
        for event in happened:
            flight.handler(event, now)

    def _leave(self, connection_id: ConnectionId, user: Flight | Call) -> None:
        users = self._users.get(connection_id)
        if users is not None:
            users.pop(user, None)
            # An empty entry for every connection that ever was would be a leak.
            if not users:
                del self._users[connection_id]


def _nobody(event: TransactionEvent, now: float) -> None:
    """Ignore an event: nobody waits for those of a transaction that is answered at once."""
