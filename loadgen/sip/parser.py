"""Read SIP messages from a stream of bytes (RFC 3261 sections 7.5 and 18.3), with one parser for each connection.

The parser finds where messages end, splits them into rows, and refuses sizes that nobody sends. It judges no header
but Content-Length. For any bytes it returns messages or raises MalformedMessageError. After an error the place where
the next message begins is unknown, so the stream is dead: every further call raises the same error.

A message of the usual form (`Name: value`, known names) is split in one step. Any other goes the slow way through
`parse_lines`, with the same result.
"""

from __future__ import annotations

from functools import lru_cache

from trunkproof.loadgen.sip.headers import CANONICAL_NAMES, Header, Headers, canonical_name
from trunkproof.loadgen.sip.message import MalformedMessageError, Request, Response

MAX_HEAD_BYTES = 65_536
"""Largest start line and headers. Kamailio's largest datagram and Asterisk's largest stream message: about 64 KiB."""
MAX_BODY_BYTES = 65_536
MAX_HEADERS = 200
"""nginx and Apache stop at about 100 rows. We take twice as many, for long Record-Route or History-Info chains."""

_TOKEN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~")
_HEAD_END = b"\r\n\r\n"


class StreamParser:
    """A parser of one connection: bytes go in, messages come out.

    With `require_content_length=False` a message without Content-Length has no body. RFC 3261 section 20.14 allows
    that on datagrams only, but some test tools omit the header where the body is empty.
    """

    def __init__(self, *, require_content_length: bool = True) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._head: tuple[Request | Response, int] | None = None
        self._dead: MalformedMessageError | None = None
        self._pings = 0
        self._require_length = require_content_length

    @property
    def pending_bytes(self) -> int:
        """Return how many bytes wait for the rest of their message. At the end of a stream: it was cut off."""
        return len(self._buffer)

    @property
    def in_message(self) -> bool:
        """Return whether a message has begun and is not complete."""
        return self._head is not None or bool(self._buffer)

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the connection, in pieces of any size."""
        self._buffer += data

    def take_pings(self) -> int:
        """Return the number of keep-alives (CRLF CRLF) since the last call.

        Answer each of them with one CRLF (RFC 5626 section 3.5.1).
        """
        pings, self._pings = self._pings, 0
        return pings

    def next_message(self) -> Request | Response | None:
        """Return the next whole message, or None.

        Raises:
            MalformedMessageError: the bytes are not SIP. Every further call raises the same error.
        """
        if self._dead is not None:
            raise self._dead
        try:
            return self._next()
        except MalformedMessageError as error:
            self._dead = error
            self._buffer.clear()
            raise

    def _next(self) -> Request | Response | None:
        if self._head is None:
            self._skip_line_ends()
            self._head = self._take_head()
        if self._head is None:
            return None
        message, length = self._head
        # The head stays parsed in `_head` while the body is on its way.
        if len(self._buffer) < length:
            return None
        if length:
            message.body = bytes(self._buffer[:length])
            del self._buffer[:length]
        self._head = None
        return message

    def _skip_line_ends(self) -> None:
        """Drop line ends before a start line (RFC 3261 section 7.5), and count keep-alives."""
        while self._buffer.startswith(b"\r\n"):
            if self._buffer.startswith(_HEAD_END):
                self._pings += 1
                del self._buffer[:4]
            elif len(self._buffer) < 4 and _HEAD_END.startswith(self._buffer):
                return  # this may be half a keep-alive: wait for the next bytes
            else:
                del self._buffer[:2]

    def _take_head(self) -> tuple[Request | Response, int] | None:
        # Search on where the last search ended, less the three bytes that may be a part of the end.
        end = self._buffer.find(_HEAD_END, max(0, self._searched - 3))
        if end > MAX_HEAD_BYTES or (end < 0 and len(self._buffer) > MAX_HEAD_BYTES):
            raise MalformedMessageError("start line and headers are too long")
        if end < 0:
            self._searched = len(self._buffer)
            return None
        self._searched = 0
        head = self._buffer[:end].decode(errors="replace")
        del self._buffer[: end + 4]
        message = parse_head(head)
        return message, self._body_length(message)

    def _body_length(self, message: Request | Response) -> int:
        headers = message.headers
        firsts = headers.firsts()
        text = firsts.get("Content-Length")
        if text is None and not self._require_length:
            return 0
        # Two different lengths would let a peer hide a message in a body: refuse them.
        if len(firsts) != len(headers) and len(set(headers.rows("Content-Length"))) > 1:
            text = None
        if text is None or not (text.isascii() and text.isdigit()) or len(text) > 10:
            raise MalformedMessageError("no single Content-Length", message)
        length = int(text)
        if length > MAX_BODY_BYTES:
            raise MalformedMessageError("body is too long", message)
        return length


def parse_head(head: str) -> Request | Response:
    """Read start line and headers, given without the empty line after them.

    Raises:
        MalformedMessageError: they are not those of a SIP message.
    """
    lines = head.split("\r\n")
    breaks = len(lines) - 1
    if head.count("\n") != breaks or head.count("\r") != breaks or "\0" in head:
        raise MalformedMessageError("control character in a header")
    if breaks <= MAX_HEADERS:
        rows = _usual_rows(lines)
        if rows is not None:
            return _parse_start_line(lines[0], Headers.canonical(rows))
    return parse_lines(head)


def _usual_rows(lines: list[str]) -> list[Header] | None:
    """Return the rows where every line has the usual form, `Name: value` with a known name, else None."""
    known = CANONICAL_NAMES
    parts = [line.partition(": ") for line in lines]
    # The start line.
    del parts[0]
    try:
        # A folded line begins with a space, so its name is unknown and the slow way takes it.
        rows = [(known[name], value.strip()) for name, colon, value in parts if colon]
    except KeyError:
        return None
    return rows if len(rows) == len(parts) else None


def parse_lines(head: str) -> Request | Response:
    """Read any start line and headers, with folded lines, unknown names and odd spaces.

    Raises:
        MalformedMessageError: they are not those of a SIP message.
    """
    if "\r\n " in head or "\r\n\t" in head:
        head = _unfold(head)
    lines = head.split("\r\n")
    if len(lines) > MAX_HEADERS + 1:
        raise MalformedMessageError("too many headers")
    rows: list[Header] = []
    # The list belongs to the headers already, so what is added below stands in the message.
    message = _parse_start_line(lines[0], Headers.canonical(rows))
    rows += [_parse_row(line) for line in lines[1:]]
    return message


def parse_message(data: bytes) -> Request | Response:
    """Read bytes that hold exactly one message, such as one of a trace.

    Raises:
        MalformedMessageError: they hold none, or more than one.
    """
    parser = StreamParser()
    parser.receive_data(data)
    message = parser.next_message()
    if message is None or parser.pending_bytes:
        raise MalformedMessageError("not exactly one message")
    return message


def _unfold(head: str) -> str:
    """Join folded lines with one space (RFC 3261 section 7.3.1)."""
    lines: list[str] = []
    for line in head.split("\r\n"):
        if line[:1] in (" ", "\t") and lines:
            lines[-1] = f"{lines[-1].rstrip()} {line.strip()}"
        else:
            lines.append(line)
    return "\r\n".join(lines)


def _parse_row(line: str) -> Header:
    name, colon, value = line.partition(":")
    known = CANONICAL_NAMES.get(name)
    if known is not None and colon:
        return known, value.strip()
    name = name.rstrip(" \t")
    if not colon or not name or not _TOKEN.issuperset(name):
        raise MalformedMessageError("line that is no header")
    return canonical_name(name), value.strip()


def _parse_start_line(line: str, headers: Headers) -> Request | Response:
    first, _, rest = line.partition(" ")
    if first[:4].upper() == "SIP/":
        status, reason = _read_status_line(line)
        return Response(status, reason, headers)
    uri, _, version = rest.partition(" ")
    if not first or not _TOKEN.issuperset(first) or ":" not in uri or version.upper() != "SIP/2.0":
        raise MalformedMessageError("start line is neither a request nor a response")
    return Request(first, uri, headers)


@lru_cache(maxsize=64)
def _read_status_line(line: str) -> tuple[int, str]:
    """Return status and reason phrase. Cached: a peer sends a dozen different status lines."""
    version, _, rest = line.partition(" ")
    code, _, reason = rest.partition(" ")
    if version.upper() != "SIP/2.0" or len(code) != 3 or not (code.isascii() and code.isdigit()):
        raise MalformedMessageError("broken status line")
    status = int(code)
    if not 100 <= status <= 699:
        raise MalformedMessageError("status outside 100 to 699")
    return status, reason
