"""RFC 3261 sections 7, 8.2.6 and 20: header rows, list headers, writing, and what a response copies."""

from __future__ import annotations

import pytest

from trunkproof.loadgen.sip.headers import Headers
from trunkproof.loadgen.sip.message import Request, Response, response_to, serialize


def test_7_3_1_repeated_rows_and_comma_lists_are_the_same_in_order() -> None:
    headers = Headers([("v", "SIP/2.0/TLS a, SIP/2.0/TLS b"), ("Via", "SIP/2.0/TLS c")])
    assert headers.elements("via") == ["SIP/2.0/TLS a", "SIP/2.0/TLS b", "SIP/2.0/TLS c"]


def test_7_3_1_commas_in_quotes_and_brackets_separate_nothing() -> None:
    headers = Headers([("m", '"Watson, \\"Dr\\"" <sip:w@a;x=1,2>;q=0.7, <sip:b>')])
    assert headers.elements("Contact") == ['"Watson, \\"Dr\\"" <sip:w@a;x=1,2>;q=0.7', "<sip:b>"]


def test_headers_are_replaced_in_place_and_copied_apart() -> None:
    headers = Headers([("To", "a"), ("Via", "1"), ("From", "b"), ("Via", "2")])
    twin = headers.copy()
    twin.replace_all("v", ["3", "4"])
    twin.replace("t", "c")
    assert list(twin) == [("To", "c"), ("Via", "3"), ("Via", "4"), ("From", "b")]
    assert headers != twin
    assert "from" in headers
    with pytest.raises(TypeError):
        hash(headers)


def test_20_14_content_length_is_last_and_true() -> None:
    data = serialize(Request("BYE", "sip:a", [("l", "99"), ("i", "x")], b"abc"))
    assert data == b"BYE sip:a SIP/2.0\r\nCall-ID: x\r\nContent-Length: 3\r\n\r\nabc"


@pytest.mark.parametrize("bad", ["a\r\nEvil: 1", "a\n", "\r"])
def test_line_breaks_in_values_are_a_bug_of_ours(bad: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        serialize(Response(200, None, [("Subject", bad)]))


def test_8_2_6_2_what_a_response_copies() -> None:
    rows = [("Via", "SIP/2.0/TLS a"), ("Via", "SIP/2.0/TLS b"), ("From", "<sip:f>;tag=1"), ("To", "<sip:t>")]
    request = Request("BYE", "sip:a", [*rows, ("Call-ID", "c"), ("CSeq", "1 BYE"), ("Subject", "s")])
    assert list(response_to(request, 100, to_tag="x").headers) == [*rows, ("Call-ID", "c"), ("CSeq", "1 BYE")]
    assert response_to(request, 486, to_tag="x").headers.get("To") == "<sip:t>;tag=x"
    request.headers.replace("To", "<sip:t>;tag=y")
    again = Request("BYE", "sip:a", request.headers)
    assert response_to(again, 486, to_tag="x").headers.get("To") == "<sip:t>;tag=y"


def test_repr_shows_no_numbers() -> None:
    request = Request("INVITE", "sip:+919812345678@a", [("To", "<sip:+919812345678@a>")])
    assert "9812345678" not in repr(request) + repr(request.headers)


def test_7_3_the_first_row_counts_after_every_change() -> None:
    headers = Headers([("Via", "1"), ("v", "2"), ("X-Own", "a")])
    assert (headers.get("via"), headers.get("x-own")) == ("1", "a")
    headers.replace("Via", "3")
    assert headers.get("v") == "3"
    headers.replace_all("Via", ["4", "5"])
    assert headers.get("Via") == "4"
    headers.add("To", "t")
    assert headers.get("t") == "t"
    twin = headers.copy()
    twin.replace("To", "u")
    assert (headers.get("To"), twin.get("To")) == ("t", "u")


def test_8_2_6_2_what_a_response_repeats_of_its_request_needs_no_second_reading() -> None:
    rows = [("From", "<sip:a@h>;tag=1"), ("To", "<sip:b@h>")]
    request = Request("INVITE", "sip:b@h", rows)
    response = Response(180, None, [rows[0], ("To", "<sip:b@h>;tag=2")])
    response.take_over(request)
    assert response.from_ is request.from_
    assert (response.to.tag, request.to.tag) == ("2", "")
    other = Response(180, None, [("From", "<sip:a@h>;tag=9"), rows[1]])
    other.take_over(request)
    assert (other.from_.tag, other.to.tag) == ("9", "")
