"""A call belongs to the peer with whom it began: what another one sends about it does nothing."""

from __future__ import annotations

from typing import Any

import pytest

from trunkproof.loadgen.sip.call_state import CallState
from trunkproof.loadgen.sip.message import Request, Response, serialize
from trunkproof.loadgen.sip.parser import parse_message

OWN, STRANGE, AGAIN = 1, 7, 2


@pytest.fixture
def known(pair: Any) -> Any:
    """A pair whose connections 1 and 2 lead to the other side, and 7 to a stranger."""
    for endpoint in (pair.customer, pair.trunk):
        for connection in (OWN, AGAIN):
            endpoint.know_peer(connection, "the other side")
        endpoint.know_peer(STRANGE, "a stranger")
    return pair


def answers(endpoint: Any) -> list[tuple[int, str]]:
    return [(connection, data.split(b"\r\n")[0].decode()) for connection, data in endpoint.messages_to_send()]


@pytest.mark.parametrize("method", ["BYE", "INVITE", "UPDATE", "INFO", "OPTIONS"])
def test_a_request_inside_a_dialog_of_somebody_else_is_481(known: Any, method: str) -> None:
    call, incoming = known.establish()
    known.trunk.receive(STRANGE, call.dialog.request(method, known.customer.agent.via("z9hG4bKx")), 1.0)
    assert answers(known.trunk) == [(STRANGE, "SIP/2.0 481 Call/Transaction Does Not Exist")]
    assert incoming.state is CallState.ESTABLISHED
    assert known.trunk.foreign == 1


def test_the_same_peer_may_come_over_a_new_connection(known: Any) -> None:
    call, incoming = known.establish()
    known.trunk.receive(AGAIN, call.dialog.request("BYE", known.customer.agent.via("z9hG4bKx")), 1.0)
    assert answers(known.trunk) == [(AGAIN, "SIP/2.0 200 OK")]
    assert incoming.ended
    assert known.trunk.foreign == 0


def test_the_same_peer_may_come_back_after_its_connection_was_lost(known: Any) -> None:
    call, incoming = known.establish()
    known.trunk.connection_lost(OWN, 1.0)
    known.trunk.receive(STRANGE, call.dialog.request("INFO", known.customer.agent.via("z9hG4bKx")), 1.0)
    assert incoming.connection_id is None
    known.trunk.receive(AGAIN, call.dialog.request("INFO", known.customer.agent.via("z9hG4bKy")), 1.0)
    assert incoming.connection_id == AGAIN


def test_a_cancel_of_somebody_elses_call_is_481(known: Any) -> None:
    _, incoming = known.place()
    invite = incoming.invite
    rows = [(name, value.replace("INVITE", "CANCEL")) for name, value in invite.headers if name != "Content-Type"]
    known.trunk.receive(STRANGE, Request("CANCEL", invite.uri, rows), 0.0)
    assert answers(known.trunk) == [(STRANGE, "SIP/2.0 481 Call/Transaction Does Not Exist")]
    assert incoming.state is CallState.INCOMING


def test_an_ack_of_somebody_else_ends_no_repetition(known: Any) -> None:
    known.lose = lambda message: isinstance(message, Request) and message.method == "ACK"
    call, incoming = known.establish()
    known.trunk.receive(STRANGE, call.dialog.ack(known.customer.agent.via("z9hG4bKx")), 0.1)
    assert incoming.state is CallState.ANSWERED
    known.trunk.receive(OWN, call.dialog.ack(known.customer.agent.via("z9hG4bKy")), 0.1)
    assert incoming.state is CallState.ESTABLISHED


@pytest.mark.parametrize("status", [180, 200, 503])
def test_a_response_of_somebody_else_is_dropped(known: Any, status: int) -> None:
    call, incoming = known.place()
    rows = [(name, value) for name, value in incoming.invite.headers if name in ("Via", "From", "Call-ID", "CSeq")]
    forged = parse_message(serialize(Response(status, None, [*rows, ("To", "<sip:b@h>;tag=forged")])))
    known.customer.receive(STRANGE, forged, 0.0)
    assert (call.state, known.customer.events(), answers(known.customer)) == (CallState.CALLING, [], [])
    assert known.customer.foreign == 1
    known.customer.receive(AGAIN, forged, 0.0)
    assert call.state is not CallState.CALLING


def test_an_invite_with_the_branch_of_somebody_elses_is_another_call(known: Any) -> None:
    _, incoming = known.place()
    known.trunk.receive(STRANGE, parse_message(serialize(incoming.invite)), 0.0)
    known.settle()
    assert known.names(known.trunk).count("IncomingInvite") == 2
    assert incoming.state is CallState.INCOMING


def test_nothing_is_remembered_of_a_connection_that_is_gone(known: Any) -> None:
    call, _ = known.establish()
    call.bye(1.0)
    known.wait(40)
    for endpoint in (known.customer, known.trunk):
        for connection in (OWN, AGAIN, STRANGE):
            endpoint.connection_lost(connection, known.now)
        assert endpoint.idle
        assert endpoint._peers == {}
