"""Compiled functions: Python's arithmetic, and machine code that is out of date once any file beside it is another."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.models.compiled import compiled, inlined, lean

PART = "from trunkproof.models.compiled import inlined\n\n\n@inlined\ndef part(x):\n    return x + {0}\n"
WHOLE = (
    "from trunkproof.models.compiled import lean\nfrom part import part\n\n\n@lean\ndef whole(x):\n    return part(x)\n"
)


@inlined
def _floor(left: float, right: float) -> float:
    return left // right


@lean
def _window(now: float, anchor: float, window_s: float) -> float:
    return _floor(now - anchor, window_s)


@compiled
def _summed(left: float, right: float) -> float:
    return left * right + left


@given(now=st.floats(0, 1e9), anchor=st.floats(-100, 100), window_s=st.floats(1e-6, 1e5))
def test_arithmetic_is_that_of_python_to_the_last_bit(now: float, anchor: float, window_s: float) -> None:
    assert _window(now, anchor, window_s) == (now - anchor) // window_s
    assert _summed(now, anchor) == now * anchor + now
    assert math.isnan(_summed(math.nan, 1.0))


def test_code_that_was_kept_is_not_used_once_a_part_of_it_is_another(tmp_path: Path) -> None:
    (tmp_path / "whole.py").write_text(WHOLE)
    for number in (1, 22, 333):
        (tmp_path / "part.py").write_text(PART.format(number))
        assert _said(tmp_path) == str(number)


def test_it_is_known_whether_code_is_kept(tmp_path: Path) -> None:
    (tmp_path / "whole.py").write_text(WHOLE)
    (tmp_path / "part.py").write_text(PART.format(1))
    asked = (
        "from trunkproof.models.compiled import is_kept; "
        "before = is_kept(whole); whole(0); print(before, is_kept(whole))"
    )
    assert _said(tmp_path, asked) == "False True"
    assert _said(tmp_path, asked) == "True True"
    (tmp_path / "part.py").write_text(PART.format(22))
    assert _said(tmp_path, asked) == "False True"


@pytest.mark.slow
def test_several_processes_that_compile_at_one_time_are_all_right(tmp_path: Path) -> None:
    (tmp_path / "whole.py").write_text(WHOLE)
    for number in (1, 22):
        (tmp_path / "part.py").write_text(PART.format(number))
        processes = [_begun(tmp_path, "print(whole(0))") for _ in range(3)]
        assert [_words(process) for process in processes] == [str(number)] * 3
    assert _said(tmp_path, "whole(0); print(sum(whole.stats.cache_hits.values()))") == "1"


def _said(folder: Path, code: str = "print(whole(0))") -> str:
    return _words(_begun(folder, code))


def _begun(folder: Path, code: str) -> subprocess.Popen[str]:
    command = f"import sys; sys.path[:0] = [{str(folder)!r}, '.package']; from whole import whole; {code}"
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", command], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _words(process: subprocess.Popen[str]) -> str:
    said, complaints = process.communicate()
    if process.returncode:
        pytest.fail(complaints)
    return said.strip()
