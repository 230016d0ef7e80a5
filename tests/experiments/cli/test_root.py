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
from trunkproof.models.errors import InputError

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


def _says(*words: str, env: dict[str, str] | None = None, code: ExitCode = ExitCode.OK) -> str:
    result = CliRunner().invoke(app, words, env=env)
    assert result.exit_code == code, result.output + str(result.exception)
    return result.output


ABOVE = str(STUDIES / "above.yaml")


@pytest.mark.parametrize(
    "words",
    [
        ("--json", "--set", "seed=7", "plan", ABOVE),
        ("plan", "--set=seed=7", "--json", ABOVE),
        ("plan", ABOVE, "--json", "--set", "seed=7", "--quiet"),
    ],
)
def test_options_of_every_command_stand_anywhere_in_the_line(words: tuple[str, ...]) -> None:
    assert _says(*words) == _says("plan", ABOVE, "--seed", "7", "--json")


def test_set_changes_a_study_as_if_it_were_written_so(tmp_path: Path) -> None:
    written = tmp_path / "written.yaml"
    written.write_text((STUDIES / "above.yaml").read_text().replace("rate_per_minute: 300", "rate_per_minute: 30"))
    changed = _says("plan", ABOVE, "--set", "traffic.arrivals.rate_per_minute=30", "--json")
    assert changed == _says("plan", str(written), "--json")


def test_mistakes_of_set_are_told_all_at_once() -> None:
    result = CliRunner().invoke(app, ["plan", ABOVE, "--set", "a..b=1", "--set", "seed", "--set", "x={"])
    assert isinstance(result.exception, InputError)
    assert [problem.where for problem in result.exception.problems] == ["--set a..b=1", "--set seed", "--set x={"]


def test_a_mistake_that_set_makes_is_told_at_its_key_without_a_line() -> None:
    result = CliRunner().invoke(app, ["plan", ABOVE, "--set", "traffic.arrivals.rate_per_minute=many"])
    assert "  traffic.arrivals.rate_per_minute: must be a number, not the text `many`" in str(result.exception)


def test_what_a_stack_cannot_play_is_told_at_the_key_as_it_was_written(tmp_path: Path) -> None:
    study = tmp_path / "short.yaml"
    study.write_text((STUDIES / "above.yaml").read_text() + "trunk:\n  throttle: {policy: shaper}\n")
    result = CliRunner().invoke(app, ["validate", str(study), "--stack", "kamailio", "--out", str(tmp_path / "out")])
    assert "line 12: trunk.throttle.policy: Kamailio has no shaper" in str(result.exception)


def test_options_come_from_the_environment_too() -> None:
    env = {"TRUNKPROOF_PLAN_SEED": "7", "TRUNKPROOF_SET": "duration_s=20"}
    assert _says("plan", ABOVE, "--json", env=env) == _says(
        "plan", ABOVE, "--json", "--seed", "7", "--set", "duration_s=20"
    )


def test_version_is_an_option_too() -> None:
    assert _says("--version") == _says("version")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_without_importing_them(shell: str) -> None:
    typed = {"bash": {"COMP_WORDS": "trunkproof va", "COMP_CWORD": "1"}}.get(
        shell, {"_TYPER_COMPLETE_ARGS": "trunkproof va", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    )
    program = "from trunkproof.experiments.cli.root import app; app(prog_name='trunkproof')"
    said = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | typed | {"_TRUNKPROOF_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "validate" in said.stdout
    assert said.stderr == ""
