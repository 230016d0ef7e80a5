"""The answering side of a call: from a received INVITE to our final response and its ACK (RFC 3261 section 13.3).

It answers in one INVITE server transaction, and its user decides how. What happens inside the dialog is in `Call`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call import Call, CallTimer, ConnectionId, Core, description_in, names_100rel
from trunkproof.loadgen.sip.call_state import CallState, Trigger
from trunkproof.loadgen.sip.capabilities import ALLOW, SUPPORTED
from trunkproof.loadgen.sip.dialog import Dialog, Repeater, contact_uri
from trunkproof.loadgen.sip.exchange import OfferState
from trunkproof.loadgen.sip.fields import MalformedFieldError, Uri
from trunkproof.loadgen.sip.headers import Header
from trunkproof.loadgen.sip.message import Request, Response, response_to
from trunkproof.loadgen.sip.session_timer import Refresher, agree, answer_headers
from trunkproof.loadgen.sip.transaction import (
    InviteServerTransaction,
    ServerTransaction,
    TransactionEvent,
    TransactionFailure,
)


class ServerCall(Call):
    """A call that came in with `invite`.

    Raises:
        MalformedFieldError: the INVITE cannot make a dialog.
    """

    __slots__ = (
        "_asked", "_deferred", "_local_tag", "_rseq", "_transaction", "_unacknowledged", "_waiting", "invite",
        "needs_reliable", "offer",
    )  # fmt: skip

    def __init__(
        self, core: Core, connection_id: ConnectionId, invite: Request, transaction: InviteServerTransaction
    ) -> None:
        self._local_tag = core.ids.tag()
        super().__init__(core, connection_id, (invite.call_id, self._local_tag), CallState.INCOMING)
        self.invite = invite
        self.needs_reliable = names_100rel(invite)
        """Whether the caller demands PRACK for every provisional response but 100 (RFC 3262 section 3)."""
        self._transaction = transaction
        self._rseq: int | None = None
        self._unacknowledged: Repeater | None = None
        self._waiting: list[tuple[int, bytes]] = []
        self._deferred: bytes | None = None
        # These two read headers and may raise, before anybody knows of the call.
        self._asked = agree(invite)
        self.dialog = Dialog.as_callee(invite, self._local_tag)
        self.offer = description_in(invite)
        """The caller's offer. Empty where it asks for ours: our first reliable response has to have one."""
        if self.offer:
            self.dialog.exchange.ask(self.offer)

    @property
    def dialled(self) -> str:
        """Return the dialled number, of the Request-URI. Return '' where the URI cannot be read."""
        try:
            return Uri.parse(self.invite.uri).number
        except MalformedFieldError:
            return ""

    def _owns_call_id(self) -> bool:
        return False

    def trying(self, now: float) -> None:
        """Send 100, which stops the caller's timer B."""
        if self.state is CallState.INCOMING:
            # A 100 makes no dialog, so it has neither Contact nor tag.
            self._core.respond(self._transaction, response_to(self.invite, 100), now)

    def ring(self, now: float, status: int = 180, sdp: bytes = b"") -> None:
        """Send a provisional response, 180 by default, with early SDP where given.

        It is sent reliably where the caller demands that, and where it has SDP and the caller can (RFC 3262).
        """
        if self.state is not CallState.INCOMING:
            return
        can = self.needs_reliable or (bool(sdp) and names_100rel(self.invite, "Supported"))
        if not can:
            # Only a reliable response may bring an offer. An answer is a preview here, and the 2xx repeats it.
            self._respond_early(status, sdp if self.offer else b"", (), now)
        # The next one goes once this one is acknowledged (section 3).
        elif self._unacknowledged is not None:
            self._waiting.append((status, sdp))
        else:
            self._ring_reliably(status, sdp, now)

    def _ring_reliably(self, status: int, sdp: bytes, now: float) -> None:
        exchange = self._the_dialog().exchange
        if exchange.state is OfferState.ASKED:
            if sdp:
                exchange.answer(sdp)
        elif not exchange.local and not self.offer:
            # The first reliable response has to have the offer that the INVITE lacks (section 5).
            sdp = sdp or (self.negotiator.offer(self._the_dialog().remote_tag) if self.negotiator is not None else b"")
            exchange.offer(sdp)
        # Below 2**31, and not guessable, so that old responses of another call are not taken for ours (section 3).
        self._rseq = 1 + (self._core.ids.below(2**31 - 1) if self._rseq is None else self._rseq)
        rows = (("Require", "100rel"), ("RSeq", str(self._rseq)), ("Allow", ALLOW), ("Supported", SUPPORTED))
        response = self._respond_early(status, sdp, rows, now)
        self._unacknowledged = Repeater(response, now, longest_s=float("inf"))
        self._set(CallTimer.PROVISIONAL, self._unacknowledged.next_timer())

    def _respond_early(self, status: int, sdp: bytes, more: tuple[Header, ...], now: float) -> Response:
        rows = [*self._dialog_rows(), *more, *([("Content-Type", "application/sdp")] if sdp else [])]
        response = response_to(self.invite, status, to_tag=self._local_tag, headers=rows, body=sdp)
        self._core.respond(self._transaction, response, now)
        return response

    def _dialog_rows(self) -> list[Header]:
        """Return the rows of a response that makes a dialog (RFC 3261 section 12.1.1)."""
        # The caller builds its route set from these. Without them its BYE would go past the proxies.
        rows: list[Header] = [("Record-Route", value) for value in self.invite.headers.rows("Record-Route")]
        return [*rows, self._contact_row()]

    def _repeat_provisional(self, now: float) -> None:
        repeater = self._unacknowledged
        if repeater is None or self.state is not CallState.INCOMING:
            return None
        if repeater.expired(now):
            # RFC 3262 section 3: reject the INVITE with 5xx.
            return self.reject(now, 504, "No PRACK")
        self._core.respond(self._transaction, repeater.repeat(now), now)
        return self._set(CallTimer.PROVISIONAL, repeater.next_timer())

    def _receive_prack(self, dialog: Dialog, request: Request, transaction: ServerTransaction, now: float) -> None:
        if self._unacknowledged is None or not self._is_acknowledged_by(request):
            return self._reply(transaction, request, 481, now)
        # These two raise for a broken header, as `_receive_offer` would, and must do so before anything has changed:
        # a 200 that waits for this PRACK would never be sent.
        agree(request), contact_uri(request)
        self._unacknowledged = None
        self._stop(CallTimer.PROVISIONAL)
        exchange = dialog.exchange
        if exchange.state is OfferState.OFFERED:
            answer = description_in(request)
            fault = self._take_answer(dialog, answer)
            self._reply(transaction, request, 200, now)
            self._core.emit(events.OfferAnswered(now, self, answer, fault))
        elif not description_in(request):
            self._reply(transaction, request, 200, now)
        else:
            self._receive_offer(dialog, request, transaction, now)
        return self._after_prack(now)

    def _is_acknowledged_by(self, prack: Request) -> bool:
        """Return whether a PRACK is for our last reliable response: RSeq, CSeq number and method (section 7.2)."""
        expected = [str(self._rseq), str(self.invite.cseq.number), "INVITE"]
        return (prack.headers.get("RAck") or "").split() == expected

    def _after_prack(self, now: float) -> None:
        """Send what had to wait for the PRACK."""
        if self.state is not CallState.INCOMING:
            return
        if self._waiting:
            self._ring_reliably(*self._waiting.pop(0), now)
        if self._deferred is not None and not self._must_wait():
            self.answer(now, self._deferred)

    def _must_wait(self) -> bool:
        # Before a 2xx, an offer or answer in a 1xx must have arrived for sure (section 3).
        return self._unacknowledged is not None and bool(self._unacknowledged.response.body)

    def answer(self, now: float, sdp: bytes) -> None:
        """Send 200, and repeat it until its ACK. Do nothing where the caller has cancelled meanwhile.

        `sdp` answers the INVITE, or is our offer where it has none. It is not sent where a reliable response had it.
        """
        if self.state is CallState.INCOMING and self._must_wait():
            self._deferred = sdp
            return
        if not self._move(Trigger.ANSWER):
            return
        exchange = self._the_dialog().exchange
        if exchange.state is OfferState.ASKED:
            exchange.answer(sdp)
        elif not exchange.local and not self.offer:
            exchange.offer(sdp)
        else:
            sdp = b""
        self._stop(CallTimer.PROVISIONAL)
        rows = [*self._dialog_rows(), ("Allow", ALLOW), ("Supported", SUPPORTED)]
        rows += [("Server", self._core.agent.product), *answer_headers(self._asked)]
        rows += [("Content-Type", "application/sdp")] if sdp else []
        response = response_to(self.invite, 200, to_tag=self._local_tag, headers=rows, body=sdp)
        # The transaction sends the 2xx once. Repeating it until its ACK is the call's duty (RFC 3261 section 13.3.1.4).
        self._core.respond(self._transaction, response, now)
        self._await_ack(response, now)
        self._keep_session(self._asked, Refresher.UAS, now)

    def reject(self, now: float, status: int, reason: str | None = None, headers: Iterable[Header] = ()) -> None:
        """Send a final response of 300 to 699, with headers such as Retry-After and Reason.

        Raises:
            ValueError: the status is outside 300 to 699.
        """
        if not 300 <= status <= 699:
            raise ValueError(f"{status} does not reject a call")
        if self._move(Trigger.FAILURE):
            # The response goes out before the call is forgotten.
            self._fail(status, reason, headers, now)
            self._finish(events.LocallyRejected(now, self, status))

    def cancelled(self, now: float) -> None:
        """Answer 487 to a call that the caller cancelled, unless a final response was sent before (section 9.2)."""
        if self._move(Trigger.CANCEL):
            self._fail(487, None, (), now)
            self._finish(events.Cancelled(now, self, confirmed=True))

    def _receive_bye(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        if self.state is not CallState.INCOMING:
            return super()._receive_bye(request, transaction, now)
        self._reply(transaction, request, 200, now)  # a caller may end an early dialog with BYE (RFC 3261 section 15)
        return self.cancelled(now)

    def _fail(self, status: int, reason: str | None, headers: Iterable[Header], now: float) -> None:
        response = response_to(self.invite, status, reason, to_tag=self._local_tag, headers=headers)
        self._core.respond(self._transaction, response, now)

    def hang_up(self, now: float) -> None:
        """Send 480 before the answer, BYE after it."""
        if self.state is CallState.INCOMING:
            self.reject(now, 480)
        else:
            self.bye(now)

    def on_invite_transaction(self, event: TransactionEvent, now: float) -> None:
        """End the call where the INVITE's transaction lost its connection before our final response."""
        if event is TransactionFailure.CONNECTION_LOST and self._move(Trigger.FAILURE):
            self._finish(events.ConnectionLost(now, self))

    def _cancel_unanswered(self, now: float) -> None:
        raise RuntimeError("only a caller cancels")

    def _contact_row(self) -> Header:
        return "Contact", self._core.agent_on(self.connection_id).contact(self.dialled)


@dataclass(frozen=True, slots=True)
class IncomingInvite(events.Event):
    """A new call: `call.trying`, `ring`, `answer` or `reject` it."""

    call: ServerCall
    invite: Request
