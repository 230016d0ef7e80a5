"""The four transaction machines of RFC 3261 section 17, as RFC 6026 amends them, over a reliable transport.

Each is a table from (state, input) to (next state, actions); one small engine runs all four. A transaction knows its
messages, its one timer and nothing of dialogs or sockets: the endpoint moves messages and passes events on.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import ClassVar

from loadgen.sip.message import Request, Response
from loadgen.sip.table_key import TableKey
from loadgen.sip.timers import TRANSACTION_TIMEOUT_S

IncomingMessage = Request | Response


class State(TableKey):
    """States of RFC 3261 figures 5 to 8 and RFC 6026. Confirmed (timer I = 0) and the non-INVITE Completed
    (timers J, K = 0) last no time over a reliable transport, so they are Terminated here."""

    CALLING = auto()
    TRYING = auto()
    PROCEEDING = auto()
    ACCEPTED = auto()
    COMPLETED = auto()
    TERMINATED = auto()


class Input(TableKey):
    """What can happen to a transaction. Responses are received by clients and sent by servers."""

    PROVISIONAL = auto()
    SUCCESS = auto()
    FAILURE = auto()
    REQUEST = auto()
    ACK = auto()
    TIMER = auto()
    CONNECTION_LOST = auto()
    ABANDON = auto()


class Action(Enum):
    """What a transition does besides changing state."""

    SEND = auto()
    RESEND = auto()
    DELIVER = auto()
    SEND_ACK = auto()
    START_TIMER = auto()
    STOP_TIMER = auto()
    REPORT_TIMEOUT = auto()
    REPORT_LOSS = auto()


class TransactionFailure(Enum):
    """How a transaction ends without the peer; the transaction user reads them as 408 and 503 (section 8.1.3.1)."""

    TIMEOUT = 408
    CONNECTION_LOST = 503


TransactionEvent = Request | Response | TransactionFailure
Table = Mapping[tuple[State, Input], tuple[State, tuple[Action, ...]]]

_END = State.TERMINATED
_LOSS = (_END, (Action.REPORT_LOSS,))
_TIMEOUT = (_END, (Action.REPORT_TIMEOUT,))

INVITE_CLIENT: Table = {  # section 17.1.1.2, RFC 6026 section 8.4
    (State.CALLING, Input.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER, Action.STOP_TIMER)),
    (State.CALLING, Input.SUCCESS): (State.ACCEPTED, (Action.DELIVER, Action.START_TIMER)),
    (State.CALLING, Input.FAILURE): (_END, (Action.SEND_ACK, Action.DELIVER)),
    (State.CALLING, Input.TIMER): _TIMEOUT,
    (State.CALLING, Input.CONNECTION_LOST): _LOSS,
    (State.CALLING, Input.ABANDON): (_END, ()),
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER,)),
    (State.PROCEEDING, Input.SUCCESS): (State.ACCEPTED, (Action.DELIVER, Action.START_TIMER)),
    (State.PROCEEDING, Input.FAILURE): (_END, (Action.SEND_ACK, Action.DELIVER)),
    (State.PROCEEDING, Input.CONNECTION_LOST): _LOSS,
    (State.PROCEEDING, Input.ABANDON): (_END, ()),
    (State.ACCEPTED, Input.SUCCESS): (State.ACCEPTED, (Action.DELIVER,)),
    (State.ACCEPTED, Input.TIMER): (_END, ()),
    (State.ACCEPTED, Input.CONNECTION_LOST): (_END, ()),
}

INVITE_SERVER: Table = {  # section 17.2.1, RFC 6026 section 8.7
    (State.PROCEEDING, Input.REQUEST): (State.PROCEEDING, (Action.RESEND,)),
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, (Action.SEND,)),
    (State.PROCEEDING, Input.SUCCESS): (State.ACCEPTED, (Action.SEND, Action.START_TIMER)),
    (State.PROCEEDING, Input.FAILURE): (State.COMPLETED, (Action.SEND, Action.START_TIMER)),
    (State.PROCEEDING, Input.CONNECTION_LOST): _LOSS,
    (State.ACCEPTED, Input.REQUEST): (State.ACCEPTED, ()),
    (State.ACCEPTED, Input.SUCCESS): (State.ACCEPTED, (Action.SEND,)),
    (State.ACCEPTED, Input.TIMER): (_END, ()),
    (State.ACCEPTED, Input.CONNECTION_LOST): (_END, ()),
    (State.COMPLETED, Input.REQUEST): (State.COMPLETED, (Action.RESEND,)),
    (State.COMPLETED, Input.ACK): (_END, ()),
    (State.COMPLETED, Input.TIMER): (_END, ()),
    (State.COMPLETED, Input.CONNECTION_LOST): (_END, ()),
}

CLIENT: Table = {  # section 17.1.2.2
    (State.TRYING, Input.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER,)),
    (State.TRYING, Input.SUCCESS): (_END, (Action.DELIVER,)),
    (State.TRYING, Input.FAILURE): (_END, (Action.DELIVER,)),
    (State.TRYING, Input.TIMER): _TIMEOUT,
    (State.TRYING, Input.CONNECTION_LOST): _LOSS,
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, (Action.DELIVER,)),
    (State.PROCEEDING, Input.SUCCESS): (_END, (Action.DELIVER,)),
    (State.PROCEEDING, Input.FAILURE): (_END, (Action.DELIVER,)),
    (State.PROCEEDING, Input.TIMER): _TIMEOUT,
    (State.PROCEEDING, Input.CONNECTION_LOST): _LOSS,
}

SERVER: Table = {  # section 17.2.2
    (State.TRYING, Input.REQUEST): (State.TRYING, ()),
    (State.TRYING, Input.PROVISIONAL): (State.PROCEEDING, (Action.SEND,)),
    (State.TRYING, Input.SUCCESS): (_END, (Action.SEND,)),
    (State.TRYING, Input.FAILURE): (_END, (Action.SEND,)),
    (State.TRYING, Input.CONNECTION_LOST): _LOSS,
    (State.PROCEEDING, Input.REQUEST): (State.PROCEEDING, (Action.RESEND,)),
    (State.PROCEEDING, Input.PROVISIONAL): (State.PROCEEDING, (Action.SEND,)),
    (State.PROCEEDING, Input.SUCCESS): (_END, (Action.SEND,)),
    (State.PROCEEDING, Input.FAILURE): (_END, (Action.SEND,)),
    (State.PROCEEDING, Input.CONNECTION_LOST): _LOSS,
}


class Transaction:
    """The engine: looks a transition up and does its actions. An input the table does not name changes nothing,
    as the RFC asks of strays. Drain `messages_to_send` and `events` after every call."""

    TABLE: ClassVar[Table]
    START: ClassVar[State]

    __slots__ = ("_due_s", "_events", "_last_response", "_outbox", "request", "state")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.state = self.START
        self._due_s: float | None = None
        self._last_response: Response | None = None
        self._outbox: list[Request | Response] = []
        self._events: list[TransactionEvent] = []

    @property
    def terminated(self) -> bool:
        """Whether the transaction is over and may be forgotten."""
        return self.state is State.TERMINATED

    def next_timer(self) -> float | None:
        """When `handle_timer` is next due, or None."""
        return self._due_s

    def handle_timer(self, now: float) -> None:
        """Let the timer fire if it is due."""
        if self._due_s is not None and now >= self._due_s:
            self._due_s = None
            self._step(Input.TIMER, now)

    def connection_lost(self, now: float) -> None:
        """The connection this transaction runs over is gone (sections 17.1.4, 17.2.4)."""
        self._step(Input.CONNECTION_LOST, now)

    def messages_to_send(self) -> list[Request | Response]:
        """What is to go out, in order; handed out once."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def events(self) -> list[TransactionEvent]:
        """What the transaction user is to know, in order; handed out once."""
        events, self._events = self._events, []
        return events

    def _step(self, what: Input, now: float, message: Request | Response | None = None) -> None:
        transition = self.TABLE.get((self.state, what))
        if transition is None:
            return
        self.state, actions = transition
        if self.state is State.TERMINATED:
            self._due_s = None
        for action in actions:
            self._act(action, now, message)

    def _act(self, action: Action, now: float, message: Request | Response | None) -> None:
        match action:
            case Action.START_TIMER:
                self._due_s = now + TRANSACTION_TIMEOUT_S
            case Action.STOP_TIMER:
                self._due_s = None
            case Action.REPORT_TIMEOUT:
                self._events.append(TransactionFailure.TIMEOUT)
            case Action.REPORT_LOSS:
                self._events.append(TransactionFailure.CONNECTION_LOST)
            case Action.RESEND:
                self._outbox += [self._last_response] if self._last_response is not None else []
            case _:
                assert message is not None  # the remaining actions only follow from messages
                self._act_on_message(action, message)

    def _act_on_message(self, action: Action, message: Request | Response) -> None:
        match action:
            case Action.DELIVER:
                self._events.append(message)
            case Action.SEND:
                self._outbox.append(message)
            case _:
                assert isinstance(message, Response)  # SEND_ACK follows from a final response
                self._outbox.append(ack_for_failure(self.request, message))


