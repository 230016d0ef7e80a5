"""Session descriptions of one G.711 call over SRTP (RFC 4566, RFC 4568), as values, and as the text of TRUNK.md.

This module writes them, `sdp_reader` reads them, and `offer_answer` says which answer fits which offer. Of several
streams we use one audio stream. The others are kept so that an answer can choose among them and refuse the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple

from trunkproof.loadgen.sip.sdes import Crypto, write_crypto
from trunkproof.models.errors import RemoteError
from trunkproof.models.packets import CLOCK_HZ

SAVP: Final = "RTP/SAVP"
AVP: Final = "RTP/AVP"
_EOL: Final = "\r\n"


class MalformedSdpError(RemoteError):
    """The session description of the peer cannot be read."""


class _Format(NamedTuple):
    name: str
    payload_type: int


class Codec(_Format):
    """A codec of the trunk, with the RTP payload type that a description gives it.

    PCMU and PCMA have static types (RFC 3551 table 4), but a peer may bind them to a dynamic one (`rtpmap:110
    PCMA/8000`). So two codecs are the same codec if their names are the same.
    """

    __slots__ = ()
    PCMU: ClassVar[Codec]
    PCMA: ClassVar[Codec]


Codec.PCMU = Codec("PCMU", 0)
Codec.PCMA = Codec("PCMA", 8)
CODECS: Final = {codec.name: codec for codec in (Codec.PCMU, Codec.PCMA)}
"""The codecs with their static payload types, by name."""


class MediaDirection(StrEnum):
    """Who sends, as seen by the side that describes itself (RFC 4566 section 6)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        """Return whether the side that says this sends."""
        return self is MediaDirection.SENDRECV or self is MediaDirection.SENDONLY

    @property
    def receives(self) -> bool:
        """Return whether the side that says this receives."""
        return self is MediaDirection.SENDRECV or self is MediaDirection.RECVONLY

    def mirrored(self) -> MediaDirection:
        """Return the direction that the other side answers (RFC 3264 section 6.1)."""
        return _MIRROR.get(self, self)


_MIRROR = {
    MediaDirection.SENDONLY: MediaDirection.RECVONLY,
    MediaDirection.RECVONLY: MediaDirection.SENDONLY,
}


class TelephoneEvent(NamedTuple):
    """The format for keys (DTMF): its dynamic payload type and its events, such as `0-15` (RFC 4733 section 7.1)."""

    payload_type: int
    events: str = "0-15"


@dataclass(slots=True)
class SessionDescription:
    """An offer or an answer of one audio stream. `codecs` are in order of preference.

    Treat it as frozen, and change it with `replace` only. It is not declared frozen because making it would take ten
    times as long, and a call makes two.
    """

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
    """Written as `a=rtcp` where given (RFC 3605). Else RTCP uses the port after `port`."""
    user: str = "-"
    session_id: int = 0
    session_version: int = 0
    broken_crypto: int = 0
    """How many received crypto attributes could not be read. Never written."""
    before: tuple[str, ...] = ()
    """Values of the `m=` lines received before the audio stream."""
    after: tuple[str, ...] = ()
    """Values of the `m=` lines received after it."""
    rtcp_mux: bool = False
    """Whether RTCP may use the port of RTP (RFC 5761). We never offer it."""
    alternatives: tuple[SessionDescription, ...] = ()
    """The same description with each of its other audio streams in turn. Never written."""

    @property
    def effective_rtcp_port(self) -> int:
        """Return the port where this side receives RTCP (RFC 3550 section 11)."""
        # `a=rtcp` wins: behind a NAT the two ports need not be neighbours (RFC 3605).
        return self.rtcp_port if self.rtcp_port is not None else self.port + 1


def write_sdp(session: SessionDescription) -> bytes:
    """Return a session description as it is sent. It always has `s=-`, because RFC 4566 section 5.3 demands a name."""
    address, rtcp = session.address, session.rtcp_port
    family = "IP6" if ":" in address else "IP4"
    formats, described, paced = _format_lines(
        session.codecs, session.telephone_event, session.ptime_ms, session.maxptime_ms
    )
    text = (
        f"v=0\r\no={session.user} {session.session_id} {session.session_version} IN {family} {address}\r\ns=-\r\n"
        # An answer has as many `m=` lines as the offer, in the same order (RFC 3264 section 6). So the refused
        # streams stand around ours, where they stood in the offer.
        f"c=IN {family} {address}\r\nt=0 0\r\n{_refusals(session.before)}"
        f"m=audio {session.port} {session.profile} {formats}\r\n{described}"
        f"{'' if rtcp is None else f'a=rtcp:{rtcp}' + _EOL}{paced}a={session.direction.value}\r\n"
        f"{'a=rtcp-mux' + _EOL if session.rtcp_mux else ''}"
    )
    for crypto in session.crypto:
        # After the `m=` line: a crypto attribute belongs to a stream, never to the session (RFC 4568 section 4).
        text += f"a=crypto:{write_crypto(crypto)}\r\n"
    return (text + _refusals(session.after)).encode()


@lru_cache(maxsize=64)
def _format_lines(
    codecs: tuple[Codec, ...], event: TelephoneEvent | None, ptime_ms: int | None, maxptime_ms: int | None
) -> tuple[str, str, str]:
    """Return the formats at the end of the `m=` line, the lines that describe them, and the lines of packet times.

    Cached: they are the same in every call of a trunk.
    """
    # The order of the formats is the order of preference (RFC 3264 sections 5.1 and 6.1).
    formats = [codec.payload_type for codec in codecs] + ([event.payload_type] if event else [])
    # The payload types are static, but RFC 3264 section 5.1 wants a mapping for each of them all the same.
    lines = [f"a=rtpmap:{codec.payload_type} {codec.name}/{CLOCK_HZ}" for codec in codecs]
    if event:
        lines.append(f"a=rtpmap:{event.payload_type} telephone-event/{CLOCK_HZ}")
        lines.append(f"a=fmtp:{event.payload_type} {event.events}")
    times = {"ptime": ptime_ms, "maxptime": maxptime_ms}
    paced = [f"a={name}:{value}" for name, value in times.items() if value is not None]
    return " ".join(map(str, formats)), _ended(lines), _ended(paced)


def _ended(lines: Iterable[str]) -> str:
    return "".join(f"{line}{_EOL}" for line in lines)


def _refusals(streams: tuple[str, ...]) -> str:
    return _ended(f"m={_refused(value)}" for value in streams) if streams else ""


def _refused(media: str) -> str:
    """Return the `m=` value that refuses an offered stream: port zero (RFC 3264 section 6)."""
    parts = media.split()
    profile = parts[2] if len(parts) > 2 else AVP
    # The profile and the formats stay: an `m=` line needs at least one format, even where nobody uses it.
    return " ".join([parts[0], "0", profile, *(parts[3:] or ["0"])])
