"""Write a stream's settings into its record, and read the report from it: the way into compiled code and out of it."""

from __future__ import annotations

import math
import socket
import struct
from typing import Any

import numpy as np

from trunkproof.loadgen.media.compiled.c import session_address
from trunkproof.loadgen.media.compiled.change import stop_silence
from trunkproof.loadgen.media.compiled.cipher import MASTER_BYTES, derive, protect
from trunkproof.loadgen.media.compiled.hear import expected
from trunkproof.loadgen.media.compiled.memory import (
    COMFORT,
    EVENT,
    NEVER,
    NO_LOSS_TOLD,
    OTHER,
    SLOT_BYTES,
    SOURCES_AT,
    VOICE,
    VOICE_A,
    Record,
    Records,
    new_terms,
    point_into_itself,
)
from trunkproof.loadgen.media.datagrams import Kind
from trunkproof.loadgen.media.g711 import Octets
from trunkproof.loadgen.media.report import MediaReport, score
from trunkproof.loadgen.media.rtp import DIGITS
from trunkproof.loadgen.media.sockets import Address, canonical, family_of
from trunkproof.loadgen.media.srtp import Cipher, PlainCipher, SrtpCipher
from trunkproof.loadgen.media.stream import COMFORT_NOISE, MediaStream
from trunkproof.loadgen.media.terms import MediaTerms
from trunkproof.loadgen.media.tones import number_of
from trunkproof.models.speech import Voiceprint

_INTERNET_4 = struct.Struct("=H2s4s24x")
_INTERNET_6 = struct.Struct("=H2s4x16s8x")
_COUNTS = (
    *(
        "sent",
        "keys_sent",
        "matched",
        "failed",
        "plain",
        "replayed",
        "late",
        "duplicate",
        "reordered",
        "jumped",
        "foreign",
        "echoed",
    ),
    *("unknown", "other_types", "early", "collided", "rtcp_received", "rtcp_failed", "rtcp_muxed", "rtp_on_rtcp"),
    *("stray", "rtcp_stray", "given_up", "unsent"),
)
"""Fields of the report that the record has by the same names."""
_NEVER_YET = ["last_event", "rtp_fd", "rtcp_fd", "event_type", "block_next", "chord"]


def reset(slots: Records, number: int) -> None:
    """Reset a record for a new stream."""
    # Not the sources: each is reset when it is first heard, and most are never used.
    slots.view(np.uint8).reshape(-1, SLOT_BYTES)[number, :SOURCES_AT] = 0
    slot = slots[number]
    point_into_itself(slots, number)
    # Zero is a valid value of these, so they need one that says "nothing yet".
    for name in _NEVER_YET:
        slot[name] = NEVER
    slot["answered"], slot["silent_since"] = math.inf, math.nan
    slot["old_until"] = slot["moved_until"] = slot["guessed_until"] = -math.inf
    # The loss may be negative, so it needs its own "nothing".
    slot["remote_lost"] = NO_LOSS_TOLD
    # It has no turn until `enter`, so the pump leaves it alone.
    slot["turn"] = NEVER


def describe(slot: Record, stream: MediaStream, rtp: socket.socket | None, rtcp: socket.socket | None) -> None:
    """Write a fresh stream's settings into its record."""
    if rtp is not None and rtcp is not None:
        slot["rtp_fd"], slot["rtcp_fd"] = rtp.fileno(), rtcp.fileno()
    slot["side"], slot["row"], slot["tone_number"] = stream.side, stream.row, number_of(stream.row)
    slot["reads_tones"], slot["hopping"] = stream.voiceprint is Voiceprint.TONES, stream.hops
    slot["ssrc"] = stream.ssrc
    slot["first_sequence"], slot["first_timestamp"] = stream.first_sequence, stream.first_timestamp
    # Random already, so that the reports of different streams do not come in step.
    slot["random_state"] = stream.first_timestamp & 0x7FFFFFFF
    slot["next_report_ns"] = int(stream.next_report * 1e9)


def write_terms(
    c: Record,
    record: Record,
    work: Record,
    terms: MediaTerms,
    before: Cipher | None,
    payloads: Octets | None,
    *,
    early: bool,
) -> None:
    """Write terms into a record of `TERMS`. `before` is the cipher of the terms before them.

    The cipher and the payloads must live as long as the stream follows the terms.

    Raises:
        OSError, OverflowError: a remote address cannot be one.
    """
    if terms.remote is not None and terms.remote_rtcp is not None:
        # In the kernel's own form, so that a sender is compared with few words and no conversion.
        peers = _to_bytes(canonical(terms.remote)) + _to_bytes(canonical(terms.remote_rtcp))
        record["peers"] = np.frombuffer(peers, np.int64)
        record["words"] = 1 if family_of(terms.remote[0]) is socket.AF_INET else 3
        record["known"], record["muxed"] = 1, terms.remote == terms.remote_rtcp
    else:
        record["known"] = 0
    types = record["types"]
    types[:] = OTHER
    types[COMFORT_NOISE] = COMFORT
    for payload_type in terms.heard_types:
        types[payload_type] = VOICE_A if payload_type in terms.a_law_types else VOICE
    if terms.heard_event_type is not None:
        types[terms.heard_event_type] = EVENT
    record["payload_type"] = terms.payload_type
    record["event_type"] = NEVER if terms.sent_event_type is None else terms.sent_event_type
    record["sends"], record["hears"], record["early"] = terms.sends, terms.hears, early
    record["echoes"] = terms.echoes
    record["payloads"] = 0 if payloads is None else len(payloads)
    record["payloads_at"] = 0 if payloads is None else payloads.ctypes.data
    set_keys(c, record, work, terms.cipher, before)


