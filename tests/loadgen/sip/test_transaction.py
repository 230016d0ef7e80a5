"""RFC 3261 section 17 and RFC 6026 over a reliable transport, transition by transition."""

from __future__ import annotations

import pytest

from trunkproof.loadgen.sip.message import Request, Response, response_to
from trunkproof.loadgen.sip.transaction import (
    ClientTransaction,
    InviteClientTransaction,
    InviteServerTransaction,
    ServerTransaction,
    TransactionFailure,
)
from trunkproof.loadgen.sip.transaction_table import State


def request(method: str) -> Request:
    rows = [("Via", "SIP/2.0/TLS h:5061;branch=z9hG4bK1"), ("Route", "<sip:p;lr>"), ("From", "<sip:a@h>;tag=1")]
    return Request(method, "sip:b@t", [*rows, ("To", "<sip:b@t>"), ("Call-ID", "c"), ("CSeq", f"102 {method}")])


def response(method: str, status: int) -> Response:
    return response_to(request(method), status, to_tag="2")


def test_17_1_1_2_timer_b_runs_only_until_a_response() -> None:
    transaction = InviteClientTransaction(request("INVITE"), 1.0)
    assert transaction.next_timer() == 33.0
    transaction.receive(response("INVITE", 100), 2.0)
    assert transaction.next_timer() is None
    assert transaction.state is State.PROCEEDING


def test_17_1_1_2_timer_b_reports_a_timeout() -> None:
    transaction = InviteClientTransaction(request("INVITE"), 1.0)
    transaction.handle_timer(32.9)
    assert not transaction.terminated
    transaction.handle_timer(33.0)
    assert transaction.events() == [TransactionFailure.TIMEOUT]
    assert transaction.terminated


def test_17_1_1_3_ack_of_a_failure() -> None:
    transaction = InviteClientTransaction(request("INVITE"), 0.0)
    transaction.messages_to_send()
    transaction.receive(response("INVITE", 486), 1.0)
    (ack,) = transaction.messages_to_send()
    assert ack.start_line() == "ACK sip:b@t SIP/2.0"
    assert list(ack.headers) == [
        ("Via", "SIP/2.0/TLS h:5061;branch=z9hG4bK1"),
        ("Max-Forwards", "70"),
        ("From", "<sip:a@h>;tag=1"),
        ("To", "<sip:b@t>;tag=2"),
        ("Call-ID", "c"),
        ("CSeq", "102 ACK"),
        ("Route", "<sip:p;lr>"),
    ]
    assert transaction.terminated


def test_rfc6026_8_4_every_2xx_goes_up_until_timer_m() -> None:
    transaction = InviteClientTransaction(request("INVITE"), 0.0)
    for now in (1.0, 2.0):
        transaction.receive(response("INVITE", 200), now)
    assert len(transaction.events()) == 2
    assert transaction.next_timer() == 33.0
    transaction.handle_timer(33.0)
    assert transaction.terminated
    assert transaction.events() == []


@pytest.mark.parametrize("status", [180, 486])
def test_rfc6026_8_4_after_a_2xx_other_responses_are_strays(status: int) -> None:
    transaction = InviteClientTransaction(request("INVITE"), 0.0)
    transaction.receive(response("INVITE", 200), 1.0)
    transaction.events()
    transaction.receive(response("INVITE", status), 2.0)
    assert (transaction.events(), transaction.state) == ([], State.ACCEPTED)


def test_17_1_2_2_non_invite_client() -> None:
    transaction = ClientTransaction(request("BYE"), 0.0)
    transaction.receive(response("BYE", 100), 1.0)
    assert transaction.next_timer() == 32.0
    transaction.receive(response("BYE", 481), 2.0)
    assert [event.status for event in transaction.events() if isinstance(event, Response)] == [100, 481]
    assert transaction.terminated


@pytest.mark.parametrize("kind", [ClientTransaction, InviteClientTransaction])
def test_17_1_4_transport_errors_are_reported(kind: type[ClientTransaction]) -> None:
    transaction = kind(request("INVITE"), 0.0)
    transaction.connection_lost(1.0)
    assert transaction.events() == [TransactionFailure.CONNECTION_LOST]


def test_17_2_1_invite_server_answers_repetitions_with_its_last_response() -> None:
    transaction = InviteServerTransaction(request("INVITE"))
    ringing, busy = response("INVITE", 180), response("INVITE", 486)
    transaction.respond(ringing, 0.0)
    transaction.receive(request("INVITE"), 1.0)
    transaction.respond(busy, 2.0)
    transaction.receive(request("INVITE"), 3.0)
    assert transaction.messages_to_send() == [ringing, ringing, busy, busy]
    assert transaction.next_timer() == 34.0
    transaction.receive(request("ACK"), 4.0)
    assert transaction.terminated


def test_rfc6026_8_7_after_a_2xx_invites_are_absorbed_until_timer_l() -> None:
    transaction = InviteServerTransaction(request("INVITE"))
    transaction.respond(response("INVITE", 200), 0.0)
    transaction.messages_to_send()
    transaction.receive(request("INVITE"), 1.0)
    transaction.respond(response("INVITE", 486), 1.0)
    assert transaction.messages_to_send() == []
    transaction.handle_timer(32.0)
    assert transaction.terminated


def test_17_2_2_non_invite_server() -> None:
    transaction = ServerTransaction(request("BYE"))
    transaction.receive(request("BYE"), 0.0)
    assert transaction.messages_to_send() == []
    transaction.respond(response("BYE", 200), 0.0)
    assert len(transaction.messages_to_send()) == 1
    assert transaction.terminated
