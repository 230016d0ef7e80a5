"""What the compiled pump keeps in memory: one record per stream, and what a thread needs to send and receive.

Field names are read here and written elsewhere. Records never move, since the kernel and other records point into them.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np

from trunkproof.loadgen.media.statistics import HISTORY
from trunkproof.loadgen.media.stream import MOST_DIGITS, MOST_PRESSED
from trunkproof.models.histogram import BINS

# Records with fields: neither mypy nor numpy's types know them by name.
Records: TypeAlias = Any
Record: TypeAlias = Any
Bytes: TypeAlias = Any
Words: TypeAlias = Any
Turns: TypeAlias = Any

BATCH: Final = 8
"""Datagrams taken with one system call where several may wait: after a stall, and at the end."""
DATAGRAM_BYTES: Final = 2048
STRIDE: Final = DATAGRAM_BYTES + 64
"""From one datagram's place to the next: at multiples of 2 KiB they would share few lines of the processor's cache."""
# Words of a `struct mmsghdr`, of a control message and of an address.
HEADER_WORDS: Final = 8
CONTROL_WORDS: Final = 8
ADDRESS_WORDS: Final = 2
NAME_LENGTH, CONTROL_LENGTH, MESSAGE_LENGTH = 1, 5, 7
ADDRESS_BYTES: Final = 8 * ADDRESS_WORDS
CONTROL_BYTES: Final = 8 * CONTROL_WORDS
HEARD_TOGETHER: Final = 4
"""Frames that are taken from a stream at once, at most `BATCH`: a system call for each, and fetching a stream's memory
for each, would take a twentieth more. The kernel has noted when each came, so nothing that is measured depends on it.
"""
NEVER: Final = -1
"""In fields that cannot be negative: nothing yet."""
NO_LOSS_TOLD: Final = 1 << 40
"""In `remote_lost`: the peer has not reported."""

INSTANTS: Final = 200
"""Within the 20 ms, for streams to send at."""
TURN = np.dtype("i4")
"""Whose turn it is: a row has a place for each instant, with the number of a stream's record plus 1, or 0."""
SHA_WORDS: Final = 5
REPLAY_WINDOW: Final = 128
"""Packets, as in libsrtp."""


def _fields(kind: str, names: str) -> list[tuple[str, str]]:
    return [(name, kind) for name in names.split()]


def _offset(kind: np.dtype[np.void], name: str) -> int:
    assert kind.fields is not None
    return kind.fields[name][1]


