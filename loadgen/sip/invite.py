"""The two INVITEs of the trunk, inbound and outbound, header by header as its operator documents them (TRUNK.md).

This module builds requests and nothing else: no dialog, no transport. The document's samples leave some things out
(angle brackets, `s=`). Here they are written, as the standards demand. Allow and Supported are our own, not the
samples': a peer acts on them, and a REFER that they invite would be refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from trunkproof.loadgen.sip.capabilities import ALLOW, SUPPORTED
from trunkproof.loadgen.sip.fields import CSeq, NameAddr, Via, quote, uri_host
from trunkproof.loadgen.sip.headers import Header, Headers
from trunkproof.loadgen.sip.identifiers import Identifiers
from trunkproof.loadgen.sip.message import Request
from trunkproof.loadgen.sip.sdes import AES_CM_128_HMAC_SHA1_80, Crypto, offered_crypto
from trunkproof.loadgen.sip.sdp import AVP, SAVP, Codec, SessionDescription, TelephoneEvent
from trunkproof.loadgen.sip.session_timer import SessionTimer
from trunkproof.models.study import Transport

TRUNK_CALL_ID_HOST = "pstn.mum1.exotel.com"
FIRST_CSEQ = 102
_FIRST = CSeq(FIRST_CSEQ, "INVITE")
_EVENTS_0_TO_16 = TelephoneEvent(101, "0-16")


class Place(NamedTuple):
    """A host and a port. As text they stand as in a URI."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{uri_host(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class LegIds:
    """The trunk's own identifiers of an inbound call (X-Exotel-LegSid, -CallSid, -TrunkSid)."""

    leg_sid: str
    call_sid: str
    trunk_sid: str


def outbound_invite(
    ids: Identifiers,
    *,
    dialled: str,
    exophone: str,
    domain: str,
    trunk: Place,
    customer: Place,
    sdp: bytes,
    request_host: str | None = None,
    headers: tuple[Header, ...] = (),
    session: SessionTimer | None = None,
    user_agent: str = "trunkproof",
    transport: Transport = "tls",
    route: str | None = None,
) -> Request:
    """Return the INVITE that a customer sends to the trunk. Numbers are in E.164 with `+`. The caller is the Exophone.

    Request-URI and To name `request_host` where it is given, else the trunk's address. `headers` are added as they are.
    `route` is the URI of an outbound proxy, a loose router: it does not change the Request-URI (RFC 3261 section
    8.1.2).

    The parts that all INVITEs of a customer share come from a cache, because this runs for every call.
    """
    rows = [("User-Agent", user_agent), ("Allow", ALLOW), ("Supported", SUPPORTED)]
    rows += [session.header()] if session is not None else []
    form = _outbound_form((exophone, domain), (trunk, customer), request_host, (*rows, *headers), (transport, route))
    branch, tag, call_id = ids.branch(), ids.tag(), ids.call_id(form.domain)
    via, from_, to = f"{form.via}{branch}", f"{form.from_}{tag}", f"<sip:{dialled}{form.at_host}>"
    # The order of the rows is that of the operator's sample.
    text = f"Via: {via}\r\n{form.hops}From: {from_}\r\nTo: {to}\r\n{form.contact}Call-ID: {call_id}\r\n{form.rest}"
    first = {"Via": via, "From": from_, "To": to, "Call-ID": call_id, "CSeq": str(_FIRST)}
    request = Request("INVITE", f"sip:{dialled}{form.at_trunk}", Headers.written(text, form.breaks, first), sdp)
    # We know what these headers hold, so the transaction that starts next does not parse them.
    caller = NameAddr(form.caller.display, form.caller.uri, {"tag": tag})
    request.know(_FIRST, caller, via=Via(transport.upper(), form.host, customer.port, {"alias": "", "branch": branch}))
    return request


class _OutboundForm(NamedTuple):
    """The parts that all INVITEs of a customer share: the beginnings of rows, and whole rows."""

    domain: str
    via: str
    hops: str
    from_: str
    contact: str
    rest: str
    at_trunk: str
    at_host: str
    host: str
    breaks: int
    caller: NameAddr


