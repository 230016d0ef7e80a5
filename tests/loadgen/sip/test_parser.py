"""RFC 3261 sections 7 and 18.3: framing, folding, compact forms, limits, and no crash on any bytes."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.loadgen.sip.call import UserAgent
from trunkproof.loadgen.sip.endpoint import SipEndpoint
from trunkproof.loadgen.sip.message import MalformedMessageError, Message, Request, Response, serialize
from trunkproof.loadgen.sip.parser import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    StreamParser,
    parse_head,
    parse_lines,
    parse_message,
)

BYE = b"BYE sip:a@b SIP/2.0\r\nv: SIP/2.0/TLS h;branch=z9hG4bK1\r\nContent-Length: 3\r\n\r\nabc"


def read(data: bytes, size: int = 10**9) -> list[Message]:
    parser, messages = StreamParser(), []
    for start in range(0, len(data), size):
        parser.receive_data(data[start : start + size])
        while (message := parser.next_message()) is not None:
            messages.append(message)
    return messages


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_18_3_messages_are_framed_by_content_length_however_they_arrive(size: int) -> None:
    messages = read(b"\r\n" + BYE + b"\r\n\r\n" + BYE, size)
    assert [message.body for message in messages] == [b"abc", b"abc"]
    assert messages[0].headers.rows("Via") == ["SIP/2.0/TLS h;branch=z9hG4bK1"]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_rfc5626_3_5_1_keep_alives_are_counted(size: int) -> None:
    parser, data = StreamParser(), b"\r\n\r\n\r\n\r\n" + BYE
    for start in range(0, len(data), size):
        parser.receive_data(data[start : start + size])
        parser.next_message()
    assert parser.take_pings() == 2
    assert parser.take_pings() == 0


def test_7_3_1_folded_lines_are_one_value() -> None:
    message = parse_message(b"SIP/2.0 200 OK\r\nSubject: I know\r\n  you're there\r\nl: 0\r\n\r\n")
    assert message.headers.get("subject") == "I know you're there"


def test_7_3_3_compact_forms_and_cases_are_one_name() -> None:
    message = parse_message(b"SIP/2.0 200 OK\r\ni: x\r\nCALL-ID: y\r\nx-Own: z\r\nL: 0\r\n\r\n")
    assert message.headers.rows("call-id") == message.headers.rows("i") == ["x", "y"]
    assert message.headers.get("X-OWN") == "z"


def test_7_2_reason_phrase_may_be_empty() -> None:
    message = parse_message(b"SIP/2.0 486 \r\nl: 0\r\n\r\n")
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (486, "")


def test_18_3_absent_content_length_is_an_error_unless_tolerated() -> None:
    data = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TLS h\r\n\r\n"
    with pytest.raises(MalformedMessageError) as raised:
        read(data)
    assert isinstance(raised.value.head, Request)
    parser = StreamParser(require_content_length=False)
    parser.receive_data(data)
    assert parser.next_message() is not None


LOST = [
    b"nonsense\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"BYE sip:a SIP/2.0\r\nl: 0\r\nl: 3\r\n\r\n",
    b"BYE sip:a SIP/2.0\r\nno colon\r\nl: 0\r\nl: 3\r\n\r\n",
    b"BYE sip:a SIP/2.0\r\nl: -1\r\n\r\n",
    b"BYE sip:a SIP/2.0\r\n" + b"A: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
    b"A" * (MAX_HEAD_BYTES + 4),
]
REFUSED = [
    (b"SIP/2.0 99 Low", b""),
    (b"SIP/2.0 4294967301 better not break the receiver", b""),
    (b"SIP/2.0 \xd9\xa1\xd9\xa1\xd9\xa1 OK", b""),
    (b"SIP/3.0 200 OK", b""),
    (b"nonsense", b""),
    (b"BYE sip:a SIP/9.1", b""),
    (b"BYE sip:a b SIP/2.0", b""),
    (b"BYE sip:a SIP/2.0", b"To: <sip:a>\nEvil: yes\r\n"),
    (b"BYE sip:a SIP/2.0", b"To: <sip:a>\rEvil: yes\r\n"),
    (b"BYE sip:a SIP/2.0", b"Subject: \0\r\n"),
    (b"BYE sip:a SIP/2.0", b"no colon\r\n"),
    (b"BYE sip:a SIP/2.0", b"A: b\r\n" * (MAX_HEADERS + 1)),
]


@pytest.mark.parametrize("data", LOST)
def test_rfc3261_18_3_without_a_length_the_stream_is_lost(data: bytes) -> None:
    parser = StreamParser()
    parser.receive_data(data)
    for _ in range(2):
        with pytest.raises(MalformedMessageError):
            parser.next_message()
        parser.receive_data(BYE)
    assert parser.lost
    assert parser.pending_bytes == 0


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("body", [0, 3, MAX_BODY_BYTES + 1])
@pytest.mark.parametrize(("start", "rows"), REFUSED)
def test_rfc3261_18_3_a_message_that_cannot_be_read_costs_that_message_only(
    start: bytes, rows: bytes, body: int, size: int
) -> None:
    if body > 3 and size == 1:
        return
    data = BYE + start + b"\r\n" + rows + b"l: %d\r\n\r\n" % body + b"x" * body + BYE
    parser, read_, refused = StreamParser(), 0, 0
    for begin in range(0, len(data), size):
        parser.receive_data(data[begin : begin + size])
        while True:
            try:
                if parser.next_message() is None:
                    break
                read_ += 1
            except MalformedMessageError:
                refused += 1
    assert (read_, refused, parser.lost, parser.pending_bytes) == (2, 1, False, 0)


def test_rfc3261_21_4_11_a_body_that_is_too_long_is_told_and_skipped() -> None:
    parser = StreamParser()
    parser.receive_data(b"BYE sip:a SIP/2.0\r\nl: %d\r\n\r\n" % (MAX_BODY_BYTES + 1))
    with pytest.raises(MalformedMessageError) as raised:
        parser.next_message()
    assert (raised.value.status, parser.lost) == (413, False)
    parser.receive_data(bytes(MAX_BODY_BYTES + 1) + BYE)
    assert parser.next_message() is not None


def test_7_1_what_can_be_read_of_a_refused_request_says_where_its_answer_goes() -> None:
    with pytest.raises(MalformedMessageError) as raised:
        read(b"BYE sip:a SIP/7.0\r\nVia: SIP/2.0/TLS h\r\nno colon\r\nCall-ID: c\r\nl: 0\r\n\r\n")
    head = raised.value.head
    assert isinstance(head, Request)
    assert (raised.value.status, head.method, head.call_id) == (505, "BYE", "c")


def test_observed_is_each_message_whole_however_it_arrives() -> None:
    seen: list[bytes] = []
    parser = StreamParser(observe=seen.append)
    broken = b"BYE sip:a SIP/7.0\r\nl: 2\r\n\r\n"
    for byte in BYE + b"\r\n\r\n" + broken + b"xx" + BYE + b"nonsense\r\n\r\nrest":
        parser.receive_data(bytes([byte]))
        try:
            parser.next_message()
        except MalformedMessageError:
            continue
    assert seen == [BYE, broken, BYE, b"nonsense\r\n\r\n"]


@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([BYE, b"\r\n", b"SIP/2.0 200 OK\r\n", b"l: 2\r\n"]))))
def test_any_bytes_give_messages_or_the_one_error(chunks: list[bytes]) -> None:
    parser = StreamParser()
    try:
        for chunk in chunks:
            parser.receive_data(chunk)
            while (message := parser.next_message()) is not None:
                assert parse_message(serialize(message)).start_line() == message.start_line()
    except MalformedMessageError:
        assert not parser.lost or parser.pending_bytes == 0


def outcome(read_head: Callable[[str], Request | Response], head: str) -> object:
    try:
        message = read_head(head)
    except MalformedMessageError as error:
        return str(error)
    return message.start_line(), list(message.headers)


LINES = st.one_of(
    st.sampled_from(
        ["Via: a", "Via:a", "v : b", " folded", "\tfolded", "To:  c \t", "To: \xa0", "Via", ": d", "X-Own: e"]
    ),
    st.sampled_from(["CSeq: 1 BYE\r", "From: f\n", "Call-ID: g\0", "no colon", "", "Subject: a: b", "Via : ", "To: "]),
    st.text(" \tVia:To\r\n\0\x85é", max_size=8),
)
STARTS = st.sampled_from(
    [
        "BYE sip:a SIP/2.0",
        "SIP/2.0 200 OK",
        "sip/2.0 200 OK",
        "SIP/2.0 99 Low",
        "SIP/2.0 486 ",
        "SIP/3.0 200 OK",
        "x",
        "",
    ]
)


@given(STARTS, st.lists(LINES, max_size=6))
def test_the_quick_reading_of_a_head_is_the_slow_one(start: str, lines: list[str]) -> None:
    head = "\r\n".join([start, *lines])
    if head.count("\n") == head.count("\r") == head.count("\r\n") and "\0" not in head:
        assert outcome(parse_head, head) == outcome(parse_lines, head)
    else:
        assert outcome(parse_head, head) == "control character in a header"


REQUEST = (
    b"INVITE sip:+919812345678@127.0.0.1:5061 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.2:5061;branch=z9hG4bK12\r\n"
    b'Max-Forwards: 70\r\nFrom: "A" <sip:a@h>;tag=1\r\nTo: <sip:b@t>\r\nCall-ID: c@h\r\nCSeq: 102 INVITE\r\n'
    b"Contact: <sip:a@127.0.0.2:5061;transport=tls>\r\nSession-Expires: 1800;refresher=uac\r\nRequire: timer\r\n"
    b"Record-Route: <sip:p;lr>\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
)
ANSWER = (
    b"SIP/2.0 503 Service Unavailable\r\nv: SIP/2.0/TLS 127.0.0.2:5061;branch=z9hG4bK12\r\nf: <sip:a@h>;tag=1\r\n"
    b"t: <sip:b@t>;tag=2\r\ni: c@h\r\nCSeq: 102 INVITE\r\nRetry-After: 10\r\nReason: Q.850;cause=42\r\nl: 0\r\n\r\n"
)
CUTS = st.lists(st.tuples(st.integers(0, 600), st.integers(0, 12), st.binary(max_size=6)), max_size=4)


@given(st.sampled_from([REQUEST, ANSWER, BYE, REQUEST + ANSWER]), CUTS, st.integers(1, 300))
def test_a_whole_message_that_was_damaged_is_read_or_refused_and_never_breaks_the_endpoint(
    data: bytes, cuts: list[tuple[int, int, bytes]], size: int
) -> None:
    for at, length, put_in in cuts:
        data = data[:at] + put_in + data[at + length :]
    endpoint, parser = SipEndpoint(UserAgent("127.0.0.1", 5061), random.Random(1)), StreamParser()
    invite = parse_message(REQUEST)
    assert isinstance(invite, Request)
    endpoint.start_call(1, invite, 0.0)  # so that the answer finds its transaction
    try:
        for start in range(0, len(data), size):
            parser.receive_data(data[start : start + size])
            while (message := parser.next_message()) is not None:
                endpoint.receive(1, message, 0.0, ("127.0.0.9", 1))
    except MalformedMessageError as error:
        endpoint.reject_malformed(1, error)
    for _, answer in endpoint.messages_to_send():
        parse_message(answer)
    for event in endpoint.events():
        repr(event)
