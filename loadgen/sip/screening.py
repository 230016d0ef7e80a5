"""Look at a received message before any state machine sees it: find its keys, and reasons to refuse it.

These are pure functions of one message (RFC 3261 sections 8.2 and 17.2.3). They send nothing.

A request is refused for the first of these reasons, in the order of section 8.2:

    400            an indispensable header is missing, unreadable or twice there, or the URI is (7.3.1, 8.1.1)
    501, 405, 481  nobody knows the method, we do not serve it, or there is no such dialog (8.2.1, 12.2.2)
    416            the Request-URI has another scheme (8.2.2.1)
    482            the request came by another way already, which the endpoint knows (8.2.2.2)
    483            no hops are left (16.3)
    420            it requires an extension that we do not have (8.2.2.3)
    415            it has a body that we cannot use, by its type, encoding or disposition (8.2.3)
    406            an answer with a session description is not welcome (21.4.7)
    422            the session interval is too short (RFC 4028 section 9)
"""

from __future__ import annotations

from collections import Counter

from trunkproof.loadgen.sip.body import disposition, sdp_part
from trunkproof.loadgen.sip.capabilities import ACCEPT, ALLOW, EXTENSIONS
from trunkproof.loadgen.sip.dialog import CallKey
from trunkproof.loadgen.sip.fields import (
    MalformedFieldError,
    Via,
    check_uri,
    has_empty_parts,
    read_number,
    read_params,
    uri_host,
)
from trunkproof.loadgen.sip.headers import Header
from trunkproof.loadgen.sip.identifiers import MAGIC_COOKIE
from trunkproof.loadgen.sip.message import Request, Response
from trunkproof.loadgen.sip.session_timer import read_session_timer, supports_timer

TransactionKey = tuple[str, str, str]
"""Branch, sent-by, method (RFC 3261 sections 17.1.3 and 17.2.3). For our own requests the sent-by is empty."""
MergeKey = tuple[str, str, int, str]
"""Call-ID, From tag, CSeq number, method: what a request keeps on every way that it takes (section 8.2.2.2)."""
StatusAndRows = tuple[int, tuple[Header, ...]]
"""A status with which to refuse a request, and the rows that explain it."""

_KNOWN_METHODS = frozenset(
    ("INVITE", "ACK", "CANCEL", "OPTIONS", "BYE", "REGISTER", "REFER", "SUBSCRIBE", "NOTIFY", "INFO", "PUBLISH")
) | {"MESSAGE", "UPDATE", "PRACK"}
_SERVED_INSIDE = frozenset(ALLOW.split(", ")) - {"ACK", "CANCEL"}
_SERVED_OUTSIDE = frozenset(("INVITE", "OPTIONS"))
_OFFERING = frozenset(("INVITE", "UPDATE", "PRACK"))
"""Methods whose body is a session description. We ignore the body of any other, as section 8.2.3 allows."""
_SINGLE = ("Call-ID", "CSeq", "From", "To", "Max-Forwards", "Content-Type")
"""Headers of which a request has one row at most (section 7.3.1)."""
_LISTS = ("Via", "From", "To", "Contact")
MAX_HOPS = 255
_ABOUT_CONTENT = frozenset(("Accept", "Content-Disposition", "Content-Encoding"))


def check_identity(message: Request | Response) -> None:
    """Parse the headers that every message must have (RFC 3261 section 8.1.1).

    Raises:
        MalformedFieldError: one is missing or malformed.
    """
    _ = message.via, message.from_, message.to, message.call_id, message.cseq


def check_request(request: Request) -> None:
    """Check what a new request says beyond its identity. Whoever serves it may then read its URIs without care.

    Raises:
        MalformedFieldError: answer 400.
    """
    headers, firsts = request.headers, request.headers.firsts()
    if headers.repeats:
        counts = Counter(name for name, _ in headers)
        if any(counts[name] > 1 for name in _SINGLE):
            raise MalformedFieldError("header twice that may be there once")
    for name in _LISTS:
        value = firsts.get(name)
        # Two separators at least. Most values have one.
        if value is not None and value.count(";") + value.count(",") > 1 and has_empty_parts(value):
            raise MalformedFieldError(f"separator without a value in {name}")
    from_, to = request.from_, request.to
    if not (from_.tag and to.tag):  # inside a dialog the two were read before, and nobody reads them again
        for party in (from_, to):
            check_uri(party.uri)
            if not party.tag and "tag" in party.params:
                raise MalformedFieldError("empty tag")
    uri = request.uri
    check_uri(uri)
    # After the last @ a question mark begins headers, which a Request-URI must not have (section 19.1.1, table 1).
    if ("?" in uri and "?" in uri.rpartition("@")[2]) or not uri.isprintable():
        raise MalformedFieldError("Request-URI with headers")
    hops = firsts.get("Max-Forwards")
    if hops is not None and read_number(hops, "Max-Forwards") > MAX_HOPS:
        raise MalformedFieldError("Max-Forwards out of range")


