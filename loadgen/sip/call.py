"""A call as its user holds it: the part that caller and callee share, from the dialog to its end.

It turns inputs into requests, responses and events. It does so through the endpoint (`Core`), which owns transactions
and timers. `client_call` and `server_call` add how a call begins. `call_state` says which input leads to which state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import auto
from typing import Protocol

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call_state import IN_DIALOG, TRANSITIONS, CallState, Trigger
from trunkproof.loadgen.sip.capabilities import ALLOW, CAPABILITIES, SUPPORTED
from trunkproof.loadgen.sip.dialog import AnswerRepeater, Dialog
from trunkproof.loadgen.sip.events import EndCause, Event
from trunkproof.loadgen.sip.fields import MalformedFieldError, uri_host
from trunkproof.loadgen.sip.headers import Header
from trunkproof.loadgen.sip.identifiers import Identifiers
from trunkproof.loadgen.sip.message import Request, Response, response_to
from trunkproof.loadgen.sip.session_timer import Refresher, SessionTimer, agree, answer_headers, read_session_timer
from trunkproof.loadgen.sip.table_key import TableKey
from trunkproof.loadgen.sip.transaction import (
    InviteClientTransaction,
    ServerTransaction,
    TransactionEvent,
    TransactionFailure,
)

ConnectionId = int
"""The number of a connection. The adapter, which owns the sockets, gives it."""
Handler = Callable[[TransactionEvent, float], None]


@dataclass(frozen=True, slots=True)
class UserAgent:
    """How an endpoint introduces itself: the address in its Via and Contact, and its product name."""

    host: str
    port: int
    product: str = "trunkproof"
    min_se_s: int = 90
    """The smallest session interval that it takes. A smaller one gets a 422 (RFC 4028 section 6)."""

    def via(self, branch: str) -> str:
        """Return the Via value of a new request."""
        return f"SIP/2.0/TLS {uri_host(self.host)}:{self.port};branch={branch}"

    def contact(self, user: str) -> str:
        """Return a Contact value for a user part."""
        return f"<sip:{user}@{uri_host(self.host)}:{self.port};transport=tls>"


class Core(Protocol):
    """The methods of an endpoint that a call needs."""

    agent: UserAgent
    ids: Identifiers

    def send(self, connection_id: ConnectionId | None, message: Request | Response) -> None:
        """Send outside any transaction: the ACK of a 2xx, or a repeated 2xx."""

    def start(self, connection_id: ConnectionId | None, request: Request, handler: Handler, now: float) -> None:
        """Send a request in a client transaction of its own. The handler gets the transaction's events."""

    def start_invite(
        self, connection_id: ConnectionId | None, request: Request, handler: Handler, now: float
    ) -> InviteClientTransaction:
        """Send an INVITE in a client transaction of its own. Return the transaction, which can be abandoned."""

    def abandon(self, transaction: InviteClientTransaction, now: float) -> None:
        """Give up an INVITE that will not be answered."""

    def respond(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Send a response in its server transaction."""

    def emit(self, event: Event) -> None:
        """Hand an event to the user."""

    def attach(self, call: Call) -> None:
        """Note the call's present dialog and connection."""

    def schedule(self, call: Call) -> None:
        """Note that the call's timers changed."""

    def forget(self, call: Call) -> None:
        """Forget a call that is over."""


class CallTimer(TableKey):
    """The timers of a call. Its transactions have their own."""

    ANSWER = auto()
    """Repeat our 2xx, because its ACK has not come."""
    CANCEL = auto()
    """Give up waiting for the final response after our CANCEL."""
    REFRESH = auto()
    """Refresh the session, which is our part (RFC 4028)."""
    EXPIRY = auto()
    """End the call, because the peer did not refresh the session."""


class Call(ABC):
    """The common part of ClientCall and ServerCall.

    `context` belongs to the user: an event names its call, and the user finds its own object there without a look-up.
    """

    __slots__ = (
        "_core", "_end_cause", "_refresher", "_refreshing", "_repeater", "_session", "_timers", "connection_id",
        "context", "dialog", "local_body", "scheduled_s", "state",
    )  # fmt: skip

    def __init__(self, core: Core, connection_id: ConnectionId, state: CallState) -> None:
        self._core = core
        self.connection_id: ConnectionId | None = connection_id
        self.state = state
        self.context: object = None
        self.dialog: Dialog | None = None
        self.local_body = b""
        self.scheduled_s: float | None = None
        self._end_cause = EndCause.LOCAL_BYE
        self._refresher: InviteClientTransaction | None = None
        self._refreshing = False
        self._repeater: AnswerRepeater | None = None
        self._session: SessionTimer | None = None
        self._timers: dict[CallTimer, float] = {}

    @property
    def ended(self) -> bool:
        """Return whether the final event has been emitted."""
        return self.state is CallState.ENDED

    @abstractmethod
    def hang_up(self, now: float) -> None:
        """End the call as its state demands: with CANCEL, a final response or BYE. Do nothing when it has ended."""

    def bye(self, now: float) -> None:
        """End an answered call. Do nothing where it is ending already: the peer may have been first."""
        if self._move(Trigger.HANG_UP) and self.state is CallState.ENDING:
            self._send_bye(EndCause.LOCAL_BYE, now)

    def use_connection(self, connection_id: ConnectionId) -> None:
        """Send the dialog's further messages over another connection."""
        self.connection_id = connection_id
        self._core.attach(self)

    def next_timer(self) -> float | None:
        """Return when `handle_timer` is next due, or None."""
        return min(self._timers.values()) if self._timers else None

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        # One timer may stop another, so the due ones are listed first and each is checked again when its turn comes.
        for timer in [timer for timer, due in self._timers.items() if due <= now]:
            if self._timers.pop(timer, None) is not None:
                self._fire(timer, now)

    def _fire(self, timer: CallTimer, now: float) -> None:
        match timer:
            case CallTimer.ANSWER:
                self._repeat_answer(now)
            case CallTimer.REFRESH:
                self._refresh(now)
            case CallTimer.EXPIRY:
                self._expire(now)
            case CallTimer.CANCEL:
                self._cancel_unanswered(now)

    @abstractmethod
    def _cancel_unanswered(self, now: float) -> None:
        """End the call: no final response came within 64*T1 of our CANCEL."""

    def connection_lost(self, now: float) -> None:
        """Note that the call's connection is gone. The dialog lives on and can use another one."""
        self.connection_id = None
        # In ENDING the BYE's own transaction reports the loss, and that ends the call.
        if self.state in IN_DIALOG and self.state is not CallState.ENDING:
            self._core.emit(events.Detached(now, self))

    def receive(
        self, request: Request, transaction: ServerTransaction, connection_id: ConnectionId, now: float
    ) -> None:
        """Take a request inside the dialog, other than ACK. Raise MalformedFieldError before anything has changed."""
        dialog = self._the_dialog()
        # After a lost connection the peer may be the first to open another one: go on over that.
        if self.connection_id is None:
            self.use_connection(connection_id)
        if not dialog.accepts(request):  # out of order (RFC 3261 section 12.2.2)
            return self._reply(transaction, request, 500, now)
        match request.method:
            case "BYE":
                self._receive_bye(request, transaction, now)
            case "INVITE" | "UPDATE":
                self._receive_refresh(request, transaction, now)
            case "OPTIONS":
                self._reply(transaction, request, 200, now, *CAPABILITIES)
            case _:
                # INFO and NOTIFY change nothing here. `screening` has refused what we do not serve.
                self._reply(transaction, request, 200, now)
        return None

    def receive_ack(self, request: Request, now: float) -> None:
        """Take the ACK of a 2xx of ours. An ACK with another CSeq number is not for this 2xx and changes nothing."""
        # The peer repeats its ACK for every repeated 2xx, so late ones are normal.
        if self._repeater is None or request.cseq.number != self._repeater.response.cseq.number:
            return
        self._stop(CallTimer.ANSWER)
        self._repeater = None
        if self._move(Trigger.ACK):
            self._core.emit(events.Acknowledged(now, self))
            # The user hung up before the ACK. The BYE had to wait for it (RFC 3261 section 15).
            if self.state is CallState.ENDING:
                self._send_bye(EndCause.LOCAL_BYE, now)

    def _reply(
        self, transaction: ServerTransaction, request: Request, status: int, now: float, *headers: Header
    ) -> None:
        self._core.respond(transaction, response_to(request, status, headers=headers), now)

    def _receive_bye(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        # A BYE is answered in every state. Where it crossed ours there is no transition, and the answer to ours ends
        # the call.
        self._reply(transaction, request, 200, now)
        if self._move(Trigger.REMOTE_BYE):
            self._finish(events.Terminated(now, self, EndCause.REMOTE_BYE, None))

    def _receive_refresh(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        # RFC 3261 section 14.2: 500 while the INVITE before it is not answered, 491 while one of ours is under way.
        if self.state is CallState.INCOMING:
            return self._reply(transaction, request, 500, now, ("Retry-After", "1"))
        if self._refreshing or self._repeater is not None:
            return self._reply(transaction, request, 491, now)
        # These two may raise for a broken header. They come before the answer, so that the endpoint can still send
        # 400.
        agreed = agree(request)
        self._the_dialog().refresh_target(request)
        # A re-INVITE without SDP asks us for an offer, and our unchanged SDP is one. An UPDATE without SDP only
        # refreshes.
        body = self.local_body if request.method == "INVITE" or request.body else b""
        rows = (*self._session_rows(), *answer_headers(agreed), *_content(body))
        response = response_to(request, 200, headers=rows, body=body)
        self._core.respond(transaction, response, now)
        # No other request has an ACK.
        if request.method == "INVITE":
            self._await_ack(response, now)
        # The roles are those of this request, not of the call: who receives it is the UAS, even the caller
        # (RFC 4028).
        self._keep_session(agreed, Refresher.UAS, now)
        self._core.emit(events.Reinvited(now, self, request.body))
        return None

    def _session_rows(self) -> tuple[Header, ...]:
        """Return the rows that stand in every message that sets up or refreshes a session."""
        return self._contact_row(), ("Allow", ALLOW), ("Supported", SUPPORTED)

    @abstractmethod
    def _contact_row(self) -> Header:
        """Return our Contact, as the call's first message gave it."""

    def _await_ack(self, response: Response, now: float) -> None:
        self._repeater = AnswerRepeater(response, now)
        self._set(CallTimer.ANSWER, self._repeater.next_timer())

    def _repeat_answer(self, now: float) -> None:
        repeater = self._repeater
        if repeater is None:
            return None
        # This timer stands for two: the next repetition, and the end of the wait.
        if not repeater.expired(now):
            self._core.send(self.connection_id, repeater.repeat(now))
            return self._set(CallTimer.ANSWER, repeater.next_timer())
        self._repeater = None
        if self._move(Trigger.ACK_TIMEOUT):
            self._core.emit(events.AckTimeout(now, self))
            self._send_bye(EndCause.ACK_TIMEOUT, now)
        return None

    def _keep_session(self, agreed: SessionTimer | None, our_role: Refresher, now: float) -> None:
        """Start our timer of the session interval: to refresh, or to await a refresh (RFC 4028 sections 7.2 and 10)."""
        self._stop(CallTimer.REFRESH)
        self._stop(CallTimer.EXPIRY)
        self._session = agreed
        if agreed is None:
            return
        if agreed.refresher is our_role:
            self._set(CallTimer.REFRESH, now + agreed.refresh_after_s())
        else:
            self._set(CallTimer.EXPIRY, now + agreed.give_up_after_s())

    def _refresh(self, now: float) -> None:
        """Refresh the session with a re-INVITE of the same SDP, which every peer understands (RFC 4028 section 7.4)."""
        if self.state is not CallState.ESTABLISHED or self._session is None:
            return
        # If the refresh fails, the session still lasts as long as the peer would wait for it.
        self._set(CallTimer.EXPIRY, now + self._session.give_up_after_s() - self._session.refresh_after_s())
        # We send this request, so we are its UAC, and stay the refresher even where we were called.
        timer = SessionTimer(self._session.interval_s, Refresher.UAC)
        rows = (*self._session_rows(), timer.header(), *_content(self.local_body))
        via = self._core.agent.via(self._core.ids.branch())
        request = self._the_dialog().request("INVITE", via, rows, self.local_body)
        # Before the start: without a connection the handler runs inside `start_invite`. Set after it, the flag would
        # stay, and every later re-INVITE of the peer would get 491.
        self._refreshing = True
        self._refresher = self._core.start_invite(self.connection_id, request, self._on_refresh, now)

    def _on_refresh(self, event: TransactionEvent, now: float) -> None:
        if isinstance(event, Response) and event.status < 200:
            return None
        first, self._refreshing = self._refreshing, False
        if isinstance(event, Response) and event.status < 300:
            # A repeated 2xx is acknowledged again, because our ACK may be lost. It refreshes only once.
            self._core.send(self.connection_id, self._the_dialog().ack(self._core.agent.via(self._core.ids.branch())))
            return self._refreshed(event, now) if first else None
        # RFC 4028 section 10: a refresh that times out, or gets 408 or 481, ends the call. Other failures do not.
        status = event.status if isinstance(event, Response) else 408
        if status in (408, 481) and event is not TransactionFailure.CONNECTION_LOST:
            self._expire(now)
        return None

    def _refreshed(self, response: Response, now: float) -> None:
        # A BYE was sent while the refresh was under way: a new expiry would outlive it.
        if self.state is not CallState.ESTABLISHED:
            return
        try:
            agreed = read_session_timer(response)
            self._the_dialog().refresh_target(response)
        except MalformedFieldError:
            agreed = self._session  # the refresh succeeded all the same: keep the interval that we had
        self._keep_session(agreed, Refresher.UAC, now)
        self._core.emit(events.Refreshed(now, self))

    def _expire(self, now: float) -> None:
        if self.state is CallState.ESTABLISHED:
            self._move(Trigger.HANG_UP)
            self._send_bye(EndCause.SESSION_EXPIRED, now)

    def _send_bye(self, cause: EndCause, now: float) -> None:
        # After our BYE nothing else of the call matters: no repetition, no refresh, no expiry.
        # The handler may run inside `start`, where there is no connection, so everything is set before it.
        self._end_cause = cause
        self._repeater = None
        self._timers.clear()
        self._core.schedule(self)
        request = self._the_dialog().request("BYE", self._core.agent.via(self._core.ids.branch()))
        self._core.start(self.connection_id, request, self._on_bye, now)

    def _on_bye(self, event: TransactionEvent, now: float) -> None:
        match event:
            case TransactionFailure.TIMEOUT:
                cause, status = EndCause.BYE_TIMEOUT, None
            case TransactionFailure.CONNECTION_LOST:
                cause, status = EndCause.BYE_CONNECTION_LOST, None
            case Response(status=code) if code >= 200:
                cause, status = EndCause.LOCAL_BYE if code < 300 else EndCause.BYE_REFUSED, code
            case _:
                return
        # Why we sent the BYE says more than how it was answered, unless it was an ordinary hang-up.
        if self._end_cause is not EndCause.LOCAL_BYE:
            cause = self._end_cause
        if self._move(Trigger.END):
            self._finish(events.Terminated(now, self, cause, status))

    def _move(self, trigger: Trigger) -> bool:
        """Take a transition. Return False where the table has none: the input came too late to matter."""
        # The two sides act at the same time, so inputs that come too late are normal and no error.
        following = TRANSITIONS.get((self.state, trigger))
        if following is None:
            return False
        self.state = following
        return True

    def _finish(self, event: events.FinalEvent) -> None:
        self.state = CallState.ENDED
        self._timers.clear()
        self._repeater = None
        # A peer that said 100 to our refresh and nothing more would keep its transaction for ever: no timer runs there.
        if self._refreshing and self._refresher is not None:
            self._core.abandon(self._refresher, event.at_s)
        self._core.emit(event)
        self._core.forget(self)

    def _set(self, timer: CallTimer, due: float) -> None:
        self._timers[timer] = due
        self._core.schedule(self)

    def _stop(self, timer: CallTimer) -> None:
        if self._timers.pop(timer, None) is not None:
            self._core.schedule(self)

    def _the_dialog(self) -> Dialog:
        if self.dialog is None:
            raise RuntimeError("a call without a dialog was asked to act inside it")
        return self.dialog


def _content(body: bytes) -> tuple[Header, ...]:
    return (("Content-Type", "application/sdp"),) if body else ()
