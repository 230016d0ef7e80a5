"""The structured header values of SIP (RFC 3261 section 20): Via, name-addr, CSeq, Retry-After, Reason, URIs.

Each class or function reads one value, or writes it back. None knows of messages. Plain string methods do the work,
because a trunk reads these a thousand times a second. The only error that they raise is MalformedFieldError.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

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


def split_outside(text: str, separator: str, *, keep_empty: bool = False) -> list[str]:
    """Split at a separator outside quotes and angle brackets. Parts are stripped, empty ones dropped unless kept."""
    # Most values have neither quotes nor brackets, and `split` is many times faster than the loop over characters.
    if '"' not in text and "<" not in text:
        return [part.strip() for part in text.split(separator) if keep_empty or part.strip()]
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
    return parts if keep_empty else [part for part in parts if part]


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
    """Return parameters as text: the inverse of `read_params`. A value that is neither token nor host is quoted."""
    return "".join(
        (f";{name}={value}" if _PLAIN_VALUE.fullmatch(value) else f';{name}="{value}"') if value else f";{name}"
        for name, value in params.items()
    )


_PLAIN_VALUE = re.compile(r"[\w.!%*+`'~:\[\]$&/-]+")


def has_empty_parts(value: str) -> bool:
    """Return whether two separators follow each other outside quotes and brackets (RFC 4475 section 3.1.2.1).

    Such a value is read all the same. Only who wants to refuse its message needs to know.
    """
    # Few values come as far as the loop over characters in `split_outside`.
    if _DOUBLED.search(value) is None:
        return False
    parts = split_outside(value, ",", keep_empty=True)
    return not all(part and all(split_outside(part, ";", keep_empty=True)) for part in parts)


_DOUBLED = re.compile(r"[;,]\s*[;,]")


def uri_host(host: str) -> str:
    """Return a host or numeric address as it stands in a URI or a Via: an IPv6 address gets its brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def is_address(host: str) -> bool:
    """Tell whether the host of a URI is a numeric address and no name."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


_USUAL_URI = re.compile(
    r"sips?:(?:[A-Za-z0-9+._-]+@)?[A-Za-z0-9.-]+(?::(?:[1-5]\d{4}|\d{1,4}))?(?:;transport=t(?:ls|cp))?", re.ASCII
)
"""The form of nearly every URI. What it refuses may be right all the same: `Uri.parse` knows."""


def check_uri(text: str) -> None:
    """Raise MalformedFieldError for a text that `Uri.parse` could not read."""
    if _USUAL_URI.fullmatch(text) is None:
        Uri.parse(text)


_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII | re.IGNORECASE)
_SEPARATORS = str.maketrans("", "", "-.()")
_TELEPHONE = re.compile(r"\+?[0-9*#]+", re.ASCII)


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
        """Read a URI. Its headers (after `?`) and its password are dropped. Of an unknown scheme only that is read."""
        scheme, _, rest = text.strip().partition(":")
        scheme = scheme.lower()
        if not rest:
            raise MalformedFieldError("URI without scheme or content")
        if scheme not in ("sip", "sips"):
            if not _SCHEME.fullmatch(scheme):
                raise MalformedFieldError("URI with a scheme that is none")
            address, _, params = rest.partition(";")
            # A tel URI has no host. Its number stands where a SIP URI has the user: callers find it in one place.
            return cls("tel", address, "", None, read_params(params)) if scheme == "tel" else cls(scheme, "", rest)
        # A user part may hold `;` and `?` itself, and nothing behind it an @ (RFC 3261 section 25.1).
        userinfo, _, tail = rest.rpartition("@")
        host_port, _, params = tail.partition("?")[0].partition(";")
        host, port = read_host_port(host_port)
        # Section 19.1.1 advises against a password in a URI. It must not get into a log with the user part.
        return cls(scheme, userinfo.partition(":")[0], host, port, read_params(params))

    @property
    def number(self) -> str:
        """Return the telephone number of the user part, without its parameters, escapes and visual separators.

        RFC 3966 sections 3 and 5.1.1, RFC 3261 section 19.1.6. A user that is no number is returned as it is.
        """
        if _TELEPHONE.fullmatch(self.user):
            return self.user
        number = unquote(self.user.partition(";")[0]).translate(_SEPARATORS)
        return number if _TELEPHONE.fullmatch(number) else self.user

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
        # Only the characters are checked: three colons in a row are wrong and were allowed (RFC 5118 section 4.10).
        if not _IPV6_REFERENCE.fullmatch(host) or (rest and not rest.startswith(":")):
            raise MalformedFieldError("broken IPv6 reference")
        port_text = rest[1:]
    else:
        # A Via may have spaces around this colon (sent-by, section 25.1): both parts are stripped.
        host, _, port_text = text.partition(":")
        host = host.strip()
    if not host or _NO_HOST.search(host):
        raise MalformedFieldError("no host")
    if not port_text:
        return host, None
    port = read_number(port_text.strip(), "port")
    if port > 65535:
        raise MalformedFieldError("port out of range")
    return host, port


_IPV6_REFERENCE = re.compile(r"\[[0-9A-Fa-f:.]+\]")
# What no host name has. The rest is left to whoever resolves it.
_NO_HOST = re.compile(r"""[\s<>"@,;?/\\\x00-\x1f\x7f]""")

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
            display = ""
            uri, _, params = text.partition(";")
            # Parameters before the @ are the user's, as in `sip:+9180;phone-context=+91@h;tag=1`. A tag may have an @.
            user, at, rest = text.partition("@")
            if ";" in user and at and ";tag=" not in user.lower():
                host, _, params = rest.partition(";")
                uri = f"{user}@{host}"
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
    def route(self) -> str:
        """Return the URI of a Route or Record-Route value with all parameters, also those outside its brackets.

        `sip:h;transport=tls;lr` and `<sip:h>;lr` mean a loose router. By the letter of RFC 3261 section 20 the
        parameters would be the header's, and requests would go astray.
        """
        return self._with(self.params)

    @property
    def target(self) -> str:
        """Return the URI of a Contact value, with the URI parameters that its sender wrote outside the brackets."""
        return self._with({name: value for name, value in self.params.items() if name in _URI_PARAMS})

    def _with(self, params: dict[str, str]) -> str:
        if not params:
            return self.uri
        known = Uri.parse(self.uri).params
        uri, mark, headers = self.uri.partition("?")
        return f"{uri}{write_params({k: v for k, v in params.items() if k not in known})}{mark}{headers}"

    @property
    def tag(self) -> str:
        """Return the tag parameter, or '' where there is none."""
        return self.params.get("tag", "")


