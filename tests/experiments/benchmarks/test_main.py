"""All benchmarks in one run: `python -m trunkproof.experiments.benchmarks`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from trunkproof.experiments.benchmarks.__main__ import NAMES, run_one
from trunkproof.experiments.benchmarks.result import LATEST, Missing


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trunkproof.experiments.benchmarks", *words]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_a_part_runs_and_is_kept_where_asked(tmp_path: Path) -> None:
    before = LATEST.read_bytes() if LATEST.exists() else None
    done = _run("history_read", "--quick", "--out", str(tmp_path / "part.json"))
    assert done.returncode == 0, done.stderr
    kept = json.loads((tmp_path / "part.json").read_text())
    assert {row["name"].split(".")[0] for row in kept["rows"]} == {"history_read"}
    assert kept["quick"]
    assert (tmp_path / "part.md").read_text() in done.stdout
    assert (LATEST.read_bytes() if LATEST.exists() else None) == before


def test_an_unknown_name_is_answered_with_those_that_exist() -> None:
    done = _run("speed")
    assert done.returncode == 2
    assert all(name in done.stderr for name in NAMES)
    assert "Traceback" not in done.stderr


def test_one_that_breaks_is_told_as_missing() -> None:
    (result,) = run_one("no_such_module", quick=True)
    assert isinstance(result, Missing)
    assert "exit code 1" in result.why
