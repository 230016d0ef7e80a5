"""The calling side of a call: from INVITE to its final response, CANCEL included (RFC 3261 sections 9 and 13.2).

It reacts to the events of one INVITE transaction, and acknowledges every 2xx, repeated or forked, and every reliable
provisional response (RFC 3262). A callee may fork: each To tag is a dialog of its own, with its own answer to our
offer. What happens inside the dialog is in `Call`.
"""

from __future__ import annotations

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call import Call, CallTimer, ConnectionId, Core, description_in, names_100rel
from trunkproof.loadgen.sip.call_state import CallState, Trigger
from trunkproof.loadgen.sip.dialog import Dialog
from trunkproof.loadgen.sip.digest import CREDENTIALS, Authenticator
from trunkproof.loadgen.sip.events import EndCause
from trunkproof.loadgen.sip.exchange import OfferState
from trunkproof.loadgen.sip.fields import MalformedFieldError, read_number, read_q850_cause, read_retry_after
from trunkproof.loadgen.sip.headers import Header, Headers
from trunkproof.loadgen.sip.message import Request, Response
from trunkproof.loadgen.sip.session_timer import Refresher, read_min_se, read_session_timer
from trunkproof.loadgen.sip.transaction import TransactionEvent, TransactionFailure
from trunkproof.models.timers import TRANSACTION_TIMEOUT_S

MOST_FORKS = 32
"""The most dialogs of one call that are kept, early or answered. A peer could name a new tag in every response."""