@lru_cache(maxsize=1024)  # one for each Exophone
def _outbound_form(
    identity: tuple[str, str],
    places: tuple[Place, Place],
    request_host: str | None,
    rows: tuple[Header, ...],
    way: tuple[Transport, str | None],
) -> _OutboundForm:
    (exophone, domain), (trunk, customer), (transport, route) = identity, places, way
    from_ = f"{quote(exophone)} <sip:{exophone}@{domain}>;tag="
    rest = [("CSeq", str(_FIRST)), *rows, ("Content-Type", "application/sdp")]
    hops = [("Max-Forwards", "70")] if route is None else [("Route", f"<{route}>"), ("Max-Forwards", "70")]
    return _OutboundForm(
        domain=domain,
        # `alias` offers the connection for requests to us (RFC 5923 section 5).
        via=f"SIP/2.0/{transport.upper()} {customer};alias;branch=",
        hops="".join(f"{name}: {value}\r\n" for name, value in hops),
        from_=from_,
        contact=f"Contact: <sip:{exophone}@{customer};transport={transport}>\r\n",
        rest="".join(f"{name}: {value}\r\n" for name, value in rest),
        at_trunk=f"@{request_host or trunk}",
        at_host=f"@{request_host or uri_host(trunk.host)}",
        host=uri_host(customer.host),
        # `Headers.text` counts line ends against this number, so that a line break in a number or name cannot add a
        # header.
        breaks=len(("Via", *hops, "From", "To", "Contact", "Call-ID", *rest)),
        # The text ends in `;tag=`, and a tag may not be empty. Each call puts its own in place of the 0.
        caller=NameAddr.parse(f"{from_}0"),
    )


def inbound_invite(
    ids: Identifiers,
    *,
    called: str,
    caller: str,
    domain: str,
    trunk: Place,
    contact: Place,
    customer: Place,
    legs: LegIds,
    sdp: bytes,
    records_route: bool = True,
    transport: Transport = "tls",
    outer_transport: Transport | None = None,
) -> Request:
    """Return the INVITE that the trunk sends to a customer.

    `contact` is the media gateway's public address behind the edge. With `records_route` the trunk names itself in
    Record-Route. Without it, a foreign edge stands in front of the trunk and does so: `transport` is that of the hop to
    it, and `outer_transport` that of the customer, where the two differ.
    """
    identity = f"<sip:{caller}@{domain}>"
    rows: list[Header] = [("Record-Route", f"<sip:{trunk};transport={transport};lr>")] if records_route else []
    rows += [
        ("Via", f"SIP/2.0/{transport.upper()} {trunk};branch={ids.branch()}"),
        ("From", f"{quote(caller)} {identity};tag={ids.tag()}"),
        ("To", f"<sip:{called}@{uri_host(customer.host)}>"),
        ("Call-ID", ids.call_id(TRUNK_CALL_ID_HOST)),
        ("CSeq", f"{FIRST_CSEQ} INVITE"),
        ("Allow", ALLOW),
        ("Supported", SUPPORTED),
        ("X-Exotel-LegSid", legs.leg_sid),
        ("X-Exotel-CallSid", legs.call_sid),
        ("X-Exotel-TrunkSid", legs.trunk_sid),
        ("P-Asserted-Identity", identity),
        ("P-Early-Media", "supported"),
        ("Contact", f"<sip:{caller}@{contact};transport={transport}>"),
        # As in the operator's sample.
        ("Max-Forwards", "67"),
        ("Content-Type", "application/sdp"),
    ]
    uri = f"sip:{called}@{customer};transport={outer_transport or transport}"
    return Request("INVITE", uri, Headers.canonical(rows), sdp)


def customer_offer(
    address: str,
    port: int,
    key: bytes | None,
    *,
    session_id: int,
    codecs: tuple[Codec, ...] = (Codec.PCMA, Codec.PCMU),
    suites: tuple[str, ...] = (AES_CM_128_HMAC_SHA1_80,),
) -> SessionDescription:
    """Return a customer's offer: telephone-event 101 with events 0-16, packets of 20 ms, at most 150 ms.

    `key` has 30 bytes. Without a key, plain RTP is offered.
    """
    return SessionDescription(
        address=address,
        port=port,
        codecs=codecs,
        telephone_event=_EVENTS_0_TO_16,
        crypto=_crypto(key, suites),
        profile=AVP if key is None else SAVP,
        maxptime_ms=150,
        session_id=session_id,
        session_version=session_id,
    )


def trunk_offer(
    address: str,
    port: int,
    key: bytes | None,
    *,
    session_id: int,
    codecs: tuple[Codec, ...] = (Codec.PCMA, Codec.PCMU),
    suites: tuple[str, ...] = (AES_CM_128_HMAC_SHA1_80,),
) -> SessionDescription:
    """Return the trunk's offer: telephone-event 96 with events 0-15, packets of 20 ms, `a=rtcp` for the next port.

    `key` has 30 bytes. Without a key, plain RTP is offered, as a carrier does to the edge that encrypts for it.
    """
    return SessionDescription(
        address=address,
        port=port,
        codecs=codecs,
        telephone_event=TelephoneEvent(96, "0-15"),
        crypto=_crypto(key, suites),
        profile=AVP if key is None else SAVP,
        rtcp_port=port + 1,
        user="root",
        session_id=session_id,
        session_version=session_id,
    )


def _crypto(key: bytes | None, suites: tuple[str, ...]) -> tuple[Crypto, ...]:
    return () if key is None else offered_crypto(key, suites)
