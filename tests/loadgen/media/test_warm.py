"""Compiling the pump before it is needed, in a process of its own; and two processes that compile it at one time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trunkproof.loadgen.media.pump import VARIABLE
from trunkproof.loadgen.media.warm import pump_compiled
from trunkproof.models.errors import InputError

ROOT = Path(__file__).parents[3]
KEPT = """\
import asyncio
from trunkproof.loadgen.media.warm import _is_kept, pump_compiled

async def main():
    before = _is_kept()
    async with pump_compiled():
        pass
    print(before, _is_kept())

asyncio.run(main())
"""
# Whole calls over real sockets through a pump that must be compiled first.
CALL = (
    "-qp",
    "no:cacheprovider",
    "tests/loadgen/media/test_pump.py::test_whole_calls_beside_each_other_hear_only_their_own[compiled]",
)
THEN_CALL = f"\nimport sys, pytest\nsys.stdout.flush()\nsys.exit(pytest.main({list(CALL)}))\n"


def _begun(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _said(process: subprocess.Popen[str]) -> str:
    words, _ = process.communicate(timeout=300)
    assert process.returncode == 0, words
    return words


@pytest.mark.slow
def test_two_processes_may_compile_at_one_time_and_both_carry_calls(tmp_path: Path) -> None:
    both = (_begun(tmp_path, "-m", "pytest", *CALL), _begun(tmp_path, "-c", f"{KEPT}{THEN_CALL}"))
    by_itself, beside = map(_said, both)
    assert "1 passed" in by_itself
    assert beside.startswith("False True")
    assert "1 passed" in beside
    # What they left is whole: the next process finds it, and carries a call with it.
    after = _said(_begun(tmp_path, "-c", f"{KEPT}{THEN_CALL}"))
    assert after.startswith("True True")
    assert "1 passed" in after


def test_a_block_that_fails_waits_for_nothing(tmp_path: Path) -> None:
    code = KEPT.replace("        pass", "        raise SystemExit('stopped')")
    process = _begun(tmp_path, "-c", code)
    assert process.communicate(timeout=300)[0].strip() == "stopped"
    assert process.returncode == 1


def test_a_misspelt_pump_is_told_before_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    async def enter() -> None:
        async with pump_compiled():
            raise AssertionError("entered")

    monkeypatch.setenv(VARIABLE, "compield")
    with pytest.raises(InputError, match="did you mean compiled"):
        asyncio.run(enter())
