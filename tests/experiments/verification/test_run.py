"""The quick suite as a command: every check is there and correct, and the page needs nothing from elsewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.report.chromium import Browser
from trunkproof.experiments.verification import __main__ as command
from trunkproof.experiments.verification.figures import TALL
from trunkproof.experiments.verification.run import FIGURES, PAGE, Verification, render_verification, verify
from trunkproof.experiments.verification.size import QUICK

CHECKS = ["channels", "throttles", "redials", "coverage", "gaps", "holding", "scores"]
TINY = replace(QUICK, repetitions=2, calls=30, redial_repetitions=2, redial_calls=20, durations=20, repeats=3)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verification")
    called = [
        sys.executable,
        "-m",
        "trunkproof.experiments.verification",
        "--quick",
        "--workers",
        "2",
        "--out",
        str(folder),
    ]
    done = subprocess.run(called, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    assert done.stderr.count("CORRECT  ") == len(CHECKS)
    return folder


def test_every_check_is_correct_and_says_why(left: Path) -> None:
    saved: dict[str, Any] = json.loads((left / FIGURES).read_text())
    assert saved["verdict"] == "correct"
    assert [check["name"] for check in saved["checks"]] == CHECKS
    assert all(check["verdict"] == "correct" and check["line"] for check in saved["checks"])
    assert saved["provenance"]["command"].endswith("--quick")


def test_the_certificate_is_of_the_intervals_as_shipped(left: Path) -> None:
    saved = json.loads((left / FIGURES).read_text())
    (certificate,) = [check for check in saved["checks"] if check["name"] == "coverage"]
    assert certificate["repeats"] == QUICK.repeats
    assert len(certificate["coverage"]) == 2


def test_the_page_carries_everything_and_fetches_nothing(left: Path) -> None:
    page = (left / PAGE).read_text()
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"https?:|src=|url\(|@import|<link", own)
    assert page.count('class="plot"') == len(CHECKS)
    assert own.count(">CORRECT<") == len(CHECKS) + 1


@pytest.mark.requires("chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_every_figure_is_drawn_without_a_complaint(left: Path, tmp_path: Path, dark: bool) -> None:
    with Browser(tmp_path / "profile") as browser:
        browser.open(left / PAGE, dark=dark)
        assert browser.complaints == []
        assert all(url.startswith(("file:", "data:", "blob:")) for url in browser.fetched)
        assert browser.value("document.querySelectorAll('.plot .main-svg').length") >= len(CHECKS)
        # A parity plot has two pairs of axes and room for both.
        heights = browser.value("[...document.querySelectorAll('.plot')].map((plot) => plot.offsetHeight)")
        assert heights == [TALL] * 3 + [320] * 4


@pytest.fixture(scope="module")
def spoilt() -> Verification:
    """A tiny run with its first verdict turned round."""
    found = verify(TINY)
    return replace(found, checks=(replace(found.checks[0], is_correct=False), *found.checks[1:]))


def test_an_incorrect_check_is_told_on_top_and_at_its_place(spoilt: Verification) -> None:
    assert "disagrees with exact theory in" in spoilt.sentence
    assert render_verification(spoilt).count(">INCORRECT<") >= 2
    assert spoilt.to_json()["verdict"] == "incorrect"


def test_an_incorrect_check_ends_with_a_code_of_its_own(
    spoilt: Verification, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "verify", lambda *args, **options: spoilt)
    monkeypatch.setattr(sys, "argv", ["verification", "--out", str(tmp_path), "--workers", "1"])
    with pytest.raises(SystemExit) as left_with:
        command.main()
    assert left_with.value.code == ExitCode.DISAGREE
    assert (tmp_path / PAGE).exists()


def test_a_folder_that_cannot_be_made_is_a_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "argv", ["verification", "--out", str(tmp_path / "file" / "under")])
    with pytest.raises(SystemExit) as left_with:
        command.main()
    assert left_with.value.code == ExitCode.WRONG_INPUT
