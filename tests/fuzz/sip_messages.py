"""Make SIP messages that are nearly right: valid ones, damaged where it may hurt. A seed always makes the same ones."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

ODD_VALUES = (
    "", " ", "*", "x", ";", ",", ";;,;,,", '"', '"\\', '"\\"', "<", ">", "<>", "<sip:", "<sip:>", "sip:", "sip:@",
    "tel:", "sip:a@b", "<sip:a@b>", "<sip:a@b>;tag=", "<sip:a@b>;tag=x;tag=y", '"a" <sip:a@b;lr>;lr',
    "sip:[::1]:5061;lr", "<sip:[::1>;tag=1", "sip:2001:db8::1", "sip:a@h:99999", "sip:a%00b@h", "nobody:knows", "0",
    "-1", "00102 INVITE", "102", "102 INVITE", "2147483648 BYE", "9" * 40, "²", "102 BYE x", "SIP/2.0/TLS",
    "SIP/2.0/TLS h;branch=", "SIP / 2.0 / TLS h", "SIP/2.0/TLS [::1]:5061;branch=z9hG4bK;rport;received=[::9]",
    "SIP/1.0/UDP h", "application/sdp", "text/plain", "multipart/mixed", "multipart/mixed;boundary=b", "gzip",
    "timer, 100rel", "100rel", "90;refresher=uac", "1;refresher=uas", "1800;refresher=", "own;handling=optional",
    "own;handling=required", "text/html;q=0", "*/*;q=0.1", "Q.850;cause=16", "Q.850;cause=²", "120 (soon)",
    "ﬀ\u2028é", "\ufffd", "a" * 300, "sip:" + "a" * 300 + "@b", "%", "%%%", "()", "\t", "a\\",
)  # fmt: skip
NAMES = (
    "Via", "v", "From", "f", "To", "t", "Call-ID", "i", "CSeq", "Contact", "m", "Max-Forwards", "Record-Route",
    "Route", "Require", "Supported", "k", "Content-Type", "c", "Content-Encoding", "e", "Content-Disposition",
    "Accept", "Session-Expires", "x", "Min-SE", "Retry-After", "Reason", "Allow", "Expires", "RSeq", "RAck",
    "P-Asserted-Identity", "X-Own", "subject", "CALL-ID", "Replaces", "Warning", "Date", "Authorization",
    "own header", "", "É",
)  # fmt: skip
METHODS = (
    "INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "UPDATE", "PRACK", "REGISTER", "NOTIFY", "MESSAGE", "REFER",
    "invite", "BREW",
)  # fmt: skip
URIS = (
    "sip:+919812345678@127.0.0.1", "sip:+91-98;phone-context=x@h;user=phone", "tel:+91-98-1234", "sip:[::1]:5061",
    "sips:a@h", "sip:2001:db8::1", "mailto:a@b", "<sip:a@h>", "sip:a@h?Route=x", "sip:", "*", "x", "sip:a b@h",
    "sip:%00@h", "sip:" + "a" * 500,
)  # fmt: skip
STATUSES = (100, 180, 183, 199, 200, 202, 302, 400, 401, 407, 408, 422, 481, 486, 487, 491, 500, 503, 603, 699)
START_LINES = (
    "",
    "x",
    "SIP/2.0",
    "SIP/2.0 99 x",
    "SIP/2.0 4294967301 x",
    "SIP/7.0 200 OK",
    "BYE  sip:a  SIP/2.0",
    "A B C D E",
)
BODIES = (
    b"", b"v=0\r\n", b"\0",
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n",
    b"--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--\r\n", b"INVITE sip:a SIP/2.0\r\nl: 0\r\n\r\n",
)  # fmt: skip
LENGTHS = ("", "l: 0", "l: 1", "l: 70000", "l: x", "Content-Length: -1", "l: 3\r\nl: 4", "L: 007")
PIECES = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b'"',
    b"<",
    b">",
    b"\\",
    b"\xff",
    b"l: 5\r\n",
)


@dataclass
class Draft:
    """A message before it is bytes. `length` is what Content-Length says, where that is not the truth."""

    start: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    length: str | None = None

    def value(self, name: str) -> str:
        """Return the first value of a row, or ''."""
        return next((value for row, value in self.rows if row == name), "")

    def data(self) -> bytes:
        """Return the bytes of the message."""
        lines = [self.start, *(f"{name}: {value}" for name, value in self.rows)]
        lines.append(f"Content-Length: {len(self.body)}" if self.length is None else self.length)
        return "\r\n".join(lines).encode(errors="replace") + b"\r\n\r\n" + self.body


class Damage:
    """Damages drafts and bytes. `chance` is that of a message to be damaged at all."""

    def __init__(self, source: random.Random, chance: float = 0.6) -> None:
        self.source = source
        self.chance = chance

    def message(self, draft: Draft) -> bytes:
        """Return the bytes of a message, perhaps damaged."""
        if self.source.random() > self.chance:
            return draft.data()
        draft = replace(draft, rows=list(draft.rows))
        for _ in range(self.source.choice((1, 1, 1, 2, 3))):
            self._draft(draft)
        data = draft.data()
        return self.bytes(data) if self.source.random() < 0.2 else data

    def _draft(self, draft: Draft) -> None:
        self.source.choice((self._row, self._row, self._row, self._start, self._rest))(draft)

    def _row(self, draft: Draft) -> None:
        source, rows = self.source, draft.rows
        at = source.randrange(len(rows))
        name, value = rows[at]
        space = source.choice((" \r\n ", "  ", "\t"))
        rows[at : at + 1] = source.choice(
            (
                [],
                [rows[at], rows[at]],
                [(name, source.choice(ODD_VALUES))],
                [(name, source.choice(ODD_VALUES))],
                [(name, self._text(value))],
                [(source.choice(NAMES), value)],
                # Another white space or a fold, which mostly changes no meaning.
                [(name + source.choice(("", " ", "\t")), value.replace(" ", space))],
                [rows[at], (source.choice(NAMES), source.choice(ODD_VALUES) * source.choice((1, 1, 2, 50)))],
            )
        )

    def _start(self, draft: Draft) -> None:
        source = self.source
        first, _, rest = draft.start.partition(" ")
        uri = source.choice((f"{source.choice(METHODS)} {rest}", f"{first} {source.choice(URIS)} SIP/2.0"))
        status = f"SIP/2.0 {source.choice(STATUSES)} {source.choice(ODD_VALUES)}"
        known = status if first == "SIP/2.0" else uri
        draft.start = source.choice((known, known, self._text(draft.start), source.choice(START_LINES)))

    def _rest(self, draft: Draft) -> None:
        if self.source.random() < 0.5:
            draft.length = self.source.choice(LENGTHS)
        else:
            draft.body = self.source.choice(BODIES)

    def _text(self, text: str) -> str:
        at = self.source.randrange(len(text) + 1)
        put = self.source.choice(
            (";", ",", '"', "<", ">", "\\", ":", "@", "%", "=", " ", "é", ";tag=z", "?", "[", "]", "")
        )
        return text[:at] + put + text[at + self.source.randrange(3) :]

    def bytes(self, data: bytes) -> bytes:
        """Return bytes with pieces cut out, doubled or put in."""
        source = self.source
        for _ in range(source.choice((1, 1, 2, 5))):
            at, length = source.randrange(len(data) + 1), source.choice((0, 0, 1, 1, 4, 30))
            put = source.choice((*PIECES, data[at : at + length] * 2, bytes([source.randrange(256)])))
            data = data[:at] + put + data[at + length :]
        return data


def pieces(data: bytes, source: random.Random) -> list[bytes]:
    """Return the data cut into pieces, as reads from a socket cut it."""
    if source.random() < 0.5:
        return [data]
    size = source.choice((1, 3, 17, 100, 1000))
    cut, at = [], 0
    while at < len(data):
        length = source.randint(1, 2 * size)
        cut.append(data[at : at + length])
        at += length
    return cut
