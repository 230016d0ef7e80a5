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
            st.sampled_from(["SIP/2.0/TLS ", "sip/2.0/TLS", "host", ":5061", ":65536", ":59999", ";branch="]),
        ),
        max_size=9,
    ).map("".join)
)
def test_20_42_the_short_way_to_read_a_via_finds_what_the_long_way_finds(text: str) -> None:
    assert _read(Via.parse, text) == _read(Via._parse, text)


def test_20_10_and_20_42_the_usual_forms_go_the_short_way() -> None:
    address, via = '"+9180" <sip:+9180@h>;tag=1a', "SIP/2.0/TLS 127.0.0.2:50610;branch=z9hG4bK1a"
    assert NameAddr.parse(address) == NameAddr._parse(address) == ("+9180", "sip:+9180@h", {"tag": "1a"})
    assert Via.parse(via) == Via._parse(via) == ("TLS", "127.0.0.2", 50610, {"branch": "z9hG4bK1a"})


def _read(parse: Callable[[str], object], text: str) -> object:
    try:
        return parse(text)
    except MalformedFieldError:
        return None
