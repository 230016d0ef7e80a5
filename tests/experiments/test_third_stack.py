"""A third foreign stack is one folder and one registration: options, pages, suite and checks then know it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.experiments.report.test_page import comparison
from typer.testing import CliRunner

from trunkproof.experiments.cli import predicting
from trunkproof.experiments.cli.app import read_as_asked, stack_named
from trunkproof.experiments.cli.suites import checked_stacks
from trunkproof.experiments.report.page import render
from trunkproof.experiments.report.suite_page import render_suite, suite_lines, suite_markdown
from trunkproof.experiments.validation.compare import Comparison
from trunkproof.experiments.validation.suite.cells import Cell, State, Suite
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.stacks.definition import ForeignParts, StackDefinition
from trunkproof.loadgen.stacks.registry import STACKS, check_playable, edge_of, is_ours
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.study import Study

STUDY = """\
name: a question
pop: {stack: toy, machine: {calibration: embedded}}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 100}
  holding: 5
"""


def _unsupported(study: Study) -> list[Problem]:
    return [Problem(where="trunks", what="a toy plays one trunk")] * (len(study.trunks) > 1)


def _none(*_: object) -> Any:
    raise AssertionError("nothing is started here")


TOY = StackDefinition("toy", "the toy switch", _unsupported, ForeignParts("toyd", "toymedia", _none, _none))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> StackDefinition:
    monkeypatch.setitem(STACKS, "toy", TOY)
    return TOY


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def on_toy() -> Comparison:
    made = comparison()
    return replace(made, study=made.study.on("toy"))


@pytest.mark.usefixtures("toy")
def test_options_and_studies_name_it(study_file: Path) -> None:
    assert stack_named("toy") == "toy"
    study = read_as_asked(study_file)
    assert study.pop.stack == "toy"
    assert check_playable(study) is TOY
    two = study.model_copy(update={"trunks": study.trunks * 2})
    with pytest.raises(InputError, match="a toy plays one trunk"):
        check_playable(two)
    for words, expected in ((["toy"], ["toy"]), (["all"], list(STACKS))):
        assert checked_stacks(words, suite=True, study=None, profiles=[], for_one=[]) == expected
    assert "toy" in expected


@pytest.mark.usefixtures("toy")
def test_a_prediction_is_made_of_it(study_file: Path) -> None:
    said = CliRunner().invoke(predicting.app, ["simulate", str(study_file), "--stack", "toy", "--json"])
    assert said.exit_code == 0, said.output
    assert '"refused_share"' in said.output


@pytest.mark.usefixtures("toy")
def test_pages_call_it_by_its_label() -> None:
    page = render(on_toy())
    assert "The trunk: the toy switch." in page
    assert "share no code with the model" in page
    assert on_toy().to_json()["stack"] == "toy"
    assert (edge_of("toy"), is_ours("toy")) == ("toyd", False)


@pytest.mark.parametrize("shown", [suite_lines, suite_markdown, lambda suite: render_suite(suite, Path())])
def test_the_suite_shows_it(toy: StackDefinition, shown: Callable[[Suite], str]) -> None:
    cell = Cell("toy", "a", "made up", State.NOT_PLAYED, why=("it is a toy",))
    suite = Suite({"date": "2026-01-01T00:00:00+00:00", "command": "c", "machine": {}, "versions": {}}, (cell,))
    assert suite.stacks == ("toy",)
    text = shown(suite)
    assert toy.label in text or "| toy |" in text


def test_a_page_of_another_installation_is_shown_all_the_same(study_file: Path) -> None:
    """What was measured on a stack that is not here can be laid out, but not played."""
    assert "The trunk: toy." in render(on_toy())
    cell = Cell("toy", "a", "made up", State.NOT_PLAYED)
    suite = Suite({"date": "2026-01-01T00:00:00+00:00", "command": "c", "machine": {}, "versions": {}}, (cell,))
    assert suite.stacks == ("toy",)
    assert "On toy" in suite_lines(suite)
    with pytest.raises(typer.BadParameter, match="choose one of embedded"):
        stack_named("toy")
    with pytest.raises(InputError, match="there is no stack `toy`; choose one of embedded"):
        read_as_asked(study_file)
    card = TrunkCard(stack="foreign", server_name="trunk.test", host="127.0.0.1", port=5061, ca_file="ca.pem")
    assert card.stack not in STACKS
