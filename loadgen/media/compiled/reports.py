"""RTCP of a stream: write the reports that it sends, and read those of its peer.

It does the same as `loadgen.media.rtcp` and `MediaStream`. Only the time of the next report is drawn differently.
"""

from __future__ import annotations

import math

from trunkproof.loadgen.media.compiled.c import call_c
from trunkproof.loadgen.media.compiled.cipher import NOT_AUTHENTIC, OK, add_mki, take_mki
from trunkproof.loadgen.media.compiled.hear import expected, find, forget_keys
from trunkproof.loadgen.media.compiled.memory import NEVER, Bytes, Record
from trunkproof.loadgen.media.compiled.octets import octet, read16, read32, write16, write32
from trunkproof.loadgen.media.compiled.speak import timestamp
from trunkproof.loadgen.media.rtcp import BYE, CNAME, NAME, NTP_EPOCH_S, RR, SDES, SR
from trunkproof.loadgen.media.srtp import MOST_BYTES, RTCP_TAG_BYTES
from trunkproof.loadgen.media.statistics import MODULUS
from trunkproof.models.compiled import inlined, lean
from trunkproof.models.packets import CLOCK_HZ, SAMPLES_PER_PACKET

_NAME_BYTES = len(NAME)
_ITEM_BYTES = (6 + _NAME_BYTES) // 4 * 4 + 4
_BLOCK_BYTES = 24
_MOST_LOST = 1 << 23


@lean
def receive_report(c: Record, slot: Record, work: Record, at: int, size: int, arrival: float) -> None:
    """Take the RTCP packet of `size` bytes at `work.data[at:]`, which came at `arrival`, to whichever port."""
    # Before an agreement nothing can be read, and nothing can be wrong.
    if slot.keyed == 0:
        return
    data = work.data
    ssrc = read32(data, at + 4)
    status = _open(c.srtp_unprotect_rtcp, slot.rx, slot.rx_mki, work, at, size)
    if status != OK and arrival < slot.old_until:
        status = _open(c.srtp_unprotect_rtcp, slot.old, slot.old_mki, work, at, size)
    size = int(work.length[0])
    read = status == OK and size > 0 and _read(slot, data, at, at + size)
    # libsrtp keeps each source for ever. So a peer could have us keep millions.
    if status == OK and find(slot, ssrc) == NEVER:
        forget_keys(c, slot, ssrc)
    if read:
        slot.rtcp_received += 1
    else:
        slot.rtcp_failed += 1


@lean
def _open(function: int, context: Record, mki: Bytes, work: Record, at: int, size: int) -> int:
    """Decrypt a packet. Return a status of libsrtp; where it is not `OK`, nothing was changed."""
    work.length[0] = size
    if context.session == 0:
        return OK
    count = context.mki_bytes
    if count > 0:
        size = take_mki(work.data, at, size, RTCP_TAG_BYTES, mki, count)
    if size == NEVER or size > MOST_BYTES:
        return NOT_AUTHENTIC
    work.length[0] = size
    status = call_c(function, (context.session, work.data_at + at, work.length_at))
    if count > 0 and status != OK:
        add_mki(work.data, at, size, RTCP_TAG_BYTES, mki, count)
    return status


@lean
def _read(slot: Record, data: Bytes, at: int, end: int) -> bool:
    """Note what a compound packet says of our stream. Return False, and note nothing, where it is malformed."""
    lost = slot.remote_lost
    while at < end:
        if end - at < 4 or data[at] >> 6 != 2:
            return False
        count, kind = octet(data, at) & 0x1F, data[at + 1]
        after = at + 4 + 4 * read16(data, at + 2)
        if after > end:
            return False
        if kind in (SR, RR):
            # The blocks begin after the sender's information in an SR, and at once in an RR.
            lost = _lost(slot, data, at + (28 if kind == SR else 8), after, count, lost)
        at = after
    # Only now that the whole packet was read: a malformed one changes nothing.
    slot.remote_lost = lost
    return True


