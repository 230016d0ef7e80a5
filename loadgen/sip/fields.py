"""The structured header values of SIP (RFC 3261 section 20): Via, name-addr, CSeq, Retry-After, Reason, URIs.

Each class or function reads one value, or writes it back. None knows of messages. Plain string methods do the work,
because a trunk reads these a thousand times a second. The only error that they raise is MalformedFieldError.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from trunkproof.models.errors import RemoteError

MAX_NUMBER = 2**31 - 1
"""Largest CSeq number (RFC 3261 section 8.1.1.5). Larger delta-seconds are read as this (section 20.19)."""


class MalformedFieldError(RemoteError):
    """A header of the peer's message breaks its grammar, or is missing although the RFC demands it."""


def read_number(text: str, what: str) -> int:
    """Return a run of ASCII digits as an integer. At most ten digits: no peer shall make us do long arithmetic."""
    # `isdigit` alone is also true for digits of other scripts, and for `²`, which `int` refuses with a ValueError.
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise MalformedFieldError(f"{what} is not a number")
    return int(text)


def split_outside(text: str, separator: str) -> list[str]:
    """Split at a separator outside quotes and angle brackets. Parts are stripped, and empty ones dropped."""
    # Most values have neither quotes nor brackets, and `split` is many times faster than the loop over characters.
    if '"' not in text and "<" not in text:
        return [part.strip() for part in text.split(separator) if part.strip()]
    parts, start, quoted, bracketed, escaped = [], 0, False, False, False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            # A backslash protects the next character only inside quotes (quoted-pair, section 25.1).
            escaped = char == "\\"
            quoted = char != '"'
        elif char == '"':
            # Between angle brackets a quote is a part of the URI and opens nothing.
            quoted = not bracketed
        elif char in "<>":
            bracketed = char == "<"
        elif char == separator and not bracketed:
            parts.append(text[start:index].strip())
            start = index + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def split_elements(value: str) -> list[str]:
    """Return the elements of a comma-separated header value (RFC 3261 section 7.3.1). An empty value has one, ''."""
    # A value of commas only has no element left. Callers take element 0 without a check, so there must be one.
    return (split_outside(value, ",") if "," in value else [value.strip()]) or [""]


def read_params(text: str) -> dict[str, str]:
    """Return `;name=value;flag` as a dictionary with lower-case names. A flag has the value ''. Quotes are removed."""
    params: dict[str, str] = {}
    if not text:
        return params
    for part in split_outside(text, ";"):
        name, _, value = part.partition("=")
        params[name.strip().lower()] = value.strip().strip('"')
    return params


def write_params(params: dict[str, str]) -> str:
    """Return parameters as text: the inverse of `read_params` for values that are tokens."""
    return "".join(f";{name}={value}" if value else f";{name}" for name, value in params.items())


@dataclass(frozen=True, slots=True)
class Uri:
    """A sip, sips or tel URI (RFC 3261 section 19.1, RFC 3966)."""

    scheme: str
    user: str
    host: str
    port: int | None = None
    params: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Read a URI. Its headers (after `?`) and its password are dropped."""
        scheme, colon, rest = text.strip().partition(":")
        if not colon or not rest:
            raise MalformedFieldError("URI without scheme or content")
        rest = rest.partition("?")[0]
        address, _, params = rest.partition(";")
        # A tel URI has no host. Its number stands where a SIP URI has the user, so that callers find it in one place.
        if scheme.lower() == "tel":
            return cls("tel", address, "", None, read_params(params))
        # A user part may hold semicolons itself (RFC 3261 section 25.1): the last @ ends it.
        if "@" in params:
            address, _, tail = rest.rpartition("@")
            host_port, _, params = tail.partition(";")
            address = f"{address}@{host_port}"
        userinfo, _, host_port = address.rpartition("@")
        host, port = read_host_port(host_port)
        # Section 19.1.1 advises against a password in a URI. It must not get into a log with the user part.
        return cls(scheme.lower(), userinfo.partition(":")[0], host, port, read_params(params))

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port is not None else ""
        return f"{self.scheme}:{user}{self.host}{port}{write_params(self.params)}"


def read_host_port(text: str) -> tuple[str, int | None]:
    """Read `host`, `host:port` or `[v6]:port` into host and port. An IPv6 reference keeps its brackets."""
    text = text.strip()
    # An IPv6 address holds colons itself, and only its brackets tell them from the colon before the port.
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        host, rest = host + bracket, rest.strip()
        if not bracket or (rest and not rest.startswith(":")):
            raise MalformedFieldError("broken IPv6 reference")
        port_text = rest[1:]
    else:
        # A Via may have spaces around this colon (sent-by, section 25.1): both parts are stripped.
        host, _, port_text = text.partition(":")
        host = host.strip()
    if not host or " " in host:
        raise MalformedFieldError("no host")
    if not port_text:
        return host, None
    port = read_number(port_text.strip(), "port")
    if port > 65535:
        raise MalformedFieldError("port out of range")
    return host, port


_USUAL_ADDRESS = re.compile(r'(?:"([^"\\]*)"[ ]?)?<([a-z]+:[^<>;"?\s]*)>(?:;tag=([A-Za-z0-9.-]+))?', re.ASCII)
"""The form that nearly every From and To has. It is read in one step, with the same result as the general way."""


class NameAddr(NamedTuple):
    """A From, To, Contact, Route or identity value: display name, URI as written, header parameters."""

    display: str
    uri: str
    params: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Read `"name" <uri>;params`. Without brackets the parameters belong to the header (RFC 3261 section 20)."""
        # The pattern takes no escapes and no URI parameters. What it refuses is read by the general way below.
        usual = _USUAL_ADDRESS.fullmatch(text)
        if usual is not None:
            display, uri, tag = usual.groups("")
            return cls(display, uri, {"tag": tag} if tag else {})
        return cls._parse(text.strip())

    @classmethod
    def _parse(cls, text: str) -> NameAddr:
        start = _bracket(text)
        if start < 0:
            uri, _, params = text.partition(";")
            display = ""
        else:
            end = text.find(">", start)
            if end < 0:
                raise MalformedFieldError("address without closing bracket")
            display, uri, params = text[:start].strip(), text[start + 1 : end], text[end + 1 :]
        uri = uri.strip()
        # Every URI has a scheme and so a colon. A space comes from a display name without its angle brackets.
        if ":" not in uri or " " in uri:
            raise MalformedFieldError("address without URI")
        return cls(display.strip('"'), uri, read_params(params))

    @property
    def tag(self) -> str:
        """Return the tag parameter, or '' where there is none."""
        return self.params.get("tag", "")


