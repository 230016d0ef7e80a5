"""Read session descriptions (RFC 4566, RFC 4568): in one step where they have the usual form, else line by line.

Only the grammar is judged, and tolerantly: lines that the trunk's samples lack may be missing. `sdp` defines and writes
descriptions.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from trunkproof.loadgen.sip.sdes import Crypto, MalformedCryptoError, read_crypto
from trunkproof.loadgen.sip.sdp import (
    CODECS,
    SAVP,
    Codec,
    MalformedSdpError,
    MediaDirection,
    SessionDescription,
    TelephoneEvent,
)
from trunkproof.models.packets import CLOCK_HZ

MAX_LINES: Final = 500
"""A browser's offer with video has about 200 lines. With more than this it is no offer of a telephone call."""
_DIRECTIONS = {direction.value: direction for direction in MediaDirection}
_STATIC_TYPES = {codec.payload_type: codec for codec in CODECS.values()}


def parse_sdp(body: bytes) -> SessionDescription:
    """Read a session description.

    Whatever no call needs may be missing or broken. Crypto attributes that cannot be read are counted in
    `broken_crypto`. Of several audio streams the first is returned, and the others are its `alternatives`.

    Raises:
        MalformedSdpError: it cannot be read, or has no audio stream.
    """
    if len(body) > 65_536:
        raise MalformedSdpError("session description is too long")
    # A broken byte in a session's name must not make the stream below it unreadable.
    text = body.decode(errors="replace")
    return read_usual(text) or read_lines(text)


def read_lines(text: str) -> SessionDescription:
    """Read any description line by line. It raises the same errors as `parse_sdp`."""
    lines = _lines(text)
    if len(lines) > MAX_LINES:
        raise MalformedSdpError("session description has too many lines")
    session, media = _Section(), list[_Section]()
    origin: list[str] = []
    for line in lines:
        kind, equals, value = line.strip().partition("=")
        # A type is one letter (RFC 4566 section 5). Anything else is skipped, because no call needs it.
        if not equals or len(kind) != 1:
            continue
        section = media[-1] if media else session
        if kind == "m":
            if not value.strip():
                raise MalformedSdpError("m= line without media")
            media.append(_Section(value))
        elif kind == "a":
            section.read_attribute(value)
        elif kind == "c":
            # One that cannot be read is skipped: the stream may have another.
            section.address = _connection_address(value) or section.address
        elif kind == "o":
            origin = value.split()
    return _first_audio(session, media, origin)


def _lines(text: str) -> list[str]:
    # Some peers end lines with LF or CR alone (RFC 4566 section 5), or leave the zero of a C string in the body.
    return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _first_audio(session: _Section, media: list[_Section], origin: list[str]) -> SessionDescription:
    """Return the description of the first audio stream that can be read, with the other audio streams beside it."""
    streams: list[SessionDescription] = []
    fault = MalformedSdpError("no audio stream")
    values = tuple(section.media for section in media)
    for place, section in enumerate(media):
        if section.media.split(None, 1)[0].lower() != "audio":
            continue
        try:
            streams.append(_describe(session, section, origin))
        except MalformedSdpError as error:
            fault = error
            continue
        streams[-1].before, streams[-1].after = values[:place], values[place + 1 :]
    if not streams:
        raise fault
    streams[0].alternatives = tuple(streams[1:])
    return streams[0]


_USUAL_HEAD = re.compile(
    # The address of `c=` has no slash here: a slash begins the TTL of a multicast address, which `read_lines` cuts
    # off.
    r"v=0\r\no=([!-~]+) (\d{1,18}) (\d{1,18}) IN IP[46] [!-~]+\r\ns=[ -~]*\r\nc=IN IP[46] ([!-.0-~]+)\r\nt=[ -~]*\r\n"
    r"m=audio (\d{1,5}) ([!-~]+)((?: \d{1,3})+)(?=\r\n)",
    re.ASCII,
)
"""A description of one audio stream, in the form that nearly every peer uses, up to its attributes."""


