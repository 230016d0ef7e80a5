"""Change what a stream follows: keys, payload types, directions, and when the call was answered.

The result equals that of `MediaStream.follow`. Change both together.
"""

from __future__ import annotations

import math

from trunkproof.loadgen.media.compiled.hear import clear_state
from trunkproof.loadgen.media.compiled.memory import MOST_MKI_BYTES, Record
from trunkproof.loadgen.media.silence import PAUSE_S
from trunkproof.loadgen.media.stream import GRACE_S
from trunkproof.models.compiled import inlined, lean


@lean
def adopt(slot: Record, terms: Record, now: float) -> None:
    """Take over everything but the addresses."""
    if terms.rx_changed:
        _change_rx(slot, terms, now)
    if terms.tx_changed:
        _copy_context(slot.tx, terms.tx)
        # The rollovers of a new key begin at 0, whatever ours are (RFC 3711 section 3.3.1).
        slot.tx_base = (slot.first_sequence + slot.sent + slot.given_up) & ~0xFFFF
    slot.rx.mki_bytes, slot.tx.mki_bytes = terms.rx.mki_bytes, terms.tx.mki_bytes
    for place in range(MOST_MKI_BYTES):
        slot.rx_mki[place], slot.tx_mki[place] = terms.rx_mki[place], terms.tx_mki[place]
    for kind in range(len(slot.types)):
        slot.types[kind] = terms.types[kind]
    slot.payloads_at, slot.payloads = terms.payloads_at, terms.payloads
    slot.payload_type, slot.event_type, slot.sends = terms.payload_type, terms.event_type, terms.sends
    slot.echoes = terms.echoes
    slot.keyed = 1
    slot.hears = terms.hears
    if terms.early == 0 or not math.isinf(slot.answered):
        note_answer(slot, now)


@lean
def note_answer(slot: Record, now: float) -> None:
    """Take the call as answered, and count silence if the peer may send. Do nothing where nothing was agreed."""
    if slot.keyed == 0:
        return
    slot.answered = min(slot.answered, now)
    if slot.hears:
        if math.isnan(slot.silent_since):
            slot.silent_since = now
    else:
        stop_silence(slot, now)
        slot.silent_since = math.nan


@lean
def stop_silence(slot: Record, now: float) -> None:
    """Note the silence until `now`, as `Silence.by`."""
    if math.isnan(slot.silent_since):
        return
    gap = now - slot.silent_since
    if gap > PAUSE_S and (slot.has_paused or slot.announced):
        slot.paused_s += gap
    else:
        slot.longest_s = max(slot.longest_s, gap)


@lean
def _change_rx(slot: Record, terms: Record, now: float) -> None:
    if slot.keyed:
        _copy_context(slot.old, slot.rx)
        for place in range(MOST_MKI_BYTES):
            slot.old_mki[place] = slot.rx_mki[place]
        slot.old_until = now + GRACE_S
        for number in range(slot.source_count):
            source = slot.sources[number]
            source.before.index = source.now.index
            for place in range(len(source.now.recent)):
                source.before.recent[place] = source.now.recent[place]
            clear_state(source.now)
    _copy_context(slot.rx, terms.rx)


@inlined
def _copy_context(to: Record, source: Record) -> None:
    """Copy keys. `aes_at` stays: it says where they are."""
    to.session, to.tag_bytes, to.tag_length = source.session, source.tag_bytes, source.tag_length
    to.mki_bytes = source.mki_bytes
    to.salt_0, to.salt_4, to.salt_8, to.salt_10 = source.salt_0, source.salt_4, source.salt_8, source.salt_10
    for place in range(len(to.hmac)):
        to.hmac[place] = source.hmac[place]
    for place in range(len(to.aes)):
        to.aes[place] = source.aes[place]
