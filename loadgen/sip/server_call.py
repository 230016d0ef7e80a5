"""The answering side of a call: from a received INVITE to our final response and its ACK (RFC 3261 section 13.3).

It answers in one INVITE server transaction, and its user decides how. What happens inside the dialog is in `Call`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call import Call, ConnectionId, Core
from trunkproof.loadgen.sip.call_state import CallState, Trigger
from trunkproof.loadgen.sip.capabilities import ALLOW, SUPPORTED
from trunkproof.loadgen.sip.dialog import Dialog
from trunkproof.loadgen.sip.fields import MalformedFieldError, Uri
from trunkproof.loadgen.sip.headers import Header
from trunkproof.loadgen.sip.message import Request, response_to
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

    __slots__ = ("_asked", "_local_tag", "_transaction", "invite")

    def __init__(
        self, core: Core, connection_id: ConnectionId, invite: Request, transaction: InviteServerTransaction
    ) -> None:
        super().__init__(core, connection_id, CallState.INCOMING)
        self.invite = invite
        self._transaction = transaction
        self._local_tag = core.ids.tag()
        # These two read headers and may raise, before anybody knows of the call.
        self._asked = agree(invite)
        self.dialog = Dialog.as_callee(invite, self._local_tag)

    @property
    def dialled(self) -> str:
        """Return the dialled number, of the Request-URI. Return '' where the URI cannot be read."""
        try:
            return Uri.parse(self.invite.uri).number
        except MalformedFieldError:
            return ""

    def trying(self, now: float) -> None:
        """Send 100, which stops the caller's timer B."""
        self._provisional(100, b"", now)

    def ring(self, now: float, status: int = 180, sdp: bytes = b"") -> None:
        """Send a provisional response, 180 by default, with early SDP where given."""
        self._provisional(status, sdp, now)

    def _provisional(self, status: int, sdp: bytes, now: float) -> None:
        if self.state is not CallState.INCOMING:
            return
        rows: list[Header] = [] if status == 100 else [self._contact_row()]
        rows += [("Content-Type", "application/sdp")] if sdp else []
        # A 100 makes no dialog, so it has neither Contact nor tag.
        tag = "" if status == 100 else self._local_tag
        self._core.respond(self._transaction, response_to(self.invite, status, to_tag=tag, headers=rows, body=sdp), now)

    def answer(self, now: float, sdp: bytes) -> None:
        """Send 200, and repeat it until its ACK. Do nothing where the caller has cancelled meanwhile."""
        if not self._move(Trigger.ANSWER):
            return
        self.local_body = sdp
        # The caller builds its route set from these (section 12.1.1). Without them its BYE would go past the proxies.
        rows: list[Header] = [("Record-Route", value) for value in self.invite.headers.rows("Record-Route")]
        rows += [self._contact_row(), ("Allow", ALLOW), ("Supported", SUPPORTED)]
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
        return "Contact", self._core.agent.contact(self.dialled)


@dataclass(frozen=True, slots=True)
class IncomingInvite(events.Event):
    """A new call: `call.trying`, `ring`, `answer` or `reject` it."""

    call: ServerCall
    invite: Request
