"""The command's list of commands, which imports none of them, and how every command ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trunkproof.experiments.cli.entry import INTERRUPTED
from trunkproof.experiments.cli.root import COMMANDS, app
from trunkproof.experiments.common.exit_codes import ExitCode

STUDIES = Path(__file__).parents[3] / "experiments" / "studies"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_of_a_command_what_its_own_help_says(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert COMMANDS[name].help in " ".join(result.stdout.split())


def test_the_list_has_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    listed = result.stdout.split("Commands:")[1].splitlines()
    assert [line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "] == list(COMMANDS)


def test_a_command_that_there_is_not() -> None:
    result = CliRunner().invoke(app, ["simulat"])
    assert result.exit_code == ExitCode.WRONG_INPUT
    assert "No such command 'simulat'" in result.stderr


@pytest.mark.parametrize("module", ["predicting", "calling", "proving"])
def test_commands_on_a_study_load_no_statistics(module: str) -> None:
    """SciPy's distributions and solvers take longer to load than all else that these commands need."""
    heavy = ("scipy.stats", "scipy.optimize")
    code = f"import sys, trunkproof.experiments.cli.{module}; print([one for one in {heavy!r} if one in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_the_code_of_ctrl_c_is_the_listed_one() -> None:
    assert INTERRUPTED == ExitCode.INTERRUPTED


@pytest.mark.parametrize("after_s", [0.0, 0.25, 0.5, 1.2, 2.5, 5.0])
def test_ctrl_c_at_any_moment_is_quiet(after_s: float, tmp_path: Path) -> None:
    """Imports and the start of worker processes included."""
    words = ["simulate", str(STUDIES / "busy_hour.yaml"), "--replications", "2000", "--out", str(tmp_path)]
    code = "from trunkproof.experiments.cli.entry import main; print('begun', flush=True); main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(after_s)
        # As a terminal does: to the command and to all that it has started.
        os.killpg(process.pid, signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert complaints == ""
    assert process.returncode == ExitCode.INTERRUPTED
