"""SIP messages as values: headers, requests, responses, and their one way to become bytes (RFC 3261 section 7).

It holds and writes messages; it does not read streams (`parser`) and does not know what a message is for (`endpoint`).
What is sent is strict; the structured headers of what was received are read when first asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loadgen.sip.fields import CSeq, MalformedFieldError, NameAddr, Via, split_elements
from models.errors import RemoteError

Header = tuple[str, str]
"""A header's name and its value, as one row of a message."""

_COMPACT = {  # RFC 3261 section 7.3.3, RFC 4028 section 4, RFC 3515, RFC 3892, RFC 3841
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "v": "Via",
    "x": "Session-Expires",
}
_KNOWN = (
    *_COMPACT.values(),
    *("Accept", "Allow", "Authorization", "CSeq", "Expires", "Max-Forwards", "Min-SE", "P-Asserted-Identity"),
    *("P-Early-Media", "Reason", "Record-Route", "Require", "Retry-After", "Route", "Server", "Unsupported"),
    *("User-Agent", "Warning", "X-Exotel-CallSid", "X-Exotel-LegSid", "X-Exotel-TrunkSid"),
)
CANONICAL_NAMES = {name: name for name in _KNOWN} | {name.lower(): name for name in _KNOWN} | _COMPACT
"""Spellings of the names known here, each with the one it becomes."""