@inlined
def _lost(slot: Record, data: Bytes, at: int, end: int, count: int, lost: int) -> int:
    for _ in range(min(count, (end - at) // _BLOCK_BYTES)):
        if read32(data, at) == slot.ssrc:
            lost = read32(data, at + 4) & 0xFFFFFF
            # 24 bits with a sign: duplicates can make the loss negative (RFC 3550 section 6.4.1).
            lost -= 2 * _MOST_LOST if lost >= _MOST_LOST else 0
        at += _BLOCK_BYTES
    return lost


@lean
def next_report(c: Record, slot: Record, work: Record, wall_ns: int) -> int:
    """Put a report at `work.out`, encrypted, and return its size. A stream that has no turn any more adds a BYE.

    Return 0 where no call is up.
    `wall_ns` is the time since 1970, in nanoseconds.
    """
    data = work.data
    if slot.keyed == 0 or math.isinf(slot.answered):
        return 0
    end = _sender_report(slot, data, work.out, wall_ns)
    end = _description(slot, data, end)
    # `leave` takes the turn away before it asks for the last report.
    if slot.turn == NEVER:
        _head(data, end, 1, BYE, 8)
        write32(data, end + 4, slot.ssrc)
        end += 8
    if slot.tx.session == 0:
        return int(end - work.out)
    work.length[0] = end - work.out
    call_c(c.srtp_protect_rtcp, (slot.tx.session, work.data_at + work.out, work.length_at))
    size = int(work.length[0])
    if slot.tx.mki_bytes > 0:
        return add_mki(data, work.out, size, RTCP_TAG_BYTES, slot.tx_mki, slot.tx.mki_bytes)
    return size


@inlined
def _head(data: Bytes, at: int, count: int, kind: int, size: int) -> None:
    data[at], data[at + 1] = 0x80 | count, kind
    write16(data, at + 2, size // 4 - 1)


@inlined
def _sender_report(slot: Record, data: Bytes, at: int, wall_ns: int) -> int:
    blocks = 0 if slot.source_count == 0 or slot.sources[slot.current].first == NEVER else 1
    size = 28 + blocks * _BLOCK_BYTES
    _head(data, at, blocks, SR, size)
    write32(data, at + 4, slot.ssrc)
    write32(data, at + 8, wall_ns // 1_000_000_000 + NTP_EPOCH_S)
    write32(data, at + 12, (wall_ns % 1_000_000_000 << 32) // 1_000_000_000)
    write32(data, at + 16, timestamp(slot, slot.frames))
    write32(data, at + 20, slot.sent)
    write32(data, at + 24, slot.sent * SAMPLES_PER_PACKET)
    if blocks:
        _block(slot.sources[slot.current], data, at + 28)
    return at + size


@lean
def _block(source: Record, data: Bytes, at: int) -> None:
    total = expected(source)
    # The field has 24 bits with a sign.
    lost = min(total - source.received, _MOST_LOST - 1)
    write32(data, at, source.ssrc)
    write32(data, at + 4, max(lost, -_MOST_LOST) & 0xFFFFFF)
    data[at + 4] = _fraction_lost(source, total)  # over the highest byte of the loss, which has only 24 bits
    # Counting began one rollover ahead (`hear`), which the peer must not see.
    write32(data, at + 8, source.highest - MODULUS)
    write32(data, at + 12, int(source.jitter * CLOCK_HZ))
    for place in range(at + 16, at + _BLOCK_BYTES):
        data[place] = 0


@inlined
def _fraction_lost(source: Record, total: int) -> int:
    more, received = total - source.reported_expected, source.received - source.reported_received
    # The fraction is about the time since the last report, so the counts of that report are kept.
    source.reported_expected, source.reported_received = total, source.received
    lost = more - received
    return 0 if more <= 0 or lost <= 0 else min(255, int((lost << 8) // more))


@inlined
def _description(slot: Record, data: Bytes, at: int) -> int:
    size = 4 + _ITEM_BYTES
    _head(data, at, 1, SDES, size)
    write32(data, at + 4, slot.ssrc)
    data[at + 8], data[at + 9] = CNAME, _NAME_BYTES
    for place in range(_NAME_BYTES):
        data[at + 10 + place] = NAME[place]
    for place in range(at + 10 + _NAME_BYTES, at + size):
        data[place] = 0
    return at + size
