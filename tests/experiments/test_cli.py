"""The command as its user meets it: results, complaints and exit codes, never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from trunkproof.experiments.cli.root import run
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.models.kpis import DEFINITIONS
from trunkproof.models.records import write_records
from trunkproof.models.study_file import parse_study
from trunkproof.simulator.run import simulate

STUDIES = Path(__file__).parents[2] / "experiments" / "studies"
SHORT = """\
name: short
duration_s: 6
trunk:
  throttle: {policy: fixed_window, limit: 10, window_s: 5}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 240}
  holding: {kind: exponential, mean_s: 1}
  ringing: 0.2
"""


def trunkproof(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as its entry does, in this process: its imports would take most of a test's time."""
    argv, said, complained = ["trunkproof", *map(str, words)], StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(complained):
        patch.setattr(sys, "argv", argv)
        patch.chdir(cwd or STUDIES.parents[1])
        with pytest.raises(SystemExit) as left:
            run()
    code = left.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(argv, int(code), said.getvalue(), complained.getvalue())


def typed(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a shell does."""
    command = [sys.executable, "-m", "trunkproof.experiments.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=STUDIES.parents[1], timeout=120)


@pytest.fixture
def short(tmp_path: Path) -> Path:
    path = tmp_path / "short.yaml"
    path.write_text(SHORT)
    return path


def test_plan_says_how_many_calls_try_each_edge_first() -> None:
    said = json.loads(trunkproof("plan", STUDIES / "failover.yaml", "--json").stdout)
    first, second = said["edges"]
    assert (first["host"], second["host"]) == ("pstn.in2.exotel.com", "pstn.in4.exotel.com")
    assert first["calls"] > second["calls"] == 0
    assert "pstn.in4.exotel.com" in trunkproof("plan", STUDIES / "failover.yaml").stdout


def test_plan_says_what_will_happen_in_words_and_in_json(short: Path) -> None:
    words = trunkproof("plan", short)
    assert words.returncode == ExitCode.OK
    assert "calls in 6 s" in words.stdout
    values = json.loads(trunkproof("plan", short, "--json").stdout)
    assert values["trunks"][0]["limit"]
    assert values["calls"] > 0


def test_plan_says_which_numbers_it_will_call_and_masks_them(short: Path, tmp_path: Path) -> None:
    listed = tmp_path / "listed.yaml"
    (tmp_path / "numbers.csv").write_text("+918040005551\n+918040005552\n")
    entry = "{numbers: numbers.csv, far_end: echo, at_once: 1}"
    listed.write_text(f"{short.read_text()}  destinations:\n    - {entry}\n")
    words = trunkproof("plan", listed)
    assert words.returncode == ExitCode.OK
    assert "+91••••••••51" in words.stdout
    values = json.loads(trunkproof("plan", listed, "--json").stdout)
    assert {number["number"] for number in values["numbers"]} == {"+91••••••••51", "+91••••••••52"}
    assert sum(number["calls"] + number["left_out"] for number in values["numbers"]) == values["calls"]
    assert {number["at_once"] for number in values["numbers"]} == {1}
    shown = json.loads(trunkproof("plan", listed, "--json", "--show-numbers").stdout)
    assert {number["number"] for number in shown["numbers"]} == {"+918040005551", "+918040005552"}
    # A trunk that we start has no such far ends.
    refused = trunkproof("validate", listed, "--out", tmp_path / "out")
    assert refused.returncode == ExitCode.WRONG_INPUT
    assert "destinations[0].far_end" in refused.stderr


def test_simulate_gives_every_indicator_its_interval_and_the_twin(short: Path, tmp_path: Path) -> None:
    result = trunkproof("simulate", short, "--replications", "4", "--out", tmp_path / "out", "--json")
    values = json.loads(result.stdout)
    assert list(values["kpis"]) == list(DEFINITIONS)
    low, high = values["kpis"]["refused_share"]["prediction_interval"]
    assert low <= high
    assert values["repetitions"] == 4
    assert abs(values["twin"][0]["z"]) < 4.5
    assert (tmp_path / "out" / "predicted.parquet").exists()


def test_another_seed_is_another_prediction(short: Path) -> None:
    one, same, other = (trunkproof("simulate", short, "--seed", seed, "--json").stdout for seed in ("1", "1", "2"))
    assert one == same
    assert one != other


def test_both_engines_predict_the_same_and_the_result_says_which(short: Path) -> None:
    simpy, kernel = (
        json.loads(trunkproof("simulate", short, "--engine", name, "--json").stdout) for name in ("simpy", "kernel")
    )
    assert (simpy.pop("engine"), kernel.pop("engine")) == ("simpy", "kernel")
    assert simpy == kernel


def test_an_engine_that_there_is_not_is_told(short: Path) -> None:
    result = trunkproof("simulate", short, "--engine", "steam")
    assert result.returncode == ExitCode.WRONG_INPUT
    assert "steam" in result.stderr


def test_version() -> None:
    assert json.loads(trunkproof("version", "--json").stdout)["trunkproof"]


def test_a_process_of_its_own_says_the_same(short: Path, tmp_path: Path) -> None:
    for words in (("plan", short), ("plan", tmp_path / "none.yaml"), ("plann",)):
        one, other = trunkproof(*words), typed(*words)
        assert "Traceback" not in other.stderr
        assert (other.returncode, other.stdout) == (one.returncode, one.stdout)
        assert other.stderr.splitlines()[-1:] == one.stderr.splitlines()[-1:]
    assert "Did you mean 'plan'?" in other.stderr


def test_a_wrong_study_is_answered_with_all_its_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("name: x\nduration_s: -1\ntrafic: {}\ntraffic:\n  holding: 5\n")
    result = trunkproof("validate", path, "--out", tmp_path / "out")
    assert result.returncode == ExitCode.WRONG_INPUT
    lines = result.stderr.splitlines()
    assert lines[0].endswith("3 problems")
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["line 2", "line 3", "line 4"]
    assert "did you mean `traffic`?" in lines[2]


@pytest.mark.parametrize("command", ["plan", "simulate", "serve", "load"])
def test_a_missing_study_is_told(command: str, tmp_path: Path) -> None:
    result = trunkproof(command, tmp_path / "none.yaml")
    assert result.returncode == ExitCode.WRONG_INPUT
    assert "cannot be read" in result.stderr


def test_report_of_a_folder_without_a_validation(tmp_path: Path) -> None:
    result = trunkproof("report", tmp_path)
    assert result.returncode == ExitCode.WRONG_INPUT
    assert "holds no result" in result.stderr


@pytest.mark.parametrize(
    "words", [("validate", "--suite"), ("load",), ("serve",), ("calibrate", "--stack", "kamailio")]
)
def test_a_pump_that_there_is_not_is_told_before_anything_starts(
    words: tuple[str, ...], short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNKPROOF_MEDIA_PUMP", "plian")
    study = () if words[-1].startswith(("--", "kam")) else (short,)
    result = trunkproof(*words, *study, "--out", tmp_path / "out")
    assert result.returncode == ExitCode.WRONG_INPUT
    assert "TRUNKPROOF_MEDIA_PUMP: 'plian' is none of compiled, plain; did you mean plain?" in result.stderr
    assert not (tmp_path / "out").exists()


def test_too_few_open_files_are_told_before_the_run(short: Path, tmp_path: Path) -> None:
    def limited(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "trunkproof.experiments.cli", *map(str, words)]
        return subprocess.run(
            ["prlimit", "--nofile=105:105", "--", *command],
            capture_output=True, text=True, check=False, cwd=STUDIES.parents[1], timeout=120,
        )  # fmt: skip

    told = limited("plan", short)
    assert told.returncode == ExitCode.OK
    assert "this machine allows a process 105" in told.stderr
    result = limited("validate", short, "--out", tmp_path / "out")
    assert result.returncode == ExitCode.WRONG_INPUT
    assert "open files:" in result.stderr
    assert "ulimit" in result.stderr
    assert not (tmp_path / "out" / "trunk").exists()


def test_load_needs_to_know_where(short: Path) -> None:
    result = trunkproof("load", short)
    assert result.returncode == ExitCode.WRONG_INPUT
    assert "--target" in result.stderr
    assert "--ca" in result.stderr


@pytest.mark.parametrize(
    ("target", "words"),
    [("pstn.in2.exotel.com:443", "production"), ("192.0.2.1:5061", "allow list")],
)
def test_load_goes_nowhere_without_leave(short: Path, target: str, words: str) -> None:
    result = trunkproof("load", short, "--target", target, "--ca", short)
    assert result.returncode == ExitCode.GUARD
    assert words in result.stderr


def test_load_takes_an_ipv6_target_in_brackets(short: Path, tmp_path: Path, free_tcp_port: int) -> None:
    from trunkproof.loadgen.tls.certificates import Authority

    ca_file = Authority(tmp_path / "ca").ca_file
    result = trunkproof("load", short, "--target", f"[::1]:{free_tcp_port}", "--ca", ca_file)
    # The target was understood: the study's customer has an IPv4 address.
    assert "cannot reach the trunk at ::1 (IPv6): give it an IPv6 address" in " ".join(result.stderr.split())


def test_load_says_at_once_that_nobody_listens(short: Path, tmp_path: Path, free_tcp_port: int) -> None:
    from trunkproof.loadgen.tls.certificates import Authority

    authority = Authority(tmp_path / "ca")
    result = trunkproof("load", short, "--target", f"127.0.0.1:{free_tcp_port}", "--ca", authority.ca_file)
    assert result.returncode == ExitCode.NO_TRUNK
    assert "refused" in result.stderr


def test_identify_reads_the_throttle_from_the_records_of_a_run(tmp_path: Path) -> None:
    study = parse_study(SHORT.replace("duration_s: 6", "duration_s: 60"))
    write_records(simulate(study), tmp_path / "measured.parquet")
    told = trunkproof("identify", tmp_path, "--json")
    assert told.returncode == ExitCode.OK
    (found,) = json.loads(told.stdout).values()
    assert (found["throttle"]["policy"], found["throttle"]["limit"], found["sure"]) == ("fixed_window", 10, True)
    assert json.loads((tmp_path / "identify.json").read_text()) == json.loads(told.stdout)
    assert "policy: fixed_window" in next(tmp_path.glob("throttle_*.yaml")).read_text()
    assert "<html" in (tmp_path / "identify.html").read_text()


def test_identify_without_records_or_a_target_says_what_is_missing(tmp_path: Path, short: Path) -> None:
    assert trunkproof("identify", tmp_path).returncode == ExitCode.WRONG_INPUT
    told = trunkproof("identify", short, "--out", tmp_path)
    assert told.returncode == ExitCode.WRONG_INPUT
    assert "--target" in told.stderr