def read_usual(text: str) -> SessionDescription | None:
    """Read a description of the usual form, with the same result as `read_lines`. Return None for any other form.

    Origin, address, port and key differ from call to call and are read here. The other attributes are the same in all
    calls of a peer, and come from a cache.
    """
    head = _USUAL_HEAD.match(text)
    if head is None:
        return None
    # What is left of the attributes is the key of the cache. A key or a port in it would fill the cache with lines
    # that no other call repeats.
    attributes, crypto = _take_out("\r\na=crypto:", text[head.end() :])
    attributes, rtcp = _take_out("\r\na=rtcp:", attributes)
    user, session_id, version, address, port, profile, formats = head.groups()
    stream = _read_attributes(formats, attributes)
    # A bare line end inside a value means another form: `read_lines` would see two lines there.
    if stream is None or int(port) > 65_535 or len(address) > _LONGEST_NAME or _has_bare_end(crypto, rtcp):
        return None
    try:
        key = () if crypto is None else (read_crypto(crypto),)
    except MalformedCryptoError:
        return None
    return SessionDescription(
        address,
        int(port),
        stream.codecs,
        stream.telephone_event,
        key,
        profile.upper(),
        stream.direction,
        stream.ptime_ms,
        stream.maxptime_ms,
        None if rtcp is None else _rtcp_port(rtcp),
        user,
        int(session_id),
        int(version),
        rtcp_mux=stream.rtcp_mux,
    )


def _has_bare_end(*values: str | None) -> bool:
    return any("\r" in value or "\n" in value or "\0" in value for value in values if value is not None)


def _take_out(start: str, text: str) -> tuple[str, str | None]:
    """Return the text without the first line that begins with `start`, and the rest of that line.

    The line is None, and the text whole, where there is no such line or where it does not end.
    """
    before, found, rest = text.partition(start)
    value, end, after = rest.partition("\r\n")
    return (f"{before}{end}{after}", value) if found and end else (text, None)


@lru_cache(maxsize=64)
def _read_attributes(formats: str, attributes: str) -> SessionDescription | None:
    """Read the formats of an `m=` line and its attributes, but no keys and ports. None where there is anything else."""
    lines = _lines(attributes)
    # Another type means another form: a second stream, or a `c=` of the stream itself.
    if lines[0] or any(line[:2] != "a=" for line in lines[1:] if line) or len(lines) > MAX_LINES // 2:
        return None
    try:
        # Address, port and profile are placeholders: the caller puts the call's own in.
        stream = read_lines(f"c=IN IP4 0.0.0.0\nm=audio 9 {SAVP}{formats}{attributes}")
    except MalformedSdpError:
        return None
    # A second key or RTCP line is still in there. It belongs to one call, so `read_lines` reads this description.
    return None if stream.crypto or stream.broken_crypto or stream.rtcp_port is not None else stream


@dataclass(slots=True)
class _Section:
    """The lines of the session, or of one stream. What a stream does not say, the session says for it."""

    media: str = ""
    address: str = ""
    direction: MediaDirection | None = None
    attributes: dict[str, list[str]] = field(default_factory=dict)

    def read_attribute(self, value: str) -> None:
        """Read the value of an `a=` line."""
        name, _, content = value.partition(":")
        name = name.strip().lower()
        if name in _DIRECTIONS:
            self.direction = _DIRECTIONS[name]
        else:
            self.attributes.setdefault(name, []).append(content.strip())


def _describe(session: _Section, stream: _Section, origin: list[str]) -> SessionDescription:
    """Return the description of one audio stream.

    Raises:
        MalformedSdpError: it has no port, no profile or no address.
    """
    parts = stream.media.split()
    if len(parts) < 3:
        raise MalformedSdpError("broken m= line")
    # `m=` may say `port/number of ports` (RFC 4566 section 5.14).
    port = _number(parts[1].partition("/")[0], 65_535)
    if port is None:
        raise MalformedSdpError("port is not a number in range")
    # The `c=` of the stream counts for the stream, not that of the session (RFC 4566 section 5.7).
    address = stream.address or session.address
    # Port zero refuses the stream, and nobody sends to it: it needs no address.
    if port and not address:
        raise MalformedSdpError("no connection address")
    # The values of the stream come last, and the last one counts.
    attributes = {
        name: session.attributes.get(name, []) + stream.attributes.get(name, [])
        for name in session.attributes.keys() | stream.attributes.keys()
    }
    codecs, event = _formats(parts[3:], attributes)
    crypto, broken = _read_keys(attributes.get("crypto", []))
    user, session_id, version = _read_origin(origin)
    return SessionDescription(
        address=address,
        port=port,
        codecs=codecs,
        telephone_event=event,
        crypto=crypto,
        profile=parts[2].upper(),
        direction=stream.direction or session.direction or MediaDirection.SENDRECV,
        ptime_ms=_last(map(_milliseconds, attributes.get("ptime", []))),
        maxptime_ms=_last(map(_milliseconds, attributes.get("maxptime", []))),
        rtcp_port=_last(map(_rtcp_port, attributes.get("rtcp", []))),
        rtcp_mux="rtcp-mux" in attributes,
        user=user,
        session_id=session_id,
        session_version=version,
        broken_crypto=broken,
    )


