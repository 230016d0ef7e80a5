"""RFC 4566: the quick reading of a usual description says what the reading line by line says, of any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.loadgen.sip.invite import customer_offer, trunk_offer
from trunkproof.loadgen.sip.sdp import MalformedSdpError, SessionDescription, write_sdp
from trunkproof.loadgen.sip.sdp_reader import parse_sdp, read_lines, read_usual

KEY = bytes(range(30))
OFFERS = [
    write_sdp(customer_offer("127.0.0.2", 20_000, KEY, session_id=7)).decode(),
    write_sdp(trunk_offer("127.0.0.1", 10_000, KEY, session_id=7)).decode(),
    write_sdp(trunk_offer("127.0.0.1", 10_000, None, session_id=7)).decode(),
]
LINES = st.sampled_from(
    [
        "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:x",
        "a=crypto:",
        "a=Crypto:1 x inline:",
        "a=rtcp:9",
        "a=rtcp:x",
        "a=ptime:30",
        "a=ptime:x",
        "a=inactive",
        "m=video 1 RTP/AVP 31",
        "c=IN IP4 10.0.0.9",
        "a=rtpmap:8 G729/8000",
        " a=recvonly ",
        "",
        "b=x",
        "a=x:a=crypto:1 y inline:z",
        "a=rtcp",
        "a=fmtp:101 0-3\na=rtcp:7",
        "a=crypto:1 x inline:\ra=rtcp:7",
        "m=audio 5 RTP/AVP 0",
    ]
)
CHANGES = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 4), st.text(" \r\n\t=:/0a9m\x85", max_size=3)), max_size=2
)


def outcome(text: str, *, slow: bool) -> SessionDescription | str:
    try:
        return read_lines(text) if slow else parse_sdp(text.encode())
    except MalformedSdpError as error:
        return str(error)


@pytest.mark.parametrize("text", OFFERS)
def test_what_we_write_is_usual(text: str) -> None:
    assert read_usual(text) == read_lines(text)


@given(st.sampled_from(OFFERS), st.lists(st.tuples(st.integers(0, 14), LINES), max_size=3), CHANGES)
def test_the_quick_reading_is_the_slow_one(
    text: str, lines: list[tuple[int, str]], changes: list[tuple[int, int, str]]
) -> None:
    rows = text.split("\r\n")
    for at, line in lines:
        rows.insert(at, line)
    text = "\r\n".join(rows)
    for at, length, put_in in changes:
        text = text[:at] + put_in + text[at + length :]
    assert outcome(text, slow=False) == outcome(text, slow=True)