def _class_of(response: Response) -> Input:
    if response.status < 200:
        return Input.PROVISIONAL
    return Input.SUCCESS if response.status < 300 else Input.FAILURE


def ack_for_failure(invite: Request, response: Response) -> Request:
    """The ACK of a 3xx to 6xx, which belongs to the INVITE's transaction (section 17.1.1.3)."""
    headers = [("Via", invite.headers.elements("Via")[0]), ("Max-Forwards", "70")]
    headers += [("From", invite.headers.get("From") or ""), ("To", response.headers.get("To") or "")]
    headers += [("Call-ID", invite.call_id), ("CSeq", f"{invite.cseq.number} ACK")]
    headers += [("Route", value) for value in invite.headers.rows("Route")]
    return Request("ACK", invite.uri, headers)


class ClientTransaction(Transaction):
    """Non-INVITE client: sends its request at once, ends with the final response or timer F."""

    TABLE = CLIENT
    START = State.TRYING
    __slots__ = ()

    def __init__(self, request: Request, now: float) -> None:
        super().__init__(request)
        self._outbox.append(request)
        self._due_s = now + TRANSACTION_TIMEOUT_S

    def receive(self, response: Response, now: float) -> None:
        """A response whose branch and CSeq method are this transaction's (section 17.1.3)."""
        self._step(_class_of(response), now, response)


