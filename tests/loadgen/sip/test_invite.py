"""The two INVITEs of TRUNK.md: start lines and complete header lists, exactly; Allow and Supported are our own."""

from __future__ import annotations

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from trunkproof.loadgen.sip.fields import Via
from trunkproof.loadgen.sip.identifiers import Identifiers
from trunkproof.loadgen.sip.invite import LegIds, Place, inbound_invite, outbound_invite
from trunkproof.loadgen.sip.message import Request, serialize
from trunkproof.loadgen.sip.session_timer import SessionTimer

TRUNK, CUSTOMER = Place("127.0.0.1", 443), Place("127.0.0.2", 5061)
ALLOW = "INVITE, ACK, CANCEL, OPTIONS, BYE, INFO, NOTIFY, PRACK, UPDATE"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def outbound(seed: int = 1, session: SessionTimer | None = None) -> Request:
    numbers = {"dialled": "+919800000001", "exophone": "+912200000001"}
    ids = Identifiers(random.Random(seed))
    return outbound_invite(
        ids, **numbers, domain="acme.pstn.exotel.com", trunk=TRUNK, customer=CUSTOMER, sdp=b"v=0\r\n", session=session
    )


def shown(request: Request) -> list[str]:
    """Header rows with what is drawn at random replaced by its form."""
    text = "\n".join(f"{name}: {value}" for name, value in request.headers)
    text = re.sub(UUID, "UUID", text)
    text = re.sub("z9hG4bK[0-9a-f]{16}", "BRANCH", text)
    return re.sub("tag=[0-9a-f]{16}", "tag=TAG", text).split("\n")


def test_customer_to_trunk() -> None:
    request = outbound()
    assert request.start_line() == "INVITE sip:+919800000001@127.0.0.1:443 SIP/2.0"
    assert shown(request) == [
        "Via: SIP/2.0/TLS 127.0.0.2:5061;alias;branch=BRANCH",
        "Max-Forwards: 70",
        'From: "+912200000001" <sip:+912200000001@acme.pstn.exotel.com>;tag=TAG',
        "To: <sip:+919800000001@127.0.0.1>",
        "Contact: <sip:+912200000001@127.0.0.2:5061;transport=tls>",
        "Call-ID: UUID@acme.pstn.exotel.com",
        "CSeq: 102 INVITE",
        "User-Agent: trunkproof",
        f"Allow: {ALLOW}",
        "Supported: 100rel, timer",
        "Content-Type: application/sdp",
    ]


def test_rfc5118_4_1_ipv6_addresses_stand_in_brackets_everywhere() -> None:
    trunk, customer = Place("::1", 443), Place("2001:db8::2", 5061)
    ids, numbers = Identifiers(random.Random(1)), {"dialled": "+919800000001", "exophone": "+912200000001"}
    request = outbound_invite(ids, **numbers, domain="acme.pstn.exotel.com", trunk=trunk, customer=customer, sdp=b"")
    assert request.uri == "sip:+919800000001@[::1]:443"
    rows = shown(request)
    assert "Via: SIP/2.0/TLS [2001:db8::2]:5061;alias;branch=BRANCH" in rows
    assert "To: <sip:+919800000001@[::1]>" in rows
    assert "Contact: <sip:+912200000001@[2001:db8::2]:5061;transport=tls>" in rows
    # What the request knows of itself is what it says.
    assert Via.parse(request.headers.get("Via") or "") == request.via


