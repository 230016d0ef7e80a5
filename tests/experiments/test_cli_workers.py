"""`--workers` as its user meets it: what is refused and how, and Ctrl-C in a terminal with several processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.validation.validate import read_evidence
from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.stacks.control import ControlClient

STUDY = """\
name: from several workers
duration_s: 120
trunk:
  customer_address: 127.0.0.54
  throttle: {policy: none}
traffic:
  arrivals: {kind: poisson, rate_per_minute: 300}
  holding: 3
  ringing: 0.3
  tls: {policy: POLICY, pool_size: 2}
"""


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "trunkproof.experiments.cli", *map(str, words)]


@pytest.mark.parametrize("command_name", ["validate", "load"])
def test_one_connection_is_not_shared_out(command_name: str, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.replace("POLICY", "persistent"))
    words = command(command_name, study, "--workers", "2", "--out", tmp_path / "out")
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == ExitCode.WRONG_INPUT
    assert "Traceback" not in result.stderr
    assert "traffic.tls.policy: persistent is 1 TLS connection" in result.stderr
    assert "pool_size of at least 2" in result.stderr


def test_the_suite_takes_no_workers(tmp_path: Path) -> None:
    words = command("validate", "--suite", "--workers", "2", "--out", tmp_path)
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == ExitCode.WRONG_INPUT
    assert "--workers: is for one study" in result.stderr


def test_ctrl_c_in_the_terminal_ends_the_calls_of_all_workers(tmp_path: Path) -> None:
    study, out = tmp_path / "study.yaml", tmp_path / "out"
    study.write_text(STUDY.replace("POLICY", "pool"))
    process = subprocess.Popen(
        command("validate", study, "--workers", "2", "--out", out),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    workers: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while len(workers) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [child for child in children if "trunkproof.loadgen.workers" in " ".join(_command_of(child))]
    card = read_card(out / "trunk" / "trunk.json")
    asyncio.run(until_calls(card))
    # A terminal's Ctrl-C goes to every process of its foreground group.
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED, stderr
    assert "cut short" in stdout
    assert "Traceback" not in stderr
    saved = read_evidence(out)
    assert saved.measured.height
    assert saved.measured["ended_s"].null_count() == 0
    assert "still_up" in set(saved.measured["disposition"])
    assert saved.generator.workers == 2
    assert not any(Path(f"/proc/{left}").exists() for left in (card.pid, *(worker.pid for worker in workers)))


async def until_calls(card: TrunkCard) -> None:
    """Wait until the trunk has some calls; workers take long to start on a busy machine."""
    assert card.control_port is not None
    control = await ControlClient.connect(card.host, card.control_port, card.control_secret or "")
    async with asyncio.timeout(120):
        while (await control.status()).calls < 5:
            await asyncio.sleep(0.1)
    await control.close()


def _command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