def _to_bytes(address: Address) -> bytes:
    host, port = address
    family = family_of(host)
    packed = _INTERNET_4 if family is socket.AF_INET else _INTERNET_6
    return packed.pack(family, port.to_bytes(2, "big"), socket.inet_pton(family, host))


def set_keys(c: Record, record: Record, work: Record, cipher: Cipher, before: Cipher | None = None) -> None:
    """Have packets encrypted as `cipher` does it. The cipher must live as long as the stream is served."""
    record["rx_changed"] = before is None or before.hears_with != cipher.hears_with
    record["tx_changed"] = before is None or not isinstance(before, SrtpCipher) or not isinstance(cipher, SrtpCipher)
    for name in ("tx", "rx"):
        record[name]["session"] = record[name]["tag_bytes"] = record[name]["mki_bytes"] = 0
    if type(cipher) is PlainCipher:
        return
    if not isinstance(cipher, SrtpCipher):
        raise TypeError(f"compiled code cannot call {cipher!r}")
    if isinstance(before, SrtpCipher):
        record["tx_changed"] = before.tx is not cipher.tx
    keys = (("tx", cipher.tx, cipher.tx_key, cipher.tx_mki), ("rx", cipher.rx, cipher.rx_key, cipher.rx_mki))
    for name, session, key, mki in keys:
        context = record[name]
        # Only an address: if Python freed the session, compiled code would read freed memory.
        context["session"] = session_address(session)
        work["data"][work["scratch"] :][:MASTER_BYTES] = np.frombuffer(key, np.uint8)
        derive(c, context, work, cipher.tag_bytes)
        context["tag_length"], context["mki_bytes"] = cipher.tag_bytes, len(mki)
        record[f"{name}_mki"][: len(mki)] = np.frombuffer(mki, np.uint8)


def encrypts_as_libsrtp(c: Record, work: Record) -> bool:
    """Return whether our encryption of a packet equals libsrtp's.

    We call internal functions of OpenSSL, which another version may change without notice.
    """
    cipher = SrtpCipher(bytes(range(MASTER_BYTES)), bytes(MASTER_BYTES), "AES_CM_128_HMAC_SHA1_80")
    packet = b"\x80\x08\x01\x02" + bytes(range(168))
    terms = new_terms()[0]
    set_keys(c, terms, work, cipher)
    out = work["data"][work["out"] :]
    out[: len(packet)] = np.frombuffer(packet, np.uint8)
    size = protect(c, terms["tx"], work, len(packet), 0x0102)
    return bytes(out[:size]) == cipher.protect(packet)


def report_of(slot: Record, now: float) -> MediaReport:
    """Return all counts of a stream that the pump no longer serves, for a call that ends at `now`."""
    sources = slot["sources"][: slot["source_count"]]
    wanted = int(slot["forgotten_expected"]) + sum(expected(source) for source in sources)
    received = int(slot["forgotten_received"]) + sum(int(source["received"]) for source in sources)
    lost, late, told = wanted - received, int(slot["late"]), int(slot["remote_lost"])
    # The report must not change the record: silence may go on.
    still = slot.copy()
    stop_silence(still, now)
    counts: dict[str, Any] = {name: int(slot[name]) for name in _COUNTS}
    counts |= {kind.name.lower(): int(slot["kinds"][kind]) for kind in Kind if kind not in {Kind.RTP, Kind.RTCP}}
    return MediaReport(
        received=int(slot["arrived"]),
        authenticated=int(slot["authentic"]),
        lost=lost,
        sources=int(slot["sources_heard"]),
        jitter_ms=1000 * float(sources[slot["current"]]["jitter"]) if len(sources) else 0.0,
        round_trip_ms=1000 * float(slot["round_trips_s"]) / int(slot["timed"]) if slot["timed"] else None,
        silence_s=float(still["longest_s"]),
        paused_s=float(still["paused_s"]),
        mos=score(lost + late, wanted),
        remote_lost=None if told == NO_LOSS_TOLD else told,
        digits="".join(DIGITS[key] for key in slot["digits"][: slot["digit_count"]]),
        **counts,
    )