def _bracket(text: str) -> int:
    """Return the index of the `<` that opens the URI, after a quoted display name. -1 where there is none."""
    # A quoted display name may hold `<` itself, as in `"Desk <3>" <sip:…>`.
    if not text.startswith('"'):
        return text.find("<")
    index = 1
    while index < len(text) and text[index] != '"':
        index += 2 if text[index] == "\\" else 1
    return text.find("<", index + 1)


# The ports end at 59999 here, so that the pattern needs no check of the range. Higher ones go the general way.
_USUAL_VIA = re.compile(
    r"SIP/2\.0/([A-Z]+) ([A-Za-z0-9.-]+)(?::([1-5]\d{4}|\d{1,4}))?;branch=([A-Za-z0-9.-]+)", re.ASCII
)


class Via(NamedTuple):
    """One Via element (RFC 3261 section 20.42)."""

    transport: str
    host: str
    port: int | None
    params: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Via:
        """Read `SIP/2.0/TLS host:port;branch=…`."""
        usual = _USUAL_VIA.fullmatch(text)
        if usual is not None:
            transport, host, port_text, branch = usual.groups()
            return cls(transport, host, int(port_text) if port_text else None, {"branch": branch})
        return cls._parse(text)

    @classmethod
    def _parse(cls, text: str) -> Via:
        sent, _, params = text.partition(";")
        protocol, _, sent_by = sent.strip().partition(" ")
        parts = protocol.split("/")
        # Tokens compare without case unless the RFC says otherwise (section 7.3.1).
        if len(parts) != 3 or parts[0].upper() != "SIP" or parts[1] != "2.0":
            raise MalformedFieldError("Via without SIP/2.0")
        host, port = read_host_port(sent_by)
        return cls(parts[2].upper(), host, port, read_params(params))

    @property
    def branch(self) -> str:
        """Return the branch parameter, or ''."""
        return self.params.get("branch", "")

    def __str__(self) -> str:
        port = f":{self.port}" if self.port is not None else ""
        return f"SIP/2.0/{self.transport} {self.host}{port}{write_params(self.params)}"


class CSeq(NamedTuple):
    """A CSeq value: sequence number and method (RFC 3261 section 20.16)."""

    number: int
    method: str

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """Read `102 INVITE`."""
        parts = text.split()
        if len(parts) != 2:
            raise MalformedFieldError("CSeq is not a number and a method")
        number = read_number(parts[0], "CSeq")
        if number > MAX_NUMBER:
            raise MalformedFieldError("CSeq out of range")
        return cls(number, parts[1])

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def read_retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After value, without its comment and parameters (RFC 3261 section 20.33).

    A value that is not a number reads as None, as if it were not there. Section 21.5.4: a 503 without Retry-After
    counts as a 500.
    """
    if value is None:
        return None
    # Both forms of section 20.33: `18000;duration=3600` and `120 (in a meeting)`.
    digits = value.partition(";")[0].partition("(")[0].strip()
    if not (digits.isascii() and digits.isdigit()):
        return None
    # Eleven digits are more than the maximum in any case. The cut keeps `int` from a number of a thousand digits.
    return float(min(int(digits[:11]), MAX_NUMBER))


def read_q850_cause(values: list[str]) -> int | None:
    """Return the Q.850 cause among Reason elements such as `Q.850;cause=42;text="…"`, or None (RFC 3326 section 2)."""
    for value in values:
        protocol, _, params = value.partition(";")
        cause = read_params(params).get("cause", "")
        # A message may have one Reason for each protocol, such as SIP and Q.850. A Q.850 cause ends at 127.
        if protocol.strip().upper() == "Q.850" and cause.isascii() and cause.isdigit() and len(cause) <= 3:
            return int(cause)
    return None


def quote(text: str) -> str:
    """Return a text as a quoted string (RFC 3261 section 25.1)."""
    # Backslashes first: the second step adds some, and they must not be doubled.
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
