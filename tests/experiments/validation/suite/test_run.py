"""The suite: its cells, its table kept in a file, its profiles, and two tiny ones run for real."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from trunkproof.experiments.cli.suites import SuitePages, rewrite_suite
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.result_folder import COMPARISON, PAGE
from trunkproof.experiments.validation.criteria import HOME
from trunkproof.experiments.validation.suite import run as suite_module
from trunkproof.experiments.validation.suite.cells import (
    Cell,
    State,
    Suite,
    played_cell,
    read_suite,
    write_suite,
)
from trunkproof.experiments.validation.suite.findings import NOTES
from trunkproof.experiments.validation.suite.run import PROFILES, run_suite, suite_exit_code
from trunkproof.loadgen.stacks.registry import STACKS
from trunkproof.models.errors import InputError, StackError
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import REFUSED_BY_TRUNK
from trunkproof.models.study import StackName
from trunkproof.models.study_file import read_study
from trunkproof.simulator.run import simulate

Saved = dict[str, Any]
ORIGIN = {"date": "2026-01-01T00:00:00+00:00", "command": "a test", "machine": {}, "versions": {}}
VOID = {"verdict": "void", "reasons": ["void: late"]}
TINY = """\
name: tiny {number}
duration_s: 4
pop:
  address: 127.0.46.{number}
trunk:
  customer_address: 127.0.45.{number}
  throttle: {{policy: {policy}, limit: 5, window_s: 2, retry_after_s: 1}}
traffic:
  arrivals: {{kind: poisson, rate_per_minute: 240}}
  holding: 1.0
  ringing: 0.1
