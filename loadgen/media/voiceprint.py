"""The identity of a call in its audio: each 20 ms frame says whose it is, and which.

A G.711 frame of 160 bytes is a token of 16 bytes, ten times over. It is data, not a sound to listen to; a path that
passes G.711 through unchanged passes it too, and a receiver sees one-way audio, cross-talk and its own echo for what
they are.
"""

from __future__ import annotations

import zlib
from enum import Enum, IntEnum, auto
from typing import NamedTuple

_MAGIC = b"tp"
_TIMES = 10


class Side(IntEnum):
    """Who speaks."""

    CALLER = 1
    CALLED = 2

    @property
    def other(self) -> Side:
        """Who listens."""
        return Side.CALLED if self is Side.CALLER else Side.CALLER


class Voice(Enum):
    """What a received frame turned out to be."""

    EXPECTED = auto()
    OWN_ECHO = auto()
    """What this side said itself."""
    FOREIGN = auto()
    """Another call's audio."""
    UNKNOWN = auto()
    """No voiceprint: a tone, silence, or a codec that changed it."""


class Frame(NamedTuple):
    """What a frame says."""

    side: Side
    row: int
    number: int


def write_frame(side: Side, row: int, number: int) -> bytes:
    """The payload of frame `number` of the call of plan row `row`, as spoken by `side`."""
    body = _MAGIC + bytes([side]) + row.to_bytes(5, "big") + (number & 0xFFFFFFFF).to_bytes(4, "big")
    return (body + zlib.crc32(body).to_bytes(4, "big")) * _TIMES


def read_frame(payload: bytes) -> Frame | None:
    """What a payload says; `None` where it carries no voiceprint."""
    body = payload[:12]
    if len(payload) < 16 or body[:2] != _MAGIC or zlib.crc32(body).to_bytes(4, "big") != payload[12:16]:
        return None
    try:
        side = Side(body[2])
    except ValueError:
        return None
    return Frame(side, int.from_bytes(body[3:8], "big"), int.from_bytes(body[8:12], "big"))


def classify(frame: Frame | None, *, listener: Side, row: int) -> Voice:
    """Whose audio the listener of that call hears."""
    if frame is None:
        return Voice.UNKNOWN
    if frame.row != row:
        return Voice.FOREIGN
    return Voice.OWN_ECHO if frame.side is listener else Voice.EXPECTED
