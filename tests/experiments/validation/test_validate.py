"""One whole proof: a study predicted, its calls placed for real, compared, shown; and the same cut short."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.result_folder import COMPARISON, MEASURED, PAGE, PREDICTED
from trunkproof.experiments.report.page import render
from trunkproof.experiments.validation.compare import Comparison
from trunkproof.experiments.validation.validate import read_evidence, validate
from trunkproof.loadgen.capture.capture import read_captures
from trunkproof.loadgen.run_end import COMPLETED, EndKind
from trunkproof.models.errors import InputError
from trunkproof.models.kpis import DEFINITIONS
from trunkproof.models.records import SCHEMA
from trunkproof.models.study_file import parse_study

pytestmark = pytest.mark.alone
MIXED = """\
name: a little of everything
duration_s: 8
pop:
  carrier: {channels: 12, setup: 0.05}
trunk:
  customer_address: 127.0.0.42
  throttle: {policy: fixed_window, limit: 14, window_s: 5, retry_after_s: 1}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 300}
  holding: {kind: exponential, mean_s: 1.5}
  ringing: 0.3
  outcomes: {busy: 0.1, no_answer: 0.1, abandoned: 0.05, rejected: [{status: 404, share: 0.05}]}
  redial: {probability: 0.6, delay: 1.0, attempts: 3}
  inbound_share: 0.3
  tls: {policy: pool, pool_size: 2}
"""


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    folder = tmp_path_factory.mktemp("proof")
    return validate(parse_study(MIXED), folder, command="a test"), folder


def test_prediction_and_real_calls_agree(proof: tuple[Comparison, Path]) -> None:
    comparison, _ = proof
    assert comparison.attempts > 40
    assert comparison.agreement >= 0.99, comparison.disagreements
    assert comparison.agrees, comparison.sentence
    refused = comparison.kpis["refused_share"]
    assert refused.difference is not None
    assert abs(refused.difference) <= 0.005
    assert refused.measured is not None
    assert refused.measured > 0


def test_every_packet_was_authentic(proof: tuple[Comparison, Path]) -> None:
    srtp = proof[0].srtp
    assert srtp.received > 500
    assert srtp.authenticated == srtp.received


def test_comparison_json_keeps_its_promise(proof: tuple[Comparison, Path]) -> None:
    saved = json.loads((proof[1] / COMPARISON).read_text())
    assert {"attempts", "agreement", "kpis", "generator", "srtp", "provenance"} <= set(saved)
    assert set(saved["kpis"]) == set(DEFINITIONS)
    assert all(
        {"predicted", "prediction_interval", "measured", "difference"} <= set(pair) for pair in saved["kpis"].values()
    )
    assert {"verdict", "lateness_p99_ms", "reasons"} <= set(saved["generator"])
    assert {"received", "authenticated", "plain"} == set(saved["srtp"])
    assert {"versions", "seed", "study_hash", "machine"} <= set(saved["provenance"])


def test_both_record_tables_are_left_and_sum_to_the_attempts(proof: tuple[Comparison, Path]) -> None:
    comparison, folder = proof
    for name, kpis in ((PREDICTED, comparison.predicted_kpis), (MEASURED, comparison.measured_kpis)):
        table = pl.read_parquet(folder / name)
        assert dict(table.schema) == SCHEMA
        assert sum(kpis.dispositions.values()) == table.height


def test_the_evidence_is_read_back_to_the_same_page(proof: tuple[Comparison, Path]) -> None:
    comparison, folder = proof
    again = read_evidence(folder)
    assert again.to_json() == comparison.to_json()
    assert render(again) == render(comparison)


def test_evidence_from_before_ends_had_kinds_is_still_read(proof: tuple[Comparison, Path], tmp_path: Path) -> None:
    shutil.copytree(proof[1], tmp_path / "old")
    path = tmp_path / "old" / COMPARISON
    saved = json.loads(path.read_text())
    del saved["ended"]
    path.write_text(json.dumps(saved))
    assert read_evidence(tmp_path / "old").ended == COMPLETED
    path.write_text(json.dumps(saved | {"interrupted": "the trunk died 3.0 s after plan zero"}))
    old = read_evidence(tmp_path / "old")
    assert (old.ended.kind, old.interrupted) == (EndKind.UNKNOWN, "the trunk died 3.0 s after plan zero")
    assert not old.agrees


def test_evidence_with_the_former_name_of_the_intervals_is_still_read(
    proof: tuple[Comparison, Path], tmp_path: Path
) -> None:
    shutil.copytree(proof[1], tmp_path / "old")
    path = tmp_path / "old" / COMPARISON
    path.write_text(path.read_text().replace('"prediction_interval"', '"interval"'))
    assert read_evidence(tmp_path / "old").prediction_intervals == proof[0].prediction_intervals


def test_evidence_of_another_version_is_told_as_such(proof: tuple[Comparison, Path], tmp_path: Path) -> None:
    shutil.copytree(proof[1], tmp_path / "old")
    path = tmp_path / "old" / COMPARISON
    saved = json.loads(path.read_text())
    del saved["troubles"]
    path.write_text(json.dumps(saved))
    with pytest.raises(InputError, match=r"comparison\.json: is damaged, or was written by another version"):
        read_evidence(tmp_path / "old")


def test_ctrl_c_ends_the_calls_and_still_leaves_the_evidence(tmp_path: Path) -> None:
    study = tmp_path / "long.yaml"
    study.write_text(MIXED.replace("duration_s: 8", "duration_s: 120"))
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "trunkproof.experiments.cli",
        "validate",
        str(study),
        "--out",
        str(out),
        "--capture",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    card = out / "trunk" / "trunk.json"
    deadline = time.monotonic() + 60
    while not card.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    pid = json.loads(card.read_text())["pid"]
    time.sleep(5)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED, stderr
    assert "cut short" in stdout
    assert "cut short" in (out / PAGE).read_text()
    saved = read_evidence(out)
    assert saved.measured.height
    assert sum(saved.measured_kpis.dispositions.values()) == saved.measured.height
    # What was captured so far is there, with the calls that were cut off.
    (capture,) = read_captures(out / "capture")
    cut = [call for call in capture.calls if call.record and call.record.disposition == "still_up"]
    assert cut
    assert all(call.messages and call.streams for call in cut)
    # Nothing is left behind: the trunk's process is gone.
    assert not Path(f"/proc/{pid}").exists()