class InviteClientTransaction(ClientTransaction):
    """INVITE client: timer B until any response; acknowledges failures itself; passes every 2xx on for timer M."""

    TABLE = INVITE_CLIENT
    START = State.CALLING
    __slots__ = ()

    def abandon(self, now: float) -> None:
        """Forget the INVITE: no final response came within 64*T1 of its CANCEL (section 9.1)."""
        self._step(Input.ABANDON, now)


class ServerTransaction(Transaction):
    """Non-INVITE server: absorbs repetitions until its final response is sent."""

    TABLE = SERVER
    START = State.TRYING
    __slots__ = ()

    def receive(self, request: Request, now: float) -> None:
        """A request that matches this transaction (section 17.2.3): a repetition, or an ACK of a failure."""
        self._step(Input.ACK if request.method == "ACK" else Input.REQUEST, now, request)

    def respond(self, response: Response, now: float) -> None:
        """Send a response; one that comes after the final response is not sent."""
        if (self.state, _class_of(response)) in self.TABLE:
            self._last_response = response
        self._step(_class_of(response), now, response)


class InviteServerTransaction(ServerTransaction):
    """INVITE server: after a 2xx only absorbs repeated INVITEs; after a failure waits for its ACK (timer H)."""

    TABLE = INVITE_SERVER
    START = State.PROCEEDING
    __slots__ = ()
