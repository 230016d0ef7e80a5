"""The two INVITEs of TRUNK.md: start lines and complete header lists, exactly."""

from __future__ import annotations

import random
import re

from loadgen.sip.identifiers import Identifiers
from loadgen.sip.invite import LegIds, Place, inbound_invite, outbound_invite
from loadgen.sip.message import Request
from loadgen.sip.session_timer import SessionTimer

TRUNK, CUSTOMER = Place("127.0.0.1", 443), Place("127.0.0.2", 5061)
ALLOW = "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, SUBSCRIBE, NOTIFY, INFO, PUBLISH, MESSAGE"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def outbound(seed: int = 1, session: SessionTimer | None = None) -> Request:
    numbers = {"dialled": "+919800000001", "exophone": "+912200000001"}
    ids = Identifiers(random.Random(seed))
    return outbound_invite(
        ids, **numbers, account="acme", trunk=TRUNK, customer=CUSTOMER, sdp=b"v=0\r\n", session=session
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
        "Via: SIP/2.0/TLS 127.0.0.2:5061;branch=BRANCH",
        "Max-Forwards: 70",
        'From: "+912200000001" <sip:+912200000001@acme.pstn.exotel.com>;tag=TAG',
        "To: <sip:+919800000001@127.0.0.1>",
        "Contact: <sip:+912200000001@127.0.0.2:5061;transport=tls>",
        "Call-ID: UUID@acme.pstn.exotel.com",
        "CSeq: 102 INVITE",
        "User-Agent: trunkproof",
        f"Allow: {ALLOW}",
        "Supported: replaces, timer",
        "Content-Type: application/sdp",
    ]


def test_trunk_to_customer() -> None:
    request = inbound_invite(
        Identifiers(random.Random(1)),
        called="+919800000001",
        caller="+912200000001",
        account="acme",
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
        "Supported: replaces",
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
