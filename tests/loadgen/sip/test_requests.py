"""Requests to an endpoint, outside and inside a dialog, and its own OPTIONS, by section of the RFCs."""

from __future__ import annotations

from typing import Any

import pytest
from tests.loadgen.sip.conftest import is_method

from trunkproof.loadgen.sip.capabilities import ACCEPT, ALLOW, CAPABILITIES, SUPPORTED
from trunkproof.loadgen.sip.message import Request, Response, response_to, serialize
from trunkproof.loadgen.sip.parser import parse_message
from trunkproof.loadgen.sip.server_call import IncomingInvite


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
        ("Require", "timer, precondition", 420),
        ("CSeq", "102 BYE", 400),
        ("CSeq", "x", 400),
        ("From", "nobody", 400),
        ("Contact", "<broken", 400),
        ("Session-Expires", "soon", 400),
        ("Session-Expires", "10", 422),
        # Unreadable to whoever wants to know the caller or the called: refused here, before there is a call.
        ("From", "<sip:[::1>;tag=1", 400),
        ("From", "<sip:>;tag=1", 400),
        ("From", "<sip:a@b c>;tag=1", 400),
        ("From", "<sip:a@h>;tag=", 400),
        ("To", "<sip:a@h:99999>", 400),
        ("Max-Forwards", "many", 400),
        ("Max-Forwards", "256", 400),
    ],
)
def test_rfc3261_8_2_2_header_inspection(pair: Any, name: str, value: str, status: int) -> None:
    invite = pair.invite()
    invite.headers.replace(name, value)
    pair.trunk.receive(1, parse_message(_bytes(invite)), 0.0)
    ((_, data),) = pair.trunk.messages_to_send()
    assert int(data.split()[1]) == status
    assert pair.trunk.events() == []


BOTH = "multipart/mixed;boundary=b"
PARTS = b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--\r\n"
CONTENTS: list[tuple[dict[str, str], bytes, int | None]] = [
    ({"Content-Type": "text/plain"}, b"v=0", 415),
    ({"Content-Type": "text/plain"}, b"", None),
    ({"Content-Type": "APPLICATION / SDP ; charset=x"}, b"v=0", None),
    ({"Content-Type": ""}, b"v=0", None),
    ({"Content-Type": BOTH}, PARTS, None),
    ({"Content-Type": BOTH}, PARTS.replace(b"application/sdp", b"text/html"), 415),
    ({"Content-Encoding": "gzip"}, b"v=0", 415),
    ({"Content-Encoding": "identity"}, b"v=0", None),
    ({"Content-Disposition": "session;handling=required"}, b"v=0", None),
    ({"Content-Disposition": "own"}, b"v=0", 415),
    ({"Content-Disposition": "own;handling=required"}, b"v=0", 415),
    ({"Content-Disposition": "own;handling=optional"}, b"v=0", None),
    ({"Content-Type": "text/plain", "Content-Disposition": "render;handling=optional"}, b"hi", None),
    ({"Accept": "text/html, application/sdp;q=0.5"}, b"v=0", None),
    ({"Accept": "*/*"}, b"v=0", None),
    ({"Accept": "application/*"}, b"v=0", None),
    ({"Accept": "text/html"}, b"v=0", 406),
    ({"Accept": "application/sdp;q=0"}, b"v=0", 406),
    ({"Accept": ""}, b"v=0", 406),
]


@pytest.mark.parametrize(("rows", "body", "status"), CONTENTS)
def test_rfc3261_8_2_3_content_that_we_cannot_use_is_refused(
    pair: Any, rows: dict[str, str], body: bytes, status: int | None
) -> None:
    invite = pair.invite()
    for name, value in rows.items():
        invite.headers.replace(name, value)
    pair.trunk.receive(1, parse_message(serialize(Request("INVITE", invite.uri, invite.headers, body))), 0.0)
    if status is None:
        assert [type(event) for event in pair.trunk.events()] == [IncomingInvite]
        return
    ((_, data),) = pair.trunk.messages_to_send()
    response = parse_message(data)
    assert isinstance(response, Response)
    told = ("Accept-Encoding", "identity") if "Content-Encoding" in rows else ("Accept", ACCEPT)
    assert (response.status, response.headers.get(told[0])) == (status, told[1])
    assert pair.trunk.events() == []


