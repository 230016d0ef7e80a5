"""The identity of a call in its audio: each 20 ms frame says who speaks, in which call, and which frame it is.

A G.711 frame of 160 bytes holds the same token of 16 bytes ten times:

    bytes  0-1    "tp"
    byte   2      who speaks: 1 caller, 2 called
    bytes  3-7    the call's row in the plan
    bytes  8-11   number of the frame
    bytes 12-15   CRC-32 of bytes 0-11

It is data, not a sound to listen to. A path that passes G.711 unchanged passes it too. So a receiver can tell one-way
audio, cross-talk between calls and its own echo from the right audio, where a tone would sound the same in every call.
"""

from __future__ import annotations

import zlib
from enum import Enum, IntEnum, auto
from typing import NamedTuple

_MAGIC = b"tp"
_TIMES = 10


class Side(IntEnum):
    """The two sides of a call."""

    CALLER = 1
    CALLED = 2

    @property
    def other(self) -> Side:
        """Return the side that listens while this one speaks."""
        return Side.CALLED if self is Side.CALLER else Side.CALLER


class Voice(Enum):
    """The kinds of received frames."""

    EXPECTED = auto()
    """The other side of this call."""
    OWN_ECHO = auto()
    """This side's own audio came back."""
    FOREIGN = auto()
    """Another call's audio."""
    UNKNOWN = auto()
    """No voiceprint: a tone, silence, or audio that a codec has changed."""


class Frame(NamedTuple):
    """The content of a voiceprint."""

    side: Side
    row: int
    number: int


def write_frame(side: Side, row: int, number: int) -> bytes:
    """Return the payload of frame `number`, spoken by `side` in the call of plan row `row`."""
    body = _MAGIC + bytes([side]) + row.to_bytes(5, "big") + (number & 0xFFFFFFFF).to_bytes(4, "big")
    # The CRC is over the token, so that chance or another codec cannot make a valid one.
    return (body + zlib.crc32(body).to_bytes(4, "big")) * _TIMES


def read_frame(payload: bytes) -> Frame | None:
    """Return the voiceprint of a payload, or None where it has none."""
    body = payload[:12]
    # The magic bytes first: they are cheap to compare, and most other audio fails there.
    if len(payload) < 16 or body[:2] != _MAGIC or zlib.crc32(body).to_bytes(4, "big") != payload[12:16]:
        return None
    try:
        side = Side(body[2])
    except ValueError:
        return None
    return Frame(side, int.from_bytes(body[3:8], "big"), int.from_bytes(body[8:12], "big"))


def classify(frame: Frame | None, *, listener: Side, row: int) -> Voice:
    """Say whose audio the listener of the call of plan row `row` hears in a frame."""
    if frame is None:
        return Voice.UNKNOWN
    if frame.row != row:
        return Voice.FOREIGN
    return Voice.OWN_ECHO if frame.side is listener else Voice.EXPECTED
