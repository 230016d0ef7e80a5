"""What a recorder keeps: failed calls by their kind, the slowest of the others, and no more than its bounds."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import cast

from trunkproof.loadgen.capture.options import CaptureOptions
from trunkproof.loadgen.capture.recorder import Recorder, StreamRecorder
from trunkproof.loadgen.capture.secrets import TlsSecrets
from trunkproof.loadgen.media.tap import MediaTap
from trunkproof.loadgen.tls.connection import Connection
from trunkproof.models.records import Direction, Disposition, Record

INVITE = b"INVITE sip:x SIP/2.0\r\nCall-ID: %d@here\r\nCSeq: 1 INVITE\r\n\r\n"
ANSWER = b"SIP/2.0 %d Word\r\ni: %d@here\r\nCSeq: 1 INVITE\r\n\r\n"


class FakeConnection:
    """All that a recorder asks of a connection."""

    local, peer = ("127.0.0.2", 40_000), ("127.0.0.1", 443)
    version, cipher = "TLSv1.3", "AES"
    tap: StreamRecorder | None = None


CONNECTION = cast("Connection", FakeConnection())


def recorder(options: CaptureOptions | None = None) -> Recorder:
    return Recorder(options or CaptureOptions(Path("nowhere")), TlsSecrets())


def record(row: int, disposition: Disposition = Disposition.COMPLETED, wait_s: float = 0.1) -> Record:
    return Record(
        row=row,
        call=row,
        attempt=0,
        trunk="bank",
        direction=Direction.OUTBOUND,
        disposition=disposition,
        intended_s=1.0,
        sent_s=1.0,
        ringing_s=1.0 + wait_s,
    )


def place(to: Recorder, row: int, disposition: Disposition = Disposition.COMPLETED, wait_s: float = 0.1) -> None:
    to.begin("bank", row, f"{row}@here")
    to.message("bank", CONNECTION, INVITE % row, sent=True)
    to.message("bank", CONNECTION, ANSWER % (200, row), sent=False)
    to.audio(row, ("127.0.0.2", 50_000), to.tap())
    to.ended(record(row, disposition, wait_s))


def rows(of: Recorder) -> list[int]:
    return [call.row for call in of.result(0.0, ()).calls]


def test_the_first_of_each_failure_and_the_slowest_of_the_others_are_kept() -> None:
    kept = recorder(CaptureOptions(Path("nowhere"), per_disposition=2, slowest=3))
    for row in range(100):
        place(kept, row, wait_s=abs(row - 50.1) / 1000)
    for row in range(100, 110):
        place(kept, row, Disposition.THROTTLED)
    place(kept, 110, Disposition.MEDIA_FAILED)
    # The slowest first.
    assert rows(kept) == [100, 101, 110, 0, 1, 99]


def test_a_long_run_stays_flat() -> None:
    kept = recorder()
    for row in range(2000):
        place(kept, row, list(Disposition)[row % 2])
    gc.collect()
    taps = sum(isinstance(one, MediaTap) for one in gc.get_objects())
    options = CaptureOptions(Path("nowhere"))
    assert taps <= options.per_disposition + options.slowest + 1
    assert len(kept._by_id) == options.per_disposition + options.slowest
    assert not kept._by_row


def test_the_messages_of_one_call_have_a_bound_and_the_others_are_counted() -> None:
    kept = recorder(CaptureOptions(Path("nowhere"), message_bytes=10 * len(INVITE % 1)))
    kept.begin("bank", 1, "1@here")
    for _ in range(25):
        kept.message("bank", CONNECTION, INVITE % 1, sent=True)
    (call,) = kept.result(0.0, ()).calls
    assert (len(call.messages), call.messages_left_out) == (10, 15)


def test_a_stream_ends_with_the_first_byte_that_has_no_room() -> None:
    kept = recorder(CaptureOptions(Path("nowhere"), stream_bytes=1000))
    stream = kept.stream(calls_out=True)
    stream.began(CONNECTION)
    for size in (600, 600, 100):
        stream.note(bytes(size), sent=True)
    (result,) = kept.result(0.0, ()).streams
    assert [len(chunk.data) for chunk in result.chunks] == [600]
    assert not result.complete


def test_a_redirected_attempt_is_one_call_with_two_call_ids() -> None:
    kept = recorder()
    kept.begin("bank", 1, "1@here")
    kept.message("bank", CONNECTION, INVITE % 1, sent=True)
    kept.begin("bank", 1, "2@here")
    kept.message("bank", CONNECTION, INVITE % 2, sent=True)
    kept.ended(record(1, Disposition.BUSY))
    (call,) = kept.result(0.0, ()).calls
    assert call.call_ids == ("1@here", "2@here")
    assert len(call.messages) == 2


def test_an_attempt_without_a_connection_is_kept_with_its_failed_handshake() -> None:
    kept = recorder()
    kept.stream(calls_out=True).note(b"hello", sent=True)
    kept.ended(record(1, Disposition.CONNECTION_FAILED))
    result = kept.result(0.0, ())
    assert [call.messages for call in result.calls] == [()]
    assert [stream.tls for stream in result.streams] == [""]


def test_inbound_calls_are_kept_by_their_status_planned_or_not() -> None:
    kept = recorder(CaptureOptions(Path("nowhere"), slowest=2))
    for row in range(5):
        kept.message("bank", CONNECTION, INVITE % row, sent=False)
        kept.begin("bank", row, f"{row}@here", inbound=True)
        kept.message("bank", CONNECTION, ANSWER % (486 if row == 0 else 200, row), sent=True)
        kept.left(row)
    # To a number that nobody planned.
    for row in range(100, 300):
        kept.message("bank", CONNECTION, INVITE % row, sent=False)
        kept.message("bank", CONNECTION, ANSWER % (404, row), sent=True)
    kept.message("bank", CONNECTION, b"OPTIONS sip:x SIP/2.0\r\nCall-ID: 9@here\r\n\r\n", sent=False)
    found = rows(kept)
    assert found[:3] == [0, 3, 4]
    assert set(found[3:]) == {-1}
    assert len(found) == 53
