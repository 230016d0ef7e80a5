"""The header rows of a SIP message (RFC 3261 section 7.3), in order; names compare without case and in either form.

It reads no header value; what the rows of a message mean stands in `fields` and `message`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trunkproof.loadgen.sip.fields import split_elements

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


def canonical_name(name: str) -> str:
    """The one spelling of a header name: compact forms and other cases unfolded, unknown names as written."""
    return CANONICAL_NAMES.get(name) or CANONICAL_NAMES.get(name.lower(), name)


class Headers:
    """The header rows of a message, in order; names compare without case and in either form (RFC 3261 section 7.3)."""

    __slots__ = ("_breaks", "_first", "_rows", "_text")

    def __init__(self, rows: Iterable[Header] = ()) -> None:
        self._rows: list[Header] | None = [(canonical_name(name), value) for name, value in rows]
        self._first: dict[str, str] | None = None
        self._text = ""
        self._breaks = 0

    @classmethod
    def canonical(cls, rows: list[Header]) -> Headers:
        """Headers of rows whose names are spelled as `canonical_name` spells them; the list becomes theirs."""
        headers = cls.__new__(cls)
        headers._rows = rows
        headers._first = None
        headers._text = ""
        return headers

    @classmethod
    def written(cls, text: str, breaks: int, first: dict[str, str]) -> Headers:
        """Headers that we wrote: their rows as they are sent, `breaks` of them, and values that are asked for soon.

        `first` has canonical names. The rows themselves are read when they are needed, which is seldom.
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
            pairs = [line.partition(": ") for line in self._text.split("\r\n")[:-1]]
            rows = self._rows = [(name, value) for name, _, value in pairs]
            self._first = None
        return rows

    def _changing(self) -> list[Header]:
        rows = self._all()
        self._first = None
        self._text = ""
        return rows

    def firsts(self) -> dict[str, str]:
        """The value of the first row of each name, by canonical name; where only some are at hand, those."""
        first = self._first
        if first is None:
            first = self._first = dict(reversed(self._all()))
        return first

    def get(self, name: str) -> str | None:
        """Value of the first row of that name, or None."""
        known = CANONICAL_NAMES.get(name) or CANONICAL_NAMES.get(name.lower())
        if known is None:
            return next(iter(self.rows(name)), None)
        value = self.firsts().get(known)
        if value is None and self._rows is None:
            self._all()
            return self.firsts().get(known)
        return value

    def rows(self, name: str) -> list[str]:
        """Values of all rows of that name, in order, as written."""
        known = CANONICAL_NAMES.get(name) or CANONICAL_NAMES.get(name.lower())
        if known is not None:
            return [value for row, value in self._all() if row == known]
        lowered = name.lower()
        return [value for row, value in self._all() if row.lower() == lowered]

    def elements(self, name: str) -> list[str]:
        """All elements of a list header: repeated rows and comma lists are the same thing (RFC 3261 section 7.3.1)."""
        if self.get(name) is None:
            return []
        return [element for value in self.rows(name) for element in split_elements(value)]

    def text(self) -> str:
        """The rows as they are sent, each with its line end; but Content-Length, which the writer knows better.

        Raises ValueError where a line break stands inside a row: that would let data become headers.
        """
        text = self._text
        if text:
            breaks = self._breaks
        else:
            lines = [f"{name}: {value}\r\n" for name, value in self._all() if name != "Content-Length"]
            text, breaks = "".join(lines), len(lines)
        if text.count("\n") != breaks or text.count("\r") != breaks:
            raise ValueError("line break inside a SIP header")
        return text

    def add(self, name: str, value: str) -> None:
        """Append a row."""
        self._changing().append((canonical_name(name), value))

    def replace(self, name: str, value: str) -> None:
        """Give the first row of that name another value, or append the row."""
        rows = self._changing()
        name = canonical_name(name)
        for index, (row, _) in enumerate(rows):
            if row == name:
                rows[index] = (name, value)
                return
        rows.append((name, value))

    def replace_all(self, name: str, values: list[str]) -> None:
        """Put rows of these values where the first row of that name stands, and take its other rows away."""
        rows = self._changing()
        name = canonical_name(name)
        kept = [row for row in rows if row[0] != name]
        first = next((index for index, row in enumerate(rows) if row[0] == name), len(kept))
        self._rows = [*kept[:first], *((name, value) for value in values), *kept[first:]]

    def copy(self) -> Headers:
        """An independent copy."""
        return Headers.canonical(self._all().copy())
