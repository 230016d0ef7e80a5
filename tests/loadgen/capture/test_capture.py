"""The file of a capture: it is read as it was written, is its owner's alone, and a damaged one is said to be so."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from trunkproof.loadgen.capture.capture import (
    AudioPacket,
    Capture,
    CapturedCall,
    CapturedTrunk,
    Chunk,
    Message,
    Stream,
    prepare_folder,
    read_captures,
    write_capture,
)
from trunkproof.models.errors import InputError
from trunkproof.models.records import Direction, Disposition, Record

HERE, THERE = ("127.0.0.2", 5061), ("2001:db8::1", 443)
RECORD = Record(
    row=3,
    call=2,
    attempt=1,
    trunk="bank",
    direction=Direction.OUTBOUND,
    disposition=Disposition.DROPPED,
    intended_s=1.5,
    jitter_ms=0.25,
)


def capture_of(*rows: int) -> Capture:
    stream = Stream(HERE, THERE, True, "TLSv1.3", False, ("LABEL aa bb",), (Chunk(1.5, True, bytes(range(256))),))
    message = Message(2.0, False, HERE, THERE, b"SIP/2.0 200 OK\r\n\xff\r\n")
    audio = AudioPacket(3.0, True, HERE, THERE, b"\x80\x08")
    calls = [CapturedCall("bank", row, False, ("a@b",), RECORD, (message,), 0, (0,), (audio,)) for row in rows]
    return Capture(100.25, (CapturedTrunk("bank", "example", "example.test", "h:443"),), tuple(calls), (stream,))


def test_what_several_processes_wrote_is_read_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "capture"
    prepare_folder(folder)
    for index in range(2):
        write_capture(capture_of(index), folder, index)
    read = read_captures(folder)
    # Records are compared by identity.
    assert [repr(one.calls) for one in read] == [repr(capture_of(index).calls) for index in range(2)]
    assert [(one.zero_s, one.trunks, one.streams) for one in read] == [
        (one.zero_s, one.trunks, one.streams) for one in (capture_of(0), capture_of(1))
    ]


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "capture")
    write_capture(capture_of(0), tmp_path / "capture", 0)
    for path in (tmp_path / "capture", *(tmp_path / "capture").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_an_earlier_run_leaves_nothing_in_the_folder(tmp_path: Path) -> None:
    write_capture(capture_of(0), tmp_path, 7)
    prepare_folder(tmp_path)
    with pytest.raises(InputError, match="holds no capture"):
        read_captures(tmp_path)


def test_all_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "calls-0.json").write_text("{")
    (tmp_path / "calls-1.json").write_text('{"zero_s": 1}')
    with pytest.raises(InputError, match=r"calls-0\.json: is damaged(?s:.*)calls-1\.json: is damaged"):
        read_captures(tmp_path)
