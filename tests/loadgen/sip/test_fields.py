"""Structured header values by the section of RFC 3261 that defines them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.loadgen.sip.fields import (
    CSeq,
    MalformedFieldError,
    NameAddr,
    Uri,
    Via,
    has_empty_parts,
    quote,
    read_q850_cause,
    read_retry_after,
    split_elements,
)


@pytest.mark.parametrize(
    ("text", "display", "uri", "tag"),
    [
        ('"+91A" <sip:+91A@b;x=1>;tag=t', "+91A", "sip:+91A@b;x=1", "t"),
        ('"a <b> \\" c" <sip:a@b>;TAG=t', 'a <b> \\" c', "sip:a@b", "t"),
        ("Bob <sip:a@b>", "Bob", "sip:a@b", ""),
        ("sip:a@b;tag=x", "", "sip:a@b", "x"),
    ],
)
def test_20_10_name_addr_with_and_without_brackets(text: str, display: str, uri: str, tag: str) -> None:
    value = NameAddr.parse(text)
    assert (value.display, value.uri, value.tag) == (display, uri, tag)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sip:+91981@h:5061;transport=tls;lr", Uri("sip", "+91981", "h", 5061, {"transport": "tls", "lr": ""})),
        ("SIPS:h", Uri("sips", "", "h")),
        ("sip:a:secret@[::1]:5061?x=y", Uri("sip", "a", "[::1]", 5061)),
        ("sip:a;x=1@h;y=2", Uri("sip", "a;x=1", "h", None, {"y": "2"})),
        ("sip:a?b/c@h", Uri("sip", "a?b/c", "h")),
        ("sip:[2001:db8::1]:5061;transport=tls", Uri("sip", "", "[2001:db8::1]", 5061, {"transport": "tls"})),
        ("isbn:9780131873728", Uri("isbn", "", "9780131873728")),
        ("tel:+91981;phone-context=x", Uri("tel", "+91981", "", None, {"phone-context": "x"})),
    ],
)
def test_19_1_uris(text: str, expected: Uri) -> None:
    assert Uri.parse(text) == expected


def test_19_1_uri_is_written_as_read() -> None:
    assert str(Uri.parse("sip:+91981@h:5061;transport=tls;lr")) == "sip:+91981@h:5061;transport=tls;lr"


def test_20_42_via() -> None:
    via = Via.parse("SIP/2.0/tls 127.0.0.2:5061 ;branch=z9hG4bK1;rport")
    assert str(via) == "SIP/2.0/TLS 127.0.0.2:5061;branch=z9hG4bK1;rport"


@pytest.mark.parametrize(
    "text",
    [
        "SIP / 2.0 / TLS h:5061;branch=z9",
        "SIP  /   2.0 /TLS   h : 5061 ; branch = z9",
        "sip/2.0/tls h:5061;branch=z9",
        "SIP/2.0/TLS\th:5061;branch=z9",
    ],
)
def test_25_1_white_space_in_a_via(text: str) -> None:
    assert Via.parse(text) == Via("TLS", "h", 5061, {"branch": "z9"})


@pytest.mark.parametrize("received", ["2001:db8::9:255", "[2001:db8::9:255]"])
def test_rfc5118_4_5_a_via_with_ipv6(received: str) -> None:
    via = Via.parse(f"SIP/2.0/TLS [::1]:5061;received={received};branch=z9")
    assert via == Via("TLS", "[::1]", 5061, {"received": received, "branch": "z9"})
    assert Via.parse(str(via)) == via


@pytest.mark.parametrize(
    "text", ["sip:2001:db8::1", "sip:[::1", "sip:[::g]", "sip:", "sip:a@", "sip:h:x", "sip:a b", "x"]
)
def test_19_1_what_is_no_uri(text: str) -> None:
    with pytest.raises(MalformedFieldError):
        Uri.parse(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("tel:+91-22-1234.5678", "+912212345678"),
        ("sip:(022)1234-5678@h", "02212345678"),
        ("sip:%2B91%32%32;x=y@h", "+9122"),
        ("sip:ravi.rao-1@h", "ravi.rao-1"),
        ("sip:*21#@h", "*21#"),
        ("sip:h", ""),
    ],
)
def test_rfc3966_3_numbers_have_no_separators(text: str, number: str) -> None:
    assert Uri.parse(text).number == number


@pytest.mark.parametrize(
    ("text", "route"),
    [
        # The first is how the operator's sample writes its Record-Route.
        ("sip:h:443;transport=tls;lr", "sip:h:443;transport=tls;lr"),
        ("<sip:h>;lr", "sip:h;lr"),
        ("<sip:h;lr>;LR", "sip:h;lr"),
        ("<sip:h;lr;ftag=1>", "sip:h;lr;ftag=1"),
        ('"edge" <sip:[::1]:443;transport=tls>;lr=on', "sip:[::1]:443;transport=tls;lr=on"),
    ],
)
def test_12_1_the_parameters_of_a_route_belong_to_its_uri(text: str, route: str) -> None:
    assert NameAddr.parse(text).route == route
    assert "lr" in Uri.parse(route).params


def test_20_10_of_a_contact_only_what_says_where_belongs_to_its_uri() -> None:
    assert NameAddr.parse("sip:a@h;transport=tls;expires=60;q=0.5").target == "sip:a@h;transport=tls"
    assert NameAddr.parse("<sip:a@h>;expires=60").target == "sip:a@h"


@pytest.mark.parametrize(
    ("text", "uri", "tag"),
    [
        ("sip:+9180;phone-context=+91@h;tag=1", "sip:+9180;phone-context=+91@h", "1"),
        ("sip:a@h;tag=x@y", "sip:a@h", "x@y"),
        ("sip:h;tag=x@y", "sip:h", "x@y"),
        ("tel:+91-22-1234;phone-context=+91;tag=1", "tel:+91-22-1234", "1"),
    ],
)
def test_20_10_parameters_of_a_user_without_brackets(text: str, uri: str, tag: str) -> None:
    value = NameAddr.parse(text)
    assert (value.uri, value.tag) == (uri, tag)


@pytest.mark.parametrize(
    ("text", "found"),
    [("a;b", False), ("a;;b", True), ("a; ;b", True), ("a,,b", True), ('"a;;b";c', False), ("<a;;b>;c", False)],
)
def test_rfc4475_3_1_2_1_separators_without_values(text: str, found: bool) -> None:
    assert has_empty_parts(text) is found


def test_20_16_cseq() -> None:
    assert CSeq.parse("102  INVITE") == CSeq(102, "INVITE")
    with pytest.raises(MalformedFieldError):
        CSeq.parse("2147483648 INVITE")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("18000;duration=3600", 18000.0),
        ("5 (a meeting)", 5.0),
        ("soon", None),
        (None, None),
        ("²", None),
    ],
)
def test_20_33_retry_after(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value) == seconds


def test_20_33_huge_retry_after_is_capped() -> None:
    assert read_retry_after("9" * 5000) == 2**31 - 1


def test_rfc3326_2_q850_cause() -> None:
    assert read_q850_cause(["SIP;cause=503", 'q.850 ;cause=42;text="x;cause=1"']) == 42
    assert read_q850_cause(["SIP;cause=503"]) is None
    assert read_q850_cause(["Q.850;cause=503", "Q.850;cause=16"]) == 16


def test_25_1_quoted_string() -> None:
    assert quote('a"\\') == '"a\\"\\\\"'


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    split_elements(text)
    read_retry_after(text)
    read_q850_cause([text])
    for reader in (NameAddr.parse, Uri.parse, Via.parse, CSeq.parse):
        try:
            reader(text)
        except MalformedFieldError:
            continue


_WORDS = st.text("ab1.-", min_size=0, max_size=3)
_ODDITIES = st.sampled_from(["", " ", "  ", "\t", ";", '"', "<", ">", "\\", ":", ",", "?", "é", "=", "/", "@"])


@given(
    st.lists(
        st.one_of(_WORDS, _ODDITIES, st.sampled_from(['"+91" ', "<sip:", "<sips:a@b>", ";tag=", ";TAG=", "tel:"])),
        max_size=9,
    ).map("".join)
)
def test_20_10_the_short_way_to_read_an_address_finds_what_the_long_way_finds(text: str) -> None:
    assert _read(NameAddr.parse, text) == _read(lambda value: NameAddr._parse(value.strip()), text)


@given(
    st.lists(
        st.one_of(
            _WORDS,
            _ODDITIES,
            st.sampled_from(["SIP/2.0/TLS ", "sip/2.0/TLS", "host", ":5061", ":65536", ":59999", ";branch=", ";alias"]),
        ),
        max_size=9,
    ).map("".join)
)
def test_20_42_the_short_way_to_read_a_via_finds_what_the_long_way_finds(text: str) -> None:
    assert _read(Via.parse, text) == _read(Via._parse, text)


def test_20_10_and_20_42_the_usual_forms_go_the_short_way() -> None:
    address, via = '"+9180" <sip:+9180@h>;tag=1a', "SIP/2.0/TLS 127.0.0.2:50610;branch=z9hG4bK1a"
    alias = via.replace(";", ";alias;")
    assert Via.parse(alias) == Via._parse(alias)
    assert str(Via.parse(alias)) == alias
    assert NameAddr.parse(address) == NameAddr._parse(address) == ("+9180", "sip:+9180@h", {"tag": "1a"})
    assert Via.parse(via) == Via._parse(via) == ("TLS", "127.0.0.2", 50610, {"branch": "z9hG4bK1a"})


def _read(parse: Callable[[str], object], text: str) -> object:
    try:
        return parse(text)
    except MalformedFieldError:
        return None
