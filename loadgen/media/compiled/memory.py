"""The memory of the compiled pump: one record for each stream, and one for each thread that sends and receives.

Compiled code has no objects. It works on NumPy records, whose fields this module declares.
Records must never move, because the kernel and other records hold addresses into them.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np

from trunkproof.loadgen.media.datagrams import KINDS
from trunkproof.loadgen.media.keys import MOST_DIGITS, MOST_PRESSED
from trunkproof.loadgen.media.statistics import HISTORY
from trunkproof.loadgen.media.stream import MOST_RETURNED, MOST_RETURNED_BYTES, MOST_SOURCES
from trunkproof.loadgen.media.tap import SEGMENTS
from trunkproof.loadgen.media.tones import BLOCK, POWERS
from trunkproof.loadgen.media.voices import TIMED_FRAMES
from trunkproof.models.histogram import BINS

# Records with fields. Neither mypy nor NumPy's types know their fields, so these names only tell the reader.
Records: TypeAlias = Any
Record: TypeAlias = Any
Bytes: TypeAlias = Any
Turns: TypeAlias = Any

BATCH: Final = 8
"""Datagrams that one system call takes where several may wait: after a stall, and at the end of a stream."""
DATAGRAM_BYTES: Final = 2048
STRIDE: Final = DATAGRAM_BYTES + 64
"""Bytes from one datagram's place to the next. At multiples of 2 KiB they would compete for few lines of the cache."""
# Sizes, in words of 8 bytes, of a `struct mmsghdr`, of a control message and of an address.
HEADER_WORDS: Final = 8
CONTROL_WORDS: Final = 8
ADDRESS_WORDS: Final = 4
"""Room for a `struct sockaddr_in6`."""
NAME_LENGTH, CONTROL_LENGTH, MESSAGE_LENGTH = 1, 5, 7
ADDRESS_BYTES: Final = 8 * ADDRESS_WORDS
PEERS: Final = 5
"""RTP and RTCP of now, RTP and RTCP of before a move, and RTP as it was found to come from elsewhere."""
MOST_MKI_BYTES: Final = 128
"""The longest MKI (RFC 4568 section 6.1)."""
CONTROL_BYTES: Final = 8 * CONTROL_WORDS
HEARD_TOGETHER: Final = 8
"""Frames that are taken from a stream at once, at most `BATCH`. One system call for each frame, and one fetch of the
stream's memory for each, would take a tenth more time. The kernel notes when each frame came, so no measured value
depends on this number.
"""
NEVER: Final = -1
"""The value that means "nothing yet", in fields that cannot be negative."""
NO_LOSS_TOLD: Final = 1 << 40
"""The value of `remote_lost` while the peer has not reported. The true value may be negative."""

INSTANTS: Final = 200
"""Instants within the 20 ms at which streams send."""
TURN = np.dtype("i4")
"""An entry of the table of turns: the number of a stream's record plus 1, or 0. A row has one for each instant."""
SHA_WORDS: Final = 5
REPLAY_WINDOW: Final = 128
"""Packets in the replay list, as in libsrtp."""


def _fields(kind: str, names: str) -> list[tuple[str, str]]:
    return [(name, kind) for name in names.split()]


def _offset(kind: np.dtype[np.void], name: str) -> int:
    assert kind.fields is not None
    return kind.fields[name][1]


