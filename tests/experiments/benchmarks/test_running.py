"""What measures: turns, processes of their own, and programs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from trunkproof.experiments.benchmarks.result import Missing, Result, figure
from trunkproof.experiments.benchmarks.running import (
    apart,
    each_apart,
    in_turns,
    main,
    peak_bytes,
    to_results,
    two_sides,
)

ROW, MISSING = figure("a.b", 1.0, "s", command="c"), Missing("a.c", "why")


def _measure(quick: bool) -> list[Result]:
    return [ROW] if quick else [ROW, MISSING]


def test_contenders_take_turns() -> None:
    order: list[str] = []
    results = in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b", "a", "b"]
    assert results == {"a": [None, None], "b": [None, None]}


def test_memory_of_a_process_of_its_own_is_its_own() -> None:
    """Not this one's peak, which is higher on purpose."""
    (_, small), (length, large) = apart(len, bytes(1)), apart(len, bytes(400 << 20))
    assert length == 400 << 20
    assert large.peak_bytes - small.peak_bytes > 350 << 20
    assert small.peak_bytes < peak_bytes() - (350 << 20)


def test_it_can_have_a_core_of_its_own() -> None:
    core = max(os.sched_getaffinity(0))
    assert apart(os.sched_getaffinity, 0, cores=(core,))[0] == {core}


def test_what_it_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        apart(int, "as asked")


def test_many_run_at_the_same_time() -> None:
    assert [result for result, _ in each_apart(abs, [(-1,), (-2,)])] == [1, 2]


def test_sides_share_no_core_where_there_are_two() -> None:
    near, far = two_sides()
    assert len(near) == len(far) == (1 if len(os.sched_getaffinity(0)) > 1 else 0)
    assert not set(near) & set(far)


def test_a_program_writes_its_rows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    monkeypatch.setattr(sys, "argv", ["program", "--json", str(path)])
    main(_measure, "what")
    assert to_results(json.loads(path.read_text())) == [ROW, MISSING]


def test_a_program_prints_its_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["program", "--quick"])
    main(_measure, "what")
    assert "| `a.b` | 1 | s |" in capsys.readouterr().out
