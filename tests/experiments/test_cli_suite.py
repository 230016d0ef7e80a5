"""`validate --suite` as it is typed: options that do not fit are all named; a table is left and can be shown again."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from trunkproof.experiments.cli.root import app
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.models.errors import InputError

CANNOT_BE_PLAYED = """\
name: what Asterisk cannot play
duration_s: 4
trunk:
  throttle: {policy: token_bucket, limit: 40, window_s: 12}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 60}
  holding: 1.0
"""


def complaints(*words: str) -> set[str]:
    error = CliRunner().invoke(app, ["validate", *words]).exception
    assert isinstance(error, InputError)
    return {problem.where for problem in error.problems}


def test_options_that_do_not_fit_are_all_named(tmp_path: Path) -> None:
    out = ("--out", str(tmp_path))
    assert complaints(*out) == {"STUDY"}
    assert complaints("x.yaml", "--suite", "--seed", "2", "--pbx", *out) == {"STUDY", "--seed", "--pbx"}
    assert complaints("x.yaml", "--profile", "01_below", *out) == {"--profile"}
    assert complaints("x.yaml", "--stack", "embedded", "--stack", "kamailio", *out) == {"--stack"}
    assert complaints("--suite", "--stack", "freeswitch", *out) == {"--stack"}


def test_a_suite_leaves_its_table_and_report_shows_it_again(tmp_path: Path) -> None:
    profile, out = tmp_path / "bucket.yaml", tmp_path / "out"
    profile.write_text(CANNOT_BE_PLAYED)
    words = ["validate", "--suite", "--stack", "asterisk", "--profile", str(profile), "--out", str(out), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == ExitCode.NO_TRUNK
    (cell,) = json.loads(result.stdout)["cells"]
    assert (cell["stack"], cell["profile"], cell["state"]) == ("asterisk", "bucket", "not played")
    (out / "suite.html").unlink()
    again = CliRunner().invoke(app, ["report", str(out)])
    assert again.exit_code == ExitCode.OK
    assert "On Asterisk, no profile could be played." in again.stdout
    assert (out / "suite.html").exists()
