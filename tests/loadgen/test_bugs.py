"""Errors of our own: noted with their traceback and masked, once however often they are met, and written to a file."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from trunkproof.loadgen.bugs import FILE, MOST_KINDS, Bug, collecting_bugs, merged, note_bug, noting_bugs, write_bugs


def fail(text: str) -> None:
    raise KeyError(text)


def test_a_bug_is_collected_once_with_its_traceback_however_often_it_is_met(caplog: pytest.LogCaptureFixture) -> None:
    with collecting_bugs() as bugs, caplog.at_level(logging.ERROR):
        for call in range(3):
            with noting_bugs(f"call {call}"):
                fail("suite")
    (bug,) = bugs.found
    assert (bug.where, bug.error, bug.times) == ("call 0", "KeyError: 'suite'", 3)
    assert "in fail" in bug.traceback
    assert str(bug) == "call 0: KeyError: 'suite' (3 times)"
    # The log has it once too: a bug that each of a million calls meets must not fill the disk.
    assert len(caplog.records) == 1


def test_numbers_of_a_peer_are_masked_in_a_bug() -> None:
    with collecting_bugs() as bugs, noting_bugs("a call"):
        fail("sip:+919876543210@trunk")
    (bug,) = bugs.found
    assert "9876543210" not in bug.error + bug.traceback


def test_not_more_than_a_hundred_tracebacks_are_kept() -> None:
    with collecting_bugs() as bugs:
        for number in range(MOST_KINDS + 5):
            note_bug("a call", KeyError(number))
    assert len(bugs.found) == MOST_KINDS


def test_cancellation_is_no_bug() -> None:
    async def cancelled() -> None:
        with noting_bugs("a task"):
            await asyncio.Event().wait()

    async def run() -> None:
        task = asyncio.create_task(cancelled())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with collecting_bugs() as bugs:
        asyncio.run(run())
    assert bugs.found == ()


def test_bugs_of_several_processes_are_one_list() -> None:
    one, other = Bug("call 1", "KeyError: 7", "a", 2), Bug("call 9", "ValueError", "b")
    assert merged([[one], [other, one]]) == (Bug("call 1", "KeyError: 7", "a", 4), other)


def test_the_file_has_the_tracebacks_and_goes_when_there_are_none(tmp_path: Path) -> None:
    write_bugs([Bug("call 1", "KeyError: 7", "Traceback …")], tmp_path)
    assert (tmp_path / FILE).read_text(encoding="utf-8") == "call 1: KeyError: 7\nTraceback …"
    write_bugs([], tmp_path)
    assert not (tmp_path / FILE).exists()
