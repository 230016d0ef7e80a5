"""Run a SIP user agent on asyncio: one `SipEndpoint`, its connections, and the events of each call.

This is the adapter between the sans-I/O core in `loadgen.sip` and the sockets in `loadgen.tls`. It decides nothing
about a call: `outgoing` and `incoming` do.

Each input (bytes, a timer, an action of a caller) goes through the same three steps:

1. Give the input to the endpoint, with the time of the event loop.
2. Send what the endpoint wants to send, and put its events into the inbox of their call.
3. Arm one timer, for the earliest of the endpoint's timers.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections import deque
from collections.abc import Callable, Hashable

from trunkproof.loadgen.bugs import note_bug, noting_bugs
from trunkproof.loadgen.parties.deadline import MessageDeadline
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call import Call, UserAgent
from trunkproof.loadgen.sip.client_call import ClientCall
from trunkproof.loadgen.sip.endpoint import SipEndpoint
from trunkproof.loadgen.sip.fields import MalformedFieldError
from trunkproof.loadgen.sip.identifiers import Identifiers
from trunkproof.loadgen.sip.mask import mask
from trunkproof.loadgen.sip.message import MalformedMessageError, Request, Response, response_to
from trunkproof.loadgen.sip.parser import StreamParser
from trunkproof.loadgen.sip.server_call import IncomingInvite, ServerCall
from trunkproof.loadgen.sip.trace import Trace
from trunkproof.loadgen.tls.endpoints import Closed, Connection
from trunkproof.loadgen.tls.limiter import ConnectionLimiter, Limit, PeerLimits

logger = logging.getLogger(__name__)


class Stopped:
    """An event for every call under way when the run is stopped: hang up, and note it in the record."""


class CallEvents:
    """The inbox of one call: its events, in order, for the coroutine that awaits them."""

    __slots__ = ("_alarm", "_alarm_s", "_loop", "_reader", "_until", "_waiting")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[events.Event | Stopped] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._until: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_s = 0.0

    def put(self, event: events.Event | Stopped) -> None:
        """Add an event, and wake the reader."""
        self._waiting.append(event)
        if self._reader is not None:
            _wake(self._reader)
        # An alarm that stays set would hold the call of an ended attempt in memory until it rings.
        if self._alarm is not None and isinstance(event, events.FinalEvent):
            self._alarm.cancel()
            self._alarm = None

    async def next(self, until: float | None = None) -> events.Event | Stopped | None:
        """Return the next event, or None when the loop's clock reaches `until` first."""
        if not self._waiting:
            if until is not None and until <= self._loop.time():
                return None
            self._until = until
            if until is not None and (self._alarm is None or until < self._alarm_s):
                self._set_alarm(until)
            # Not asyncio.timeout: it cancels the task, and takes longer than the rest of this method together.
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = self._until = None
        return self._waiting.popleft() if self._waiting else None

    def _set_alarm(self, until: float) -> None:
        # The alarm stays set when an event comes first: most waits of a call have the same end, or none.
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_s = self._loop.call_at(until, self._ring), until

    def _ring(self) -> None:
        self._alarm = None
        if self._reader is None or self._until is None:
            return
        # The reader waits for longer by now than when the alarm was set.
        if self._until > self._alarm_s:
            self._set_alarm(self._until)
        else:
            _wake(self._reader)


def _wake(reader: asyncio.Future[None]) -> None:
    # An event and the alarm may come in the same turn of the event loop.
    if not reader.done():
        reader.set_result(None)


class IncomingCall:
    """An incoming call, its source address, the address at which it came in, and its events."""

    __slots__ = ("call", "events", "local", "source")

    def __init__(
        self, call: ServerCall, source: str, call_events: CallEvents, local: tuple[str, int] = ("", 0)
    ) -> None:
        self.call = call
        self.source = source
        self.local = local
        self.events = call_events


