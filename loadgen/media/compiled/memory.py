"""What the compiled pump keeps in memory: one record per stream, and what a thread needs to send and receive.

Field names are read here and written elsewhere. Records never move, since the kernel and other records point into them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import numpy as np

from loadgen.media.statistics import HISTORY
from loadgen.media.stream import MOST_DIGITS, MOST_PRESSED
from models.histogram import BINS

# Records with fields: neither mypy nor numpy's types know them by name.
Records: TypeAlias = Any
Record: TypeAlias = Any
Bytes: TypeAlias = Any

BATCH: Final = 8
"""Datagrams taken with one system call where several may wait: after a stall, and at the end."""
LANES: Final = 8
"""Streams served together."""
_MESSAGES: Final = BATCH + LANES
DATAGRAM_BYTES: Final = 2048
STRIDE: Final = DATAGRAM_BYTES + 64
"""From one datagram's place to the next: at multiples of 2 KiB they would share few lines of the processor's cache."""
OUT_BYTES: Final = 320
"""For a packet to send, of audio or RTCP."""
# Words of a `struct mmsghdr`, of a control message and of an address.
HEADER_WORDS: Final = 8
CONTROL_WORDS: Final = 8
ADDRESS_WORDS: Final = 2
NAME_LENGTH, CONTROL_LENGTH, MESSAGE_LENGTH = 1, 5, 7
ADDRESS_BYTES: Final = 8 * ADDRESS_WORDS
CONTROL_BYTES: Final = 8 * CONTROL_WORDS
NEVER: Final = -1
"""In fields that cannot be negative: nothing yet."""
NO_LOSS_TOLD: Final = 1 << 40
"""In `remote_lost`: the peer has not reported."""

# Of a stream's `state`.
FREE: Final = 0
RUNNING: Final = 1
GONE: Final = 2
"""Removed, and the pump has not noticed yet."""


def _fields(kind: str, names: str) -> list[tuple[str, str]]:
    return [(name, kind) for name in names.split()]


_PARTS: list[Any] = [
    *_fields("f8", "first_arrival last_arrival longest_gap_s jitter transit origin"),
    *_fields("i8", "next_report_ns lock_at rtp_to rtcp_to tx rx row ssrc first_timestamp"),
    *_fields("i8", "sent given_up pressed_at pressed_first pressed_count"),
    *_fields("i8", "arrived failed plain replayed stray received duplicate reordered late"),
    *_fields("i8", "foreign echoed unknown digit_count last_event"),
    *_fields("i8", "first highest timestamp unwrapped remote_ssrc reported_expected reported_received"),
    *_fields("i8", "remote_lost rtcp_received rtcp_failed"),
    *_fields("i4", "rtp_fd rtcp_fd payload_type event_type side first_sequence state dice"),
    ("lock", "i8", (8,)),
    ("peers", "i8", (2 * ADDRESS_WORDS,)),
    ("pressed", "u1", (MOST_PRESSED,)),
    ("digits", "u1", (MOST_DIGITS,)),
    ("seen", "i4", (HISTORY,)),
]
SLOT = np.dtype(_PARTS, align=True)
"""A stream. `lock` is a pthread mutex: whoever holds it owns all the rest. `*_at` and `*_to` are addresses."""
DUE = np.dtype([("at_ns", "i8"), ("slot", "i8")])
"""An entry of the queue of send instants."""
_CONTROL_PARTS: list[Any] = [
    *_fields("f8", "wall_to_clock lateness_total_ms lateness_most_ms"),
    *_fields("i8", "lock_at stop posted size wake_fd"),
    ("lock", "i8", (8,)),
    ("lateness", "i8", (BINS + 1,)),
]
CONTROL = np.dtype(_CONTROL_PARTS, align=True)
"""What the pump's thread and the others tell each other; `posted` streams wait in the inbox, behind `lock`."""
_WORK_PARTS: list[Any] = [
    *_fields("i8", "messages_at data_at out_at length_at times_at poll_at"),
    ("messages", "i8", (_MESSAGES * HEADER_WORDS,)),
    ("vectors", "i8", (_MESSAGES * 2,)),
    ("names", "i8", (_MESSAGES * ADDRESS_WORDS,)),
    ("control", "i8", (_MESSAGES * CONTROL_WORDS,)),
    ("times", "i8", (2,)),
    ("poll", "i8", (1,)),
    ("length", "i4", (2,)),
    ("slot", "i4", (LANES,)),
    ("got", "i4", (LANES,)),
    ("size", "i4", (LANES,)),
    ("due_ns", "i8", (LANES,)),
    ("data", "u1", (_MESSAGES * STRIDE,)),
    ("out", "u1", (LANES * OUT_BYTES,)),
]
WORK = np.dtype(_WORK_PARTS, align=True)
"""What one thread needs to receive and send; `messages` are the kernel's `struct mmsghdr`.

The first `BATCH` of them are for one system call, and each of the others for a lane: `slot`, `got` (bytes received),
`size` (bytes to send) and `due_ns` are of the streams that are served together.
"""


def new_work() -> Records:
    """One record of `WORK`, ready to receive."""
    made = np.zeros(1, WORK)
    work = made[0]
    _point(work, made.ctypes.data, WORK, ("messages", "data", "out", "length", "times", "poll"))
    for place in range(_MESSAGES):
        work["vectors"][2 * place : 2 * place + 2] = _in(made, "data", place * STRIDE), DATAGRAM_BYTES
        work["messages"][place * HEADER_WORDS : place * HEADER_WORDS + 6] = (
            _in(made, "names", place * ADDRESS_BYTES),
            ADDRESS_BYTES,
            _in(made, "vectors", 16 * place),
            1,
            _in(made, "control", place * CONTROL_BYTES),
            CONTROL_BYTES,
        )
    return made


def new_control(wake_fd: int, wall_to_clock: float) -> Records:
    """One record of `CONTROL`."""
    made = np.zeros(1, CONTROL)
    made["wake_fd"], made["wall_to_clock"] = wake_fd, wall_to_clock
    made["lock_at"] = _in(made, "lock", 0)
    return made


def point_into_itself(slots: Records, number: int) -> None:
    """Note the addresses of a stream's lock and of its peer's two addresses."""
    start = slots.ctypes.data + number * SLOT.itemsize
    slot = slots[number]
    slot["lock_at"] = start + _offset(SLOT, "lock")
    slot["rtp_to"] = start + _offset(SLOT, "peers")
    slot["rtcp_to"] = slot["rtp_to"] + ADDRESS_BYTES


def _point(record: Record, start: int, kind: np.dtype[np.void], names: Iterable[str]) -> None:
    for name in names:
        record[f"{name}_at"] = start + _offset(kind, name)


def _in(made: Records, name: str, offset: int) -> int:
    return int(made.ctypes.data + _offset(made.dtype, name) + offset)


def _offset(kind: np.dtype[np.void], name: str) -> int:
    assert kind.fields is not None
    return kind.fields[name][1]
