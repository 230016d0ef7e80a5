"""The lock of an open file, on systems with either of the two ways, and on one with none."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from trunkproof.loadgen.system.locks import lock_file


def test_a_second_holder_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("ab") as first, (tmp_path / "lock").open("ab") as second:
        lock_file(first.fileno())
        with pytest.raises(BlockingIOError):
            lock_file(second.fileno())


def test_windows_locks_a_byte_that_nobody_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As its documentation says: `msvcrt.locking` locks from the present position, and fails with EACCES."""
    taken: set[tuple[int, int]] = set()

    def locking(descriptor: int, mode: int, count: int) -> None:
        place = files[descriptor].tell(), count
        if place in taken:
            raise PermissionError(errno.EACCES, "Permission denied")
        taken.add(place)

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    with (tmp_path / "lock").open("ab", buffering=0) as first, (tmp_path / "lock").open("ab", buffering=0) as second:
        files = {one.fileno(): one for one in (first, second)}
        first.write(b"4711")
        lock_file(first.fileno())
        with pytest.raises(BlockingIOError):
            lock_file(second.fileno())
    ((start, _),) = taken
    assert start > (tmp_path / "lock").stat().st_size


def test_a_system_without_locks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fcntl", "msvcrt"):
        monkeypatch.setitem(sys.modules, name, None)
    with (tmp_path / "lock").open("ab") as file, pytest.raises(OSError, match="lock") as told:
        lock_file(file.fileno())
    assert told.value.errno == errno.ENOLCK