"""


def tiny(folder: Path, number: int, policy: str = "fixed_window") -> Path:
    path = folder / f"{number:02d}_tiny.yaml"
    path.write_text(TINY.format(number=number, policy=policy))
    return path


def test_the_state_of_a_played_cell(saved: Saved) -> None:
    assert played_cell("x", saved).state is State.HOLDS
    assert played_cell("x", saved | {"agreement": 0.9}).state is State.MISSES
    assert played_cell("x", saved | {"interrupted": "the trunk is gone"}).state is State.CUT_SHORT
    void = played_cell("x", saved | {"generator": saved["generator"] | VOID})
    assert (void.state, void.criteria) == (State.VOID, ())


def test_a_cell_has_the_keys_of_its_comparison_and_its_own(saved: Saved) -> None:
    cell = played_cell("x", saved | {"agreement": 0.9})
    written = cell.to_json()
    assert set(saved) < set(written)
    assert written["state"] == "misses"
    assert written["misses"] == [f"agreement 90.00 % of {saved['attempts']}"]
    assert Cell.from_json(json.loads(json.dumps(written))) == cell


def test_a_cell_is_replaced_and_those_of_other_stacks_are_kept(saved: Saved, tmp_path: Path) -> None:
    old = Suite(ORIGIN, (played_cell("a", saved), Cell("asterisk", "a", "A", State.NOT_PLAYED, why=("cannot",))))
    write_suite(old.with_cell(played_cell("a", saved | {"agreement": 0.9})), tmp_path)
    table = read_suite(tmp_path)
    assert [(cell.stack, cell.state) for stack in table.stacks for cell in table.of(stack)] == [
        ("kamailio", State.MISSES),
        ("asterisk", State.NOT_PLAYED),
    ]
    assert list(tmp_path.iterdir()) == [tmp_path / "suite.json"]


def test_what_is_no_suite_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "suite.json").write_text('{"cells": [{}]}')
    with pytest.raises(InputError):
        read_suite(tmp_path)


def test_a_note_stands_on_the_run_that_it_was_written_about(tmp_path: Path) -> None:
    def cell(profile: str, started: str) -> Cell:
        comparison = {"kpis": {}, "provenance": {"started": started}}
        return Cell("asterisk", profile, profile, State.MISSES, comparison=comparison)

    write_suite(Suite(ORIGIN, (cell("a", "monday"), cell("b", "tuesday"), cell("c", "monday"))), tmp_path)
    (tmp_path / NOTES).write_text("asterisk: {a: {started: monday, note: x}, b: {started: monday, note: y}}")
    assert [one.note for one in read_suite(tmp_path).cells] == ["x", "", ""]


@pytest.mark.parametrize(
    ("states", "holds", "code"),
    [
        ([State.HOLDS], True, ExitCode.OK),
        ([State.HOLDS, State.NOT_PLAYED], True, ExitCode.OK),
        ([State.NOT_PLAYED], False, ExitCode.NO_TRUNK),
        ([State.HOLDS, State.VOID], False, ExitCode.VOID),
        ([State.MISSES, State.VOID], False, ExitCode.DISAGREE),
        ([State.CUT_SHORT, State.HOLDS], False, ExitCode.DISAGREE),
    ],
)
def test_how_a_suite_leaves(states: list[State], holds: bool, code: ExitCode) -> None:
    cells = tuple(Cell("kamailio", str(number), "", state) for number, state in enumerate(states))
    table = Suite(ORIGIN, cells)
    assert table.holds is holds
    assert suite_exit_code(table, ["kamailio"]) is code
    # A stack that was not asked for does not decide.
    with_other = table.with_cell(Cell("asterisk", "x", "", State.MISSES))
    assert suite_exit_code(with_other, ["kamailio"]) is code
    assert suite_exit_code(table, ["kamailio"], stopped=True) is ExitCode.INTERRUPTED


def test_two_tiny_profiles_run_for_real(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_suite_of_another_stack(out)
    heard: list[tuple[float, str]] = []
    table = asyncio.run(
        run_suite(
            ["embedded"],
            out,
            profiles=[tiny(tmp_path, 1), tiny(tmp_path, 2)],
            advance=lambda share, words: heard.append((share, words)),
            pages=SuitePages(),
            command="trunkproof validate --suite",
        )
    )
    assert [cell.profile for cell in table.of("embedded")] == ["01_tiny", "02_tiny"]
    for cell in table.of("embedded"):
        assert cell.comparison["provenance"]["command"] == "trunkproof validate --suite"
        assert (out / "embedded" / cell.profile / COMPARISON).exists()
        assert (out / "embedded" / cell.profile / PAGE).exists()
        assert len(cell.criteria) == len(HOME) or cell.state is State.VOID
    assert table.cell("kamailio", "01_tiny") is not None, "cells of other stacks are kept"
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert {words.partition(":")[0] for _, words in heard} == {"embedded, 01_tiny", "embedded, 02_tiny"}
    assert "embedded/01_tiny/report.html" in (out / "suite.html").read_text()
    assert rewrite_suite(out) == read_suite(out)


def write_suite_of_another_stack(out: Path) -> None:
    out.mkdir()
    write_suite(Suite(ORIGIN, (Cell("kamailio", "01_tiny", "tiny", State.NOT_PLAYED, why=("earlier",)),)), out)


def test_what_a_stack_cannot_play_is_not_played_with_its_own_objection(tmp_path: Path) -> None:
    table = asyncio.run(run_suite(["asterisk"], tmp_path / "out", profiles=[tiny(tmp_path, 3)]))
    (cell,) = table.cells
    assert cell.state is State.NOT_PLAYED
    assert any("retry_after_s" in why for why in cell.why)
    assert suite_exit_code(table, ["asterisk"]) is ExitCode.NO_TRUNK


def test_a_stack_that_does_not_start_is_not_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def missing(*args: Any, **options: Any) -> None:
        raise StackError("kamailio is not installed")

    monkeypatch.setattr(suite_module, "validate_async", missing)
    table = asyncio.run(run_suite(["embedded"], tmp_path / "out", profiles=[tiny(tmp_path, 3)]))
    assert table.cells[0].why == ("kamailio is not installed",)


def test_only_a_void_run_is_repeated_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: Saved) -> None:
    class Played:
        def __init__(self, saved: Saved) -> None:
            self.to_json = lambda: saved

    async def play(study: Any, folder: Path, **options: Any) -> Played:
        folder.mkdir(parents=True)
        verdicts.append(outcomes.pop(0))
        return Played(saved | {"stack": "embedded", "generator": saved["generator"] | verdicts[-1]})

    monkeypatch.setattr(suite_module, "validate_async", play)
    monkeypatch.setattr(suite_module, "PAUSE_S", 0.01)
    for number, outcomes in enumerate(([VOID, VOID], [VOID, {}], [{}])):
        expected, verdicts = len(outcomes), []
        out = tmp_path / str(number)
        table = asyncio.run(run_suite(["embedded"], out, profiles=[tiny(tmp_path, 3)]))
        assert len(verdicts) == expected
        assert table.cells[0].state is (State.VOID if verdicts[-1] else State.HOLDS)
        assert (out / "embedded" / "03_tiny-void").exists() is (expected == 2)
        assert ("the first run was VOID" in " ".join(table.cells[0].why)) is (expected == 2)


def test_once_stopped_no_other_run_is_begun(tmp_path: Path) -> None:
    async def stopped() -> Suite:
        stop = asyncio.Event()
        stop.set()
        return await run_suite(["embedded"], tmp_path / "out", profiles=[tiny(tmp_path, 3)], stop=stop)

    assert asyncio.run(stopped()).cells == ()


def test_a_run_that_the_user_cuts_short_does_not_replace_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: Saved
) -> None:
    class Interrupted:
        def to_json(self) -> Saved:
            return saved | {"interrupted": "interrupted 2.0 s after plan zero"}

    async def interrupted(study: Any, folder: Path, *, stop: asyncio.Event, **options: Any) -> Interrupted:
        folder.mkdir(parents=True)
        stop.set()
        return Interrupted()

    monkeypatch.setattr(suite_module, "validate_async", interrupted)
    paths = [tiny(tmp_path, 3), tiny(tmp_path, 4)]
    fresh = asyncio.run(run_suite(["kamailio"], tmp_path / "fresh", profiles=paths))
    assert [cell.state for cell in fresh.cells] == [State.CUT_SHORT]
    old = tmp_path / "old"
    whole = old / "kamailio" / "03_tiny"
    whole.mkdir(parents=True)
    (whole / COMPARISON).write_text("of the whole run")
    write_suite(Suite(ORIGIN, (played_cell("03_tiny", saved),)), old)
    kept = asyncio.run(run_suite(["kamailio"], old, profiles=paths))
    assert [cell.state for cell in kept.cells] == [State.HOLDS]
    assert [path.name for path in (old / "kamailio").iterdir()] == ["03_tiny"]
    assert (whole / COMPARISON).read_text() == "of the whole run"


def test_an_unknown_profile_is_named_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="99_none"):
        asyncio.run(run_suite(["embedded"], tmp_path, profiles=["01_below", "99_none"]))


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_profile_says_enough_and_this_machine_can_place_it(path: Path) -> None:
    study = read_study(path)
    records = simulate(study, draw_plan(study))
    assert 100 <= records.height <= 220, "98 % of fewer is no statement; more are no longer short"
    assert records["ended_s"].max() < 60
    refused = records["disposition"].is_in([kind.value for kind in REFUSED_BY_TRUNK]).sum()
    nothing_refused = {"01_below", "08_per_call", "09_reconnect", "12_rejections"}
    assert (refused == 0) is (path.stem in nothing_refused)


def test_every_stack_plays_eight_profiles() -> None:
    from trunkproof.loadgen.stacks.registry import check_playable

    def plays(stack: StackName, path: Path) -> bool:
        try:
            check_playable(read_study(path).on(stack))
        except InputError:
            return False
        return True

    for stack in STACKS:
        assert sum(plays(stack, path) for path in PROFILES.glob("*.yaml")) >= 8
