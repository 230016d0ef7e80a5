"""The torture messages of RFC 4475 and RFC 5118: for each section a message of our own with the same property.

A case has the RFC's name for it, what the RFC demands, what we do, and the outcome that `test_torture` checks. The
table in README.md is made of these cases, with this folder as the current one: `python cases.py > README.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

SDP = (
    b"v=0\r\no=ravi 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 10000 RTP/SAVP 8\r\n"
    b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n"
)
Rows = Mapping[str, str | None]
"""Header rows in place of the usual ones, by name. None leaves a row out. A value is written as it is."""


class Outcome(Enum):
    """What becomes of a message that gets no refusal."""

    CALL = auto()
    """An incoming call, whose user decides."""
    ANSWERED = auto()
    """Our call is answered by this response."""
    TRYING = auto()
    """Our call goes on: this response says that the next hop has its INVITE."""
    DROPPED = auto()
    """Nothing happens, and the connection goes on."""
    WAITS = auto()
    """The message is not whole yet."""


@dataclass(frozen=True)
class Case:
    """One message. `outcome` is the status of our response, or what else happens."""

    name: str
    rfc: int
    section: str
    demanded: str
    outcome: int | Outcome
    does: str
    data: bytes
    lost: bool = False
    """Whether the connection is of no use afterwards."""


def rows_of(name: str, method: str, rows: Rows) -> list[tuple[str, str]]:
    """Return usual rows, but for those in `rows`. Names that are not usual come last."""
    usual: dict[str, str | None] = {
        "Via": f"SIP/2.0/TLS 192.0.2.9:5061;branch=z9hG4bK-{name}",
        "Max-Forwards": "70",
        "From": f'"Ravi" <sip:+919812345678@acme.example>;tag=f-{name}',
        "To": "<sip:+912212345678@trunk.example>",
        "Call-ID": f"{name}@acme.example",
        "CSeq": f"7 {method}",
        "Contact": "<sip:ravi@192.0.2.9:5061;transport=tls>",
    }
    return [(key, value) for key, value in {**usual, **rows}.items() if value is not None]


def message(start: str, rows: list[tuple[str, str]], body: bytes = b"", *, length: str | None = None) -> bytes:
    """Return the bytes of a message. `length` is a Content-Length that is not true, with its name."""
    lines = [start, *(f"{name}: {value}" for name, value in rows), length or f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def request(
    name: str,
    method: str = "OPTIONS",
    uri: str = "sip:+912212345678@trunk.example",
    rows: Rows | None = None,
    *,
    start: str | None = None,
    length: str | None = None,
) -> bytes:
    """Return a request with usual rows. An INVITE has a session description."""
    invite = method == "INVITE"
    wanted = {**({"Content-Type": "application/sdp"} if invite else {}), **(rows or {})}
    body = SDP if invite else b""
    return message(start or f"{method} {uri} SIP/2.0", rows_of(name, method, wanted), body, length=length)


CALLERS_VIA = "SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bK-ours"
"""The Via of the INVITE that the responses here answer."""


def response(line: str, rows: Rows | None = None) -> bytes:
    """Return a response to our INVITE: `test_torture.CALL` sends it with these identifiers."""
    usual: dict[str, str | None] = {
        "Via": CALLERS_VIA,
        "From": "<sip:us@127.0.0.1>;tag=ours",
        "To": "<sip:them@192.0.2.9>;tag=theirs",
        "Call-ID": "ours@127.0.0.1",
        "CSeq": "102 INVITE",
        "Contact": "<sip:them@192.0.2.9:5061;transport=tls>",
    }
    return message(line, [(key, value) for key, value in {**usual, **(rows or {})}.items() if value is not None])


_WSINV = (
    b"INVITE sip:+912212345678@trunk.example;own-param SIP/2.0\r\n"
    b"TO :\r\n sip:+912212345678@trunk.example\r\n"
    b'fROM   : "R \\\\\\"avi"       <sip:ravi@acme.example>\r\n  ;\r\n  tag = f-wsinv\r\n'
    b"mAX-fORWARDS: 0068\r\nCall-ID: wsinv@acme.example\r\nCONTENT-LENGTH   : %d\r\n"
    b"cseq: 0009\r\n  INVITE\r\nvIA  : SIP  /   2.0\r\n /TLS\r\n    192.0.2.9;branch=z9hG4bK-wsinv ;\r\n own = a ,\r\n"
    b" SIP  / 2.0  / UDP   192.0.2.8   ; branch=\r\n z9hG4bK-before\r\ns :\r\n"
    b"Own-Header:   one value\r\n in   two\r\n   lines, and a second\r\nother-header: ;;,,;;,;\r\n"
    b'm:"A \\"\\"" <sip:ravi@acme.example>  ; own  =\r\n      value ;\r\n  other ; q = 0.5\r\n'
    b"Content-Type: application/\r\n sdp\r\nRoute:\r\n <sip:edge.example;lr;own=a;other>\r\n\r\n"
) % len(SDP) + SDP
_ODD_METHOD = "!a-Method_0123456789*+`.%of-all'~"
_LONG = "x" * 2000
_ISBN = {"To": "isbn:9780131873728", "From": "<isbn:9780131873711>;tag=f", "Contact": "<isbn:9780131873704>"}
_OURS = "we are no registrar"

CASES = [
    # RFC 4475 section 3.1.1: valid messages.
    Case("wsinv", 4475, "3.1.1.1", "valid: white space, folds and compact forms everywhere", Outcome.CALL, "a call",
         _WSINV),
    Case("intmeth", 4475, "3.1.1.2", "valid: every character that is allowed; a method that nobody knows", 501,
         "501 with Allow", request("intmeth", _ODD_METHOD, "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&p@a",
         {"To": '"\\\x01 \\\0 \\\x7f" <sip:1_unusual.URI~(to-be!sure)&isn\'t+it$/crazy?,/;;*@a>',
          "Own-Header*'": "﻿ दूरभाष"})),
    Case("esc01", 4475, "3.1.1.3", "valid: escapes in a user part are part of it", Outcome.CALL, "a call",
         request("esc01", "INVITE", "sip:sips%3Auser%40acme.example@trunk.example", {"To": "sip:%75se%72@a"})),
    Case("escnull", 4475, "3.1.1.4", "valid: %00 in a user part", 405, f"405, {_OURS}; the URIs are read",
         request("escnull", "REGISTER", rows={"To": "sip:null-%00-null@a", "Contact": "<sip:%00@h>, <sip:%00%00@h>"})),
    Case("esc02", 4475, "3.1.1.5", "valid: % in a method or name escapes nothing; RE%47IST%45R is no REGISTER", 501,
         "501 with Allow", request("esc02", "RE%47IST%45R", rows={"From": '"%Z%45" <sip:ravi@a>;tag=f%3B-'})),
    Case("lwsdisp", 4475, "3.1.1.6", "valid: no space between display name and <", 200, "200",
         request("lwsdisp", rows={"From": "ravi<sip:ravi@acme.example>;tag=f"})),
    Case("longreq", 4475, "3.1.1.7", "valid: long values", Outcome.CALL, "a call",
         request("longreq", "INVITE", f"sip:{_LONG}@trunk.example;{_LONG}={_LONG}",
                 {"From": f"{_LONG} <sip:{_LONG}@a>;tag={_LONG};{_LONG}={_LONG}", "Call-ID": _LONG,
                  f"Own-{_LONG}": _LONG, "Contact": f"<sip:a@{'host.' * 200}example>"})),
    Case("dblreq", 4475, "3.1.1.8", "valid: what follows in a datagram is ignored; in a stream it is the next message",
         405, f"405, {_OURS}; then 200 to the second request", request("dblreq", "REGISTER") + request("dblreq2")),
    Case("semiuri", 4475, "3.1.1.9", "valid: parameters inside the user part", 200, "200",
         request("semiuri", uri="sip:user;par=u%40example.net@trunk.example")),
    Case("transports", 4475, "3.1.1.10", "valid: transports of any name in Via", 200, "200, with all Via rows",
         request("transports", rows={"Via": "SIP/2.0/UDP a;branch=z9hG4bK-t1, SIP/2.0/SCTP b;branch=z9hG4bK-t2, "
                 "SIP/2.0/TLS c;branch=z9hG4bK-t3, SIP/2.0/UNKNOWN d;branch=z9hG4bK-4, SIP/2.0/TCP e;branch=z9hG4bK"})),
    Case("mpart01", 4475, "3.1.1.11", "valid: a MESSAGE with a multipart body of any bytes", 405,
         "405, we take no MESSAGE; the body is framed", message("MESSAGE sip:a@trunk.example SIP/2.0", rows_of(
             "mpart01", "MESSAGE", {"Content-Type": "multipart/mixed;boundary=b"}),
             b"--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\nContent-Type: application/octet-stream\r\n\r\n"
             + bytes(range(256)) + b"\r\n--b--")),
    Case("unreason", 4475, "3.1.1.12", "valid: any UTF-8 in the reason phrase", Outcome.ANSWERED, "an answered call",
         response("SIP/2.0 200 = 2**3 * 5**2 но सौ नब्बे - простое")),
    Case("noreason", 4475, "3.1.1.13", "valid: an empty reason phrase", Outcome.TRYING, "read as any 100",
         response("SIP/2.0 100 ")),
    # RFC 4475 section 3.1.2: invalid messages.
    Case("badinv01", 4475, "3.1.2.1", "400: separators without values", 400, "400",
         request("badinv01", "INVITE", rows={"Via": "SIP/2.0/TLS 192.0.2.9;branch=z9hG4bK-b;;,;,,",
                 "From": "sip:ravi@acme.example;tag=f;;;", "Contact": '"Ravi" <sip:ravi@acme.example>;;;;'})),
    Case("clerr", 4475, "3.1.2.2", "in a datagram 400; in a stream the message is not whole", Outcome.WAITS,
         "we wait for the rest", request("clerr", "INVITE", length="l: 9999")),
    Case("ncl", 4475, "3.1.2.3", "400, and the connection is of no use", 400, "400, and the connection is closed",
         request("ncl", "INVITE", length="Content-Length: -999"), lost=True),
    Case("scalar02", 4475, "3.1.2.4", "400: numbers beyond their range", 400, "400",
         request("scalar02", "REGISTER", rows={"CSeq": "36893488147419103232 REGISTER", "Max-Forwards": "300",
                 "Expires": "9" * 60})),
    Case("scalarlg", 4475, "3.1.2.5", "discard the response", Outcome.DROPPED, "discarded",
         response("SIP/2.0 503 Busy", {"CSeq": "9292394834772304023312 INVITE", "Retry-After": "9" * 40})),
    Case("quotbal", 4475, "3.1.2.6", "400: a quote that never ends", 400, "400",
         request("quotbal", "INVITE", rows={"To": '"Mr. Ravi <sip:ravi@trunk.example>'})),
    Case("ltgtruri", 4475, "3.1.2.7", "400, or ignore the brackets around the Request-URI", 400, "400",
         request("ltgtruri", "INVITE", "<sip:+912212345678@trunk.example>")),
    Case("lwsruri", 4475, "3.1.2.8", "400: a space inside the Request-URI", 400, "400",
         request("lwsruri", "INVITE", "sip:+912212345678@trunk.example; lr")),
    Case("lwsstart", 4475, "3.1.2.9", "400, or ignore the second space between the parts of the start line",
         Outcome.CALL, "a call", request("lwsstart", "INVITE", start="INVITE  sip:+912212345678@t  SIP/2.0")),
    Case("trws", 4475, "3.1.2.10", "400, or ignore the spaces after the start line", 200, "200",
         request("trws", start="OPTIONS sip:+912212345678@trunk.example SIP/2.0  ")),
    Case("escruri", 4475, "3.1.2.11", "400, or ignore the headers in the Request-URI", 400, "400",
         request("escruri", "INVITE", "sip:+912212345678@trunk.example?Route=%3Csip:other.example%3E")),
    Case("baddate", 4475, "3.1.2.12", "400, or ignore a Date that is not GMT", Outcome.CALL, "a call; we read no Date",
         request("baddate", "INVITE", rows={"Date": "Fri, 01 Jan 2010 16:00:00 IST"})),
    Case("regbadct", 4475, "3.1.2.13", "400: a Contact with headers and without brackets", 405, f"405, {_OURS}",
         request("regbadct", "REGISTER", rows={"Contact": "sip:ravi@acme.example?Route=%3Csip:edge.example%3E"})),
    Case("badaspec", 4475, "3.1.2.14", "400, or ignore the spaces inside the brackets", 200, "200",
         request("badaspec", rows={"To": '"Rao, Ravi" < sip:ravi@trunk.example >'})),
    Case("baddn", 4475, "3.1.2.15", "400, or take the comma as a part of the unquoted display name", 200, "200",
         request("baddn", rows={"From": "Rao, Ravi <sip:ravi@acme.example>;tag=f"})),
    Case("badvers", 4475, "3.1.2.16", "505", 505, "505",
         request("badvers", start="OPTIONS sip:+912212345678@trunk.example SIP/7.0")),
    Case("mismatch01", 4475, "3.1.2.17", "400: CSeq names another method", 400, "400",
         request("mismatch01", rows={"CSeq": "8 INVITE"})),
    Case("mismatch02", 4475, "3.1.2.18", "400 or 501: the same with a method that nobody knows", 400, "400",
         request("mismatch02", "NEWMETHOD", rows={"CSeq": "8 INVITE"})),
    Case("bigcode", 4475, "3.1.2.19", "discard the response", Outcome.DROPPED, "discarded",
         response("SIP/2.0 4294967301 is no status")),
    # RFC 4475 sections 3.2 to 3.4: transactions, applications, RFC 2543.
    Case("badbranch", 4475, "3.2.1", "the cookie alone is no branch: match by what else identifies, or 400", 200, "200",
         request("badbranch", rows={"Via": "SIP/2.0/TLS 192.0.2.9;branch=z9hG4bK"})),
    Case("insuf", 4475, "3.3.1", "400: Call-ID, From and To are missing", 400, "400",
         request("insuf", "INVITE", rows={"Call-ID": None, "From": None, "To": None})),
    Case("unkscm", 4475, "3.3.2", "416: a scheme that nobody knows", 416, "416",
         request("unkscm", uri="nobodyKnowsThisScheme:some-content")),
    Case("novelsc", 4475, "3.3.3", "416: a known scheme that is none of SIP", 416, "416",
         request("novelsc", uri="soap.beep://192.0.2.103:3002")),
    Case("unksm2", 4475, "3.3.4", "schemes in To and From do not matter; 400 for the Contact", 405,
         f"405, {_OURS}; the parties are read", request("unksm2", "REGISTER", rows=_ISBN)),
    Case("bext01", 4475, "3.3.5", "420 with Unsupported", 420, "420 with Unsupported",
         request("bext01", rows={"Require": "nothingSupportsThis, nothingSupportsThisEither",
                                 "Proxy-Require": "noProxiesSupportThis"})),
    Case("invut", 4475, "3.3.6", "415 with Accept", 415, "415 with Accept",
         request("invut", "INVITE", rows={"Content-Type": "application/unknownformat"})),
    Case("regaut01", 4475, "3.3.7", "an unknown way to authenticate is ignored, or refused with 401", 405,
         f"405, {_OURS}", request("regaut01", "REGISTER", rows={"Authorization": "NoOneKnowsThis opaque=x"})),
    Case("multi01", 4475, "3.3.8", "400: headers twice that may be there once", 400, "400",
         request("multi01", "INVITE", rows={"f": "<sip:other@a>;tag=g", "i": "other@a", "cseq": "8 INVITE"})),
    Case("mcl01", 4475, "3.3.9", "400, and the connection is of no use", 400, "400, and the connection is closed",
         request("mcl01", rows={"l": "7"}), lost=True),
    Case("bcast", 4475, "3.3.10", "discard a response with a second Via", Outcome.DROPPED, "discarded",
         response("SIP/2.0 200 OK", {"Via": f"{CALLERS_VIA}, SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK-b"})),
    Case("zeromf", 4475, "3.3.11", "483, or an answer by the last element", 200, "200 to OPTIONS, 483 to all else",
         request("zeromf", rows={"Max-Forwards": "0"})),
    Case("cparam01", 4475, "3.3.12", "ignore an unknown parameter of a Contact", 405, f"405, {_OURS}",
         request("cparam01", "REGISTER", rows={"Contact": "sip:ravi@acme.example;own-param"})),
    Case("cparam02", 4475, "3.3.13", "ignore an unknown parameter of a Contact's URI", 405, f"405, {_OURS}",
         request("cparam02", "REGISTER", rows={"Contact": "<sip:ravi@acme.example;own-param>"})),
    Case("regescrt", 4475, "3.3.14", "keep headers in a Contact's URI", 405, f"405, {_OURS}",
         request("regescrt", "REGISTER", rows={"Contact": "<sip:ravi@acme.example?Route=%3Csip:edge.example%3E>"})),
    Case("sdp01", 4475, "3.3.15", "406, or 400: an answer could not have a session description", 406, "406 with Accept",
         request("sdp01", "INVITE", rows={"Accept": "text/nobodyKnowsThis"})),
    Case("inv2543", 4475, "3.4.1", "valid in RFC 2543: no tag, no branch, no hops, no Contact", Outcome.CALL, "a call",
         request("inv2543", "INVITE", rows={"Via": "SIP/2.0/UDP acme.example", "From": "<sip:ravi@acme.example>",
                                            "Max-Forwards": None, "Contact": None})),
    # RFC 5118: IPv6.
    Case("ipv6-good", 5118, "4.1", "valid: IPv6 references in every URI", 200, "200",
         request("ipv6-good", uri="sip:[2001:db8::10]", rows={
             "Via": "SIP/2.0/TLS [2001:db8::9:1];branch=z9hG4bK-good", "Contact": "<sip:ravi@[2001:db8::1]>",
             "To": "<sip:ravi@[2001:db8::10]>"})),
    Case("ipv6-bad", 5118, "4.2", "400: an IPv6 address without brackets", 400, "400",
         request("ipv6-bad", uri="sip:2001:db8::10")),
    Case("port-ambiguous", 5118, "4.3", "valid: the last group is a part of the address, not a port", 200, "200",
         request("port-ambiguous", uri="sip:[2001:db8::10:5070]")),
    Case("port-unambiguous", 5118, "4.4", "valid: a port behind the brackets", 200, "200",
         request("port-unambiguous", uri="sip:[2001:db8::10]:5070")),
    Case("via-received-param-with-delim", 5118, "4.5", "take brackets in `received`, though the grammar has none", 200,
         "200", request("via-delim", rows={
             "Via": "SIP/2.0/TLS [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bK-delim"})),
    Case("via-received-param-no-delim", 5118, "4.5", "valid: no brackets in `received`", 200, "200",
         request("via-no-delim", rows={
             "Via": "SIP/2.0/TLS [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bK-nodelim"})),
    Case("ipv6-in-sdp", 5118, "4.6", "valid: IPv6 in the session description", Outcome.CALL, "a call",
         request("ipv6-in-sdp", "INVITE").replace(b"IP4 192.0.2.9", b"IP6 2001::db8")),
    Case("mult-ip-in-header", 5118, "4.7", "valid: IPv4 and IPv6 in one message", 200, "200, with all Via rows",
         request("mult-ip-in-header", rows={"Via": "SIP/2.0/TLS [2001:db8::9:1]:6050;branch=z9hG4bK-m1, "
                 "SIP/2.0/TLS 192.0.2.1;branch=z9hG4bK-m2", "Contact": "<sip:ravi@[2001:db8::1]>"})),
    Case("mult-ip-in-sdp", 5118, "4.8", "valid: IPv4 and IPv6 in one session description", Outcome.CALL, "a call",
         request("mult-ip-in-sdp", "INVITE").replace(b"c=IN IP4 192.0.2.9", b"c=IN IP6 2001::db8")),
    Case("ipv4-mapped-ipv6", 5118, "4.9", "valid: an IPv4 address inside an IPv6 one", 200, "200",
         request("ipv4-mapped-ipv6", rows={"Via": "SIP/2.0/TLS [::ffff:192.0.2.10]:19823;branch=z9hG4bK-mapped",
                                           "Contact": '"R" <sip:ravi@[::ffff:192.0.2.10]:5061>'})),
    Case("ipv6-bug-abnf-3-colons", 5118, "4.10", "take three colons, which a fault of the grammar allowed; write two",
         200, "200", request("ipv6-bug", uri="sip:user@[2001:db8:::192.0.2.1]", rows={
             "To": "<sip:user@[2001:db8:::192.0.2.1]>"})),
]  # fmt: skip


def readme() -> str:
    """Return README.md of this folder."""
    head = (
        "# Torture messages\n\n"
        "What RFC 4475 (49 sections) and RFC 5118 demand, and what this user agent does. The messages are our own, "
        "with the property of each section.\nThe table is made of the tests: "
        "`python cases.py > README.md`.\n\n"
        "| RFC | section | message | demanded | we do |\n|---|---|---|---|---|\n"
    )
    lines = [f"| {case.rfc} | {case.section} | {case.name} | {case.demanded} | {case.does} |\n" for case in CASES]
    return head + "".join(lines)


if __name__ == "__main__":
    print(readme(), end="")