def test_trunk_to_customer() -> None:
    request = inbound_invite(
        Identifiers(random.Random(1)),
        called="+919800000001",
        caller="+912200000001",
        domain="acme.pstn.exotel.com",
        trunk=TRUNK,
        contact=Place("127.0.0.1", 5070),
        customer=CUSTOMER,
        legs=LegIds("leg", "call", "trunk"),
        sdp=b"v=0\r\n",
    )
    assert request.start_line() == "INVITE sip:+919800000001@127.0.0.2:5061;transport=tls SIP/2.0"
    assert shown(request) == [
        "Record-Route: <sip:127.0.0.1:443;transport=tls;lr>",
        "Via: SIP/2.0/TLS 127.0.0.1:443;branch=BRANCH",
        'From: "+912200000001" <sip:+912200000001@acme.pstn.exotel.com>;tag=TAG',
        "To: <sip:+919800000001@127.0.0.2>",
        "Call-ID: UUID@pstn.mum1.exotel.com",
        "CSeq: 102 INVITE",
        f"Allow: {ALLOW}",
        "Supported: 100rel, timer",
        "X-Exotel-LegSid: leg",
        "X-Exotel-CallSid: call",
        "X-Exotel-TrunkSid: trunk",
        "P-Asserted-Identity: <sip:+912200000001@acme.pstn.exotel.com>",
        "P-Early-Media: supported",
        "Contact: <sip:+912200000001@127.0.0.1:5070;transport=tls>",
        "Max-Forwards: 67",
        "Content-Type: application/sdp",
    ]


def test_rfc4028_session_expires_where_asked_for() -> None:
    assert outbound(session=SessionTimer(1800)).headers.get("x") == "1800"


def test_identifiers_follow_from_the_random_source_and_differ_between_calls() -> None:
    assert outbound(1).headers == outbound(1).headers
    ids = [outbound(seed) for seed in range(50)]
    assert len({request.call_id for request in ids}) == len({request.via.branch for request in ids}) == 50


DIGITS = st.text("0123456789", min_size=1, max_size=15).map("+{}".format)
HOSTS = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,12}", fullmatch=True)
PLACES = st.builds(Place, HOSTS, st.integers(1, 65_535))


@given(DIGITS, DIGITS, HOSTS, st.tuples(PLACES, PLACES), st.sampled_from([None, SessionTimer(1800)]))
def test_the_invite_is_written_row_by_row_and_what_it_knows_of_itself_is_what_it_says(
    dialled: str, exophone: str, domain: str, places: tuple[Place, Place], session: SessionTimer | None
) -> None:
    trunk, customer = places
    given_to = {"dialled": dialled, "exophone": exophone, "domain": domain, "user_agent": "a test"}
    request = outbound_invite(
        Identifiers(random.Random(1)), **given_to, trunk=trunk, customer=customer, sdp=b"v=0\r\n", session=session
    )
    ids = Identifiers(random.Random(1))
    rows = [
        ("Via", f"SIP/2.0/TLS {customer.host}:{customer.port};alias;branch={ids.branch()}"),
        ("Max-Forwards", "70"),
        ("From", f'"{exophone}" <sip:{exophone}@{domain}>;tag={ids.tag()}'),
        ("To", f"<sip:{dialled}@{trunk.host}>"),
        ("Contact", f"<sip:{exophone}@{customer.host}:{customer.port};transport=tls>"),
        ("Call-ID", ids.call_id(domain)),
        ("CSeq", "102 INVITE"),
        ("User-Agent", "a test"),
        ("Allow", ALLOW),
        ("Supported", "100rel, timer"),
        *([session.header()] if session else []),
        ("Content-Type", "application/sdp"),
    ]
    readable = Request("INVITE", f"sip:{dialled}@{trunk.host}:{trunk.port}", rows, b"v=0\r\n")
    assert serialize(request) == serialize(readable)
    assert (request.via, request.cseq, request.call_id) == (readable.via, readable.cseq, readable.call_id)
    assert (request.from_, request.to) == (readable.from_, readable.to)
    assert request.headers == readable.headers


def test_a_foreign_trunk_may_want_another_host_and_more_headers() -> None:
    request = outbound_invite(
        Identifiers(random.Random(1)),
        dialled="+912200000002",
        exophone="+912200000001",
        domain="sip.example",
        trunk=TRUNK,
        customer=CUSTOMER,
        sdp=b"v=0\r\n",
        request_host="edge.example",
        headers=(("X-Route", "a"), ("P-Charge", "b")),
    )
    assert request.uri == "sip:+912200000002@edge.example"
    assert request.headers.get("To") == "<sip:+912200000002@edge.example>"
    assert [request.headers.get(name) for name in ("X-Route", "P-Charge")] == ["a", "b"]
    assert "@sip.example>" in (request.headers.get("From") or "")
