"""Write a stream's settings into its record, and read the report from it: the way into compiled code and out of it."""

from __future__ import annotations

import math
import socket
import struct

import numpy as np

from trunkproof.loadgen.media.compiled.c import session_address
from trunkproof.loadgen.media.compiled.cipher import MASTER_BYTES, derive, protect
from trunkproof.loadgen.media.compiled.memory import NEVER, NO_LOSS_TOLD, SLOT, Record, Records, point_into_itself
from trunkproof.loadgen.media.rtp import DIGITS
from trunkproof.loadgen.media.sockets import Address
from trunkproof.loadgen.media.srtp import Cipher, PlainCipher, SrtpCipher
from trunkproof.loadgen.media.stream import MediaReport, MediaStream, score

_INTERNET_ADDRESS = struct.Struct("=H2s4s8x")
_NOT_YET = ["first", "highest", "timestamp", "remote_ssrc", "last_event", "rtp_fd", "rtcp_fd", "event_type"]
_NEVER_S = ["first_arrival", "last_arrival", "transit", "origin"]


def reset(slots: Records, number: int) -> None:
    """Reset a record for a new stream."""
    slots[number : number + 1] = np.zeros(1, SLOT)
    slot = slots[number]
    point_into_itself(slots, number)
    # Zero is a valid value of these, so they need one that says "nothing yet".
    for name in _NOT_YET:
        slot[name] = NEVER
    for name in _NEVER_S:
        slot[name] = math.nan
    # `highest` begins at 0, as in ReceptionStatistics. `remote_lost` may be negative, so it needs its own "nothing".
    slot["highest"], slot["remote_lost"] = 0, NO_LOSS_TOLD
    # It has no turn until `enter`, so the pump leaves it alone.
    slot["turn"] = NEVER
    slot["rx"]["ssrc"], slot["recent"] = NEVER, NEVER


def describe(
    slot: Record,
    stream: MediaStream,
    rtp: socket.socket,
    rtcp: socket.socket,
    remote: Address,
    remote_rtcp: Address,
) -> None:
    """Write a fresh stream's settings into its record."""
    slot["rtp_fd"], slot["rtcp_fd"] = rtp.fileno(), rtcp.fileno()
    # In the kernel's own form, so that a sender is compared with two words and no conversion.
    slot["peers"] = np.frombuffer(_to_bytes(remote) + _to_bytes(remote_rtcp), np.int64)
    slot["side"], slot["row"] = stream.side, stream.row
    slot["ssrc"] = stream.ssrc
    slot["first_sequence"], slot["first_timestamp"] = stream.first_sequence, stream.first_timestamp
    slot["payload_type"] = stream.payload_type
    slot["event_type"] = NEVER if stream.event_type is None else stream.event_type
    # Random already, so that the reports of different streams do not come in step.
    slot["random_state"] = stream.first_timestamp & 0x7FFFFFFF
    slot["next_report_ns"] = int(stream.next_report * 1e9)


def _to_bytes(address: Address) -> bytes:
    host, port = address
    return _INTERNET_ADDRESS.pack(socket.AF_INET, port.to_bytes(2, "big"), socket.inet_aton(host))


def set_keys(c: Record, slot: Record, work: Record, cipher: Cipher) -> None:
    """Have a record's packets encrypted as `cipher` does it. The cipher must live as long as the stream is served."""
    if type(cipher) is PlainCipher:
        return
    if not isinstance(cipher, SrtpCipher):
        raise TypeError(f"compiled code cannot call {cipher!r}")
    for name, session, key in (("tx", cipher.tx, cipher.tx_key), ("rx", cipher.rx, cipher.rx_key)):
        # Only an address: if Python freed the session, compiled code would read freed memory.
        slot[name]["session"] = session_address(session)
        work["data"][work["scratch"] :][:MASTER_BYTES] = np.frombuffer(key, np.uint8)
        derive(c, slot[name], work, cipher.tag_bytes)


def encrypts_as_libsrtp(c: Record, slot: Record, work: Record) -> bool:
    """Return whether our encryption of a packet equals libsrtp's.

    We call internal functions of OpenSSL, which another version may change without notice.
    """
    cipher = SrtpCipher(bytes(range(MASTER_BYTES)), bytes(MASTER_BYTES), "AES_CM_128_HMAC_SHA1_80")
    packet = b"\x80\x08\x01\x02" + bytes(range(168))
    set_keys(c, slot, work, cipher)
    out = work["data"][work["out"] :]
    out[: len(packet)] = np.frombuffer(packet, np.uint8)
    size = protect(c, slot["tx"], work, len(packet), 0x0102)
    for name in ("tx", "rx"):
        # The sessions end with this function, and nothing may point to them.
        slot[name]["session"] = 0
    return bytes(out[:size]) == cipher.protect(packet)


def report_of(slot: Record, stream: MediaStream, now: float) -> MediaReport:
    """Return all counts of a stream that the pump no longer serves, for a call that ends at `now`."""
    expected = int(slot["highest"] - slot["first"]) + 1 if slot["first"] != NEVER else 0
    received, duplicate, late = int(slot["received"]), int(slot["duplicate"]), int(slot["late"])
    lost, told = expected - received, int(slot["remote_lost"])
    return MediaReport(
        sent=int(slot["sent"]),
        received=int(slot["arrived"]),
        authenticated=received + duplicate,
        failed=int(slot["failed"]),
        plain=int(slot["plain"]),
        replayed=int(slot["replayed"]),
        lost=lost,
        late=late,
        duplicate=duplicate,
        reordered=int(slot["reordered"]),
        foreign=int(slot["foreign"]),
        echoed=int(slot["echoed"]),
        unknown=int(slot["unknown"]),
        jitter_ms=1000 * float(slot["jitter"]),
        silence_s=_silence_s(slot, stream.started, now),
        mos=score(lost + late, expected),
        remote_lost=None if told == NO_LOSS_TOLD else told,
        rtcp_received=int(slot["rtcp_received"]),
        rtcp_failed=int(slot["rtcp_failed"]),
        digits="".join(DIGITS[key] for key in slot["digits"][: slot["digit_count"]]),
        stray=int(slot["stray"]),
        given_up=int(slot["given_up"]),
    )


def _silence_s(slot: Record, started: float, now: float) -> float:
    first, last = float(slot["first_arrival"]), float(slot["last_arrival"])
    # Nothing came at all, so the whole call was silent.
    if math.isnan(last):
        return now - started
    return max(first - started, float(slot["longest_gap_s"]), now - last)
