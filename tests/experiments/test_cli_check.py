"""The command `check`: its table, its exit codes, and a bundle, on the trunk that `serve` plays."""

from __future__ import annotations

import asyncio
import json
import subprocess
import zipfile
from pathlib import Path

import pytest
from tests.experiments.test_cli import trunkproof, typed

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.loadgen.tls.certificates import Authority
from trunkproof.models.study_file import read_study

ADDRESS, CUSTOMER = "127.0.131.1", "127.0.131.2"
STUDY = f"""\
name: check
duration_s: 5
pop: {{address: {ADDRESS}, carrier: {{setup: 0.02}}}}
trunk:
  customer_address: {CUSTOMER}
traffic:
  arrivals: {{kind: constant, rate_per_minute: 60}}
  holding: 2
  ringing: 0.3
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    return Authority(tmp_path / "certificates").ca_file


def test_all_holds_of_the_trunk_that_serve_plays(study: Path, tmp_path: Path) -> None:
    support = tmp_path / "support.zip"

    async def run() -> subprocess.CompletedProcess[str]:
        async with running_trunk(read_study(study), tmp_path / "trunk") as card:
            words = ("--target", f"{card.host}:{card.port}", "--ca", card.ca_file, "--hold", "1.5", "--json")
            return await asyncio.to_thread(typed, "check", study, *words, "--bundle", support)

    said = asyncio.run(run())
    result = json.loads(said.stdout)
    assert [one for one in result["checks"] if one["state"] == "does not hold"] == []
    assert said.returncode == ExitCode.OK, said.stderr
    found = {one["name"]: one for one in result["checks"]}
    assert {"certificate", "audio to us", "hold and resume", "CANCEL", "Via", "open files", "speed"} <= set(found)
    assert "this machine carries about" in found["speed"]["seen"]
    assert found["bundle"]["state"] == "holds"
    with zipfile.ZipFile(support) as archive:
        # A call, one in mid-call, and one that was cancelled.
        assert sum(name.endswith("/ladder.txt") for name in archive.namelist()) == 3
        assert b"+910000000000" not in b"".join(map(archive.read, archive.namelist()))


def test_a_trunk_that_is_not_there_has_its_own_exit_code(study: Path, ca_file: Path) -> None:
    said = trunkproof("check", study, "--target", f"{ADDRESS}:5999", "--ca", ca_file)
    assert said.returncode == ExitCode.NO_TRUNK
    assert "does not hold" in said.stdout
    assert "TLS is on 443" in said.stdout


def test_a_name_that_does_not_resolve_is_told(study: Path, ca_file: Path) -> None:
    said = trunkproof("check", study, "--target", "no.such.invalid:443", "--ca", ca_file)
    assert said.returncode == ExitCode.NO_TRUNK
    assert "DNS knows no address" in said.stdout


def test_another_host_needs_to_be_allowed(study: Path, ca_file: Path) -> None:
    said = trunkproof("check", study, "--target", "192.0.2.1:443", "--ca", ca_file)
    assert said.returncode == ExitCode.GUARD
    assert "confirm a ceiling of at least 20 calls per minute" in said.stderr


def test_all_mistakes_are_told(study: Path, ca_file: Path) -> None:
    said = trunkproof("check", study, "--target", f"{ADDRESS}:443", "--ca", ca_file, "--name", "no", "--key", ca_file)
    assert said.returncode == ExitCode.WRONG_INPUT
    assert "the study has no trunk `no`; choose one of trunk" in said.stderr
    assert "--certificate: is missing: a certificate and its key go together" in said.stderr
