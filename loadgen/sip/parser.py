"""Read SIP messages from a stream of bytes (RFC 3261 sections 7.5 and 18.3), with one parser for each connection.

The parser finds where messages end, splits them into rows, and refuses sizes that nobody sends. It judges no header
but Content-Length. For any bytes it returns messages or raises MalformedMessageError:

- A message that cannot be read, but says how long it is, costs that message only. Its error is raised once, and the
  next call goes on behind it.
- Without one Content-Length, or without an end of the headers, nobody knows where the next message begins. Then the
  stream is `lost`: every further call raises the same error, and the connection is of no use any more.

How the bytes were cut into pieces changes nothing. The work grows with the number of bytes, whatever they are.

A message of the usual form (`Name: value`, known names) is split in one step. Any other goes the slow way through
`parse_lines`, with the same result.
"""

from __future__ import annotations

import re
from collections.abc import Callable
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
_VERSION = re.compile(r"SIP/\d+\.\d+", re.ASCII | re.IGNORECASE)
_CONTROLS = re.compile(r"[\r\n]|(?<!\\)\0")
"""A line end inside a line, or a NUL that is not quoted. RFC 3261 section 25.1 allows the quoted one."""
_LENGTH_ROW = re.compile(r"^(?:content-length|l)[ \t]*:(.*)$", re.IGNORECASE | re.MULTILINE)


class StreamParser:
    """A parser of one connection: bytes go in, messages come out.

    With `require_content_length=False` a message without Content-Length has no body. RFC 3261 section 20.14 allows
    that on datagrams only, but some test tools omit the header where the body is empty.
    """

    def __init__(self, *, require_content_length: bool = True, observe: Callable[[bytes], None] | None = None) -> None:
        """Make a parser. `observe` is called with the bytes of each message when it is whole, before it is returned.

        Bytes that are no message are observed too, once it is known that nothing more belongs to them.
        """
        self._buffer = bytearray()
        self._searched = 0
        self._head: tuple[Request | Response, int] | None = None
        self._skipped = 0
        self._dead: MalformedMessageError | None = None
        self._pings = 0
        self._require_length = require_content_length
        self._observe = observe
        self._raw_head = b""

    @property
    def pending_bytes(self) -> int:
        """Return how many bytes wait for the rest of their message. At the end of a stream: it was cut off."""
        return len(self._buffer)

    @property
    def in_message(self) -> bool:
        """Return whether a message has begun and is not complete."""
        return self._head is not None or bool(self._buffer) or self._skipped > 0

    @property
    def lost(self) -> bool:
        """Return whether the place of the next message is unknown. Close the connection then."""
        return self._dead is not None

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the connection, in pieces of any size. A lost stream keeps none."""
        if self._dead is None:
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
            MalformedMessageError: the bytes are not SIP. Where the stream is `lost`, every further call raises it too.
        """
        if self._dead is not None:
            raise self._dead
        if self._skipped and not self._skip_body():
            return None
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
        if self._observe is not None:
            self._show(message.body)
        return message

    def _show(self, rest: bytes) -> None:
        raw, self._raw_head = self._raw_head + rest, b""
        if self._observe is not None:
            self._observe(raw)

    def _skip_body(self) -> bool:
        """Drop what is there of a refused message's body. Return whether that was all of it."""
        dropped = min(self._skipped, len(self._buffer))
        del self._buffer[:dropped]
        self._skipped -= dropped
        return not self._skipped

    def _give_up(self, error: MalformedMessageError) -> MalformedMessageError:
        self._dead = error
        self._show(bytes(self._buffer))
        self._buffer.clear()
        return error

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
        # Those three bytes count here too, or it would matter how the bytes were cut into pieces.
        if end > MAX_HEAD_BYTES or (end < 0 and len(self._buffer) > MAX_HEAD_BYTES + 3):
            raise self._give_up(MalformedMessageError("start line and headers are too long"))
        if end < 0:
            self._searched = len(self._buffer)
            return None
        self._searched = 0
        raw = self._buffer[:end]
        del self._buffer[: end + 4]
        if self._observe is not None:
            self._raw_head = bytes(raw) + _HEAD_END
        text = raw.decode(errors="replace")
        try:
            message = parse_head(text)
        except MalformedMessageError as error:
            lengths = {value.strip() for value in _LENGTH_ROW.findall(text)}
            length = _read_length(lengths.pop()) if len(lengths) == 1 else None
            if length is None:
                raise self._give_up(error) from None
            raise self._refused(error, length) from None
        return message, self._body_length(message)

    def _refused(self, error: MalformedMessageError, length: int) -> MalformedMessageError:
        self._skipped = length
        self._show(b"")  # without the body, which is dropped as it comes
        return error

    def _body_length(self, message: Request | Response) -> int:
        headers = message.headers
        firsts = headers.firsts()
        text = firsts.get("Content-Length")
        if text is None and not self._require_length:
            return 0
        # Two different lengths would let a peer hide a message in a body: refuse them.
        if headers.repeats and len(set(headers.rows("Content-Length"))) > 1:
            text = None
        length = _read_length(text)
        if length is None:
            raise self._give_up(MalformedMessageError("no single Content-Length", message))
        if length > MAX_BODY_BYTES:
            raise self._refused(MalformedMessageError("body is too long", message, 413), length)
        return length