def _formats(formats: list[str], attributes: dict[str, list[str]]) -> tuple[tuple[Codec, ...], TelephoneEvent | None]:
    """Return the codecs and the format for keys. Formats that are neither, or no payload types, are skipped."""
    names = dict(map(_split_format, attributes.get("rtpmap", ())))
    parameters = dict(map(_split_format, attributes.get("fmtp", ())))
    codecs: dict[str, Codec] = {}
    event = None
    for text in formats:
        number = _number(text, 127)
        if number is None:
            continue
        static = _STATIC_TYPES.get(number)
        # Static types need no rtpmap, but one that says otherwise wins (RFC 3551 section 6).
        name, _, clock = names.get(number, "" if static is None else static.name).upper().partition("/")
        # A codec without a clock is read as if it had the usual one: there is no other G.711.
        if clock not in _CLOCKS:
            continue
        if name in CODECS:
            # A format may be listed twice. The first place says how much the peer prefers it.
            codecs.setdefault(name, Codec(name, number))
        elif event is None and name == "TELEPHONE-EVENT" and clock:
            # Without `a=fmtp`, and with one that is no list of events, the sixteen keys of DTMF are meant.
            events = parameters.get(number, "")
            event = TelephoneEvent(number, events) if _EVENTS.fullmatch(events) else TelephoneEvent(number)
    return tuple(codecs.values()), event


_CLOCKS = {"", f"{CLOCK_HZ}", f"{CLOCK_HZ}/1"}
_EVENTS = re.compile("[0-9][0-9,-]{0,63}")


def _read_keys(values: list[str]) -> tuple[tuple[Crypto, ...], int]:
    """Return the crypto attributes, and how many could not be read."""
    good: list[Crypto] = []
    for value in values:
        # An offer may list several keys. One that we cannot read must not spoil the others, but a report has to know
        # of it.
        with contextlib.suppress(MalformedCryptoError):
            good.append(read_crypto(value))
    return tuple(good), len(values) - len(good)


def _read_origin(origin: list[str]) -> tuple[str, int, int]:
    # No call depends on `o=`, so an odd one is tolerated. Both numbers have up to 64 bits (RFC 3264 section 5), which
    # are at most 20 digits.
    numbers = [_number(text, 10**20) for text in origin[1:3]]
    if len(origin) < 3 or numbers[0] is None or numbers[1] is None:
        return "-", 0, 0
    return origin[0], numbers[0], numbers[1]


def _milliseconds(text: str) -> int | None:
    # RFC 8866 section 6.4 allows a fraction. G.711 packets last whole milliseconds, so it is cut off.
    return _number(text.partition(".")[0], 10_000) or None


def _rtcp_port(text: str) -> int | None:
    # An address may follow (RFC 3605 section 2.1). It is not read: RTCP goes where RTP goes.
    return _number(text.strip().partition(" ")[0], 65_535) or None


def _connection_address(value: str) -> str:
    """Return the address of a `c=` line: IPv4, IPv6 or a name, as text. Return nothing where it cannot be read."""
    parts = value.split()
    if len(parts) < 3 or parts[0].upper() != "IN" or parts[1].upper() not in {"IP4", "IP6"}:
        return ""
    address = parts[2].partition("/")[0]
    return address if len(address) <= _LONGEST_NAME else ""


_LONGEST_NAME = 255
"""A host name has no more octets (RFC 1035 section 2.3.4)."""


def _split_format(value: str) -> tuple[int | None, str]:
    number, _, content = value.partition(" ")
    return _number(number, 127), content.strip()


def _last(values: Iterable[int | None]) -> int | None:
    """Return the last value that could be read."""
    return next((value for value in reversed(list(values)) if value is not None), None)


def _number(text: str, limit: int) -> int | None:
    """Return the number that a text is, from 0 to `limit`. None where it is no such number."""
    # The length comes before `int`: Python raises ValueError for a number of more than 4300 digits.
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > limit:
        return None
    return int(text)
