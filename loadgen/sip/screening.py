"""Look at a received message before any state machine sees it: find its keys, and reasons to refuse it.

These are pure functions of one message (RFC 3261 sections 8.2 and 17.2.3). They send nothing.
"""

from __future__ import annotations

from trunkproof.loadgen.sip.capabilities import ALLOW, EXTENSIONS
from trunkproof.loadgen.sip.dialog import DialogKey
from trunkproof.loadgen.sip.fields import Via
from trunkproof.loadgen.sip.headers import Header
from trunkproof.loadgen.sip.identifiers import MAGIC_COOKIE
from trunkproof.loadgen.sip.message import Request, Response
from trunkproof.loadgen.sip.session_timer import read_session_timer, supports_timer

TransactionKey = tuple[str, str, str]
"""Branch, sent-by, method (RFC 3261 sections 17.1.3 and 17.2.3). For our own requests the sent-by is empty."""
StatusAndRows = tuple[int, tuple[Header, ...]]
"""A status with which to refuse a request, and the rows that explain it."""

_KNOWN_METHODS = frozenset(
    ("INVITE", "ACK", "CANCEL", "OPTIONS", "BYE", "REGISTER", "REFER", "SUBSCRIBE", "NOTIFY", "INFO", "PUBLISH")
) | {"MESSAGE", "UPDATE", "PRACK"}
_SERVED_INSIDE = frozenset(("INVITE", "BYE", "OPTIONS", "INFO", "NOTIFY", "PRACK", "UPDATE"))
_SERVED_OUTSIDE = frozenset(("INVITE", "OPTIONS"))


def refuse(request: Request, in_known_dialog: bool, min_se_s: int) -> StatusAndRows | None:
    """Return status and rows with which to refuse a request, or None (RFC 3261 section 8.2).

    The order is the RFC's: method, then headers. The session timer of RFC 4028 comes last.
    """
    return _method_refusal(request, in_known_dialog) or _header_refusal(request) or _session_refusal(request, min_se_s)


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


def _header_refusal(request: Request) -> StatusAndRows | None:
    headers = request.headers
    # An element that forwards nothing may still answer an OPTIONS that has run out of hops (section 16.3).
    if headers.get("Max-Forwards") == "0" and request.method != "OPTIONS":
        return 483, ()
    unknown = [option for option in headers.elements("Require") if option and option not in EXTENSIONS]
    return (420, (("Unsupported", ", ".join(unknown)),)) if unknown else None


def _session_refusal(request: Request, min_se_s: int) -> StatusAndRows | None:
    """Return 422 where the request asks for too short a session interval, else None (RFC 4028 section 9)."""
    asked = read_session_timer(request) if request.method in ("INVITE", "UPDATE") else None
    if asked is not None and asked.interval_s < min_se_s and supports_timer(request):
        return 422, (("Min-SE", str(min_se_s)),)
    return None


def check_identity(message: Request | Response) -> None:
    """Parse the headers that every message must have (RFC 3261 section 8.1.1).

    Raises:
        MalformedFieldError: one is missing or malformed.
    """
    _ = message.via, message.from_, message.to, message.call_id, message.cseq


def server_key(request: Request, method: str) -> TransactionKey:
    """Return the key of the server transaction that a request belongs to (RFC 3261 section 17.2.3)."""
    via = request.via
    branch = via.branch
    if not branch.startswith(MAGIC_COOKIE):  # a peer of RFC 2543: its branches need not be unique
        branch = f"{request.call_id} {request.cseq.number} {request.from_.tag}"
    # The sent-by is a part of the key, because another client may have drawn the same branch (section 17.2.3).
    return branch, f"{via.host}:{via.port}", method


def dialog_key(request: Request) -> DialogKey:
    """Return the key of the dialog that a received request belongs to, from our side (RFC 3261 section 12.2.2)."""
    return request.call_id, request.to.tag, request.from_.tag


def note_source(request: Request, source: tuple[str, int]) -> None:
    """Write a request's source into its Via: `received`, and `rport` where asked for (RFC 3581 section 4)."""
    via = request.via
    params = dict(via.params)
    # An IPv6 address stands in brackets in a Via, and bare in `received` (RFC 5118 section 4.5).
    if via.host.strip("[]") != source[0]:
        params["received"] = source[0]
    # `rport` without a value asks for our answer (RFC 3581 section 3). With a value somebody has answered already.
    if params.get("rport") == "":
        params["rport"] = str(source[1])
    if params != via.params:
        # Only the topmost Via is the sender's. The others belong to hops before it.
        others = request.headers.elements("Via")[1:]
        rows = [str(Via(via.transport, via.host, via.port, params)), *others]
        request.headers.replace_all("Via", rows)
