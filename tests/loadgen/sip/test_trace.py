"""The trace file: whole messages, masked, for its owner only."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from trunkproof.loadgen.sip.message import Request, serialize
from trunkproof.loadgen.sip.parser import StreamParser
from trunkproof.loadgen.sip.trace import open_trace

KEY = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
INVITE = serialize(
    Request("INVITE", "sip:+919812345678@h", [("Via", "SIP/2.0/TLS h")], f"a=crypto:1 X inline:{KEY}|2^20\r\n".encode())
)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_no_key_and_no_number_shows_wherever_a_read_ends(tmp_path: Path, size: int) -> None:
    path = tmp_path / "trace.txt"
    with open_trace(path) as trace:
        assert trace is not None
        parser = StreamParser(observe=lambda data: trace("received", data))
        for begin in range(0, 2 * len(INVITE), size):
            parser.receive_data((INVITE + INVITE)[begin : begin + size])
            while parser.next_message() is not None:
                pass
    text = path.read_text()
    assert text.count("inline:***") == text.count("INVITE sip:+91********78@h") == 2
    assert not any(KEY[at : at + 6] in text for at in range(len(KEY) - 6))


def test_only_its_owner_may_read_it_also_where_there_was_a_file(tmp_path: Path) -> None:
    for name in ("new.txt", "old.txt"):
        path = tmp_path / name
        if name == "old.txt":
            path.write_text("before")
            path.chmod(0o644)
        with open_trace(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text() == ""
