"""A call as its user holds it: the part that caller and callee share, from the dialog to its end.

It turns inputs into requests, responses and events. It does so through the endpoint (`Core`), which owns transactions
and timers. `client_call` and `server_call` add how a call begins. `call_state` says which input leads to which state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import auto
from functools import partial
from typing import Protocol

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.body import disposition, sdp_part
from trunkproof.loadgen.sip.call_state import IN_DIALOG, TRANSITIONS, CallState, Trigger
from trunkproof.loadgen.sip.capabilities import ALLOW, CAPABILITIES, SUPPORTED
from trunkproof.loadgen.sip.dialog import CallKey, Dialog, Repeater, contact_uri
from trunkproof.loadgen.sip.digest import Authenticator
from trunkproof.loadgen.sip.events import EndCause, Event
from trunkproof.loadgen.sip.exchange import NO_ANSWER, Negotiator, OfferState
from trunkproof.loadgen.sip.fields import MalformedFieldError, uri_host
from trunkproof.loadgen.sip.headers import Header
from trunkproof.loadgen.sip.identifiers import Identifiers
from trunkproof.loadgen.sip.message import Message, Request, Response, response_to
from trunkproof.loadgen.sip.reason import read_reason, sip_reason
from trunkproof.loadgen.sip.reinvite import DIALOG_GONE, Reinvite, retry_wait_s
from trunkproof.loadgen.sip.session_timer import (
    Refresher,
    SessionTimer,
    agree,
    answer_headers,
    read_min_se,
    read_session_timer,
)
from trunkproof.loadgen.sip.table_key import TableKey
from trunkproof.loadgen.sip.transaction import (
    InviteClientTransaction,
    ServerTransaction,
    TransactionEvent,
    TransactionFailure,
)
from trunkproof.models.study import Transport
from trunkproof.models.timers import T1_S

ConnectionId = int
"""The number of a connection. The adapter, which owns the sockets, gives it."""
Handler = Callable[[TransactionEvent, float], None]


@dataclass(frozen=True, slots=True)
class UserAgent:
    """How an endpoint introduces itself: the address in its Via and Contact, and its product name."""

    host: str
    port: int
    product: str = "trunkproof"
    transport: Transport = "tls"
    min_se_s: int = 90
    """The smallest session interval that it takes. A smaller one gets a 422 (RFC 4028 section 6)."""
    name: str | None = None
    """A name that stands for several such addresses, in the Contact instead of one of them."""

    def via(self, branch: str) -> str:
        """Return the Via value of a new request. `alias` offers its connection for requests to us (RFC 5923)."""
        return f"SIP/2.0/{self.transport.upper()} {uri_host(self.host)}:{self.port};alias;branch={branch}"

    def contact(self, user: str) -> str:
        """Return a Contact value for a user part."""
        place = self.name or f"{uri_host(self.host)}:{self.port}"
        return f"<sip:{user}@{place};transport={self.transport}>"


class Core(Protocol):
    """The methods of an endpoint that a call needs."""

    agent: UserAgent
    ids: Identifiers

    def agent_on(self, connection_id: ConnectionId | None) -> UserAgent:
        """Return how the endpoint introduces itself to the peer of a connection."""

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
    PROVISIONAL = auto()
    """Repeat our reliable 1xx, because its PRACK has not come."""
    CANCEL = auto()
    """Give up waiting for the final response after our CANCEL."""
    REFRESH = auto()
    """Refresh the session, which is our part (RFC 4028)."""
    REINVITE = auto()
    """Send a re-INVITE that had to wait, or was refused for now."""
    EXPIRY = auto()
    """End the call, because the peer did not refresh the session."""


class Call(ABC):
    """The common part of ClientCall and ServerCall.

    `context` belongs to the user: an event names its call, and the user finds its own object there without a look-up.
    `negotiator` is the user's as well: it answers what the peer offers. Without one, a new offer is refused (488).
    """

    __slots__ = (
        "_bye_reason", "_core", "_end_cause", "_next_offer", "_refresher", "_reinvite", "_repeater", "_session",
        "_timers", "authenticator", "connection_id", "context", "dialog", "key", "negotiator", "scheduled_s", "state",
    )  # fmt: skip

    def __init__(self, core: Core, connection_id: ConnectionId, key: CallKey, state: CallState) -> None:
        """Make a call. `key`: its Call-ID and our tag. The peer's tag tells the dialogs of a forked call apart."""
        self._core = core
        self.key = key
        self.connection_id: ConnectionId | None = connection_id
        self.state = state
        self.context: object = None
        self.negotiator: Negotiator | None = None
        self.authenticator: Authenticator | None = None
        """Answers challenges. None: a challenge is a refusal."""
        self.dialog: Dialog | None = None
        self.scheduled_s: float | None = None
        self._bye_reason: Header | None = None
        self._end_cause = EndCause.LOCAL_BYE
        self._reinvite: Reinvite | None = None
        self._next_offer: bytes | None = None
        self._refresher = False
        self._repeater: Repeater | None = None
        self._session: SessionTimer | None = None
        self._timers: dict[CallTimer, float] = {}

    @property
    def dialogs(self) -> tuple[Dialog, ...]:
        """Return all dialogs of the call. A caller may have several early ones (RFC 3261 section 12.1)."""
        return () if self.dialog is None else (self.dialog,)

    @property
    def ended(self) -> bool:
        """Return whether the final event has been emitted."""
        return self.state is CallState.ENDED

    @abstractmethod
    def hang_up(self, now: float) -> None:
        """End the call as its state demands: with CANCEL, a final response or BYE. Do nothing when it has ended."""

    def bye(self, now: float, reason: Header | None = None) -> None:
        """End an answered call. Do nothing where it is ending already: the peer may have been first.

        `reason` is a Reason row, such as `reason.sip_reason` makes, for a call that ends because of a fault.
        """
        if self._move(Trigger.HANG_UP):
            self._bye_reason = reason
            if self.state is CallState.ENDING:
                self._send_bye(EndCause.LOCAL_BYE, now)

    def reoffer(self, offer: bytes, now: float) -> None:
        """Offer the peer another description in a re-INVITE. OfferAnswered or OfferRefused says what became of it.

        It waits for other INVITEs of the dialog, and is tried again after a glare (RFC 3261 section 14.1). Do nothing
        where the call is not answered, or is ending.
        """
        if self.state not in (CallState.ANSWERED, CallState.ESTABLISHED):
            return
        if self._reinvite is not None and self._reinvite.number is not None:
            self._next_offer = offer
        else:
            self._reinvite = Reinvite(offer)
            self._send_reinvite(now)

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
            case CallTimer.PROVISIONAL:
                self._repeat_provisional(now)
            case CallTimer.REFRESH:
                self._refresh(now)
            case CallTimer.REINVITE:
                self._send_reinvite(now)
            case CallTimer.EXPIRY:
                self._expire(now)
            case CallTimer.CANCEL:
                self._cancel_unanswered(now)

    @abstractmethod
    def _cancel_unanswered(self, now: float) -> None:
        """End the call: no final response came within 64*T1 of our CANCEL."""

    @abstractmethod
    def _repeat_provisional(self, now: float) -> None:
        """Repeat a reliable provisional response, or give it up."""

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
        dialog = self._dialog_of(request)
        if dialog is None:
            return self._reply(transaction, request, 481, now)
        # After a lost connection the peer may be the first to open another one: go on over that.
        if self.connection_id is None:
            self.use_connection(connection_id)
        if not dialog.accepts(request):  # out of order (RFC 3261 section 12.2.2)
            return self._reply(transaction, request, 500, now)
        match request.method:
            case "BYE":
                self._receive_bye(request, transaction, now)
            case "INVITE" | "UPDATE":
                self._receive_offer(dialog, request, transaction, now)
            case "PRACK":
                self._receive_prack(dialog, request, transaction, now)
            case "OPTIONS":
                self._reply(transaction, request, 200, now, *CAPABILITIES)
            case _:
                # INFO and NOTIFY change nothing here. `screening` has refused what we do not serve.
                self._reply(transaction, request, 200, now)
        return None

    def _dialog_of(self, request: Request) -> Dialog | None:
        """Return the dialog of a request, or None where its sender has none, or none any more."""
        dialog = self.dialog
        return dialog if dialog is not None and dialog.remote_tag == request.from_.tag else None

    def _receive_prack(self, dialog: Dialog, request: Request, transaction: ServerTransaction, now: float) -> None:
        # A caller sends no provisional response, so there is nothing to acknowledge (RFC 3262 section 3).
        self._reply(transaction, request, 481, now)

    def receive_ack(self, request: Request, now: float) -> None:
        """Take the ACK of a 2xx of ours. An ACK with another CSeq number is not for this 2xx and changes nothing."""
        # The peer repeats its ACK for every repeated 2xx, so late ones are normal.
        repeater = self._repeater
        if repeater is None or self._dialog_of(request) is None:
            return
        if request.cseq.number == repeater.response.cseq.number:
            self._acknowledged(description_in(request), now)

    def _acknowledged(self, answer: bytes, now: float) -> None:
        self._stop(CallTimer.ANSWER)
        self._repeater = None
        dialog = self._the_dialog()
        # The 2xx had our offer, so the ACK has to bring the answer (RFC 3261 section 13.2.1).
        late = dialog.exchange.state is OfferState.OFFERED
        fault = self._take_answer(dialog, answer) if late else None
        moved = self._move(Trigger.ACK)
        if moved:
            self._core.emit(events.Acknowledged(now, self))
        if late:
            self._core.emit(events.OfferAnswered(now, self, answer, fault))
        # The user hung up before the ACK. The BYE had to wait for it (RFC 3261 section 15).
        if moved and self.state is CallState.ENDING:
            self._send_bye(EndCause.LOCAL_BYE, now)

    def _take_answer(self, dialog: Dialog, answer: bytes) -> str | None:
        """Give the peer's answer to the negotiator. Return what is wrong with it, or None."""
        exchange = dialog.exchange
        if self.negotiator is not None:
            exchange.fault = self.negotiator.accept(exchange.proposed, answer, dialog.remote_tag)
        else:
            exchange.fault = None if answer else NO_ANSWER
        if exchange.fault is None:
            exchange.answered(answer)
        else:
            exchange.withdraw()
        return exchange.fault

    def _give_answer(self, dialog: Dialog, offer: bytes) -> bytes | None:
        """Return the negotiator's answer to the peer's offer, or None where it is refused."""
        exchange = dialog.exchange
        if self.negotiator is not None:
            answer = self.negotiator.answer(offer, dialog.remote_tag)
        else:
            # The same offer again only refreshes the session. It has its answer already.
            answer = exchange.local if offer == exchange.remote else None
        if answer is not None:
            exchange.ask(offer)
            exchange.answer(answer)
        return answer

    def _reply(
        self, transaction: ServerTransaction, request: Request, status: int, now: float, *headers: Header
    ) -> None:
        self._core.respond(transaction, response_to(request, status, headers=headers), now)

    def _receive_bye(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        # A BYE is answered in every state. Where it crossed ours there is no transition, and the answer to ours ends
        # the call.
        self._reply(transaction, request, 200, now)
        if self._move(Trigger.REMOTE_BYE):
            self._finish(events.Terminated(now, self, EndCause.REMOTE_BYE, None, read_reason(request.headers)))

    def _receive_offer(self, dialog: Dialog, request: Request, transaction: ServerTransaction, now: float) -> None:
        """Answer a re-INVITE (RFC 3261 section 14.2) or an UPDATE (RFC 3311 section 5.2)."""
        # These two may raise for a broken header. They come before anything has changed, so that the endpoint can
        # still send 400.
        agreed, target = agree(request), contact_uri(request)
        invites, offer = request.method == "INVITE", description_in(request)
        if invites and self._repeater is not None and dialog.exchange.state is OfferState.STABLE:
            # Nobody sends an INVITE before the one before it is answered (section 14.1). So our 2xx has arrived, and
            # only its ACK is late.
            self._acknowledged(b"", now)
        status = self._too_early(dialog, request.method, has_offer=bool(offer))
        if status is not None:
            return self._reply(transaction, request, status, now, *self._wait_rows(status))
        body: bytes | None = b""
        if offer:
            body = self._give_answer(dialog, offer)
        elif invites:
            body = self.negotiator.offer(dialog.remote_tag) if self.negotiator is not None else dialog.exchange.local
            dialog.exchange.offer(body)
        if body is None:
            self._reply(transaction, request, 488, now)
            return self._core.emit(events.Reoffered(now, self, offer, 488))
        dialog.remote_target = target or dialog.remote_target
        rows = (*self._session_rows(), *answer_headers(agreed), *_content(body))
        response = response_to(request, 200, headers=rows, body=body)
        self._core.respond(transaction, response, now)
        # No other request has an ACK.
        if invites:
            self._await_ack(response, now)
        # The roles are those of this request, not of the call: who receives it is the UAS, even the caller
        # (RFC 4028). Before the answer of the INVITE there is no session yet to be kept, and a PRACK keeps none.
        if self.state in IN_DIALOG and request.method != "PRACK":
            self._keep_session(agreed, Refresher.UAS, now)
        return self._core.emit(events.Reoffered(now, self, offer, 200))

    def _too_early(self, dialog: Dialog, method: str, *, has_offer: bool) -> int | None:
        """Return the status for a request that may not come now: 491 where ours is open, 500 where theirs is, or None.

        RFC 3261 section 14.2, RFC 3311 section 5.2.
        """
        if self.state is CallState.ENDING:
            return 481
        if method == "INVITE":
            if self.state not in IN_DIALOG:
                return 500 if self.state is CallState.INCOMING else 491
            if self._reinvite is not None and self._reinvite.number is not None:
                return 491
        elif not has_offer:
            return None
        return {OfferState.OFFERED: 491, OfferState.ASKED: 500}.get(dialog.exchange.state)

    def _wait_rows(self, status: int) -> tuple[Header, ...]:
        # Random, because a peer that is told the same second each time comes back together with all others.
        return (("Retry-After", str(self._core.ids.below(11))),) if status == 500 else ()

    def _session_rows(self) -> tuple[Header, ...]:
        """Return the rows that stand in every message that sets up or refreshes a session."""
        return self._contact_row(), ("Allow", ALLOW), ("Supported", SUPPORTED)

    @abstractmethod
    def _contact_row(self) -> Header:
        """Return our Contact, as the call's first message gave it."""

    def _await_ack(self, response: Response, now: float) -> None:
        self._repeater = Repeater(response, now)
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
        # Whoever refreshed has done it: a refresh of ours that waits for its next try is not needed any more.
        if self._reinvite is not None and self._reinvite.offer is None and self._reinvite.number is None:
            self._reinvite = None
        self._refresher = agreed is not None and agreed.refresher is our_role
        if agreed is None:
            return
        if self._refresher:
            self._set(CallTimer.REFRESH, now + agreed.refresh_after_s())
        else:
            self._set(CallTimer.EXPIRY, now + agreed.give_up_after_s())

    def _refresh(self, now: float) -> None:
        """Refresh the session with a re-INVITE of the same SDP, which every peer understands (RFC 4028 section 7.4)."""
        if self.state is not CallState.ESTABLISHED or self._session is None:
            return
        # If the refresh fails, the session still lasts as long as the peer would wait for it.
        self._set(CallTimer.EXPIRY, now + self._session.give_up_after_s() - self._session.refresh_after_s())
        # Another re-INVITE of ours refreshes as well.
        if self._reinvite is None:
            self._reinvite = Reinvite()
            self._send_reinvite(now)

    def _send_reinvite(self, now: float) -> None:
        reinvite, dialog = self._reinvite, self._the_dialog()
        if reinvite is None or self.state not in (CallState.ANSWERED, CallState.ESTABLISHED):
            return None
        # One INVITE at a time, and one offer, in either direction (RFC 3261 section 14.1). The peer's is over soon.
        if self._repeater is not None or dialog.exchange.state is not OfferState.STABLE:
            return self._set(CallTimer.REINVITE, now + T1_S)
        body = dialog.exchange.local if reinvite.offer is None else reinvite.offer
        dialog.exchange.offer(body)
        rows = self._session_rows()
        if self._session is not None:
            # Who refreshes goes on to do so. We send this request, so we are its UAC, even where we were called.
            role = Refresher.UAC if self._refresher else Refresher.UAS
            interval_s = max(self._session.interval_s, reinvite.min_se_s or 0)
            rows += (SessionTimer(interval_s, role).header(),)
        rows += (("Min-SE", str(reinvite.min_se_s)),) if reinvite.min_se_s is not None else ()
        via = self._core.agent.via(self._core.ids.branch())
        request = dialog.request("INVITE", via, (*rows, *_content(body)), body)
        # Before the start: without a connection the handler runs inside `start_invite`. Set after it, the number would
        # stay, and every later re-INVITE of the peer would get 491.
        reinvite.number = dialog.invite_cseq
        reinvite.transaction = self._core.start_invite(self.connection_id, request, self._on_reinvite, now)
        return None

    def _on_reinvite(self, event: TransactionEvent, now: float) -> None:
        if isinstance(event, Response) and event.status < 200:
            return
        reinvite = self._reinvite
        if isinstance(event, Response) and event.status < 300:
            # A repeated 2xx is acknowledged again, because our ACK may be lost. It counts only once.
            number = event.cseq.number
            via = self._core.agent.via(self._core.ids.branch())
            self._core.send(self.connection_id, self._the_dialog().ack(via, number))
            if reinvite is not None and reinvite.number == number:
                self._reinvited(reinvite, event, now)
        elif reinvite is not None and reinvite.number is not None:
            reinvite.number = None
            self._the_dialog().exchange.withdraw()
            self._reinvite_refused(reinvite, event, now)

    def _reinvited(self, reinvite: Reinvite, response: Response, now: float) -> None:
        self._reinvite = None
        # A BYE was sent while the re-INVITE was under way: a new expiry would outlive it.
        if self.state is not CallState.ESTABLISHED:
            return
        dialog = self._the_dialog()
        try:
            agreed = read_session_timer(response)
            dialog.remote_target = contact_uri(response) or dialog.remote_target
        except MalformedFieldError:
            agreed = self._session  # it succeeded all the same: keep the interval that we had
        refreshes, anew = self._session is not None, reinvite.offer is not None
        self._keep_session(agreed, Refresher.UAC, now)
        # The peer may answer a mere refresh otherwise than before, too. Without a body a refresh changes nothing.
        answer = description_in(response)
        if answer or anew:
            fault = self._take_answer(dialog, answer)
            if anew or fault is not None:
                self._core.emit(events.OfferAnswered(now, self, answer, fault))
        else:
            dialog.exchange.withdraw()
        if refreshes:
            self._core.emit(events.Refreshed(now, self))
        if self._next_offer is not None:
            offer, self._next_offer = self._next_offer, None
            self.reoffer(offer, now)

    def _reinvite_refused(self, reinvite: Reinvite, event: TransactionEvent, now: float) -> None:
        if self.state is not CallState.ESTABLISHED:
            return None
        response = event if isinstance(event, Response) else None
        status = response.status if response is not None else 408 if event is TransactionFailure.TIMEOUT else 503
        if status in DIALOG_GONE:
            return self._expire(now)
        if response is not None and status == 422 and reinvite.min_se_s is None:
            try:
                reinvite.min_se_s = read_min_se(response)
            except MalformedFieldError:
                pass
            else:
                return self._send_reinvite(now)
        ours = self._owns_call_id()
        wait_s = retry_wait_s(reinvite, status, response, self._core.ids, ours=ours)
        if wait_s < float("inf"):
            reinvite.tries += 1
            return self._set(CallTimer.REINVITE, now + wait_s)
        self._reinvite = None
        if reinvite.offer is not None:
            self._core.emit(events.OfferRefused(now, self, status))
        return None

    @abstractmethod
    def _owns_call_id(self) -> bool:
        """Return whether we chose the Call-ID: who did waits longer after a glare (RFC 3261 section 14.1)."""

    def _expire(self, now: float) -> None:
        if self.state is CallState.ESTABLISHED:
            self._move(Trigger.HANG_UP)
            self._bye_reason = sip_reason(408, "session expired")
            self._send_bye(EndCause.SESSION_EXPIRED, now)

    def _send_bye(self, cause: EndCause, now: float) -> None:
        # After our BYE nothing else of the call matters: no repetition, no refresh, no expiry.
        # The handler may run inside `start`, where there is no connection, so everything is set before it.
        self._end_cause = cause
        self._repeater = None
        self._timers.clear()
        self._core.schedule(self)
        self._start_bye((), now)

    def _start_bye(self, rows: tuple[Header, ...], now: float) -> None:
        rows += () if self._bye_reason is None else (self._bye_reason,)
        request = self._the_dialog().request("BYE", self._core.agent.via(self._core.ids.branch()), rows)
        self._core.start(self.connection_id, request, partial(self._on_bye, request.uri), now)

    def _on_bye(self, uri: str, event: TransactionEvent, now: float) -> None:
        if isinstance(event, Response) and self.authenticator is not None:
            answer = self.authenticator.answer(event, "BYE", uri)
            if answer is not None:
                self._start_bye((answer,), now)
                return
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
        # A peer that said 100 to our re-INVITE and nothing more would keep its transaction for ever: no timer runs.
        if self._reinvite is not None and self._reinvite.number is not None and self._reinvite.transaction is not None:
            self._core.abandon(self._reinvite.transaction, event.at_s)
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


def names_100rel(message: Message, header: str = "Require") -> bool:
    """Return whether a header lists reliable provisional responses (RFC 3262). Option tags compare without case."""
    return any(option.lower() == "100rel" for option in message.headers.elements(header))


def description_in(message: Message) -> bytes:
    """Return the session description that a message carries, or b"" where it carries none."""
    if not message.body:
        return b""
    firsts = message.headers.firsts()
    kind, purpose = firsts.get("Content-Type"), firsts.get("Content-Disposition")
    # What is optional and for something else, or compressed, is ignored. `screening` has refused what may not be.
    if purpose is not None and disposition(purpose)[0] != "session":
        return b""
    if firsts.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        return b""
    # Nearly every body is just that.
    return message.body if kind == "application/sdp" else sdp_part(kind, message.body) or b""


def _content(body: bytes) -> tuple[Header, ...]:
    return (("Content-Type", "application/sdp"),) if body else ()
