"""The reference pages are complete, and the documentation builds without a warning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")

from trunkproof.experiments.authoring.schema import FORMS, json_schema
from trunkproof.experiments.cli.root import COMMANDS
from trunkproof.experiments.common.exit_codes import BY_END, ExitCode
from trunkproof.experiments.manual.commands import commands_page, walk
from trunkproof.experiments.manual.diagrams import life_page, shown_transitions, states_page
from trunkproof.experiments.manual.keys import keys_page, objects
from trunkproof.experiments.manual.markdown import cell, member_sentences
from trunkproof.experiments.manual.tables import dispositions_page, exit_codes_page, kpis_page, records_page
from trunkproof.loadgen.run_end import EndKind
from trunkproof.loadgen.sip.call_state import TRANSITIONS
from trunkproof.loadgen.sip.transaction_table import State
from trunkproof.models.kpis import DEFINITIONS
from trunkproof.models.records import COLUMNS, Disposition

ROOT = Path(__file__).parents[2]


def _sections(page: str) -> dict[str, str]:
    """Heading's anchor -> what stands below it."""
    parts = page.split("\n## ")[1:]
    return {part.partition("{#")[2].partition("}")[0]: part for part in parts}


def test_every_command_has_every_option_with_its_help() -> None:
    sections = _sections(commands_page())
    found = list(walk())
    assert {path.split()[1] for path, _, _ in found} == set(COMMANDS)
    for path, command, _ in found:
        section = sections[path.replace(" ", "-")]
        for one in command.params:
            assert one.help, f"{path} says nothing of {one.name}"
            assert cell(one.help) in section
            assert one.param_type_name == "argument" or all(name in section for name in one.opts)


@pytest.mark.parametrize("word", FORMS)
def test_every_key_of_a_file_is_there_with_its_description_and_default(word: str) -> None:
    sections = _sections(keys_page(word, "What it is.\n"))
    for name, each in objects(json_schema(FORMS[word])):
        section = sections[name.lower() or "file"]
        for key, node in each["properties"].items():
            (row,) = [line for line in section.splitlines() if line.startswith(f"| `{key}` |")]
            description, values = row.split(" | ")[1:3]
            assert len(description) > 3, f"{name}.{key} is not described"
            assert values.strip(), f"{name}.{key} says no values"
            if isinstance(node.get("default"), bool | int | float | str):
                assert str(node["default"]).lower() in row.lower()


def test_every_column_indicator_disposition_and_exit_code_is_there() -> None:
    pages = {
        records_page(): COLUMNS,
        kpis_page(): DEFINITIONS,
        dispositions_page(): [str(one) for one in Disposition],
        exit_codes_page(): [one.name for one in ExitCode] + [str(one.value) for one in EndKind],
    }
    for page, names in pages.items():
        assert not [name for name in names if f"`{name}`" not in page]
    assert set(BY_END) == set(EndKind)


def test_a_member_without_a_sentence_is_told() -> None:
    with pytest.raises(ValueError, match="TERMINATED"):
        member_sentences(State)


def test_the_figures_show_every_transition() -> None:
    assert shown_transitions() == set(TRANSITIONS)
    assert states_page().count("<svg") == 6


def test_the_call_that_is_shown_is_one_that_was_completed() -> None:
    page = life_page()
    assert [page.index(f"`{name}`") for name in ("intended_s", "sent_s", "ringing_s", "answered_s", "bye_s", "ended_s")]
    assert "BYE" in page


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert built.returncode == 0, built.stderr[-3000:]
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        # It has to be readable without a network.
        assert 'src="http' not in text, page
        assert 'rel="stylesheet" href="http' not in text, page
