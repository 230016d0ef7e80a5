"""Asterisk is found where it is, and its absence told with what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from trunkproof.loadgen.stacks.asterisk.find import UNPACKED, VARIABLE, Installation, find_asterisk
from trunkproof.models.errors import StackError

FETCH = Path(__file__).parents[4] / ".ci" / "fetch-suite"


def _plant(folder: Path, *, loader: bool = True) -> Path:
    library = folder / "usr/lib/some-triplet"
    for name in ("usr/sbin/asterisk", "usr/lib/some-triplet/ld-linux.so.2"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if loader or "ld-linux" not in name:
            (folder / name).touch()
    (library / "asterisk/modules").mkdir(parents=True)
    (folder / "usr/share/asterisk/documentation").mkdir(parents=True)
    return folder


def test_an_unpacked_one_is_started_by_its_own_loader(tmp_path: Path) -> None:
    root = _plant(tmp_path / "unpacked")
    found = find_asterisk({VARIABLE: str(root)}, system=tmp_path, unpacked=tmp_path)
    library = root / "usr/lib/some-triplet"
    assert found.command == (
        str(library / "ld-linux.so.2"),
        "--library-path",
        f"{library}:{library / 'asterisk'}",
        str(root / "usr/sbin/asterisk"),
    )
    assert found.modules == library / "asterisk/modules"


def test_the_named_one_comes_before_the_installed_one_and_that_before_the_checkouts(tmp_path: Path) -> None:
    named, system, checkout = (_plant(tmp_path / name) for name in ("named", "system", "checkout"))

    def found(**environment: str) -> Installation:
        return find_asterisk(environment, system=system, unpacked=checkout)

    assert found(**{VARIABLE: str(named)}).modules.is_relative_to(named)
    assert found().command == (str(system / "usr/sbin/asterisk"),)
    assert find_asterisk({}, system=tmp_path, unpacked=checkout).modules.is_relative_to(checkout)


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="make asterisk"):
        find_asterisk({}, system=tmp_path, unpacked=tmp_path)
    broken = _plant(tmp_path / "broken", loader=False)
    with pytest.raises(StackError, match=f"{VARIABLE} names .*broken"):
        find_asterisk({VARIABLE: str(broken)}, system=tmp_path, unpacked=tmp_path)


def test_what_is_unpacked_already_is_not_fetched_again(tmp_path: Path) -> None:
    # Were it to look for this package, it would fail.
    (tmp_path / "unpacked").write_text("sid: no-such-package\n")
    done = subprocess.run([FETCH, tmp_path, "no-such-package"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert UNPACKED.parts[-3:] == (".stacks", "asterisk", "root")
