"""A file is there whole or not at all, and an error says what and why."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from trunkproof.loadgen.system.files import write_text, written_aside
from trunkproof.models.errors import StorageError


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_text(path, "old")
    with contextlib.suppress(ZeroDivisionError), written_aside(path) as aside:
        aside.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_text(path, "new")
    assert path.read_text() == "new"


def test_what_cannot_be_written_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"b/c cannot be written: No such file or directory"):
        write_text(tmp_path / "b" / "c", "")
