"""The header rows of a SIP message (RFC 3261 section 7.3), in order.

Names compare without case, and a compact form equals its long form. This module reads no header value: `fields` and
`message` do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trunkproof.loadgen.sip.fields import split_elements

Header = tuple[str, str]
"""A header's name and its value, as one row of a message."""

_COMPACT = {  # RFC 3261 section 7.3.3, RFC 4028 section 4, RFC 3515, 3841, 3892, 6665 and 8224
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}
_KNOWN = (
    *_COMPACT.values(),
    *("Accept", "Allow", "Authorization", "CSeq", "Expires", "Max-Forwards", "Min-SE", "P-Asserted-Identity"),
    *("P-Early-Media", "Reason", "Record-Route", "Require", "Retry-After", "Route", "Server", "Unsupported"),
    *("User-Agent", "Warning", "X-Exotel-CallSid", "X-Exotel-LegSid", "X-Exotel-TrunkSid"),
    *("Accept-Encoding", "Content-Disposition", "Content-Language", "Date", "RAck", "RSeq", "Timestamp"),
)
CANONICAL_NAMES = {name: name for name in _KNOWN} | {name.lower(): name for name in _KNOWN} | _COMPACT
"""Every spelling of the known names, with the spelling that it becomes."""


def canonical_name(name: str) -> str:
    """Return the one spelling of a known header name, in any case or compact. Return an unknown name as written."""
    return CANONICAL_NAMES.get(name) or CANONICAL_NAMES.get(name.lower(), name)


class Headers:
    """The header rows of a message, in order (RFC 3261 section 7.3).

    Headers are held as rows, or as the text that we wrote (`written`). A text becomes rows only when somebody asks for
    a row: most messages that we send are never read again.
    """

    __slots__ = ("_breaks", "_first", "_rows", "_text")

    def __init__(self, rows: Iterable[Header] = ()) -> None:
        self._rows: list[Header] | None = [(canonical_name(name), value) for name, value in rows]
        self._first: dict[str, str] | None = None
        self._text = ""
        self._breaks = 0

    @classmethod
    def canonical(cls, rows: list[Header]) -> Headers:
        """Return headers of rows whose names are canonical already. The list is taken over, not copied."""
        headers = cls.__new__(cls)
        headers._rows = rows
        headers._first = None
        headers._text = ""
        return headers

    @classmethod
    def written(cls, text: str, breaks: int, first: dict[str, str]) -> Headers:
        """Return headers that we wrote ourselves: the text as sent, with `breaks` line ends.

        `first` holds values that will be asked for soon, by canonical name. The text is split into rows only when
        another one is needed, which is seldom.
        """
        headers = cls.__new__(cls)
        headers._rows = None
        headers._first = first
        headers._text = text
        headers._breaks = breaks
        return headers

    def __iter__(self) -> Iterator[Header]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._all() == other._all()

    def __hash__(self) -> int:
        raise TypeError("headers can change, so they have no hash")

    def __repr__(self) -> str:
        return f"Headers({', '.join(name for name, _ in self._all())})"

    def _all(self) -> list[Header]:
        rows = self._rows
        if rows is None:
            # The text ends in a line end, so the last piece is empty.
            pairs = [line.partition(": ") for line in self._text.split("\r\n")[:-1]]
            rows = self._rows = [(name, value) for name, _, value in pairs]
            # Until now it held only the values that the writer gave. From here on it has to be complete.
            self._first = None
        return rows

    def _changing(self) -> list[Header]:
        rows = self._all()
        self._first = None
        # The text no longer says what the rows say.
        self._text = ""
        return rows

    def firsts(self) -> dict[str, str]:
        """Return the first value of each name, by canonical name. Headers from `written` may return only some."""
        first = self._first
        if first is None:
            # Backwards, because a dictionary keeps the last value of a name and the first one counts.
            first = self._first = dict(reversed(self._all()))
        return first

    @property
    def repeats(self) -> bool:
        """Return whether a name has more than one row, which is seldom: Via, Record-Route and the like."""
        return len(self.firsts()) != len(self._all())

    def get(self, name: str) -> str | None:
        """Return the value of the first row of that name, or None."""
        known = CANONICAL_NAMES.get(name) or CANONICAL_NAMES.get(name.lower())
        if known is None:
            return next(iter(self.rows(name)), None)
        value = self.firsts().get(known)
        if value is None and self._rows is None:  # only some values were at hand: split the text and look again
            self._all()
            return self.firsts().get(known)
        return value

    def rows(self, name: str) -> list[str]:
        """Return the values of all rows of that name, in order, as written."""
        known = CANONICAL_NAMES.get(name) or CANONICAL_NAMES.get(name.lower())
        if known is not None:
            return [value for row, value in self._all() if row == known]
        lowered = name.lower()
        return [value for row, value in self._all() if row.lower() == lowered]

    def elements(self, name: str) -> list[str]:
        """Return all elements of a list header. Repeated rows and comma lists mean the same (RFC 3261, 7.3.1)."""
        if self.get(name) is None:
            return []
        return [element for value in self.rows(name) for element in split_elements(value)]

    def text(self) -> str:
        """Return the rows as they are sent, each with its line end, but without Content-Length.

        The writer of the message adds Content-Length, because it knows the true one.

        Raises:
            ValueError: a row holds a line break, which would let data become headers.
        """
        text = self._text
        if text:
            breaks = self._breaks
        else:
            lines = [f"{name}: {value}\r\n" for name, value in self._all() if name != "Content-Length"]
            text, breaks = "".join(lines), len(lines)
        # One count of the whole text is cheaper than a look at every value.
        if text.count("\n") != breaks or text.count("\r") != breaks:
            raise ValueError("line break inside a SIP header")
        return text

    def add(self, name: str, value: str) -> None:
        """Append a row."""
        self._changing().append((canonical_name(name), value))

    def replace(self, name: str, value: str) -> None:
        """Give the first row of that name another value, or append a row where there is none."""
        rows = self._changing()
        name = canonical_name(name)
        for index, (row, _) in enumerate(rows):
            if row == name:
                rows[index] = (name, value)
                return
        rows.append((name, value))

    def replace_all(self, name: str, values: list[str]) -> None:
        """Put rows with these values where the first row of that name is, and remove its other rows."""
        rows = self._changing()
        name = canonical_name(name)
        kept = [row for row in rows if row[0] != name]
        # No row before the first match is dropped, so this index holds in `kept` too.
        first = next((index for index, row in enumerate(rows) if row[0] == name), len(kept))
        self._rows = [*kept[:first], *((name, value) for value in values), *kept[first:]]

    def copy(self) -> Headers:
        """Return an independent copy."""
        return Headers.canonical(self._all().copy())
