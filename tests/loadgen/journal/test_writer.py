"""What is added is in the file within a fifth of a second, whatever becomes of the process or the disk."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trunkproof.loadgen.journal.lines import EntryKind, JournalReader
from trunkproof.loadgen.journal.writer import Journal, flush_all
from trunkproof.models.errors import StorageError

KILLED_WHILE_WRITING = """
import sys, time
from pathlib import Path
from trunkproof.loadgen.journal.lines import EntryKind
from trunkproof.loadgen.journal.writer import Journal
journal, number = Journal(Path(sys.argv[1]), "a test"), 0
while True:
    journal.add(EntryKind.METERS, [number, time.monotonic()])
    number += 1
    if number == 2000:
        print("ready", flush=True)
    time.sleep(0.0005)
"""


def values(path: Path) -> list[object]:
    return [entry.value for entry in JournalReader(path).read_new() if entry.kind is not EntryKind.PROCESS]


def test_a_process_that_is_killed_loses_less_than_a_second(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.jsonl"
    command = (sys.executable, "-c", KILLED_WHILE_WRITING, str(path))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    found = values(path)
    # None is missing in the middle. Each entry has its instant, so the last one tells how far behind the file was.
    assert [number for number, _ in found] == list(range(len(found)))  # type: ignore[misc]
    # 2,000 entries took more than a second.
    assert len(found) > 100


def test_what_waits_is_written_at_the_end_and_on_demand(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a", "a test")
    journal.add(EntryKind.METERS, 1)
    flush_all()
    assert values(tmp_path / "a") == [1]
    journal.add(EntryKind.METERS, 2)
    journal.close()
    journal.close()
    assert values(tmp_path / "a") == [1, 2]


def test_one_file_is_the_journal_of_one_run(tmp_path: Path) -> None:
    Journal(tmp_path / "a", "a test").close()
    with pytest.raises(StorageError, match="exists"):
        Journal(tmp_path / "a", "another")


def test_a_full_disk_is_told_once_and_nothing_is_lost_when_there_is_room_again(tmp_path: Path) -> None:
    told: list[OSError] = []
    journal = Journal(tmp_path / "a", "a test", told.append)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # A file that may not grow takes a part of what is written, as a full disk does.
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "a").stat().st_size + 10, before[1]))
        for number in range(50):
            journal.add(EntryKind.METERS, number)
            journal.flush()
        assert [error.errno for error in told] == [errno.EFBIG]
        assert values(tmp_path / "a") == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    journal.close()
    assert values(tmp_path / "a") == list(range(50))


def test_no_room_for_the_file_itself_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(StorageError, match="a/b cannot be written"):
        Journal(tmp_path / "a" / "b", "a test")


def test_its_descriptor_is_not_handed_to_programs(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a", "a test")
    opened = [int(link.name) for link in Path("/proc/self/fd").iterdir() if link.resolve() == tmp_path / "a"]
    assert [os.get_inheritable(number) for number in opened] == [False]
    journal.close()