def _read_length(text: str | None) -> int | None:
    """Return a Content-Length of at most ten digits, or None for anything else."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 10 else None


def parse_head(head: str) -> Request | Response:
    """Read start line and headers, given without the empty line after them.

    Raises:
        MalformedMessageError: they are not those of a SIP message.
    """
    lines = head.split("\r\n")
    breaks = len(lines) - 1
    if head.count("\n") == breaks and head.count("\r") == breaks and "\0" not in head and breaks <= MAX_HEADERS:
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
        MalformedMessageError: they are not those of a SIP message. Its head has the rows that could be read.
    """
    lines = head.split("\r\n")
    clean = [line for line in lines if not _CONTROLS.search(line)]
    fault = "" if len(clean) == len(lines) else "control character in a header"
    # A line end could make a row out of the start line: nothing of it is used then.
    if _CONTROLS.search(lines[0]):
        raise MalformedMessageError(fault)
    start, *lines = _unfold(clean)
    if len(lines) > MAX_HEADERS:
        fault = fault or "too many headers"
    rows = [_parse_row(line) for line in lines[:MAX_HEADERS]]
    if None in rows:
        fault = fault or "line that is no header"
    headers = Headers.canonical([row for row in rows if row is not None])
    if not fault:
        return _parse_start_line(start, headers)
    try:
        message = _parse_start_line(start, headers)
    except MalformedMessageError as error:
        raise MalformedMessageError(fault, error.head, error.status) from None
    raise MalformedMessageError(fault, message)


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


def _unfold(lines: list[str]) -> list[str]:
    """Join folded lines with one space (RFC 3261 section 7.3.1)."""
    joined: list[list[str]] = []
    for line in lines:
        if line[:1] in (" ", "\t") and joined:
            joined[-1].append(line.strip())
        else:
            joined.append([line])
    # Joined at the end: a line of many folds would be copied once for each of them.
    return [" ".join([first.rstrip(), *filter(None, folds)]) if folds else first for first, *folds in joined]


def _parse_row(line: str) -> Header | None:
    name, colon, value = line.partition(":")
    known = CANONICAL_NAMES.get(name)
    if known is not None and colon:
        return known, value.strip()
    name = name.rstrip(" \t")
    if not colon or not name or not _TOKEN.issuperset(name):
        return None
    return canonical_name(name), value.strip()


def _parse_start_line(line: str, headers: Headers) -> Request | Response:
    first, _, rest = line.partition(" ")
    if first[:4].upper() == "SIP/":
        status, reason = _read_status_line(line)
        return Response(status, reason, headers)
    uri, _, version = rest.partition(" ")
    if version == "SIP/2.0" and uri and first and _TOKEN.issuperset(first):
        return Request(first, uri, headers)
    return _odd_request(line, headers)


def _odd_request(line: str, headers: Headers) -> Request:
    """Read a request line with several spaces in place of one, or at its end. Refuse any other (RFC 4475, 3.1.2).

    Raises:
        MalformedMessageError: it is no request line, or one of another version of SIP.
    """
    parts = [part for part in re.split(r"[ \t]+", line) if part]
    if len(parts) < 3 or not _TOKEN.issuperset(parts[0]) or not _VERSION.fullmatch(parts[-1]):
        raise MalformedMessageError("start line is neither a request nor a response")
    method, *uri, version = parts
    request = Request(method, " ".join(uri), headers)
    if version.upper() != "SIP/2.0":
        raise MalformedMessageError("version of SIP is not supported", request, 505)
    if len(uri) > 1:
        raise MalformedMessageError("space inside the Request-URI", request)
    return request


@lru_cache(maxsize=64)
def _read_status_line(line: str) -> tuple[int, str]:
    """Return status and reason phrase. Cached: a peer sends a dozen different status lines."""
    version, _, rest = line.partition(" ")
    code, _, reason = rest.lstrip(" ").partition(" ")
    if version.upper() != "SIP/2.0" or len(code) != 3 or not (code.isascii() and code.isdigit()):
        raise MalformedMessageError("broken status line")
    status = int(code)
    if not 100 <= status <= 699:
        raise MalformedMessageError("status outside 100 to 699")
    return status, reason