REASON_PHRASES = {  # RFC 3261 section 21, RFC 3326, RFC 4028, RFC 3262
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
    408: "Request Timeout",
    415: "Unsupported Media Type",
    420: "Bad Extension",
    422: "Session Interval Too Small",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
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
    """The peer's bytes are not a SIP message; `head` is what could be read of it, for a 400."""

    def __init__(self, what: str, head: Request | Response | None = None) -> None:
        super().__init__(what)
        self.head = head


def canonical_name(name: str) -> str:
    """The one spelling of a header name: compact forms and other cases unfolded, unknown names as written."""
    return CANONICAL_NAMES.get(name) or CANONICAL_NAMES.get(name.lower(), name)


class Headers:
    """The header rows of a message, in order; names compare without case and in either form (RFC 3261 section 7.3)."""

    __slots__ = ("_first", "_rows")

    def __init__(self, rows: Iterable[Header] = ()) -> None:
        self._rows = [(canonical_name(name), value) for name, value in rows]
        self._first: dict[str, str] | None = None

    @classmethod
    def canonical(cls, rows: list[Header]) -> Headers:
        """Headers of rows whose names are spelled as `canonical_name` spells them; the list becomes theirs."""
        headers = cls.__new__(cls)
        headers._rows = rows
        headers._first = None
        return headers

    def __iter__(self) -> Iterator[Header]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._rows == other._rows

    def __hash__(self) -> int:
        raise TypeError("headers can change, so they have no hash")

    def __repr__(self) -> str:
        return f"Headers({', '.join(name for name, _ in self._rows)})"

    def get(self, name: str) -> str | None:
        """Value of the first row of that name, or None."""
        known = CANONICAL_NAMES.get(name) or CANONICAL_NAMES.get(name.lower())
        if known is None:
            return next(iter(self.rows(name)), None)
        first = self._first
        if first is None:
            first = self._first = dict(reversed(self._rows))
        return first.get(known)

    def rows(self, name: str) -> list[str]:
        """Values of all rows of that name, in order, as written."""
        known = CANONICAL_NAMES.get(name) or CANONICAL_NAMES.get(name.lower())
        if known is not None:
            return [value for row, value in self._rows if row == known]
        lowered = name.lower()
        return [value for row, value in self._rows if row.lower() == lowered]

    def elements(self, name: str) -> list[str]:
        """All elements of a list header: repeated rows and comma lists are the same thing (RFC 3261 section 7.3.1)."""
        if self.get(name) is None:
            return []
        return [element for value in self.rows(name) for element in split_elements(value)]

    def add(self, name: str, value: str) -> None:
        """Append a row."""
        self._first = None
        self._rows.append((canonical_name(name), value))

    def replace(self, name: str, value: str) -> None:
        """Give the first row of that name another value, or append the row."""
        self._first = None
        name = canonical_name(name)
        for index, (row, _) in enumerate(self._rows):
            if row == name:
                self._rows[index] = (name, value)
                return
        self._rows.append((name, value))

    def replace_all(self, name: str, values: list[str]) -> None:
        """Put rows of these values where the first row of that name stands, and take its other rows away."""
        self._first = None
        name = canonical_name(name)
        kept = [row for row in self._rows if row[0] != name]
        first = next((index for index, row in enumerate(self._rows) if row[0] == name), len(kept))
        self._rows = [*kept[:first], *((name, value) for value in values), *kept[first:]]

    def copy(self) -> Headers:
        """An independent copy."""
        return Headers.canonical(self._rows.copy())


class Message:
    """What requests and responses share: headers, body, and the headers that every message must have."""

    __slots__ = ("_cseq", "_from", "_to", "_via", "body", "headers")

    def __init__(self, headers: Headers | Iterable[Header] = (), body: bytes = b"") -> None:
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.body = body
        self._via: Via | None = None
        self._cseq: CSeq | None = None
        self._from: NameAddr | None = None
        self._to: NameAddr | None = None

    def _required(self, name: str) -> str:
        value = self.headers.get(name)
        if value is None:
            raise MalformedFieldError(f"no {name} header")
        return value

    @property
    def via(self) -> Via:
        """The topmost Via. Raises MalformedFieldError, like the next four, where it is missing or garbled."""
        if self._via is None:
            self._via = Via.parse(split_elements(self._required("Via"))[0])
        return self._via

    @property
    def cseq(self) -> CSeq:
        """CSeq number and method."""
        if self._cseq is None:
            self._cseq = CSeq.parse(self._required("CSeq"))
        return self._cseq

    @property
    def from_(self) -> NameAddr:
        """The From header."""
        if self._from is None:
            self._from = NameAddr.parse(self._required("From"))
        return self._from

    @property
    def to(self) -> NameAddr:
        """The To header."""
        if self._to is None:
            self._to = NameAddr.parse(self._required("To"))
        return self._to

    @property
    def call_id(self) -> str:
        """The Call-ID, compared byte by byte (RFC 3261 section 20.8)."""
        return self._required("Call-ID")

    def start_line(self) -> str:
        """The first line, without its line end."""
        raise NotImplementedError


class Request(Message):
    """A SIP request (RFC 3261 section 7.1)."""

    __slots__ = ("method", "uri")

    def __init__(self, method: str, uri: str, headers: Headers | Iterable[Header] = (), body: bytes = b"") -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri = uri

    def start_line(self) -> str:
        """`METHOD uri SIP/2.0`."""
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

    def take_over(self, request: Request) -> None:
        """Take what was read of our request for what this response repeats of it to the letter (section 8.2.6.2)."""
        ours, theirs = request.headers, self.headers
        if ours.get("From") == theirs.get("From"):
            self._from = request.from_
        if ours.get("To") == theirs.get("To"):
            self._to = request.to

    def start_line(self) -> str:
        """`SIP/2.0 status reason`."""
        return f"SIP/2.0 {self.status} {self.reason}"

    def __repr__(self) -> str:
        return f"Response({self.status} {self.reason}, {len(self.headers)} headers, {len(self.body)} body bytes)"


def serialize(message: Message) -> bytes:
    """The bytes of a message: Content-Length last and always true, whatever the headers say of it (section 20.14).

    Raises ValueError where a line break stands inside a start line or header: that would let data become headers.
    """
    lines = [message.start_line()]
    lines += [f"{name}: {value}" for name, value in message.headers._rows if name != "Content-Length"]
    lines.append(f"Content-Length: {len(message.body)}\r\n\r\n")
    head = "\r\n".join(lines)
    breaks = len(lines) + 1
    if head.count("\n") != breaks or head.count("\r") != breaks:
        raise ValueError("line break inside a SIP header")
    return head.encode() + message.body


def response_to(
    request: Request,
    status: int,
    reason: str | None = None,
    *,
    to_tag: str = "",
    headers: Iterable[Header] = (),
    body: bytes = b"",
) -> Response:
    """A response with what section 8.2.6.2 copies from its request: Via rows, From, To, Call-ID, CSeq."""
    rows = [("Via", value) for value in request.headers.rows("Via")]
    for name in ("From", "To", "Call-ID", "CSeq"):
        value = request.headers.get(name)
        if value is not None:
            if name == "To" and to_tag and status != 100 and "tag" not in request.to.params:
                value = f"{value};tag={to_tag}"
            rows.append((name, value))
    rows += [(canonical_name(name), value) for name, value in headers]
    return Response(status, reason, Headers.canonical(rows), body)