_URI_PARAMS = frozenset(("transport", "lr", "maddr", "ob", "gr"))
"""Parameters that say where a request goes (RFC 3261 section 19.1.1, RFC 5626, RFC 5627). No header has them."""


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
    r"SIP/2\.0/([A-Z]+) ([A-Za-z0-9.-]+)(?::([1-5]\d{4}|\d{1,4}))?(;alias)?;branch=([A-Za-z0-9.-]+)", re.ASCII
)
# White space may stand around the slashes (section 25.1). Tokens compare without case (section 7.3.1).
_VIA_PROTOCOL = re.compile(r"SIP\s*/\s*2\.0\s*/\s*([\w.!%*+`'~-]+)\s+", re.ASCII | re.IGNORECASE)


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
            transport, host, port_text, alias, branch = usual.groups()
            params = {"alias": "", "branch": branch} if alias else {"branch": branch}
            return cls(transport, host, int(port_text) if port_text else None, params)
        return cls._parse(text)

    @classmethod
    def _parse(cls, text: str) -> Via:
        sent, _, params = text.strip().partition(";")
        protocol = _VIA_PROTOCOL.match(sent)
        if protocol is None:
            raise MalformedFieldError("Via without SIP/2.0")
        host, port = read_host_port(sent[protocol.end() :])
        return cls(protocol[1].upper(), host, port, read_params(params))

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


_LAST_CAUSE = 127


def read_q850_cause(values: list[str]) -> int | None:
    """Return the Q.850 cause among Reason elements such as `Q.850;cause=42;text="…"`, or None (RFC 3326 section 2)."""
    for value in values:
        protocol, _, params = value.partition(";")
        cause = read_params(params).get("cause", "")
        # A message may have one Reason for each protocol, such as SIP and Q.850. A Q.850 cause ends at 127.
        if protocol.strip().upper() != "Q.850" or not (cause.isascii() and cause.isdigit()) or len(cause) > 3:
            continue
        if int(cause) <= _LAST_CAUSE:
            return int(cause)
    return None


def quote(text: str) -> str:
    """Return a text as a quoted string (RFC 3261 section 25.1)."""
    # Backslashes first: the second step adds some, and they must not be doubled.
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