_CONTEXT_PARTS: list[Any] = [
    *_fields("i8", "session tag_bytes aes_at salt_0 salt_4 salt_8 salt_10 ssrc index"),
    ("hmac", "u4", (2 * SHA_WORDS,)),
    ("aes", "u1", (256,)),
]
CONTEXT = np.dtype(_CONTEXT_PARTS, align=True)
"""A cryptographic context (RFC 3711 section 3.2), all in one place.

`session` is libsrtp's, 0 where nothing is encrypted; with `tag_bytes` of 0 libsrtp does everything. `ssrc` and `index`
are of the newest packet, `hmac` is SHA-1 after each of HMAC's padded keys, `aes` is an `AES_KEY`, and `salt_4` the
number in the salt's bytes from 4 on.
"""
_PARTS: list[Any] = [
    ("rx", CONTEXT),
    *_fields("i8", "arrived failed plain replayed stray received duplicate reordered late"),
    *_fields("i8", "foreign echoed unknown digit_count last_event"),
    *_fields("i8", "first highest timestamp unwrapped remote_ssrc reported_expected reported_received"),
    *_fields("i8", "remote_lost rtcp_received rtcp_failed"),
    *_fields("f8", "first_arrival last_arrival longest_gap_s jitter transit origin"),
    *_fields("i8", "turn lock_at rtp_to rtcp_to rtp_fd rtcp_fd"),
    ("lock", "i8", (8,)),
    ("peers", "i8", (2 * ADDRESS_WORDS,)),
    *_fields("i8", "due_ns next_report_ns row side ssrc first_sequence first_timestamp payload_type event_type"),
    *_fields("i8", "sent given_up pressed_at pressed_first pressed_count dice"),
    ("tx", CONTEXT),
    ("pressed", "u1", (MOST_PRESSED,)),
    ("digits", "u1", (MOST_DIGITS,)),
    ("recent", "i4", (REPLAY_WINDOW,)),
    ("seen", "i4", (HISTORY,)),
]
SLOT = np.dtype(_PARTS, align=True)
"""A stream. `lock` is a pthread mutex: whoever holds it owns all the rest. `*_at` and `*_to` are addresses, `turn` is
its place among the turns, `recent` has the indices of packets that came. What hearing takes lies together, from `rx` to
`peers`, and what speaking takes from `turn` to `tx`.
"""
SLOT_BYTES: Final = SLOT.itemsize
SPEAKING_AT: Final = _offset(SLOT, "turn")
USED_BYTES: Final = SPEAKING_AT
"""Of a record, to hear or to speak, about."""
DUE = np.dtype([("number", "i8"), ("turn", "i8"), ("instant", "i8")])
"""A stream whose turn it is."""
_CONTROL_PARTS: list[Any] = [
    *_fields("f8", "wall_to_clock lateness_total_ms lateness_most_ms"),
    *_fields("i8", "stop passes streams rows origin_ns wake_fd slots_at heard_together"),
    ("lateness", "i8", (BINS + 1,)),
]
CONTROL = np.dtype(_CONTROL_PARTS, align=True)
"""What the pump's thread and the others tell each other: its passes so far, how many streams there are, the rows of
turns in use, how many frames are heard together, and when instants begin, which is another time for each pump: pumps in
step would cost a trunk less than telephones do.
"""
_PLACES = {"out": 320, "iv": 16, "tag": 16, "block": 64, "scratch": 256}
_WORK_PARTS: list[Any] = [
    *_fields("i8", "messages_at data_at length_at times_at poll_at sha_at out iv tag block scratch"),
    ("messages", "i8", (BATCH * HEADER_WORDS,)),
    ("vectors", "i8", (BATCH * 2,)),
    ("names", "i8", (BATCH * ADDRESS_WORDS,)),
    ("control", "i8", (BATCH * CONTROL_WORDS,)),
    ("times", "i8", (2,)),
    ("poll", "i8", (1,)),
    ("length", "i4", (2,)),
    ("sha", "u4", (SHA_WORDS + 1,)),
    ("data", "u1", (BATCH * STRIDE + sum(_PLACES.values()),)),
]
WORK = np.dtype(_WORK_PARTS, align=True)
"""What one thread needs to receive, to send and to encrypt; `messages` are the kernel's `struct mmsghdr`.

All bytes are in `data`: datagrams that came, and from `out` on one to send, from `iv`, `tag`, `block` and `scratch` on
what encryption needs. Numba compiles functions anew for each array, and for each constant, that they are called with.
"""


def new_work() -> Records:
    """One record of `WORK`, ready to receive."""
    made = np.zeros(1, WORK)
    work = made[0]
    for name in ("messages", "data", "length", "times", "poll", "sha"):
        work[f"{name}_at"] = _in(made, name, 0)
    for place in range(BATCH):
        work["vectors"][2 * place : 2 * place + 2] = _in(made, "data", place * STRIDE), DATAGRAM_BYTES
        work["messages"][place * HEADER_WORDS : place * HEADER_WORDS + 6] = (
            _in(made, "names", place * ADDRESS_BYTES),
            ADDRESS_BYTES,
            _in(made, "vectors", 16 * place),
            1,
            _in(made, "control", place * CONTROL_BYTES),
            CONTROL_BYTES,
        )
    start = BATCH * STRIDE
    for name, size in _PLACES.items():
        work[name] = start
        start += size
    # What SHA-1 puts behind 20 bytes that follow a key of 64 (RFC 3174 section 4).
    block = work["data"][work["block"] :]
    block[20], block[62], block[63] = 0x80, 672 >> 8, 672 & 0xFF
    return made


def new_control(wake_fd: int, wall_to_clock: float, origin_ns: int) -> Records:
    """One record of `CONTROL`."""
    made = np.zeros(1, CONTROL)
    made["wake_fd"], made["wall_to_clock"], made["origin_ns"] = wake_fd, wall_to_clock, origin_ns
    made["heard_together"] = HEARD_TOGETHER
    return made


def point_into_itself(slots: Records, number: int) -> None:
    """Note the addresses of a stream's lock, of its peer's two addresses and of its keys."""
    start = slots.ctypes.data + number * SLOT.itemsize
    slot = slots[number]
    slot["lock_at"] = start + _offset(SLOT, "lock")
    slot["rtp_to"] = start + _offset(SLOT, "peers")
    slot["rtcp_to"] = slot["rtp_to"] + ADDRESS_BYTES
    for name in ("tx", "rx"):
        slot[name]["aes_at"] = start + _offset(SLOT, name) + _offset(CONTEXT, "aes")


def _in(made: Records, name: str, offset: int) -> int:
    return int(made.ctypes.data + _offset(made.dtype, name) + offset)
