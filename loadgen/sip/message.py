"""SIP messages as values: requests, responses, and their one way to become bytes (RFC 3261 section 7).

`parser` reads messages from a stream, and `endpoint` knows what each is for. We send strictly what the RFC demands.
A received message's structured headers are parsed when somebody first asks for them.
"""

from __future__ import annotations

from collections.abc import Iterable

from trunkproof.loadgen.sip.fields import CSeq, MalformedFieldError, NameAddr, Via, split_elements
from trunkproof.loadgen.sip.headers import Header, Headers, canonical_name
from trunkproof.models.errors import RemoteError

REASON_PHRASES = {  # RFC 3261 section 21, and RFC 4028 section 6 for 422
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    183: "Session Progress",
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    422: "Session Interval Too Small",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    600: "Busy Everywhere",
    603: "Decline",
}


class MalformedMessageError(RemoteError):
    """The peer's bytes are not a SIP message.

    `head` is the part that could be read, so that the peer can be told. `status` is what to tell it.
    """

    def __init__(self, what: str, head: Request | Response | None = None, status: int = 400) -> None:
        super().__init__(what)
        self.head = head
        self.status = status


class Message:
    """The common part of requests and responses: headers, body, and the headers of every message, parsed."""

    __slots__ = ("_cseq", "_from", "_to", "_via", "body", "headers")

    def __init__(self, headers: Headers | Iterable[Header] = (), body: bytes = b"") -> None:
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.body = body
        self._via: Via | None = None
        self._cseq: CSeq | None = None
        self._from: NameAddr | None = None
        self._to: NameAddr | None = None

    def _required(self, name: str) -> str:
        # `firsts` of headers that we wrote ourselves may lack this name. `get` then splits the text.
        value = self.headers.firsts().get(name) or self.headers.get(name)
        if value is None:
            raise MalformedFieldError(f"no {name} header")
        return value

    @property
    def via(self) -> Via:
        """Return the topmost Via.

        Raises:
            MalformedFieldError: it is missing or malformed. This and the next four properties raise it.
        """
        if self._via is None:
            self._via = Via.parse(split_elements(self._required("Via"))[0])
        return self._via

    @property
    def cseq(self) -> CSeq:
        """Return CSeq number and method."""
        if self._cseq is None:
            self._cseq = CSeq.parse(self._required("CSeq"))
        return self._cseq

    @property
    def from_(self) -> NameAddr:
        """Return the From header."""
        if self._from is None:
            self._from = NameAddr.parse(self._required("From"))
        return self._from

    @property
    def to(self) -> NameAddr:
        """Return the To header."""
        if self._to is None:
            self._to = NameAddr.parse(self._required("To"))
        return self._to

    @property
    def call_id(self) -> str:
        """Return the Call-ID, which is compared byte by byte (RFC 3261 section 20.8)."""
        return self._required("Call-ID")

    def know(self, cseq: CSeq, from_: NameAddr | None, to: NameAddr | None = None, via: Via | None = None) -> None:
        """Note headers that the writer of the message has in parsed form, so that they need not be parsed."""
        self._cseq, self._from, self._to, self._via = cseq, from_, to, via

    def take_over(self, other: Message) -> None:
        """Take another message's parsed headers where this one repeats them to the letter (section 8.2.6.2)."""
        # The default "" of one side only: a header that both lack must not count as repeated.
        ours, theirs = self.headers.firsts(), other.headers.firsts()
        if ours.get("Via", "") == theirs.get("Via"):
            self._via = other.via
        if ours.get("CSeq", "") == theirs.get("CSeq"):
            self._cseq = other.cseq
        if ours.get("From", "") == theirs.get("From"):
            self._from = other.from_
        if ours.get("To", "") == theirs.get("To"):
            self._to = other.to

    def start_line(self) -> str:
        """Return the first line, without its line end."""
        raise NotImplementedError


class Request(Message):
    """A SIP request (RFC 3261 section 7.1)."""

    __slots__ = ("method", "uri")

    def __init__(self, method: str, uri: str, headers: Headers | Iterable[Header] = (), body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri = uri

    def start_line(self) -> str:
        """Return `METHOD uri SIP/2.0`."""
        return f"{self.method} {self.uri} SIP/2.0"

    def __repr__(self) -> str:
        return f"Request({self.method}, {len(self.headers)} headers, {len(self.body)} body bytes)"


class Response(Message):
    """A SIP response (RFC 3261 section 7.2)."""

    __slots__ = ("reason", "status")

    def __init__(
        self, status: int, reason: str | None = None, headers: Headers | Iterable[Header] = (), body: bytes = b""
    ) -> None:
        super().__init__(headers, body)
        self.status = status
        self.reason = REASON_PHRASES.get(status, "Unassigned") if reason is None else reason

    def start_line(self) -> str:
        """Return `SIP/2.0 status reason`."""
        return f"SIP/2.0 {self.status} {self.reason}"

    def __repr__(self) -> str:
        return f"Response({self.status} {self.reason}, {len(self.headers)} headers, {len(self.body)} body bytes)"


def serialize(message: Message) -> bytes:
    """Return the bytes of a message. Content-Length is last and always true, whatever its headers say (section 20.14).

    Raises:
        ValueError: the start line or a header holds a line break, which would let data become headers.
    """
    start, body = message.start_line(), message.body
    if "\n" in start or "\r" in start:
        raise ValueError("line break inside a SIP start line")
    return f"{start}\r\n{message.headers.text()}Content-Length: {len(body)}\r\n\r\n".encode() + body


def response_to(
    request: Request,
    status: int,
    reason: str | None = None,
    *,
    to_tag: str = "",
    headers: Iterable[Header] = (),
    body: bytes = b"",
) -> Response:
    """Return a response to a request. It repeats Via rows, From, To, Call-ID and CSeq (RFC 3261 section 8.2.6.2).

    `to_tag` is added to a To without a tag, but not in a 100. A To that cannot be read is repeated as it is.
    """
    # All of them in their order: each proxy on the way back removes its own.
    rows = [("Via", value) for value in request.headers.rows("Via")]
    for name in ("From", "To", "Call-ID", "CSeq"):
        value = request.headers.get(name)
        if value is not None:
            # A 100 is the transaction's own and makes no dialog, so it gets no tag.
            if name == "To" and to_tag and status != 100 and _without_tag(request):
                value = f"{value};tag={to_tag}"
            rows.append((name, value))
    rows += [(canonical_name(name), value) for name, value in headers]
    return Response(status, reason, Headers.canonical(rows), body)


def _without_tag(request: Request) -> bool:
    try:
        return "tag" not in request.to.params
    except MalformedFieldError:
        return False