@pytest.mark.parametrize(
    ("uri", "status"),
    [("mailto:a@h", 416), ("urn:service:sos", 416), ("sip:2001:db8::1", 400), ("no-uri", 400), ("<sip:a@h>", 400)],
)
def test_rfc3261_8_2_2_1_request_uris_that_we_cannot_serve(pair: Any, uri: str, status: int) -> None:
    invite = pair.invite()
    pair.trunk.receive(1, Request("INVITE", uri, invite.headers, invite.body), 0.0)
    ((_, data),) = pair.trunk.messages_to_send()
    assert int(data.split()[1]) == status


@pytest.mark.parametrize(
    "uri",
    [
        "tel:+91-98(1234)5678",
        "sip:+91-98.1234.5678@h;user=phone",
        "sip:%2B919812345678@h",
        "sip:+919812345678;phone-context=+91@h",
        "sip:+919812345678;npdi;rn=+9180@[::1]:5061;user=phone",
        "sips:+919812345678:secret@h",
    ],
)
def test_rfc3966_3_the_dialled_number_in_every_form(pair: Any, uri: str) -> None:
    invite = pair.invite()
    pair.trunk.receive(1, Request("INVITE", uri, invite.headers, invite.body), 0.0)
    (event,) = pair.trunk.events()
    assert event.call.dialled == "+919812345678"


def test_rfc3261_8_2_2_2_a_merged_request_is_482(pair: Any) -> None:
    invite = pair.invite()
    pair.trunk.receive(1, invite, 0.0)
    copy = invite.headers.copy()
    copy.replace("Via", "SIP/2.0/TLS 127.0.0.7;branch=z9hG4bKother")
    pair.trunk.receive(1, Request("INVITE", invite.uri, copy, invite.body), 0.0)
    ((_, data),) = pair.trunk.messages_to_send()
    assert data.startswith(b"SIP/2.0 482 Loop Detected")
    (event,) = pair.trunk.events()
    event.call.reject(1.0, 486)
    pair.wait(33)
    # It is over by now, so this is a new request.
    copy.replace("Via", "SIP/2.0/TLS 127.0.0.7;branch=z9hG4bKthird")
    pair.trunk.receive(1, Request("INVITE", invite.uri, copy, invite.body), pair.now)
    assert [type(event) for event in pair.trunk.events()] == [IncomingInvite]


def test_rfc3261_9_2_the_answer_to_a_cancel_has_the_to_tag_of_the_responses_to_its_invite(pair: Any) -> None:
    call, incoming = pair.place()
    incoming.ring(0.0)
    pair.settle()
    call.cancel(0.0)
    pair.settle()
    tags = {message.cseq.method: message.to.tag for message in pair.sent if isinstance(message, Response)}
    assert tags["CANCEL"] == tags["INVITE"] != ""


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
    request = call.dialog.request("INVITE", pair.customer.agent.via("z9hG4bKx"), rows, call.invite.body)
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


def test_rfc3261_11_2_options_inside_a_dialog_says_the_same(pair: Any) -> None:
    call, _ = pair.establish()
    pair.trunk.receive(1, call.dialog.request("OPTIONS", pair.customer.agent.via("z9hG4bKx")), 1.0)
    ((_, data),) = pair.trunk.messages_to_send()
    answer = parse_message(data)
    assert [answer.headers.get(name) for name, _ in CAPABILITIES] == [value for _, value in CAPABILITIES]


def test_rfc3581_4_an_ipv6_source_is_received_without_brackets(pair: Any) -> None:
    invite = pair.invite()
    invite.headers.replace("Via", 'SIP/2.0/TLS [::1]:5061;received=[::9];branch=z9hG4bKa;own="a;b"')
    pair.trunk.receive(1, parse_message(_bytes(invite)), 0.0, source=("::1", 40000))
    pair.trunk.receive(2, parse_message(_bytes(invite)), 0.0, source=("::2", 40000))
    (event,) = pair.trunk.events()
    assert event.invite.headers.rows("Via") == ['SIP/2.0/TLS [::1]:5061;received=[::9];branch=z9hG4bKa;own="a;b"']


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
