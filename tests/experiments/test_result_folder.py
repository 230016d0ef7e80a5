"""A result folder is used by one command at a time, and holds one result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trunkproof.experiments.common.result_folder import EARLIER, LOCK, MEASURED, TRUNK, open_results
from trunkproof.models.errors import InputError

HOLDING = """
import sys
from pathlib import Path
from trunkproof.experiments.common.result_folder import open_results
with open_results(Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_two_commands_cannot_use_one_folder_and_a_killed_one_frees_it(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    command = (sys.executable, "-c", HOLDING, str(folder))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(InputError, match=f"is in use by process {holder.pid}"), open_results(folder):
            pass
        holder.kill()
    with open_results(folder):
        pass


def test_an_earlier_result_is_moved_away_whole_and_only_once(tmp_path: Path) -> None:
    for number in range(3):
        with open_results(tmp_path) as folder:
            with folder.writing(MEASURED) as path:
                path.write_text(str(number))
            (folder / TRUNK).mkdir()
            (tmp_path / "notes.txt").write_text("the user's own")
            names = {LOCK, MEASURED, TRUNK, "notes.txt"} | ({EARLIER} if number else set())
            assert {path.name for path in tmp_path.iterdir()} == names
    assert (tmp_path / EARLIER / MEASURED).read_text() == "1"
    assert {path.name for path in (tmp_path / EARLIER).iterdir()} == {MEASURED, TRUNK}


def test_a_folder_that_cannot_be_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written to"), open_results(tmp_path / "file"):
        pass