def refuse(request: Request, in_known_dialog: bool, merged: bool, min_se_s: int) -> StatusAndRows | None:
    """Return status and rows with which to refuse a request that `check_request` let pass, or None.

    `merged` says that the same request is being served, and came by another way. The order is that of section 8.2.
    """
    return (
        _method_refusal(request, in_known_dialog)
        or _header_refusal(request, merged)
        or _content_refusal(request)
        or _session_refusal(request, min_se_s)
    )


def _method_refusal(request: Request, in_known_dialog: bool) -> StatusAndRows | None:
    method = request.method
    if method not in _KNOWN_METHODS:
        return 501, (("Allow", ALLOW),)
    if request.to.tag and not in_known_dialog:  # for a dialog that is over, or never was
        return 481, ()
    # A known method that we do not serve: 405 with Allow says what we do. 501 is for a method that nobody knows.
    if method not in _SERVED_INSIDE:
        return 405, (("Allow", ALLOW),)
    if not request.to.tag and method not in _SERVED_OUTSIDE:
        return 481, ()
    return None


def _header_refusal(request: Request, merged: bool) -> StatusAndRows | None:
    headers = request.headers
    if request.uri.partition(":")[0].strip().lower() not in ("sip", "sips", "tel"):
        return 416, ()
    if merged:
        return 482, ()
    # An element that forwards nothing may still answer an OPTIONS that has run out of hops (section 16.3).
    if headers.get("Max-Forwards") == "0" and request.method != "OPTIONS":
        return 483, ()
    if headers.get("Require") is None:
        return None
    unknown = [option for option in headers.elements("Require") if option and option.lower() not in EXTENSIONS]
    return (420, (("Unsupported", ", ".join(unknown)),)) if unknown else None


def _content_refusal(request: Request) -> StatusAndRows | None:
    if request.method not in _OFFERING:
        return None
    headers, firsts = request.headers, request.headers.firsts()
    # Nearly every INVITE says just this about its content.
    if firsts.get("Content-Type") == "application/sdp" and firsts.keys().isdisjoint(_ABOUT_CONTENT):
        return None
    kind, handling = disposition(headers.get("Content-Disposition"))
    # Its sender may have marked the body as optional: then it is ignored.
    if request.body and handling != "optional":
        encodings = headers.elements("Content-Encoding")
        if any(encoding.lower() not in ("identity", "") for encoding in encodings):
            return 415, (("Accept-Encoding", "identity"),)
        has_offer = sdp_part(headers.get("Content-Type"), request.body) is not None
        if not has_offer or kind != "session":
            return 415, (("Accept", ACCEPT),)
    accept = headers.get("Accept")
    # Without an Accept header, session descriptions are welcome (section 20.1). An empty one welcomes nothing.
    if accept is not None and not any(_covers_sdp(element) for element in headers.elements("Accept")):
        return 406, (("Accept", ACCEPT),)
    return None


def _covers_sdp(element: str) -> bool:
    kind, _, params = element.partition(";")
    q = read_params(params).get("q", "1")
    return kind.replace(" ", "").lower() in ("application/sdp", "application/*", "*/*") and q.strip("0.") != ""


def _session_refusal(request: Request, min_se_s: int) -> StatusAndRows | None:
    """Return 422 where the request asks for too short a session interval, else None (RFC 4028 section 9)."""
    asked = read_session_timer(request) if request.method in ("INVITE", "UPDATE") else None
    if asked is not None and asked.interval_s < min_se_s and supports_timer(request):
        return 422, (("Min-SE", str(min_se_s)),)
    return None


def server_key(request: Request, method: str) -> TransactionKey:
    """Return the key of the server transaction that a request belongs to (RFC 3261 section 17.2.3)."""
    via = request.via
    branch = via.branch
    # A peer of RFC 2543, whose branches need not be unique. The cookie alone is no branch (RFC 4475 section 3.2.1).
    if not branch.startswith(MAGIC_COOKIE) or branch == MAGIC_COOKIE:
        branch = f"{request.call_id} {request.cseq.number} {request.from_.tag}"
    # The sent-by is a part of the key, because another client may have drawn the same branch (section 17.2.3).
    return branch, f"{via.host}:{via.port}", method


def merge_key(request: Request) -> MergeKey | None:
    """Return the key by which another copy of a request is recognised. None inside a dialog, where there are none."""
    if request.to.tag:
        return None
    return request.call_id, request.from_.tag, request.cseq.number, request.method


def call_key(request: Request) -> CallKey:
    """Return the key of the call that a received request belongs to, from our side (RFC 3261 section 12.2.2)."""
    return request.call_id, request.to.tag


def note_source(request: Request, source: tuple[str, int]) -> None:
    """Write a request's source into its Via: `received`, and `rport` where asked for (RFC 3581 section 4)."""
    via = request.via
    params = dict(via.params)
    if via.host != uri_host(source[0]):
        params["received"] = source[0]
    # `rport` without a value asks for our answer (RFC 3581 section 3). With a value somebody has answered already.
    if params.get("rport") == "":
        params["rport"] = str(source[1])
    if params != via.params:
        # Only the topmost Via is the sender's. The others belong to hops before it.
        others = request.headers.elements("Via")[1:]
        rows = [str(Via(via.transport, via.host, via.port, params)), *others]
        request.headers.replace_all("Via", rows)
