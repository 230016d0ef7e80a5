"""The four transaction machines of RFC 3261 section 17, as RFC 6026 amends them, over a reliable transport.

Each machine is a table from (state, input) to (next state, actions): `transaction_table`. One small engine runs all
four. A transaction knows its messages and its one timer. It knows no dialog and no socket: the endpoint sends its
messages and passes its events on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import ClassVar

from trunkproof.loadgen.sip.message import Request, Response
from trunkproof.loadgen.sip.transaction_table import (
    CLIENT,
    INVITE_CLIENT,
    INVITE_SERVER,
    SERVER,
    Action,
    Input,
    State,
    Table,
)
from trunkproof.models.timers import TRANSACTION_TIMEOUT_S

IncomingMessage = Request | Response


class TransactionFailure(Enum):
    """How a transaction fails without a response. Its user treats them as 408 and 503 (RFC 3261 section 8.1.3.1)."""

    TIMEOUT = 408
    CONNECTION_LOST = 503


TransactionEvent = Request | Response | TransactionFailure
_Do = Callable[["Transaction", float, IncomingMessage | None], None]


class Transaction:
    """The engine: it looks a transition up and does its actions.

    An input that the table does not name changes nothing, as the RFC asks for strays.
    Drain `messages_to_send` and `events` after every call of a method.
    """

    TABLE: ClassVar[Table]
    START: ClassVar[State]
    _STEPS: ClassVar[Mapping[tuple[State, Input], tuple[State, tuple[_Do, ...]]]]
    """The table, with each action as the function that does it. Built once for each class, so a step is one look-up."""

    __slots__ = ("_due_s", "_events", "_last_response", "_outbox", "request", "state")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._STEPS = {
            key: (state, tuple(_ACTIONS[action] for action in actions)) for key, (state, actions) in cls.TABLE.items()
        }

    def __init__(self, request: Request) -> None:
        self.request = request
        self.state = self.START
        self._due_s: float | None = None
        self._last_response: Response | None = None
        self._outbox: list[Request | Response] = []
        self._events: list[TransactionEvent] = []

    @property
    def terminated(self) -> bool:
        """Return whether the transaction is over and may be forgotten."""
        return self.state is State.TERMINATED

    def next_timer(self) -> float | None:
        """Return when `handle_timer` is next due, or None."""
        return self._due_s

    def handle_timer(self, now: float) -> None:
        """Let the timer fire if it is due."""
        if self._due_s is not None and now >= self._due_s:
            # Before the step, which may start the timer again.
            self._due_s = None
            self._step(Input.TIMER, now)

    def connection_lost(self, now: float) -> None:
        """Note that the transaction's connection is gone (RFC 3261 sections 17.1.4 and 17.2.4)."""
        self._step(Input.CONNECTION_LOST, now)

    def messages_to_send(self) -> list[Request | Response]:
        """Return the messages to send, in order. Each is handed out once."""
        if not self._outbox:
            return []
        outbox, self._outbox = self._outbox, []
        return outbox

    def events(self) -> list[TransactionEvent]:
        """Return what happened, in order. Each event is handed out once."""
        if not self._events:
            return []
        events, self._events = self._events, []
        return events

    def _step(self, what: Input, now: float, message: Request | Response | None = None) -> None:
        # No row: a stray, or an input that came too late. The RFC lets us ignore both.
        step = self._STEPS.get((self.state, what))
        if step is None:
            return
        # The state first: the actions below must not see the old one.
        self.state, actions = step
        if self.state is State.TERMINATED:
            self._due_s = None
        for do in actions:
            do(self, now, message)

    def _start_timer(self, now: float, _: IncomingMessage | None) -> None:
        self._due_s = now + TRANSACTION_TIMEOUT_S

    def _stop_timer(self, _: float, __: IncomingMessage | None) -> None:
        self._due_s = None

    def _report_timeout(self, _: float, __: IncomingMessage | None) -> None:
        self._events.append(TransactionFailure.TIMEOUT)

    def _report_loss(self, _: float, __: IncomingMessage | None) -> None:
        self._events.append(TransactionFailure.CONNECTION_LOST)

    def _resend(self, _: float, __: IncomingMessage | None) -> None:
        # A repeated INVITE may come before our first response. Then there is nothing to repeat.
        self._outbox += [self._last_response] if self._last_response is not None else []

    def _deliver(self, _: float, message: IncomingMessage | None) -> None:
        assert message is not None  # the tables give this action, and the two below, to messages only
        self._events.append(message)

    def _send(self, _: float, message: IncomingMessage | None) -> None:
        assert message is not None
        self._outbox.append(message)

    def _send_ack(self, _: float, message: IncomingMessage | None) -> None:
        assert isinstance(message, Response)  # the tables give this action to failures only
        self._outbox.append(ack_for_failure(self.request, message))