class ClientCall(Call):
    """A call that we place. `invite` is the INVITE that was sent last."""

    __slots__ = ("_acks", "_early", "_ringing", "_transaction", "invite")

    def __init__(self, core: Core, connection_id: ConnectionId, invite: Request, now: float) -> None:
        super().__init__(core, connection_id, (invite.call_id, invite.from_.tag), CallState.CALLING)
        self.invite = invite
        self._acks: dict[str, Request] = {}
        self._early: dict[str, Dialog] = {}
        # Of each other fork that rings, its first response: a dialog is made of it when it asks something. Few ever do.
        self._ringing: dict[str, Response] = {}
        self._transaction = core.start_invite(connection_id, invite, self._on_invite, now)

    @property
    def dialogs(self) -> tuple[Dialog, ...]:
        """Return the dialog of the answer, and the early ones."""
        early = tuple(self._early.values())
        return early if self.dialog is None else (self.dialog, *early)

    def cancel(self, now: float) -> None:
        """Give the call up before its answer: send CANCEL now or after the first response. Do nothing once answered."""
        if self._move(Trigger.CANCEL) and self.state is CallState.CANCELLING:
            self._send_cancel(now)

    def hang_up(self, now: float) -> None:
        """Send CANCEL before the answer, BYE after it."""
        self.cancel(now)
        self.bye(now)

    def _contact_row(self) -> Header:
        return "Contact", self.invite.headers.get("Contact") or self._core.agent.contact("")

    def _on_invite(self, event: TransactionEvent, now: float) -> None:
        match event:
            case Response(status=status) if status < 200:
                self._on_provisional(event, now)
            case Response(status=status) if status < 300:
                self._on_success(event, now)
            case Response():
                self._on_failure(event, now)
            case TransactionFailure():
                self._on_no_response(event, now)

    def _owns_call_id(self) -> bool:
        return True

    def _repeat_provisional(self, now: float) -> None:
        raise RuntimeError("only a callee sends provisional responses")

    def _dialog_of(self, request: Request) -> Dialog | None:
        tag = request.from_.tag
        if self.dialog is None:
            response = self._ringing.get(tag)
            return self._early.get(tag) if response is None else self._early_dialog(response)
        # Once one fork has answered, the others are over.
        return self.dialog if self.dialog.remote_tag == tag else None

    def _on_provisional(self, response: Response, now: float) -> None:
        # Before the state: a callee that we have given up must not repeat its response in vain either.
        if response.status > 100 and not self._take_provisional(response, now):
            return
        cancel_waited = self.state is CallState.CANCEL_WANTED
        if not self._move(Trigger.PROVISIONAL):
            return
        if cancel_waited:
            self._send_cancel(now)
        elif response.status == 100:
            self._core.emit(events.Trying(now, self))
        else:
            self._core.emit(events.Ringing(now, self, response.status, description_in(response)))

    def _take_provisional(self, response: Response, now: float) -> bool:
        """Take a response's SDP, and acknowledge it where it is reliable. Return False for one that must be ignored.

        That is a repetition, or one whose predecessor has not come yet (RFC 3262 section 4).
        """
        reliable = names_100rel(response)
        body = description_in(response)
        if not reliable and not body:
            # Without a tag there is no dialog (RFC 3261 section 12.1): a peer of RFC 2543 leaves it out.
            if response.to.tag and len(self._ringing) < MOST_FORKS:
                self._ringing.setdefault(response.to.tag, response)
            return True
        try:
            dialog = self._early_dialog(response)
            number = read_number(response.headers.get("RSeq") or "", "RSeq") if reliable else 0
        except MalformedFieldError:
            return True  # it still says that the telephone rings
        if reliable:
            if dialog.rseq is not None and number != dialog.rseq + 1:
                return False
            dialog.rseq = number
        exchange = dialog.exchange
        # The first reliable description is the answer. What follows it is ignored (RFC 3261 section 13.2.1).
        if body and exchange.state is OfferState.OFFERED and self.state is not CallState.CANCELLING:
            if reliable:
                self._take_answer(dialog, body)
            else:
                # A preview, for early media. The offer stays open: the 2xx may bring another answer.
                exchange.remote = body
                if self.negotiator is not None:
                    self.negotiator.accept(exchange.proposed, body, dialog.remote_tag)
        if reliable:
            row = ("RAck", f"{number} {self.invite.cseq.number} INVITE")
            prack = dialog.request("PRACK", self._core.agent.via(self._core.ids.branch()), (row,))
            self._core.start(self.connection_id, prack, _ignore, now)
        return True

    def _early_dialog(self, response: Response) -> Dialog:
        """Return the early dialog of a provisional response. It is made for the first one of its tag."""
        dialog = self._early.get(response.to.tag)
        if dialog is None:
            if len(self._early) >= MOST_FORKS:
                raise MalformedFieldError(f"more than {MOST_FORKS} early dialogs")
            dialog = self._early[response.to.tag] = self._new_dialog(response)
        return dialog

    def _new_dialog(self, response: Response) -> Dialog:
        dialog = Dialog.as_caller(self.invite, response, self._core.agent.host, self._core.agent.port)
        dialog.exchange.offer(self.invite.body)
        return dialog

    def _send_cancel(self, now: float) -> None:
        """Send a CANCEL with the INVITE's branch, CSeq number and Request-URI (RFC 3261 section 9.1)."""
        headers = self.invite.headers
        # One Via, the INVITE's: the next hop finds the INVITE's transaction by its branch.
        rows = [("Via", headers.elements("Via")[0]), ("Max-Forwards", "70")]
        rows += [(name, headers.get(name) or "") for name in ("From", "To", "Call-ID")]
        rows += [("CSeq", f"{self.invite.cseq.number} CANCEL"), *(("Route", route) for route in headers.rows("Route"))]
        self._set(CallTimer.CANCEL, now + TRANSACTION_TIMEOUT_S)
        # The answer to a CANCEL says only that the next hop has it. The INVITE's final response says what became of
        # the call.
        self._core.start(self.connection_id, Request("CANCEL", self.invite.uri, rows), _ignore, now)

    def _cancel_unanswered(self, now: float) -> None:
        # First the transaction, or its late failure would find a call that has ended.
        self._core.abandon(self._transaction, now)
        if self._move(Trigger.FAILURE):
            self._finish(events.Cancelled(now, self, confirmed=False))

    def _on_success(self, response: Response, now: float) -> None:
        # A tag seen before: the 2xx is a repetition, so our ACK was lost. Another tag: another callee answered.
        tag = response.to.tag
        if tag in self._acks:
            return self._core.send(self.connection_id, self._acks[tag])
        # Each would be remembered with its ACK, and get a BYE. No callee has so many telephones that all answer.
        if len(self._acks) >= MOST_FORKS:
            return None
        try:
            dialog = self._new_dialog(response)
        except MalformedFieldError as error:
            if self._move(Trigger.FAILURE):
                self._finish(events.ProtocolViolation(now, self, str(error)))
            return None
        try:
            session = read_session_timer(response)
        except MalformedFieldError:
            session = None  # the call is up all the same, and is acknowledged: only nobody refreshes it
        early = self._early.get(tag)
        if early is not None:
            dialog.take_over(early)
        # Kept as it was sent: a repeated 2xx gets the same ACK again (section 13.2.2.4).
        given: tuple[Header, ...] = ()
        if self.authenticator is not None:
            # The credentials of the INVITE, because an ACK cannot be challenged (section 22.1).
            given = tuple((name, value) for name in CREDENTIALS for value in self.invite.headers.rows(name))
        self._acks[tag] = dialog.ack(self._core.agent.via(self._core.ids.branch()), headers=given)
        self._core.send(self.connection_id, self._acks[tag])
        # The call has its answer already, or has ended. This callee must not wait for us in vain.
        if not self._move(Trigger.SUCCESS):
            return self._end_fork(dialog, now)
        self.dialog = dialog
        self._stop(CallTimer.CANCEL)
        if self.state is CallState.ENDING:  # the 2xx crossed our CANCEL
            return self._send_bye(EndCause.CANCEL_GLARE, now)
        body = description_in(response)
        fault = self._settle_answer(dialog, body)
        self._core.emit(events.Answered(now, self, response, dialog.exchange.remote or body, fault))
        return self._keep_session(session, Refresher.UAC, now)

    def _settle_answer(self, dialog: Dialog, body: bytes) -> str | None:
        """Take the answer that stands in this dialog, wherever it came. Return what is wrong with it, or None."""
        exchange = dialog.exchange
        if exchange.state is OfferState.OFFERED:
            # Without a body the preview of a plain 1xx holds: "that same exact answer" (RFC 3261 section 13.2.1).
            self._take_answer(dialog, body or exchange.remote)
        if self.negotiator is not None and exchange.fault is None:
            self.negotiator.confirm(dialog.remote_tag)
        return exchange.fault

    def _end_fork(self, dialog: Dialog, now: float) -> None:
        """End a second answer to the same INVITE at once. It was acknowledged already (RFC 3261 section 13.2.2.4)."""
        # The call does not know this dialog: it has one BYE to send, and a request inside it gets 481.
        bye = dialog.request("BYE", self._core.agent.via(self._core.ids.branch()))
        self._core.start(self.connection_id, bye, _ignore, now)

    def _on_failure(self, response: Response, now: float) -> None:
        if response.status == 422 and self._retry_with_longer_session(response, now):
            return None
        if self.authenticator is not None and self._retry_with_credentials(self.authenticator, response, now):
            return None
        was_cancelled = self.state in (CallState.CANCEL_WANTED, CallState.CANCELLING)
        if not self._move(Trigger.FAILURE):
            return None
        # 487 is the answer to an INVITE that was cancelled (section 9.2). Another failure most likely crossed our
        # CANCEL. It is reported as what it is, a rejection.
        if was_cancelled and response.status == 487:
            return self._finish(events.Cancelled(now, self, confirmed=True))
        headers = response.headers
        retry_after_s = read_retry_after(headers.get("Retry-After"))
        cause = read_q850_cause(headers.elements("Reason"))
        rejected = events.Rejected(now, self, response.status, response.reason, retry_after_s, cause, response)
        return self._finish(rejected)

    def _retry_with_longer_session(self, response: Response, now: float) -> bool:
        """Try once more with the interval that a 422 asks for. Return whether we do (RFC 4028 section 7.3).

        Call-ID and From stay, the CSeq number rises by one. A Min-SE in our INVITE says that we tried already.
        """
        if self.state not in (CallState.CALLING, CallState.PROCEEDING) or "Min-SE" in self.invite.headers:
            return False
        try:
            min_se_s = read_min_se(response)
        except MalformedFieldError:
            return False
        headers = self.invite.headers.copy()
        headers.replace("Session-Expires", str(min_se_s))
        headers.add("Min-SE", str(min_se_s))
        self._invite_again(headers, now)
        return True

    def _retry_with_credentials(self, authenticator: Authenticator, response: Response, now: float) -> bool:
        """Try again with the credentials that a 401 or 407 asks for. Return whether we do (RFC 3261 section 22.2)."""
        if self.state not in (CallState.CALLING, CallState.PROCEEDING):
            return False
        answer = authenticator.answer(response, "INVITE", self.invite.uri)
        if answer is None:
            return False
        headers = self.invite.headers.copy()
        # In the place of an answer whose nonce was stale.
        headers.replace(*answer)
        self._invite_again(headers, now)
        return True

    def _invite_again(self, headers: Headers, now: float) -> None:
        # A new transaction needs a new branch and the next CSeq number (RFC 3261 section 8.1.3.5).
        headers.replace("Via", self._core.agent.via(self._core.ids.branch()))
        headers.replace("CSeq", f"{self.invite.cseq.number + 1} INVITE")
        self.invite = Request("INVITE", self.invite.uri, headers, self.invite.body)
        # Not by `_move`: to begin again is no transition that the peer could cause.
        self.state = CallState.CALLING
        self._transaction = self._core.start_invite(self.connection_id, self.invite, self._on_invite, now)

    def _on_no_response(self, failure: TransactionFailure, now: float) -> None:
        was_cancelling = self.state is CallState.CANCELLING
        if not self._move(Trigger.FAILURE):
            return
        if was_cancelling:
            self._finish(events.Cancelled(now, self, confirmed=False))
        elif failure is TransactionFailure.TIMEOUT:
            self._finish(events.TimedOut(now, self))
        else:
            self._finish(events.ConnectionLost(now, self))


def _ignore(event: TransactionEvent, now: float) -> None:
    """Ignore an event: what becomes of this request does not matter to the call."""
