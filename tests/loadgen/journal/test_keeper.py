"""What a keeper was told is what its journal tells: records of every kind, health, readings and the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from trunkproof.loadgen.journal.keeper import keeping_journal
from trunkproof.loadgen.journal.reading import read_journal
from trunkproof.loadgen.meters.report import Sample
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.parties.call_book import NO_ROW
from trunkproof.loadgen.stack_events import StackEvent, StackEventKind
from trunkproof.loadgen.verdict import Measurements, judge
from trunkproof.models.errors import InputError
from trunkproof.models.records import Direction, Disposition, Record, to_frame


def record(row: int, disposition: Disposition = Disposition.STILL_UP) -> Record:
    return Record(
        row=row,
        call=row,
        attempt=0,
        trunk="α ; '\n",
        direction=Direction.OUTBOUND,
        disposition=disposition,
        intended_s=row / 3,
    )


def test_all_that_was_told_is_read_back(tmp_path: Path) -> None:
    whole = record(1, Disposition.COMPLETED)
    whole.sent_s, whole.ended_s, whole.reason, whole.redialled = 0.1 + 0.2, 1.5, 'a "reason"', True
    whole.rtp_received, whole.rtp_authenticated = 40, 39
    with keeping_journal(tmp_path / "a", "the run") as keeper:
        keeper.run_began(7.0, {"t": -0.5})
        keeper.attempt_began(record(1))
        keeper.attempt_began(record(2))
        keeper.attempt_ended(whole)
        keeper.metered([Sample(1.0, "kamailio", "cpu_s", 0.25)])
        keeper.stack_event(StackEvent(StackEventKind.DIED, "kamailio", 12.0, detail="killed by SIGKILL"), 3.0)
        keeper.measured(Measurements(lateness_s=[0.001], loop_lag_s=[0.2], cpu_share=0.1))
        keeper.measured(Measurements(lateness_s=[0.004], cpu_share=0.3, media_lateness_p99_ms=2.0, never_placed=1))
    found = read_journal(tmp_path / "a")
    # Record for record, to the last bit.
    assert_frame_equal(to_frame([found.records[1, 1]]), to_frame([whole]))
    assert found.records[2, 2].disposition is Disposition.STILL_UP
    assert (found.under_way, found.who, found.anchors, found.zero) == ({2}, "the run", {"t": -0.5}, 7.0)
    assert found.heard == Heard(40, 39)
    assert found.table.rows() == [(1.0, "kamailio", "cpu_s", 0.25)]
    assert found.troubles == ["kamailio killed by SIGKILL 3.0 s after plan zero"]
    expected = Measurements(
        lateness_s=[0.001, 0.004], loop_lag_s=[0.2], cpu_share=0.3, media_lateness_p99_ms=2.0, never_placed=1
    )
    assert judge(found.measured) == judge(expected)
    assert (found.result, found.last_s) == (None, 1.5)


def test_calls_that_no_plan_has_are_all_kept(tmp_path: Path) -> None:
    with keeping_journal(tmp_path / "a", "the run") as keeper:
        for call in (7, 8):
            keeper.attempt_ended(replace(record(NO_ROW, Disposition.COMPLETED), call=call))
    assert [one.call for one in read_journal(tmp_path / "a").records.values()] == [7, 8]


def test_a_journal_of_something_else_is_a_message(tmp_path: Path) -> None:
    from trunkproof.loadgen.journal.lines import Entry, EntryKind, encode

    (tmp_path / "a").write_bytes(encode([Entry(EntryKind.BEGAN, {"rows": 1})]))
    with pytest.raises(InputError, match="cannot be read"):
        read_journal(tmp_path / "a")
