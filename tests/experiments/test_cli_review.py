"""`trunkproof review` as its user meets it: files, words, exit codes, and complaints without a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from tests.experiments.report.review_example import lower, not_needed, review, undecided
from tests.experiments.review.conftest import smaller
from tests.experiments.test_cli import STUDIES, trunkproof
from typer.testing import CliRunner

from trunkproof.experiments.cli import reviewing
from trunkproof.experiments.cli.root import app
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.result_folder import LOCK
from trunkproof.experiments.histories.generate import generate
from trunkproof.experiments.report import chromium
from trunkproof.experiments.report.review_summary import summary
from trunkproof.experiments.review.decision_json import write_decision
from trunkproof.experiments.review.result import Review

REQUEST = """\
name: small customer
history: small.csv
now_per_minute: 8
requested_per_minute: {requested}
candidates: [{requested}]
interpretations: [{{policy: fixed_window}}]
enforced: {{policy: fixed_window, limit: 8}}
pop: {{carrier: {{channels: 200}}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reviews")
    for name in ("small", "three_days"):
        generate(smaller(name), folder / f"{name}.csv")
    return folder


def written(folder: Path, requested: int, history: str = "small.csv", **more: str) -> Path:
    text = REQUEST.format(requested=requested).replace("small.csv", history)
    path = folder / f"request_{requested}_{history}.yaml"
    path.write_text(text + "".join(f"{key}: {value}\n" for key, value in more.items()))
    return path


def as_made(made: Review, monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> Result:
    """The command in this process, on a review that was made by hand."""

    @contextmanager
    def nobody(*_: Any) -> Iterator[None]:
        yield None

    monkeypatch.setattr(reviewing, "executor_at", nobody)
    monkeypatch.setattr(reviewing, "answer", lambda *_, **__: made)
    return CliRunner().invoke(app, ["review", *map(str, words)])


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (review, ExitCode.OK),
        (lower, ExitCode.APPROVE_LOWER),
        (not_needed, ExitCode.NOT_NEEDED),
        (undecided, ExitCode.CANNOT_TELL),
    ],
)
def test_a_review_leaves_its_decision_and_its_page(
    make: Callable[[], Review], code: ExitCode, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make()
    result = as_made(made, monkeypatch, written(folder, 25), "--out", tmp_path)
    assert result.exit_code == code
    assert result.stdout.startswith(made.headline)
    saved = json.loads((tmp_path / "decision.json").read_text())
    assert saved["decision"] == made.decision.value
    assert "<html" in (tmp_path / "report.html").read_text()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != LOCK) == ["decision.json", "report.html"]


def test_ten_lines_for_a_mail(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, path = lower(), written(folder, 25)
    result = as_made(made, monkeypatch, path, "--out", tmp_path, "--summary")
    assert result.exit_code == ExitCode.APPROVE_LOWER
    assert result.stdout == (tmp_path / "summary.txt").read_text() == summary(made)
    result = as_made(made, monkeypatch, path, "--out", tmp_path, "--summary", "--json")
    assert json.loads(result.stdout)["decision"] == "approve_lower"


def test_without_a_browser_the_review_stands(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium, "find_chromium", lambda: None)
    result = as_made(review(), monkeypatch, written(folder, 25), "--out", tmp_path, "--pdf", "--png")
    assert result.exit_code == ExitCode.OK
    assert "No report.pdf and report.png: there is no Chromium on this machine" in result.stderr
    assert (tmp_path / "report.html").exists()


@pytest.mark.requires("chromium")
def test_a_sheet_and_a_picture_are_left(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = as_made(review(), monkeypatch, written(folder, 25), "--out", tmp_path, "--pdf", "--png")
    assert result.exit_code == ExitCode.OK
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_a_history_since_the_raise_is_scored(folder: Path, tmp_path: Path) -> None:
    path = written(folder, 25)
    write_decision(review(), tmp_path)
    words = ("review", "score", path, "--decision", tmp_path / "decision.json", "--history", folder / "small.csv")
    # Another, far smaller customer: fewer of its attempts than of the forecast are admitted at once.
    result = trunkproof(*words, "--json")
    assert result.returncode == ExitCode.OK
    scored = json.loads(result.stdout)
    assert (scored["verdict"], scored["advice"], scored["per_minute"]) == ("worse", "halt", 300)
    assert scored["demand"]["held"] is False
    wrong = trunkproof("review", "score", path, "--decision", path, "--history", folder / "small.csv")
    assert wrong.returncode == ExitCode.WRONG_INPUT


def test_three_days_cannot_tell_and_still_leave_a_page(folder: Path, tmp_path: Path) -> None:
    result = trunkproof("review", written(folder, 25, "three_days.csv"), "--out", tmp_path, "--json")
    assert result.returncode == ExitCode.CANNOT_TELL
    assert json.loads(result.stdout)["decision"] == "cannot_tell"
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("history", "content", "words"),
    [
        ("empty.csv", b"", "empty"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8, "picture.csv"),
        ("letter.csv", b"Dear planner,\nplease raise our throttle.\n", "letter.csv"),
    ],
)
def test_a_file_that_is_no_history_is_told(
    folder: Path, tmp_path: Path, history: str, content: bytes, words: str
) -> None:
    (folder / history).write_bytes(content)
    result = trunkproof("review", written(folder, 25, history), "--out", tmp_path)
    assert result.returncode == ExitCode.WRONG_INPUT
    assert words in result.stderr


def test_a_hundred_million_calls_a_minute_are_no_throttle(folder: Path, tmp_path: Path) -> None:
    result = trunkproof("review", written(folder, 100_000_000), "--out", tmp_path)
    assert result.returncode == ExitCode.WRONG_INPUT
    assert "requested_per_minute" in result.stderr
    assert "1000000" in result.stderr


def test_the_word_may_be_said_and_options_may_come_first(folder: Path, tmp_path: Path) -> None:
    path = written(folder, 25, "three_days.csv")
    for words in (("of", path, "--out", tmp_path), ("--out", tmp_path, path)):
        assert trunkproof("review", *words).returncode == ExitCode.CANNOT_TELL


def test_a_request_that_is_missing_is_told(tmp_path: Path) -> None:
    result = trunkproof("review", tmp_path / "none.yaml", "--out", tmp_path)
    assert result.returncode == ExitCode.WRONG_INPUT
    assert "cannot be read" in result.stderr


def test_a_cluster_that_does_not_answer_is_told(folder: Path, tmp_path: Path, free_tcp_port: int) -> None:
    address = f"tcp://127.0.0.1:{free_tcp_port}"
    result = trunkproof("review", written(folder, 25), "--out", tmp_path, "--cluster", address)
    assert result.returncode == ExitCode.NO_TRUNK
    assert address in result.stderr


def test_ctrl_c_ends_it_without_a_word_of_python(folder: Path, tmp_path: Path) -> None:
    words = ["review", str(written(folder, 25)), "--out", str(tmp_path), "--workers", "2"]
    run = subprocess.Popen(
        [sys.executable, "-m", "trunkproof.experiments.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=STUDIES.parents[1],
        process_group=0,
    )
    deadline = time.monotonic() + 100
    while _ready_workers(run.pid) < 2 and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)
    _, complaints = run.communicate(timeout=100)
    assert run.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in complaints
    assert not (tmp_path / "decision.json").exists()


def _ready_workers(pid: int) -> int:
    """Processes that it has started, and that leave Ctrl-C to it."""
    ready = 0
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        status = Path(f"/proc/{child}/status").read_text()
        blocked = next(line for line in status.splitlines() if line.startswith("SigBlk:")).split()[1]
        ready += b"spawn_main" in command and bool(int(blocked, 16) & 1 << signal.SIGINT - 1)
    return ready
