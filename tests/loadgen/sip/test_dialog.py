"""RFC 3261 section 12: route sets, targets and numbers; section 13.3.1.4: the pace of a repeated 2xx."""

from __future__ import annotations

import pytest

from trunkproof.loadgen.sip.dialog import Dialog, Repeater
from trunkproof.loadgen.sip.fields import MalformedFieldError
from trunkproof.loadgen.sip.message import Request, Response, response_to, serialize

ROWS = [("From", "<sip:a@h>;tag=1"), ("To", "<sip:b@t>"), ("Call-ID", "c"), ("CSeq", "102 INVITE")]
ROUTES = [("Record-Route", "<sip:p1;lr>, <sip:p2;lr>"), ("Record-Route", "<sip:p3;lr>")]


def invite(*more: tuple[str, str]) -> Request:
    return Request("INVITE", "sip:b@t", [("Via", "SIP/2.0/TLS h;branch=z9hG4bK1"), *ROWS, *more])


def answer(*more: tuple[str, str]) -> Response:
    return response_to(invite(), 200, to_tag="2", headers=[*more, ("Contact", "<sip:b@target;transport=tls>")])


def routes(request: Request) -> list[str]:
    return request.headers.elements("Route")


def test_12_1_2_caller_reverses_the_record_route() -> None:
    dialog = Dialog.as_caller(invite(), answer(*ROUTES), "h", 5061)
    bye = dialog.request("BYE", "SIP/2.0/TLS h;branch=z9hG4bK2")
    assert routes(bye) == ["<sip:p3;lr>", "<sip:p2;lr>", "<sip:p1;lr>"]
    assert bye.start_line() == "BYE sip:b@target;transport=tls SIP/2.0"
    assert str(bye.cseq) == "103 BYE"
    assert (bye.from_.tag, bye.to.tag) == ("1", "2")


def test_12_1_1_callee_keeps_its_order() -> None:
    dialog = Dialog.as_callee(invite(*ROUTES, ("Contact", "<sip:a@caller:5061>")), "9")
    bye = dialog.request("BYE", "v")
    assert routes(bye) == ["<sip:p1;lr>", "<sip:p2;lr>", "<sip:p3;lr>"]
    assert bye.uri == "sip:a@caller:5061"
    assert (bye.from_.tag, bye.to.tag) == ("9", "1")


def test_12_2_1_1_strict_router_becomes_the_request_uri() -> None:
    dialog = Dialog.as_caller(invite(), answer(("Record-Route", "<sip:p2;lr>, <sip:p1>")), "h", 5061)
    bye = dialog.request("BYE", "v")
    assert bye.uri == "sip:p1"
    assert routes(bye) == ["<sip:p2;lr>", "<sip:b@target;transport=tls>"]


def test_16_4_own_record_route_is_popped() -> None:
    dialog = Dialog.as_caller(
        invite(), answer(("Record-Route", "<sip:127.0.0.1:443;transport=tls;lr>")), "127.0.0.1", 443
    )
    assert dialog.route_set == ()


def test_13_2_2_4_ack_has_the_number_of_the_invite() -> None:
    dialog = Dialog.as_caller(invite(), answer(), "h", 5061)
    dialog.request("INFO", "v")
    assert str(dialog.ack("v").cseq) == "102 ACK"
    dialog.request("INVITE", "v")
    assert str(dialog.ack("v").cseq) == "104 ACK"


def test_12_2_2_numbers_have_to_grow() -> None:
    dialog = Dialog.as_callee(invite(), "9")
    assert [dialog.accepts(Request("BYE", "sip:x", [("CSeq", f"{n} BYE")])) for n in (102, 103, 103, 110)] == [
        False, True, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("row", [("Record-Route", "nonsense"), ("Contact", "<sip:a@h")])
def test_broken_routes_and_targets_are_found_at_once(row: tuple[str, str]) -> None:
    with pytest.raises(MalformedFieldError):
        Dialog.as_callee(invite(row), "9")


def test_13_3_1_4_pace_of_a_2xx() -> None:
    repeater, times = Repeater(answer(), 0.0), []
    while not repeater.expired(now := repeater.next_timer()):
        repeater.repeat(now)
        times.append(now)
    assert times == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert now == 32.0


@pytest.mark.parametrize("routed", [(), ROUTES])
def test_8_1_1_a_request_is_written_row_by_row_and_what_it_knows_of_itself_is_what_it_says(
    routed: list[tuple[str, str]],
) -> None:
    dialog = Dialog.as_caller(invite(), answer(*routed), "h", 5061)
    via = "SIP/2.0/TLS h;branch=z9hG4bK2"
    request = dialog.request("INVITE", via, (("Supported", "timer"),), b"v=0\r\n")
    rows = [("Via", via), *(("Route", route) for route in dialog.route_set), ("Max-Forwards", "70")]
    rows += [("From", "<sip:a@h>;tag=1"), ("To", "<sip:b@t>;tag=2"), ("Call-ID", "c"), ("CSeq", "103 INVITE")]
    readable = Request("INVITE", "sip:b@target;transport=tls", [*rows, ("Supported", "timer")], b"v=0\r\n")
    assert serialize(request) == serialize(readable)
    assert (request.cseq, request.from_, request.to) == (readable.cseq, readable.from_, readable.to)
    assert request.headers == readable.headers


@pytest.mark.parametrize("row", ["sip:edge:443;transport=tls;lr", "<sip:edge:443>;transport=tls;lr"])
def test_12_1_1_the_operators_record_route_without_brackets_is_a_loose_route(row: str) -> None:
    dialog = Dialog.as_callee(invite(("Record-Route", row), ("Contact", "sip:a@gateway:5070;transport=tls")), "9")
    bye = dialog.request("BYE", "v")
    assert bye.uri == "sip:a@gateway:5070;transport=tls"
    assert routes(bye) == ["<sip:edge:443;transport=tls;lr>"]
