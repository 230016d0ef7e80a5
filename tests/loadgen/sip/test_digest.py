"""Digest credentials: the examples of the RFCs to the letter, what is not answered, and how a call goes on."""

from __future__ import annotations

from typing import Any

import pytest

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call_state import CallState
from trunkproof.loadgen.sip.digest import Authenticator, Challenge, Credentials
from trunkproof.loadgen.sip.events import EndCause
from trunkproof.loadgen.sip.mask import mask
from trunkproof.loadgen.sip.message import Response

MUFASA = Credentials("Mufasa", "Circle of Life")
ASKED = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
SHORT = 'Digest realm="r", nonce="n"'


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_rfc7616_3_9_1_the_example(algorithm: str, response: str) -> None:
    challenge = Challenge.parse(ASKED.format(algorithm=algorithm))
    assert challenge is not None
    answer = challenge.answer(MUFASA, "GET", "/dir/index.html", CNONCE)
    assert answer == (
        'Digest username="Mufasa", realm="http-auth@example.org", '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", uri="/dir/index.html", qop=auth, nc=00000001, '
        f'cnonce="{CNONCE}", response="{response}", algorithm={algorithm}, '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )


def test_rfc3261_22_4_a_challenge_without_qop_is_answered_as_rfc2069_had_it() -> None:
    # RFC 2069 section 2.4, with the response of its erratum 749.
    text = 'Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'  # noqa: E501
    challenge = Challenge.parse(text)
    assert challenge is not None
    answer = challenge.answer(Credentials("Mufasa", "CircleOfLife"), "GET", "/dir/index.html", "unused")
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in answer
    assert "qop" not in answer
    assert "cnonce" not in answer


@pytest.mark.parametrize(
    "text",
    [
        "",
        'Basic realm="r"',
        'Digest realm="r"',
        f"{SHORT}, algorithm=MD5-sess",
        f"{SHORT}, algorithm=SHA-512-256",
        f'{SHORT}, qop="auth-int"',
        'Digest realm="r\x01", nonce="n"',
    ],
)
def test_a_challenge_that_cannot_be_answered(text: str) -> None:
    assert Challenge.parse(text) is None


def test_quoted_pairs_are_read_and_written() -> None:
    challenge = Challenge.parse(r'DIGEST Realm="a \"b\"" , NONCE = "n,=" , stale=TRUE')
    assert challenge == Challenge('a "b"', "n,=", "MD5", with_qop=False, opaque=None, stale=True)
    assert r'realm="a \"b\""' in challenge.answer(MUFASA, "INVITE", "sip:a", "c")


def test_rfc8760_2_4_the_topmost_known_algorithm_is_used() -> None:
    rows = [("WWW-Authenticate", f"{SHORT}, algorithm={name}") for name in ("SHA-512-256", "SHA-256", "MD5")]
    answer = Authenticator(MUFASA, lambda: "c").answer(Response(401, "", rows), "INVITE", "sip:a")
    assert answer is not None
    assert "algorithm=SHA-256" in answer[1]


def test_each_challenge_of_a_request_is_answered_once_and_a_stale_one_once_more() -> None:
    one = Authenticator(MUFASA, lambda: "c")
    www = Response(401, "", [("WWW-Authenticate", SHORT)])
    stale = Response(401, "", [("WWW-Authenticate", f"{SHORT}, stale=true")])
    proxy = Response(407, "", [("Proxy-Authenticate", SHORT)])
    asked = [www, www, proxy, stale, stale, proxy]
    answers = [one.answer(response, "INVITE", "sip:a") for response in asked]
    assert [answer and answer[0] for answer in answers] == [
        *("Authorization", None, "Proxy-Authorization", "Authorization", None, None)
    ]
    assert one.answer(www, "BYE", "sip:a") is not None
    assert one.answer(Response(403, "", [("WWW-Authenticate", SHORT)]), "INVITE", "sip:a") is None


def test_a_password_is_shown_nowhere() -> None:
    assert "Circle" not in repr(MUFASA)
    answer = Challenge.parse(SHORT)
    assert answer is not None
    text = f"INVITE sip:a SIP/2.0\r\nAuthorization: {answer.answer(MUFASA, 'INVITE', 'sip:a', 'c')}\r\n\r\n"
    assert "Mufasa" not in mask(text)


def test_rfc3261_22_2_a_call_goes_on_with_its_credentials(callee: Any) -> None:
    callee.call.authenticator = Authenticator(MUFASA, lambda: "c")
    first = callee.invite
    callee.respond(first, 401, 0.0, ("WWW-Authenticate", SHORT))
    ack, second = callee.said()
    assert (ack.method, second.method) == ("ACK", "INVITE")
    assert (second.call_id, second.from_.tag, second.body) == (first.call_id, first.from_.tag, first.body)
    assert second.cseq.number == first.cseq.number + 1
    assert second.via.branch != first.via.branch
    # A proxy behind it asks too, and its header stands beside the first one.
    callee.respond(second, 407, 0.0, ("Proxy-Authenticate", SHORT))
    _, third = callee.said()
    assert {"Authorization", "Proxy-Authorization"} <= {name for name, _ in third.headers}
    callee.respond(third, 200, 0.0, body=b"answer")
    (acked,) = callee.said()
    # Section 22.1: an ACK cannot be challenged, so it has what its INVITE had.
    assert acked.headers.get("Authorization") == third.headers.get("Authorization")
    assert acked.headers.get("Proxy-Authorization") == third.headers.get("Proxy-Authorization")
    assert callee.call.state is CallState.ESTABLISHED
    callee.call.bye(1.0)
    (bye,) = callee.said()
    callee.respond(bye, 401, 1.0, ("WWW-Authenticate", SHORT))
    (again,) = callee.said()
    assert (again.method, again.cseq.number) == ("BYE", bye.cseq.number + 1)
    assert again.headers.get("Authorization") is not None
    callee.respond(again, 200, 1.0)
    ended = [event for event in callee.endpoint.events() if isinstance(event, events.Terminated)]
    assert [event.cause for event in ended] == [EndCause.LOCAL_BYE]


@pytest.mark.parametrize("has_credentials", [True, False])
def test_wrong_or_no_credentials_end_the_call(has_credentials: bool, callee: Any) -> None:
    if has_credentials:
        callee.call.authenticator = Authenticator(MUFASA, lambda: "c")
        callee.respond(callee.invite, 401, 0.0, ("WWW-Authenticate", SHORT))
        callee.invite = callee.said()[1]
    callee.respond(callee.invite, 401, 0.0, ("WWW-Authenticate", SHORT))
    assert [one.method for one in callee.said()] == ["ACK"]
    (ended,) = [event for event in callee.endpoint.events() if isinstance(event, events.FinalEvent)]
    assert isinstance(ended, events.Rejected)
    assert ended.status == 401
