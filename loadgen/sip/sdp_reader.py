"""Read session descriptions (RFC 4566, RFC 4568): in one step where they have the usual form, else line by line.

Only the grammar is judged, and tolerantly: lines that the trunk's samples lack may be missing. `sdp` defines and writes
descriptions.
"""

from __future__ import annotations

import re
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
_STATIC_NAMES = {codec: ("", f"{codec.name}/{CLOCK_HZ}", f"{codec.name}/{CLOCK_HZ}/1") for codec in CODECS.values()}


def parse_sdp(body: bytes) -> SessionDescription:
    """Read a session description.

    Missing `s=`, `t=` and `v=` lines and bare line feeds are tolerated. Crypto attributes that cannot be read are
    counted in `broken_crypto`.

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
    lines = text.replace("\r\n", "\n").split("\n")
    if len(lines) > MAX_LINES:
        raise MalformedSdpError("session description has too many lines")
    reader = _Reader()
    for line in lines:
        kind, equals, value = line.strip().partition("=")
        # A type is one letter (RFC 4566 section 5). Anything else is skipped, because no call needs it.
        if equals and len(kind) == 1:
            reader.read(kind, value)
    return reader.result()


_USUAL_HEAD = re.compile(
    # The address of `c=` has no slash here: a slash begins the TTL of a multicast address, which `read_lines` cuts
    # off.
    r"v=0\r\no=([!-~]+) (\d{1,18}) (\d{1,18}) IN IP4 [!-~]+\r\ns=[ -~]*\r\nc=IN IP4 ([!-.0-~]+)\r\nt=[ -~]*\r\n"
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
    # A bare line feed inside a value means another form: `read_lines` would see two lines there.
    if stream is None or int(port) > 65_535 or "\n" in (crypto or "") + (rtcp or ""):
        return None
    try:
        key = () if crypto is None else (read_crypto(crypto),)
        rtcp_port = None if rtcp is None else _number(rtcp.strip().partition(" ")[0], "rtcp port", 65_535)
    except (MalformedCryptoError, MalformedSdpError):
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
        rtcp_port,
        user,
        int(session_id),
        int(version),
    )


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
    lines = attributes.replace("\r\n", "\n").split("\n")
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


class _Reader:
    """Collect the lines of one description. A session-level value holds until the audio stream has its own."""

    def __init__(self) -> None:
        self._origin: list[str] = []
        self._address = ""
        self._audio: list[str] = []
        self._section = "session"
        self._others: tuple[list[str], list[str]] = ([], [])
        self._attributes: dict[str, list[str]] = {}
        self._direction = MediaDirection.SENDRECV

    def read(self, kind: str, value: str) -> None:
        if kind == "m":
            self._start_media(value)
        # The attributes of a video stream must not change the audio stream before it.
        elif self._section == "other":
            return
        elif kind == "a":
            self._read_attribute(value)
        elif kind == "o":
            self._origin = value.split()
        elif kind == "c":
            # The `c=` of the stream comes after that of the session, and counts for the stream (RFC 4566 section
            # 5.7).
            self._address = _connection_address(value)

    def _start_media(self, value: str) -> None:
        parts = value.split()
        if len(parts) < 4:
            raise MalformedSdpError("broken m= line")
        # Only the first audio stream is used. A second one is refused like a video stream.
        if parts[0] == "audio" and not self._audio:
            self._audio, self._section = parts, "audio"
        else:
            self._others[1 if self._audio else 0].append(value)
            self._section = "other"

    def _read_attribute(self, value: str) -> None:
        name, _, content = value.partition(":")
        name = name.strip().lower()
        if name in _DIRECTIONS:
            self._direction = _DIRECTIONS[name]
        else:
            self._attributes.setdefault(name, []).append(content.strip())

    def result(self) -> SessionDescription:
        if not self._audio:
            raise MalformedSdpError("no audio stream")
        # `m=` may say `port/number of ports` (RFC 4566 section 5.14).
        port = _number(self._audio[1].partition("/")[0], "port", 65_535)
        # Port zero refuses the stream, and nobody sends to it: it needs no address.
        if port and not self._address:
            raise MalformedSdpError("no connection address")
        codecs, event = self._formats()
        crypto, broken = self._crypto()
        user, session_id, version = self._read_origin()
        return SessionDescription(
            address=self._address,
            port=port,
            codecs=codecs,
            telephone_event=event,
            crypto=crypto,
            profile=self._audio[2].upper(),
            direction=self._direction,
            ptime_ms=self._milliseconds("ptime"),
            maxptime_ms=self._milliseconds("maxptime"),
            rtcp_port=self._rtcp_port(),
            user=user,
            session_id=session_id,
            session_version=version,
            broken_crypto=broken,
            before=tuple(self._others[0]),
            after=tuple(self._others[1]),
        )

    def _formats(self) -> tuple[tuple[Codec, ...], TelephoneEvent | None]:
        names = dict(map(_split_format, self._attributes.get("rtpmap", ())))
        parameters = dict(map(_split_format, self._attributes.get("fmtp", ())))
        codecs, event = [], None
        for text in self._audio[3:]:
            number = _number(text, "payload type", 127)
            name = names.get(text, "").upper()
            # Static types need no rtpmap, but one that says otherwise wins (RFC 3551 section 6).
            static = _STATIC_TYPES.get(number)
            if static is not None and name in _STATIC_NAMES[static]:
                codecs.append(static)
            elif event is None and name.startswith(f"TELEPHONE-EVENT/{CLOCK_HZ}"):
                # Without `a=fmtp` the sixteen keys of DTMF are meant.
                event = TelephoneEvent(number, parameters.get(text, "") or "0-15")
        # A format may be listed twice. The first place says how much the peer prefers it.
        return tuple(dict.fromkeys(codecs)), event

    def _crypto(self) -> tuple[tuple[Crypto, ...], int]:
        good: list[Crypto] = []
        values = self._attributes.get("crypto", [])
        for value in values:
            try:
                good.append(read_crypto(value))
            # An offer may list several keys. One that we cannot read must not spoil the others, but a report has to
            # know of it.
            except MalformedCryptoError:
                continue
        return tuple(good), len(values) - len(good)

    def _read_origin(self) -> tuple[str, int, int]:
        # No call depends on `o=`, so a short one is tolerated.
        if len(self._origin) != 6:
            return "-", 0, 0
        # Both numbers have up to 64 bits (RFC 3264 section 5), which are at most 20 digits.
        limit = 10**20
        return (
            self._origin[0],
            _number(self._origin[1], "session id", limit),
            _number(self._origin[2], "version", limit),
        )

    def _milliseconds(self, name: str) -> int | None:
        values = self._attributes.get(name)
        # RFC 8866 section 6.4 allows a fraction. G.711 packets last whole milliseconds, so it is cut off.
        return _number(values[0].partition(".")[0], name, 10_000) if values else None

    def _rtcp_port(self) -> int | None:
        values = self._attributes.get("rtcp")
        return _number(values[0].partition(" ")[0], "rtcp port", 65_535) if values else None


def _connection_address(value: str) -> str:
    parts = value.split()
    if len(parts) != 3 or parts[0].upper() != "IN" or parts[1].upper() not in ("IP4", "IP6"):
        raise MalformedSdpError("broken c= line")
    return parts[2].partition("/")[0]


def _split_format(value: str) -> tuple[str, str]:
    number, _, content = value.partition(" ")
    return number, content.strip()


def _number(text: str, what: str, limit: int) -> int:
    # The length comes before `int`: Python raises ValueError for a number of more than 4300 digits.
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > limit:
        raise MalformedSdpError(f"{what} is not a number in range")
    return int(text)