_ACTIONS: Mapping[Action, _Do] = {
    Action.SEND: Transaction._send,
    Action.RESEND: Transaction._resend,
    Action.DELIVER: Transaction._deliver,
    Action.SEND_ACK: Transaction._send_ack,
    Action.START_TIMER: Transaction._start_timer,
    Action.STOP_TIMER: Transaction._stop_timer,
    Action.REPORT_TIMEOUT: Transaction._report_timeout,
    Action.REPORT_LOSS: Transaction._report_loss,
}


def _class_of(response: Response) -> Input:
    if response.status < 200:
        return Input.PROVISIONAL
    return Input.SUCCESS if response.status < 300 else Input.FAILURE


def ack_for_failure(invite: Request, response: Response) -> Request:
    """Return the ACK of a 3xx to 6xx, which belongs to the INVITE's transaction (RFC 3261 section 17.1.1.3)."""
    # Exactly one Via, the INVITE's own: its branch finds the transaction at the next hop. The To comes from the
    # response, because it has the tag. The Route is the INVITE's, so that the ACK takes the same way.
    headers = [("Via", invite.headers.elements("Via")[0]), ("Max-Forwards", "70")]
    headers += [("From", invite.headers.get("From") or ""), ("To", response.headers.get("To") or "")]
    # The INVITE's number with the method ACK: the far side finds its transaction by branch and number.
    headers += [("Call-ID", invite.call_id), ("CSeq", f"{invite.cseq.number} ACK")]
    headers += [("Route", value) for value in invite.headers.rows("Route")]
    return Request("ACK", invite.uri, headers)


class ClientTransaction(Transaction):
    """Non-INVITE client. It sends its request at once and ends with the final response or timer F."""

    TABLE = CLIENT
    START = State.TRYING
    __slots__ = ()

    def __init__(self, request: Request, now: float) -> None:
        super().__init__(request)
        self._outbox.append(request)
        # Timer B or F runs from the moment of sending.
        self._due_s = now + TRANSACTION_TIMEOUT_S

    def recognise(self, response: Response) -> None:
        """Give a response the headers that were parsed already, where it repeats our request or an earlier response.

        Parsing costs more than comparing, and nearly every response repeats Via, CSeq, From and To to the letter.
        """
        response.take_over(self.request)
        if self._last_response is not None:
            response.take_over(self._last_response)

    def receive(self, response: Response, now: float) -> None:
        """Take a response whose branch and CSeq method are this transaction's (RFC 3261 section 17.1.3)."""
        # A final response is not kept: an INVITE stays 32 s after its answer, and the memory would add up.
        self._last_response = response if response.status < 200 else None
        self._step(_class_of(response), now, response)


class InviteClientTransaction(ClientTransaction):
    """INVITE client. Timer B runs until any response. It acknowledges failures, and passes on all 2xx until timer M."""

    TABLE = INVITE_CLIENT
    START = State.CALLING
    __slots__ = ()

    def abandon(self, now: float) -> None:
        """Give the INVITE up: no final response came within 64*T1 of its CANCEL (RFC 3261 section 9.1)."""
        self._step(Input.ABANDON, now)


class ServerTransaction(Transaction):
    """Non-INVITE server. It absorbs repeated requests until its final response is sent."""

    TABLE = SERVER
    START = State.TRYING
    __slots__ = ()

    def receive(self, request: Request, now: float) -> None:
        """Take a request that matches this transaction (RFC 3261 section 17.2.3): a repetition, or a failure's ACK."""
        self._step(Input.ACK if request.method == "ACK" else Input.REQUEST, now, request)

    def respond(self, response: Response, now: float) -> None:
        """Send a response. After the final response it does nothing."""
        # Only a response that is really sent: a refused, late one would otherwise be what a repeated request gets.
        if (self.state, _class_of(response)) in self.TABLE:
            self._last_response = response
        self._step(_class_of(response), now, response)


class InviteServerTransaction(ServerTransaction):
    """INVITE server. After a 2xx it only absorbs repeated INVITEs (timer L). After a failure it awaits the ACK (H)."""

    TABLE = INVITE_SERVER
    START = State.PROCEEDING
    __slots__ = ()
