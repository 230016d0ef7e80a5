"""A folder of any name has a plain one while it is needed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from trunkproof.loadgen.system.names import plainly_named


@pytest.mark.parametrize("name", ["a b", "a;b", 'a"b', "a'b", "a\nb", "é", "x" * 90])
def test_an_odd_name_has_a_plain_link_that_is_removed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    with plainly_named(folder) as plain:
        (plain / "file").write_text("here")
        assert not set(str(plain)) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-")
        assert len(str(plain)) <= 80
    assert (folder / "file").read_text() == "here"
    assert not plain.exists()


def test_a_plain_name_stays() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, plainly_named(Path(folder)) as plain:
        assert plain == Path(folder)


def test_links_of_processes_that_were_killed_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    left = Path(f"/tmp/trunkproof-path-{2**30}-0")
    left.unlink(missing_ok=True)
    left.symlink_to(tmp_path)
    with plainly_named(tmp_path / "a b"):
        assert not left.is_symlink()
