"""Keep a stream's datagrams in compiled code, in the memory of its `MediaTap`. A stream without one costs a comparison.

The tap's `segment` and `used` are in the stream's record meanwhile: `attach` gives them, and `detach` takes them back.
"""

from __future__ import annotations

from typing import Final

from trunkproof.loadgen.media.compiled.c import call_c
from trunkproof.loadgen.media.compiled.memory import ADDRESS_BYTES, Record
from trunkproof.loadgen.media.tap import HEADER_BYTES, RTCP, SENT, MediaTap
from trunkproof.models.compiled import lean

SENT_RTP: Final = 1 << SENT
SENT_RTCP: Final = 1 << SENT | 1 << RTCP
RECEIVED_RTP: Final = 0
RECEIVED_RTCP: Final = 1 << RTCP
_WHEN_BYTES: Final = HEADER_BYTES - ADDRESS_BYTES


def attach(slot: Record, tap: MediaTap) -> None:
    """Have a stream's datagrams kept from now on. The tap must live as long as the stream is served."""
    slot["tap_bytes"], slot["tap_segment"], slot["tap_used"] = tap.segment_bytes, tap.segment, tap.used
    slot["tap_at"] = tap.memory.ctypes.data


def detach(slot: Record, tap: MediaTap) -> None:
    """Give a tap back what was written meanwhile, and write no more."""
    tap.segment, tap.used = int(slot["tap_segment"]), slot["tap_used"].tolist()
    slot["tap_at"] = 0


@lean
def keep(c: Record, slot: Record, work: Record, at: int, size: int, peer_at: int, kind: int, when_ns: int) -> None:
    """Keep the datagram of `size` bytes at `work.data[at:]`, as `MediaTap.note`. `peer_at` is its peer's address."""
    need = HEADER_BYTES + (size + 7) // 8 * 8
    if need > slot.tap_bytes:
        return
    segment = slot.tap_segment
    if slot.tap_used[segment] + need > slot.tap_bytes:
        segment = 2 if segment == 1 else 1
        slot.tap_segment, slot.tap_used[segment] = segment, 0
    to = slot.tap_at + segment * slot.tap_bytes + slot.tap_used[segment]
    work.times[0], work.times[1] = when_ns, size | kind
    call_c(c.memcpy, (to, work.times_at, _WHEN_BYTES))
    call_c(c.memcpy, (to + _WHEN_BYTES, peer_at, ADDRESS_BYTES))
    call_c(c.memcpy, (to + HEADER_BYTES, work.data_at + at, size))
    slot.tap_used[segment] += need