class SipAgent:
    """One user agent with all its calls. It runs on the event loop's thread and clock."""

    def __init__(
        self,
        agent: UserAgent,
        random_source: random.Random,
        *,
        on_invite: Callable[[IncomingCall], None] | None = None,
        on_event: Callable[[events.CallEvent], None] | None = None,
        limiter: ConnectionLimiter | None = None,
        trace: Trace | None = None,
        on_message: Callable[[Connection, bytes, bool], None] | None = None,
        identify: Callable[[Connection], Hashable] = lambda connection: connection.peer[0],
        introduce: Callable[[Connection], UserAgent | None] = lambda connection: None,
    ) -> None:
        """Make a user agent without connections.

        Args:
            agent: what its messages say of it.
            random_source: for branches, tags and Call-IDs.
            on_invite: is called with each incoming call.
            on_event: is called with each event of an incoming call.
            limiter: the limits of the peers, which may be those of a listener. None: those of known peers.
            trace: is told every SIP message.
            on_message: is told every SIP message with its connection, and whether it was sent.
            identify: says who is at the other end of a connection: its address by default. A call belongs to the peer
                with whom it began, and connections of equal peers may continue each other's calls.
            introduce: says what its messages say of it on a connection, where that is not `agent`.
        """
        self._loop = asyncio.get_running_loop()
        self._endpoint = SipEndpoint(agent, random_source)
        self._connections: dict[int, Connection] = {}
        self._numbers: dict[Connection, int] = {}
        self._next_number = itertools.count()
        self._probes: dict[events.Probe, asyncio.Future[events.ProbeAnswered]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due: float | None = None
        self._on_invite, self._on_event = on_invite, on_event
        self._limiter = limiter or ConnectionLimiter()
        self._trace, self._on_message = trace, on_message
        self._identify, self._introduce = identify, introduce

    @property
    def user_agent(self) -> UserAgent:
        """Return how it introduces itself."""
        return self._endpoint.agent

    @property
    def ids(self) -> Identifiers:
        """Return the endpoint's source of branches, tags and Call-IDs, for building INVITEs."""
        return self._endpoint.ids

    @property
    def malformed(self) -> int:
        """Return how many received messages were not valid SIP."""
        return self._endpoint.malformed

    @property
    def foreign(self) -> int:
        """Return how many received messages named a call of another peer, and changed nothing."""
        return self._endpoint.foreign

    @property
    def idle(self) -> bool:
        """Tell whether no call, transaction or timer is left. Tests check this after every run."""
        return self._endpoint.idle

    def attach(self, connection: Connection) -> None:
        """Read SIP from a connection until it closes."""
        self._number(connection)

    def _number(self, connection: Connection) -> int:
        if connection in self._numbers:
            return self._numbers[connection]
        number = next(self._next_number)
        self._connections[number], self._numbers[connection] = connection, number
        self._endpoint.know_peer(number, self._identify(connection), self._introduce(connection))
        unobserved = self._trace is None and self._on_message is None
        parser = StreamParser(observe=None if unobserved else lambda data: self._tell(connection, data, sent=False))
        address = connection.peer[0]
        limits = self._limiter.limits_of(address)
        deadline = MessageDeadline(connection, limits, lambda limit: self._limiter.reached(limit, address))

        def receive(data: bytes) -> None:
            completed = self._receive(number, connection, parser, limits, data)
            if connection.closed is None:
                deadline.received(in_message=parser.in_message, completed=completed)

        def closed(end: Closed) -> None:
            deadline.cancel()
            logger.debug("connection %d to %s closed: %s %s", number, connection.peer, end.reason, end.detail)
            # First, so that `_settle` cannot write to the closed connection what the loss makes the calls send.
            del self._connections[number], self._numbers[connection]
            self._endpoint.connection_lost(number, self._loop.time())
            self._settle()

        connection.deliver_to(receive)
        connection.when_closed(closed)
        return number

    def place(self, connection: Connection, invite: Request, call_events: CallEvents) -> ClientCall:
        """Send an INVITE. Its events go to `call_events`."""
        call = self._endpoint.start_call(self._number(connection), invite, self._loop.time())
        # No event is lost between these two lines: `_settle` hands the events out.
        call.context = call_events
        self._settle()
        return call

    async def options(self, connection: Connection, target: str) -> events.ProbeAnswered:
        """Ask `target`, a SIP URI, whether it is alive (RFC 3261 section 11). Return the answer, or that none came."""
        probe = self._endpoint.send_options(self._number(connection), target, self._loop.time())
        answered: asyncio.Future[events.ProbeAnswered] = self._loop.create_future()
        self._probes[probe] = answered
        self._settle()
        try:
            return await answered
        finally:
            del self._probes[probe]

    def act(self, action: Callable[[float], None]) -> None:
        """Call an action such as `call.bye` with the time now, and send the messages that it makes."""
        action(self._loop.time())
        self._settle()

    def move(self, call: Call, connection: Connection) -> None:
        """Continue an established call over another connection."""
        call.use_connection(self._number(connection))
        self._settle()

    def _receive(
        self, number: int, connection: Connection, parser: StreamParser, limits: PeerLimits, data: bytes
    ) -> bool:
        """Take bytes of a connection. Return whether they completed a message."""
        now = self._loop.time()
        parser.receive_data(data)
        completed = False
        while not parser.lost:
            try:
                message = parser.next_message()
            except MalformedMessageError as error:
                logger.info("connection %d to %s: no SIP (%s)", number, connection.peer, mask(str(error)))
                self._endpoint.reject_malformed(number, error)
                continue
            if message is None:
                break
            completed = True
            try:
                if self._may_begin(number, connection, message, limits):
                    self._endpoint.receive(number, message, now, connection.peer)
            except Exception as error:
                # It costs this message, and not the connection with all its calls.
                note_bug("a received message", error)
        if parser.lost:
            # RFC 3261 section 18.3 gives no way to find the next message. The 400 has to be written before the end.
            self._settle()
            connection.close()
        for _ in range(parser.take_pings()):
            connection.write(b"\r\n")
        self._settle()
        return completed

    def _may_begin(self, number: int, connection: Connection, message: Request | Response, limits: PeerLimits) -> bool:
        """Return whether a message may be served. An INVITE beyond the limit of transactions gets 503."""
        # First the cheap question: nearly no message is an INVITE beyond the limit.
        if not isinstance(message, Request) or message.method != "INVITE":
            return True
        if limits.transactions is None or self._endpoint.transactions(number) < limits.transactions:
            return True
        self._limiter.reached(Limit.TRANSACTIONS, connection.peer[0])
        # Without a transaction, as the limit is about these. A peer that obeys comes back when some have ended.
        try:
            refusal = response_to(message, 503, to_tag=self.ids.tag(), headers=[("Retry-After", "32")])
        except MalformedFieldError:
            return True  # the endpoint has an answer for it, and begins no transaction either
        self._endpoint.send(number, refusal)
        return False

    def _settle(self) -> None:
        """Send messages, dispatch events and arm the timer. Every input to the endpoint ends with this."""
        for number, data in self._endpoint.messages_to_send():
            # The connection may have closed since. The endpoint learns of that in an input of its own.
            connection = self._connections.get(number)
            if connection is not None:
                connection.write(data)
                self._tell(connection, data, sent=True)
        # A handler may give the endpoint another input and so come here again. That is safe: each event is handed out
        # once.
        for event in self._endpoint.events():
            try:
                self._dispatch(event)
            except Exception as error:  # the other events are for other calls
                note_bug("an event", error)
        self._arm()

    def _tell(self, connection: Connection, data: bytes, *, sent: bool) -> None:
        if self._trace is not None:
            self._trace("sent" if sent else "received", data)
        if self._on_message is not None:
            self._on_message(connection, data, sent)

    def _dispatch(self, event: events.Event) -> None:
        if isinstance(event, IncomingInvite):
            self._incoming(event)
        elif isinstance(event, events.CallEvent) and isinstance(event.call.context, CallEvents):
            event.call.context.put(event)
            if self._on_event is not None and isinstance(event.call, ServerCall):
                self._on_event(event)
        elif isinstance(event, events.ProbeAnswered):
            asked = self._probes.get(event.probe)
            # Whoever asked may be gone by now.
            if asked is not None and not asked.done():
                asked.set_result(event)

    def _incoming(self, event: IncomingInvite) -> None:
        call_events = CallEvents()
        event.call.context = call_events
        connection = self._connections.get(event.call.connection_id) if event.call.connection_id is not None else None
        if self._on_invite is None or connection is None:
            # Without an answer the caller would wait until its timer B.
            self.act(lambda now: event.call.reject(now, 480))
            return
        self._on_invite(IncomingCall(event.call, connection.peer[0], call_events, connection.local))

    def _arm(self) -> None:
        due = self._endpoint.next_timer()
        if self._timer is not None:
            # Keep a timer that is due earlier. Nearly every SIP timer is cancelled long before it is due, so a wakeup
            # for nothing now and then costs less than a new asyncio timer for every message.
            if due is not None and self._timer_due is not None and self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = None if due is None else self._loop.call_at(due, self._fire)

    def _fire(self) -> None:
        # Before the endpoint runs: `_arm` keeps an earlier timer, and this one has fired already.
        self._timer = self._timer_due = None
        with noting_bugs("a timer"):
            self._endpoint.handle_timer(self._loop.time())
        self._settle()