_CONTEXT_PARTS: list[Any] = [
    *_fields("i8", "session tag_bytes tag_length mki_bytes aes_at salt_0 salt_4 salt_8 salt_10"),
    ("hmac", "u4", (2 * SHA_WORDS,)),
    ("aes", "u1", (256,)),
]
CONTEXT = np.dtype(_CONTEXT_PARTS, align=True)
"""The keys of a cryptographic context (RFC 3711 section 3.2), all in one place.

- `session`: address of libsrtp's session. 0 where nothing is encrypted.
- `tag_bytes`: length of the tag. 0 where libsrtp does everything. `tag_length`: the same, but never 0.
- `mki_bytes`: length of the MKI. 0 where none was agreed.
- `hmac`: the state of SHA-1 after each of HMAC's two padded keys.
- `aes`: an `AES_KEY` of OpenSSL.
- `salt_4`: the number in the bytes of the salt from byte 4 on, and so on.
"""
_STATE_PARTS: list[Any] = [("index", "i8"), ("recent", "u1", (REPLAY_WINDOW // 8,))]
STATE = np.dtype(_STATE_PARTS, align=True)
"""The rest of a context, which belongs to one source: the newest index, and a bit for each recent one that came."""
_SOURCE_PARTS: list[Any] = [
    *_fields("i8", "ssrc used"),
    ("now", STATE),
    *_fields("i8", "expected_before received first highest odd timestamp unwrapped samples"),
    *_fields("i8", "reported_expected reported_received"),
    *_fields("f8", "jitter transit last_arrival latest"),
    ("before", STATE),
    ("seen", "u1", (HISTORY // 8,)),
]
SOURCE = np.dtype(_SOURCE_PARTS, align=True)
"""One source of a stream: the fields of `ReceptionStatistics` and `JitterBuffer`, and its state with the key of now and
the key of before. `used` says when it was heard last, in changes of source. `seen` has a bit for each recent number.
"""
_PARTS: list[Any] = [
    ("rx", CONTEXT),
    *_fields("i8", "keyed current switches source_count known words agreed_spoke hears"),
    *_fields("f8", "answered old_until moved_until guessed_until silent_since longest_s paused_s round_trips_s"),
    *_fields("i8", "arrived authentic failed plain replayed jumped duplicate reordered late"),
    *_fields("i8", "matched foreign echoed unknown other_types early sources_heard collided stray rtcp_stray"),
    *_fields("i8", "has_paused announced last_event digit_count forgotten_expected forgotten_received timed"),
    *_fields("i8", "remote_lost rtcp_received rtcp_failed rtcp_muxed rtp_on_rtcp reads_tones"),
    *_fields("i8", "turn lock_at peers_at rtp_fd rtcp_fd muxed tap_at"),
    ("lock", "i8", (8,)),
    ("peers", "i8", (PEERS * ADDRESS_WORDS,)),
    *_fields("i8", "due_ns next_report_ns row side ssrc first_sequence first_timestamp payload_type event_type"),
    *_fields("i8", "sends frames sent given_up unsent speaks tx_base"),
    *_fields("i8", "echoes returned_first returned_count"),
    *_fields("i8", "key_step key_begun pressed_first pressed_count keys_sent random_state"),
    *_fields("i8", "payloads_at payloads hopping"),
    ("tx", CONTEXT),
    ("types", "u1", (128,)),
    ("kinds", "i8", (KINDS,)),
    ("fresh", STATE),
    ("old", CONTEXT),
    ("rx_mki", "u1", (MOST_MKI_BYTES,)),
    ("tx_mki", "u1", (MOST_MKI_BYTES,)),
    ("old_mki", "u1", (MOST_MKI_BYTES,)),
    ("pressed", "u1", (MOST_PRESSED,)),
    ("digits", "u1", (MOST_DIGITS,)),
    ("sent_at", "f8", (TIMED_FRAMES,)),
    *_fields("i8", "tap_bytes tap_segment"),
    ("tap_used", "i8", (SEGMENTS,)),
    ("returned", "u1", (MOST_RETURNED * MOST_RETURNED_BYTES,)),
    ("returned_bytes", "i8", (MOST_RETURNED,)),
    *_fields("i8", "block_filled block_next tone_number chord run pending hops chained"),
    ("block", "i2", (BLOCK,)),
    # They come last: a record is used again for another stream, and only those that it needs are cleared then.
    ("sources", SOURCE, (MOST_SOURCES,)),
]
SLOT = np.dtype(_PARTS, align=True)
"""A stream. `lock` is a pthread mutex: who holds it owns all the rest.

- `*_at` are addresses, `turn` is its place in the table of turns.
- `keyed`: whether something was agreed. `known`: whether the peer's addresses are. `words`: how many words of an
  address matter.
- `current`: the source that was heard last, of `source_count`.
- `peers`: the addresses of RTP and RTCP, both of before a move, and the one found (`Origin.FOUND`). 0: none.
- `agreed_spoke`, `guessed_until`: as in `MediaStream`.
- `payloads_at`: what is said again and again, `payloads` of them, in the order of the hops if `hopping`. No payloads:
  voiceprints of bytes.
- `block_*` to `chained`: the fields of `ToneReader`. `chord` is twice the number plus 1 for the called side.
- `types`: for each payload type, what it is (`OTHER` and so on).
- `tap_*`: the memory of its `MediaTap` (`tapping`). `tap_at` is 0 where there is none.
- `echoes`: whether only what was heard is sent. `returned` is a ring of frames that wait for that.
- `old`: the key before the last change. `fresh`: the state of any source that was not heard before.

The order of the fields matters for speed: receiving uses those from `rx` to `peers`, and sending those from `turn` to
`tx`, so that each needs only neighbouring lines of the cache.
"""
OTHER, VOICE, EVENT, COMFORT, VOICE_A = 0, 1, 2, 3, 4
"""Values of `types`. `VOICE_A` is voice in A-law, and `VOICE` in mu-law."""
_TERMS_PARTS: list[Any] = [
    ("rx", CONTEXT),
    ("tx", CONTEXT),
    ("rx_mki", "u1", (MOST_MKI_BYTES,)),
    ("tx_mki", "u1", (MOST_MKI_BYTES,)),
    ("types", "u1", (128,)),
    ("peers", "i8", (2 * ADDRESS_WORDS,)),
    *_fields("i8", "rx_changed tx_changed known words muxed payload_type event_type sends hears early echoes"),
    *_fields("i8", "payloads_at payloads"),
]
TERMS = np.dtype(_TERMS_PARTS, align=True)
"""What a stream is to follow. Python fills it at leisure, and `loop.follow` copies it while it holds the lock."""
SLOT_BYTES: Final = SLOT.itemsize
SOURCES_AT: Final = _offset(SLOT, "sources")
SOURCE_BYTES: Final = SOURCE.itemsize
SPEAKING_AT: Final = _offset(SLOT, "turn")
USED_BYTES: Final = SPEAKING_AT
"""About how many bytes of a record receiving uses, or sending."""
DUE = np.dtype([("number", "i8"), ("turn", "i8"), ("instant", "i8")])
"""A stream whose turn it is."""
_CONTROL_PARTS: list[Any] = [
    *_fields("f8", "wall_to_clock wall_looked wall_before wall_since wall_until lateness_total_ms lateness_most_ms"),
    *_fields("i8", "stop passes streams rows origin_ns wake_fd slots_at heard_together"),
    ("lateness", "i8", (BINS + 1,)),
]
CONTROL = np.dtype(_CONTROL_PARTS, align=True)
"""What the pump's thread shares with the others.

- `stop`: set to end the thread. `passes`: how many passes of the loop have begun.
- `streams`: how many there are. `rows`: rows of the table of turns in use.
- `wall_*`: the fields of `ArrivalClock`.
- `heard_together`: frames that are taken from a stream at once.
- `origin_ns`: when instants begin. Each pump draws its own, because pumps in step would cost a trunk less than
  telephones do.
- `lateness*`: a histogram of how late packets were sent.
"""
_PLACES = {"out": 320, "iv": 16, "tag": 16, "block": 64, "scratch": 256}
_WORK_PARTS: list[Any] = [
    *_fields("i8", "messages_at data_at length_at times_at poll_at sha_at out iv tag block scratch index"),
    ("messages", "i8", (BATCH * HEADER_WORDS,)),
    ("vectors", "i8", (BATCH * 2,)),
    ("names", "i8", (BATCH * ADDRESS_WORDS,)),
    ("control", "i8", (BATCH * CONTROL_WORDS,)),
    ("times", "i8", (2,)),
    ("poll", "i8", (1,)),
    ("length", "i4", (2,)),
    ("sha", "u4", (SHA_WORDS + 1,)),
    ("real", "f8", (POWERS,)),
    ("imaginary", "f8", (POWERS,)),
    ("powers", "f8", (POWERS,)),
    ("data", "u1", (BATCH * STRIDE + sum(_PLACES.values()),)),
]
WORK = np.dtype(_WORK_PARTS, align=True)
"""The memory that one thread needs to receive, to send and to encrypt. `messages` are the kernel's `struct mmsghdr`.

All bytes are in the one array `data`: first the received datagrams, then one to send (from `out` on), then what
encryption needs (`iv`, `tag`, `block`, `scratch`). It is one array because Numba compiles a function again for each
kind of array that it is called with. `index` is that of the packet decrypted last. `real`, `imaginary` and `powers` are
those of tones.
"""


def new_work() -> Records:
    """Return one record of `WORK`, ready to receive."""
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
    # SHA-1's padding behind 20 bytes that follow a key of 64: 672 bits in all (RFC 3174 section 4).
    block = work["data"][work["block"] :]
    block[20], block[62], block[63] = 0x80, 672 >> 8, 672 & 0xFF
    return made


def new_control(wake_fd: int, wall_to_clock: float, origin_ns: int) -> Records:
    """Return one record of `CONTROL`."""
    made = np.zeros(1, CONTROL)
    made["wake_fd"], made["wall_to_clock"], made["origin_ns"] = wake_fd, wall_to_clock, origin_ns
    made["wall_until"] = -np.inf
    made["heard_together"] = HEARD_TOGETHER
    return made


def point_into_itself(slots: Records, number: int) -> None:
    """Write into a stream's record the addresses of its own lock, of its peer's addresses and of its keys."""
    start = slots.ctypes.data + number * SLOT.itemsize
    slot = slots[number]
    slot["lock_at"] = start + _offset(SLOT, "lock")
    slot["peers_at"] = start + _offset(SLOT, "peers")
    for name in ("tx", "rx", "old"):
        slot[name]["aes_at"] = start + _offset(SLOT, name) + _offset(CONTEXT, "aes")


def new_terms() -> Records:
    """Return one record of `TERMS`, whose keys can be derived."""
    made = np.zeros(1, TERMS)
    for name in ("tx", "rx"):
        made[0][name]["aes_at"] = _in(made, name, _offset(CONTEXT, "aes"))
    return made


def _in(made: Records, name: str, offset: int) -> int:
    return int(made.ctypes.data + _offset(made.dtype, name) + offset)
