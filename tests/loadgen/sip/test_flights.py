"""Which transaction a message belongs to, and until when a transaction is remembered, by section of RFC 3261."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.loadgen.sip.conftest import is_method

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.message import Request, Response
from trunkproof.loadgen.sip.parser import parse_message


def test_rfc3261_17_1_1_2_timer_b(pair: Any) -> None:
    pair.lose = is_method("INVITE")
    call = pair.customer.start_call(1, pair.invite(), 0.0)
    pair.wait(40)
    assert pair.seen[pair.customer] == [events.TimedOut(32.0, call)]
    assert pair.customer.idle


def test_rfc3261_17_2_1_repeated_invite_is_absorbed(pair: Any) -> None:
    pair.place()
    pair.trunk.receive(1, pair.sent[0], 0.0)
    assert pair.trunk.events() == []
    assert pair.trunk.messages_to_send() == []


def test_rfc3261_17_2_1_lost_ack_of_failure_ends_with_timer_h(pair: Any) -> None:
    pair.lose = is_method("ACK")
    pair.place()[1].reject(0.0, 486)
    pair.wait(31.9)
    assert not pair.trunk.idle
    pair.wait(0.2)
    assert pair.trunk.idle


def repeated(request: Request, change: Callable[[str, str], str]) -> Response:
    """A 200 to our request, as a peer would send it that changes header values."""
    rows = [(name, change(name, request.headers.get(name) or "")) for name in ("Via", "From", "Call-ID", "CSeq")]
    rows += [("To", f"{request.headers.get('To')};tag=9"), ("Contact", "<sip:b@t>"), ("Content-Length", "0")]
    head = "".join(f"{name}: {value}\r\n" for name, value in rows)
    response = parse_message(f"SIP/2.0 200 OK\r\n{head}\r\n".encode())
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize(
    "change",
    [
        lambda name, value: value,
        lambda name, value: f"{value};received=127.0.0.9;rport=5" if name == "Via" else value,
        lambda name, value: value.replace(" ", "   ") if name in {"Via", "CSeq"} else value,
        lambda name, value: value.replace("102", "0102") if name == "CSeq" else value,
    ],
)
def test_rfc3261_17_1_3_a_response_is_recognised_by_branch_and_method_in_whatever_words(
    pair: Any, change: Callable[[str, str], str]
) -> None:
    invite = pair.invite()
    pair.customer.start_call(1, invite, 0.0)
    response = repeated(invite, change)
    read_alone = repeated(invite, change)
    pair.customer.receive(1, response, 0.0)
    assert [type(event).__name__ for event in pair.customer.events()] == ["Answered"]
    for name in ("via", "cseq", "from_", "to", "call_id"):
        assert getattr(response, name) == getattr(read_alone, name)


def test_rfc3261_17_1_3_a_response_to_another_branch_or_method_is_a_stray(pair: Any) -> None:
    invite = pair.invite()
    pair.customer.start_call(1, invite, 0.0)
    for name, value in (("Via", "SIP/2.0/TLS h;branch=z9hG4bKother"), ("CSeq", "102 OPTIONS")):
        pair.customer.receive(1, repeated(invite, lambda row, said, n=name, v=value: v if row == n else said), 0.0)
    assert pair.customer.events() == []


@pytest.mark.parametrize("name", ["Via", "From", "Call-ID", "CSeq"])
def test_rfc3261_8_1_1_a_response_without_a_header_that_it_must_have_is_not_taken(pair: Any, name: str) -> None:
    invite = pair.invite()
    pair.customer.start_call(1, invite, 0.0)
    response = repeated(invite, lambda _, value: value)
    response.headers.replace_all(name, [])
    pair.customer.receive(1, response, 0.0)
    assert pair.customer.events() == []
