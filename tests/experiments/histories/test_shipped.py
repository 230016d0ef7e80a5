"""Every truth and request that is shipped can be read, and fits the others; the command answers wrong ones in full."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.experiments.test_cli import trunkproof

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.histories.truth import read_truth
from trunkproof.experiments.review.request_file import read_request
from trunkproof.models.errors import InputError

REQUESTS = Path(__file__).parents[3] / "experiments" / "requests"
TRUTHS = sorted((REQUESTS / "histories").glob("*.yaml"))


@pytest.mark.parametrize("path", TRUTHS, ids=lambda path: path.stem)
def test_a_shipped_truth_is_readable(path: Path) -> None:
    assert read_truth(path).figures()["busiest_per_minute"] > 0


@pytest.mark.parametrize("path", sorted(REQUESTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_request_names_a_history_that_a_shipped_truth_makes(path: Path) -> None:
    request = read_request(path)
    made = request.history.path.name.partition(".")[0]
    truth = read_truth(REQUESTS / "histories" / f"{made}.yaml")
    command = f"trunkproof history experiments/requests/histories/{made}.yaml --out out/histories/"
    assert command + request.history.path.name in path.read_text()
    assert (path.parent / request.history.path).resolve().is_relative_to(REQUESTS.parents[1] / "out")
    assert truth.timezone == request.history.timezone
    assert truth.throttle.limit == request.now_per_minute  # type: ignore[union-attr]


def test_the_command_writes_a_history_and_says_what_is_in_it(tmp_path: Path) -> None:
    small = REQUESTS / "histories" / "three_days.yaml"
    words = trunkproof("history", small, "--out", tmp_path / "a.csv")
    assert words.returncode == ExitCode.OK
    assert "redial_probability: 0.6" in words.stdout
    values = json.loads(trunkproof("history", small, "--out", tmp_path / "b.csv", "--json", "--seed", "2").stdout)
    assert values["attempts"] == values["fresh_calls"] + values["redials"]
    assert (tmp_path / "a.csv").read_bytes() != (tmp_path / "b.csv").read_bytes()


def test_a_wrong_truth_is_answered_with_all_its_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("first_day: 2026-02-01\ndays: 0\nholding: 5\nredail: {}\nhourly_per_minute: [[1]]\n")
    result = trunkproof("history", path, "--out", tmp_path / "a.csv")
    assert result.returncode == ExitCode.WRONG_INPUT
    for key in ("days", "redail", "hourly_per_minute"):
        assert key in result.stderr
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("timezone: Mars/Base", "no such time zone"),
        ("format: counts\ndirt: {duplicates: 1}", "defects are of single calls"),
        (f"hourly_per_minute: {[[1_000_000] * 24] * 7}", "2.88e\\+09 calls are too many"),
        ("defects: {clock_step: {day: 9, hour: 1, step_s: 5, lasts_s: 60}}", "must be below days"),
    ],
)
def test_values_that_do_not_go_together_are_refused(tmp_path: Path, changed: str, said: str) -> None:
    day = [1] * 24
    path = tmp_path / "truth.yaml"
    rates = "" if changed.startswith("hourly") else f"hourly_per_minute: {[day] * 7}\n"
    path.write_text(f"first_day: 2026-02-02\ndays: 2\nholding: 5\n{rates}{changed}\n")
    with pytest.raises(InputError, match=said):
        read_truth(path)
