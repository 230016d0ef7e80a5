"""Session descriptions of one G.711 call over SRTP (RFC 4566, RFC 4568), as values, and as the text of TRUNK.md.

It reads and writes; who may answer what to what stands in `offer_answer`. What is read may lack what
the trunk's samples lack. Streams other than the first audio stream are kept only so that an answer can refuse them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from loadgen.sip.sdes import Crypto, MalformedCryptoError, read_crypto, write_crypto
from loadgen.sip.table_key import TableKey
from models.errors import RemoteError

SAVP: Final = "RTP/SAVP"
AVP: Final = "RTP/AVP"
CLOCK_HZ: Final = 8000
MAX_LINES: Final = 500
"""A browser's offer with video has about 200 lines; more than this is no offer of a telephone call."""


class MalformedSdpError(RemoteError):
    """The peer's session description cannot be read."""


class Codec(TableKey):
    """The codecs of the trunk, by their static RTP payload types (RFC 3551 table 4)."""

    PCMU = 0
    PCMA = 8

    @property
    def payload_type(self) -> int:
        """The RTP payload type."""
        return int(self.value)


class MediaDirection(StrEnum):
    """Who sends, from the describing side's view (RFC 4566 section 6)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    def mirrored(self) -> MediaDirection:
        """What the other side answers (RFC 3264 section 6.1)."""
        return _MIRROR.get(self, self)


_DIRECTIONS = {direction.value: direction for direction in MediaDirection}
_STATIC_TYPES = {codec.payload_type: codec for codec in Codec}
_STATIC_NAMES = {codec: ("", f"{codec.name}/{CLOCK_HZ}", f"{codec.name}/{CLOCK_HZ}/1") for codec in Codec}
_MIRROR = {
    MediaDirection.SENDONLY: MediaDirection.RECVONLY,
    MediaDirection.RECVONLY: MediaDirection.SENDONLY,
}


@dataclass(frozen=True, slots=True)
class TelephoneEvent:
    """The DTMF format: its dynamic payload type and its events, such as `0-15` (RFC 4733 section 7.1)."""

    payload_type: int
    events: str = "0-15"


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """An offer or an answer of one audio stream. `codecs` are in order of preference."""

    address: str
    port: int
    codecs: tuple[Codec, ...] = (Codec.PCMA, Codec.PCMU)
    telephone_event: TelephoneEvent | None = None
    crypto: tuple[Crypto, ...] = ()
    profile: str = SAVP
    direction: MediaDirection = MediaDirection.SENDRECV
    ptime_ms: int | None = 20
    maxptime_ms: int | None = None
    rtcp_port: int | None = None
    """Written as `a=rtcp` where given (RFC 3605); else the port after `port`."""
    user: str = "-"
    session_id: int = 0
    session_version: int = 0
    broken_crypto: int = 0
    """Crypto attributes received that could not be read; never written."""
    before: tuple[str, ...] = ()
    """Values of the `m=` lines received before the audio stream."""
    after: tuple[str, ...] = ()
    """Values of the `m=` lines received after it."""

    @property
    def effective_rtcp_port(self) -> int:
        """Where this side receives RTCP (RFC 3550 section 11)."""
        return self.rtcp_port if self.rtcp_port is not None else self.port + 1


def write_sdp(session: SessionDescription) -> bytes:
    """The session description as sent; `s=-` always, because RFC 4566 section 5.3 demands it."""
    lines = [
        "v=0",
        f"o={session.user} {session.session_id} {session.session_version} IN IP4 {session.address}",
        "s=-",
        f"c=IN IP4 {session.address}",
        "t=0 0",
        *(f"m={_refused(value)}" for value in session.before),
        *_audio_lines(session),
        *(f"m={_refused(value)}" for value in session.after),
    ]
    return ("\r\n".join(lines) + "\r\n").encode()


def _audio_lines(session: SessionDescription) -> list[str]:
    event = session.telephone_event
    formats, described = _format_lines(session.codecs, event)
    lines = [f"m=audio {session.port} {session.profile} {formats}", *described]
    if session.rtcp_port is not None:
        lines.append(f"a=rtcp:{session.rtcp_port}")
    if session.ptime_ms is not None:
        lines.append(f"a=ptime:{session.ptime_ms}")
    if session.maxptime_ms is not None:
        lines.append(f"a=maxptime:{session.maxptime_ms}")
    lines.append(f"a={session.direction}")
    return lines + [f"a=crypto:{write_crypto(crypto)}" for crypto in session.crypto]


@lru_cache(maxsize=64)
def _format_lines(codecs: tuple[Codec, ...], event: TelephoneEvent | None) -> tuple[str, tuple[str, ...]]:
    """What stands at the end of the `m=` line, and the lines that describe it: the same in every call of a trunk."""
    formats = [codec.payload_type for codec in codecs] + ([event.payload_type] if event else [])
    lines = [f"a=rtpmap:{codec.payload_type} {codec.name}/{CLOCK_HZ}" for codec in codecs]
    if event:
        lines.append(f"a=rtpmap:{event.payload_type} telephone-event/{CLOCK_HZ}")
        lines.append(f"a=fmtp:{event.payload_type} {event.events}")
    return " ".join(map(str, formats)), tuple(lines)


def _refused(media: str) -> str:
    """The `m=` value that refuses an offered stream: port zero (RFC 3264 section 6)."""
    parts = media.split()
    return " ".join([parts[0], "0", *parts[2:]])


def parse_sdp(body: bytes) -> SessionDescription:
    """Read a session description. Raises MalformedSdpError, also where there is no audio stream to speak of.

    Tolerates absent `s=`, `t=`, `v=` and bare line feeds. Crypto attributes that cannot be read are counted, not fatal.
    """
    if len(body) > 65_536:
        raise MalformedSdpError("session description is too long")
    lines = body.decode(errors="replace").replace("\r\n", "\n").split("\n")
    if len(lines) > MAX_LINES:
        raise MalformedSdpError("session description has too many lines")
    reader = _Reader()
    for line in lines:
        kind, equals, value = line.strip().partition("=")
        if equals and len(kind) == 1:
            reader.read(kind, value)
    return reader.result()


class _Reader:
    """Collects the lines of one description; session-level values stand until the audio stream has its own."""

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
        elif self._section == "other":
            return
        elif kind == "a":
            self._read_attribute(value)
        elif kind == "o":
            self._origin = value.split()
        elif kind == "c":
            self._address = _connection_address(value)

    def _start_media(self, value: str) -> None:
        parts = value.split()
        if len(parts) < 4:
            raise MalformedSdpError("broken m= line")
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
        port = _number(self._audio[1].partition("/")[0], "port", 65_535)
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
                event = TelephoneEvent(number, parameters.get(text, "") or "0-15")
        return tuple(dict.fromkeys(codecs)), event

    def _crypto(self) -> tuple[tuple[Crypto, ...], int]:
        good: list[Crypto] = []
        values = self._attributes.get("crypto", [])
        for value in values:
            try:
                good.append(read_crypto(value))
            except MalformedCryptoError:
                continue
        return tuple(good), len(values) - len(good)

    def _read_origin(self) -> tuple[str, int, int]:
        if len(self._origin) != 6:
            return "-", 0, 0
        limit = 10**20
        return (
            self._origin[0],
            _number(self._origin[1], "session id", limit),
            _number(self._origin[2], "version", limit),
        )

    def _milliseconds(self, name: str) -> int | None:
        values = self._attributes.get(name)
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
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > limit:
        raise MalformedSdpError(f"{what} is not a number in range")
    return int(text)
