"""Requests to an endpoint, outside and inside a dialog, and its own OPTIONS, by section of the RFCs."""

from __future__ import annotations

from typing import Any

import pytest
from tests.loadgen.sip.conftest import is_method

from trunkproof.loadgen.sip.capabilities import ACCEPT, ALLOW, SUPPORTED
from trunkproof.loadgen.sip.message import Request, response_to
from trunkproof.loadgen.sip.parser import parse_message


@pytest.mark.parametrize(
    ("method", "status"),
    [("BYE", 481), ("OPTIONS", 200), ("REFER", 405), ("UPDATE", 481), ("REGISTER", 405), ("BREW", 501), ("ACK", None)],
)
def test_rfc3261_8_2_1_requests_outside_a_dialog(pair: Any, method: str, status: int | None) -> None:
    rows = [(name, value.replace("INVITE", method)) for name, value in pair.invite().headers if name != "Content-Type"]
    pair.trunk.receive(1, Request(method, "sip:127.0.0.1", rows), 0.0)
    statuses = [int(data.split()[1]) for _, data in pair.trunk.messages_to_send()]
    assert statuses == ([status] if status else [])
    assert pair.trunk.idle


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Max-Forwards", "0", 483),
        ("Require", "timer, 100rel", 420),
        ("CSeq", "102 BYE", 400),
        ("CSeq", "x", 400),
        ("From", "nobody", 400),
        ("Contact", "<broken", 400),
        ("Session-Expires", "soon", 400),
        ("Session-Expires", "10", 422),
    ],
)
def test_rfc3261_8_2_2_header_inspection(pair: Any, name: str, value: str, status: int) -> None:
    invite = pair.invite()
    invite.headers.replace(name, value)
    pair.trunk.receive(1, parse_message(_bytes(invite)), 0.0)
    ((_, data),) = pair.trunk.messages_to_send()
    assert int(data.split()[1]) == status
    assert pair.trunk.events() == []


def _bytes(request: Request) -> bytes:
    lines = [request.start_line(), *(f"{name}: {value}" for name, value in request.headers), "Content-Length: 0"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize(("method", "status"), [("INFO", 200), ("NOTIFY", 200), ("UPDATE", 200), ("REFER", 405)])
def test_rfc3261_12_2_2_requests_inside_a_dialog(pair: Any, method: str, status: int) -> None:
    call, _ = pair.establish()
    request = call.dialog.request(method, pair.customer.agent.via("z9hG4bKx"))
    pair.trunk.receive(1, request, 1.0)
    ((_, data),) = pair.trunk.messages_to_send()
    assert int(data.split()[1]) == status


def test_rfc3261_12_2_2_old_cseq_is_500(pair: Any) -> None:
    call, _ = pair.establish()
    call.dialog.local_cseq = 10
    pair.trunk.receive(1, call.dialog.request("INFO", pair.customer.agent.via("z9hG4bKx")), 1.0)
    ((_, data),) = pair.trunk.messages_to_send()
    assert data.startswith(b"SIP/2.0 500 ")


def test_rfc3261_14_2_reinvite_is_answered_with_the_same_sdp(pair: Any) -> None:
    call, _ = pair.establish()
    rows = (("Contact", "<sip:moved@127.0.0.9:5061>"),)
    request = call.dialog.request("INVITE", pair.customer.agent.via("z9hG4bKx"), rows, b"v=0\r\n")
    pair.trunk.receive(1, request, 1.0)
    ((_, data),) = pair.trunk.messages_to_send()
    response = parse_message(data)
    assert response.start_line() == "SIP/2.0 200 OK"
    assert response.body == b"v=0\r\n"
    pair.trunk.receive(1, call.dialog.ack(pair.customer.agent.via("z9hG4bKy")), 1.0)
    incoming = pair.incoming()
    assert incoming.dialog.remote_target == "sip:moved@127.0.0.9:5061"
    assert incoming.next_timer() is None


def test_rfc3261_11_options_is_answered(pair: Any) -> None:
    probe = pair.customer.send_options(1, "sip:127.0.0.1:5443", 0.0)
    pair.settle()
    (answered,) = pair.seen[pair.customer]
    assert (answered.probe, answered.status) == (probe, 200)
    said = {name: answered.response.headers.get(name) for name in ("Allow", "Accept", "Supported")}
    assert said == {"Allow": ALLOW, "Accept": ACCEPT, "Supported": SUPPORTED}


def test_rfc3261_8_1_3_1_options_without_answer_is_408_and_lost_is_503(pair: Any) -> None:
    pair.lose = is_method("OPTIONS")
    pair.customer.send_options(1, "sip:127.0.0.1:5443", 0.0)
    pair.wait(32)
    pair.customer.send_options(1, "sip:127.0.0.1:5443", pair.now)
    pair.customer.connection_lost(1, pair.now)
    pair.settle()
    assert [event.status for event in pair.seen[pair.customer]] == [408, 503]


def test_rfc3581_4_received_and_rport(pair: Any) -> None:
    invite = pair.invite()
    invite.headers.replace("Via", "SIP/2.0/TLS 10.0.0.1:5061;branch=z9hG4bKa;rport, SIP/2.0/TLS b;branch=z9hG4bKb")
    pair.trunk.receive(1, parse_message(_bytes(invite)), 0.0, source=("127.0.0.2", 40000))
    (event,) = pair.trunk.events()
    vias = response_to(event.invite, 200).headers.rows("Via")
    assert vias == [
        "SIP/2.0/TLS 10.0.0.1:5061;branch=z9hG4bKa;rport=40000;received=127.0.0.2",
        "SIP/2.0/TLS b;branch=z9hG4bKb",
    ]
