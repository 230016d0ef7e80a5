"""`new`, `studies` and `schema`: files that can be run as they are, and are never overwritten."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from trunkproof.experiments.authoring.shipped import shipped_notebooks, shipped_studies
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.review.request_file import read_request
from trunkproof.models.errors import InputError
from trunkproof.models.study_file import read_study
from trunkproof.models.yaml_text import read_yaml

LOAD = ("--host", "edge.example", "--account", "shop", "--caller", "+918040001234", "--number", "+918040005555")


def run(*words: str) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == ExitCode.OK, result.exception
    return result.output


def test_a_new_study_is_read_fits_its_schema_and_explains_every_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    written = json.loads(run("new", "study", str(path), "--rate", "240", "--limit", "150", "--json"))
    study = read_study(path)
    assert study.trunks[0].throttle.describe() == "150 calls in 60 s, fixed window"
    text = path.read_text()
    schema = json.loads(Path(written["schema"]).read_text())
    assert Draft202012Validator(schema).is_valid(read_yaml(text, source="", word="").value)
    assert text.startswith("# yaml-language-server: $schema=study.schema.json\n")
    # Above each key stands its explanation.
    lines = text.splitlines()
    assert all(
        lines[i - 1].lstrip().startswith("#") for i, line in enumerate(lines) if not line.lstrip().startswith("#")
    )
    assert "  # The usual shape of call durations.\n    kind: lognormal" in text.replace("    #", "  #")


def test_a_new_load_dials_only_what_was_named(tmp_path: Path) -> None:
    path = tmp_path / "load.yaml"
    run("new", "load", str(path), *LOAD)
    (trunk,) = read_study(path).trunks
    assert (trunk.domain, trunk.traffic.callers) == ("shop.pstn.exotel.com", ("+918040001234",))
    assert [entry.number for entry in trunk.traffic.destinations] == ["+918040005555"]


def test_a_new_request_is_read(tmp_path: Path) -> None:
    path = tmp_path / "request.yaml"
    run("new", "request", str(path), "--history", "calls.csv", "--requested", "300")
    assert read_request(path).requested_per_minute == 300


def test_what_has_no_default_is_asked_for_all_at_once(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["new", "load", str(tmp_path / "load.yaml")])
    assert isinstance(result.exception, InputError)
    assert [one.where for one in result.exception.problems] == ["--host", "--account", "--caller", "--number"]
    assert not list(tmp_path.iterdir())


def test_on_a_terminal_it_asks(tmp_path: Path) -> None:
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-m", "trunkproof.experiments.cli", "new", "study", str(tmp_path / "asked.yaml")]
    with subprocess.Popen(command, stdin=its_end, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        os.write(terminal, b"90\n\n\n\n")
        assert process.stdout is not None
        said = process.stdout.read().decode()
    assert "The throttle, in calls per minute [200]" in said
    assert "rate_per_minute: 90" in (tmp_path / "asked.yaml").read_text()


@pytest.mark.parametrize("words", [("new", "study"), ("studies", "copy", "above")])
def test_nothing_is_overwritten(words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "there.yaml"
    path.write_text("mine")
    result = CliRunner().invoke(app, [*words, str(path)])
    assert isinstance(result.exception, InputError)
    assert path.read_text() == "mine"


def test_shipped_studies_are_listed_shown_and_copied(tmp_path: Path) -> None:
    assert list(json.loads(run("studies", "list", "--json"))) == list(shipped_studies())
    copied = tmp_path / "copied.yaml"
    run("studies", "copy", "suite/13_bucket", str(copied))
    assert copied.read_text() == run("studies", "show", "suite/13_bucket")
    assert read_study(copied)


def test_shipped_notebooks_are_listed_and_copied(tmp_path: Path) -> None:
    assert list(json.loads(run("notebooks", "list", "--json"))) == list(shipped_notebooks())
    for name in ("01_first_steps", "first_steps", "01_first_steps.ipynb"):
        copied = tmp_path / f"{name}.copy"
        run("notebooks", "copy", name, str(copied))
        assert copied.read_text() == shipped_notebooks()["01_first_steps"].read_text()
    result = CliRunner().invoke(app, ["notebooks", "copy", "first_step"])
    assert "did you mean `first_steps`?" in str(result.exception)


def test_a_study_that_is_not_shipped() -> None:
    result = CliRunner().invoke(app, ["studies", "show", "abov"])
    assert "did you mean `above`?" in str(result.exception)


@pytest.mark.parametrize("kind", ["study", "request"])
def test_a_schema_is_printed(kind: str) -> None:
    Draft202012Validator.check_schema(json.loads(run("schema", kind)))


def test_a_schema_of_nothing() -> None:
    assert "did you mean `study`?" in str(CliRunner().invoke(app, ["schema", "stud"]).exception)
