"""Where a redirected call goes on: the order of Contacts, the guard, the bounds, and a real call that is followed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from trunkproof.loadgen.guard import Guard, Target
from trunkproof.loadgen.parties.redirect import MOST, RedirectError, Redirector, contacts
from trunkproof.loadgen.sip.message import Response


def moved(*values: str) -> Response:
    return Response(302, "Moved Temporarily", [("Contact", value) for value in values])


def redirector(guard: Guard | None = None) -> tuple[Redirector, list[tuple[Target, str]]]:
    opened: list[tuple[Target, str]] = []

    def connections(target: Target, name: str) -> Any:
        opened.append((target, name))
        return target

    return Redirector(guard or Guard(), 60.0, connections), opened


def test_rfc3261_20_10_contacts_are_tried_by_their_q() -> None:
    response = moved(
        "<sip:a@127.0.0.1>;q=0.5", "<sip:b@127.0.0.2>;q=0.9, <sip:c@127.0.0.3>", "<sip:broken", "<sip:a b@127.0.0.4>"
    )
    assert list(map(str, contacts(response))) == ["sip:c@127.0.0.3", "sip:b@127.0.0.2", "sip:a@127.0.0.1"]


def test_a_redirect_is_followed_to_its_address_with_one_pool_for_each() -> None:
    one, opened = redirector()
    there = asyncio.run(one.follow(moved("<sip:+919876543210@127.0.0.9:5071;transport=tls>"), ["sip:x@127.0.0.1"]))
    assert there.uri == "sip:+919876543210@127.0.0.9:5071;transport=tls"
    assert opened == [(Target("127.0.0.9", "127.0.0.9", 5071), "127.0.0.9")]
    asyncio.run(one.follow(moved("<sip:+919876543211@127.0.0.9:5071;transport=tls>"), []))
    assert len(opened) == 1


def test_a_redirect_to_an_ipv6_address_needs_no_port() -> None:
    one, opened = redirector()
    asyncio.run(one.follow(moved("<sip:+919876543210@[::1]>"), []))
    assert opened == [(Target("::1", "::1", 5061), "::1")]


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (moved("<sip:a@203.0.113.9>"), "allow list"),
        (moved("<sip:a@pstn.in2.exotel.com>"), "production"),
        (moved("<sip:a@127.0.0.1;transport=udp>"), "not SIP over TLS"),
        (moved("<tel:+919876543210>"), "not SIP over TLS"),
        (moved(), "no address that is new"),
        (moved("<sip:tried@127.0.0.1>"), "no address that is new"),
    ],
)
def test_a_redirect_leads_only_where_load_may_go(response: Response, words: str) -> None:
    one, opened = redirector()
    with pytest.raises(RedirectError, match=words):
        asyncio.run(one.follow(response, ["sip:tried@127.0.0.1"]))
    assert not opened


def test_an_address_that_is_not_allowed_gives_way_to_one_that_is() -> None:
    one, _ = redirector()
    there = asyncio.run(one.follow(moved("<sip:a@203.0.113.9>", "<sip:b@127.0.0.9>;q=0.1"), []))
    assert there.uri == "sip:b@127.0.0.9"


def test_rfc3261_8_1_3_4_redirects_of_a_call_are_bounded() -> None:
    one, _ = redirector()
    tried = [f"sip:{number}@127.0.0.1" for number in range(MOST + 1)]
    with pytest.raises(RedirectError, match=f"more than {MOST} times"):
        asyncio.run(one.follow(moved("<sip:next@127.0.0.1>"), tried))
