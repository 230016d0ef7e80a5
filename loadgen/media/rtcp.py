"""RTCP (RFC 3550 section 6) as values and compound packets: sender and receiver reports, canonical name, goodbye.

It reads what a two-party call needs and skips the rest. `srtp` encrypts.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from trunkproof.models.packets import PAYLOAD_BYTES

SR, RR, SDES, BYE = 200, 201, 202, 203
CNAME = 1
NAME = b"call@trunkproof"
"""Our canonical name. It is the same on every call, so it reveals nothing."""
_BLOCK = struct.Struct("!IIIIII")
NTP_EPOCH_S = 2_208_988_800
INTERVAL_S = 5.0
"""The recommended minimum (RFC 3550 section 6.2). Each wait is drawn between 0.5 and 1.5 times this."""


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """A receiver's report on the stream of source `ssrc` (RFC 3550 section 6.4.1)."""

    ssrc: int
    fraction_lost: int
    """In 1/256, since the receiver's last report."""
    lost: int
    highest: int
    jitter_units: int

    def __bytes__(self) -> bytes:
        # The loss has 24 bits with a sign, and a long call can lose more (RFC 3550 section 6.4.1).
        lost = self.fraction_lost << 24 | (max(-(1 << 23), min(self.lost, (1 << 23) - 1)) & 0xFFFFFF)
        # The two zeros say that we had no sender report: then the peer computes no round trip from ours.
        return _BLOCK.pack(self.ssrc, lost, self.highest & 0xFFFFFFFF, self.jitter_units & 0xFFFFFFFF, 0, 0)


@dataclass(frozen=True, slots=True)
class Reception:
    """The content of a received compound packet: the blocks of all its reports, and whether the peer leaves."""

    blocks: tuple[ReportBlock, ...]
    bye: bool


def write_report(
    ssrc: int, *, wall_s: float, timestamp: int, packets: int, block: ReportBlock | None, bye: bool = False
) -> bytes:
    """Return a compound packet: a sender report with at most one block, CNAME, and BYE where asked for.

    Args:
        ssrc: our source.
        wall_s: now, as seconds since 1970.
        timestamp: our RTP timestamp now.
        packets: how many we sent so far, each with `PAYLOAD_BYTES`.
        block: our report on the peer's stream, if we received any.
        bye: whether we leave.
    """
    ntp = int((wall_s + NTP_EPOCH_S) * (1 << 32)) & (1 << 64) - 1
    report = struct.pack("!IQIII", ssrc, ntp, timestamp, packets & 0xFFFFFFFF, packets * PAYLOAD_BYTES & 0xFFFFFFFF)
    blocks = b"" if block is None else bytes(block)
    # Section 6.1: a report comes first, CNAME is in every compound packet, and BYE is last.
    compound = _packet(SR, 0 if block is None else 1, report + blocks)
    item = struct.pack("!IBB", ssrc, CNAME, len(NAME)) + NAME
    # At least one zero byte ends the list of items, and the chunk is filled up to whole words (section 6.5).
    compound += _packet(SDES, 1, item + bytes(4 - len(item) % 4))
    return compound + (_packet(BYE, 1, struct.pack("!I", ssrc)) if bye else b"")


def _packet(kind: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def read_compound(data: bytes) -> Reception | None:
    """Read a compound packet. Return None where it is malformed (RFC 3550 section A.2)."""
    blocks: list[ReportBlock] = []
    bye, position = False, 0
    while position < len(data):
        if len(data) - position < 4 or data[position] >> 6 != 2:
            return None
        count, kind = data[position] & 0x1F, data[position + 1]
        end = position + 4 + 4 * int.from_bytes(data[position + 2 : position + 4], "big")
        if end > len(data):
            return None
        # A sender report has 20 bytes about the sender before its blocks. A receiver report has none.
        if kind in (SR, RR):
            blocks += _blocks(data[position + (28 if kind == SR else 8) : end], count)
        bye = bye or kind == BYE
        position = end
    return Reception(tuple(blocks), bye) if data else None


def _blocks(data: bytes, count: int) -> list[ReportBlock]:
    found = []
    for index in range(min(count, len(data) // _BLOCK.size)):
        ssrc, lost, highest, jitter, _, _ = _BLOCK.unpack_from(data, index * _BLOCK.size)
        # Duplicates can make it negative.
        total = lost & 0xFFFFFF
        signed = total - (1 << 24) if total >= 1 << 23 else total
        found.append(ReportBlock(ssrc, lost >> 24, signed, highest, jitter))
    return found


def sender_of(data: bytes) -> int:
    """Return the source that sent a compound packet, encrypted or not: it stands in the clear."""
    return int.from_bytes(data[4:8], "big")
