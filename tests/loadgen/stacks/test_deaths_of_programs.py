"""Programs of a trunk are killed in the middle of a run: it ends in good order, every attempt is accounted for, the
page tells what died and when, and nothing is left behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest
from tests.loadgen.stacks.conftest import ASTERISK, GONE_WITHIN_S, KAMAILIO, assert_nothing_left, study

from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.report.page import render
from trunkproof.experiments.validation.compare import Comparison
from trunkproof.experiments.validation.validate import read_evidence, validate_async
from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.run_end import EndKind
from trunkproof.loadgen.stacks.server import CARD
from trunkproof.models.study import Study

kamailio_only = pytest.mark.parametrize("stack", [KAMAILIO])
ROOT = Path(__file__).parents[3]
THE_TRUNK = "trunk process"
TOLD = r"{} killed by SIGKILL \d+\.\d s after plan zero"


class Killer:
    """Kills programs of a run with SIGKILL, each once so many attempts have been placed."""

    def __init__(self, folder: Path, plan: dict[str, int]) -> None:
        self._card = folder / "trunk" / CARD
        self._plan = dict(plan)
        self.processes: list[psutil.Process] = []
        """All that the trunk was made of, before anything died."""

    def advance(self, _share: float, words: str) -> None:
        placed = re.fullmatch(r"(\d+) attempts placed", words)
        if placed is None:
            return
        if not self.processes:
            self.processes = _family(read_card(self._card))
        for name in [name for name, after in self._plan.items() if int(placed[1]) >= after]:
            del self._plan[name]
            card = read_card(self._card)
            os.kill(card.pid or 0 if name == THE_TRUNK else card.processes[name], signal.SIGKILL)


def _family(card: TrunkCard) -> list[psutil.Process]:
    starter = psutil.Process(card.pid)
    return [starter, *starter.children(recursive=True)]


def killed(question: Study, folder: Path, plan: dict[str, int]) -> Comparison:
    """Validate while programs are killed; what every such run keeps is asserted here."""
    killer = Killer(folder, plan)
    found = asyncio.run(validate_async(question, folder, advance=killer.advance, command="a test"))
    assert len(killer.processes) >= 2
    _, alive = psutil.wait_procs(killer.processes, GONE_WITHIN_S)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    assert_nothing_left(folder)
    assert found.measured.height > 0
    assert found.measured["disposition"].null_count() == found.measured["ended_s"].null_count() == 0
    assert sum(found.measured_kpis.dispositions.values()) == found.measured.height
    return found


@kamailio_only
def test_rtpengine_and_then_kamailio(stack: str, tmp_path: Path) -> None:
    found = killed(study(stack, duration_s=8, holding=3), tmp_path, {"rtpengine": 20, "kamailio": 45})
    first, second = found.troubles
    assert re.fullmatch(TOLD.format("rtpengine"), first)
    assert re.fullmatch(TOLD.format("kamailio"), second)
    assert found.interrupted is not None
    assert re.fullmatch(r"the trunk died \d+\.\d s after plan zero", found.interrupted)
    assert not found.agrees
    page = render(found)
    assert first in page
    assert second in page
    assert found.interrupted in page
    # What is left in the folder says the same.
    assert read_evidence(tmp_path).troubles == found.troubles


@pytest.mark.alone
@kamailio_only
def test_without_rtpengine_calls_fall_silent_and_new_ones_find_no_port(stack: str, tmp_path: Path) -> None:
    question = study(stack, duration_s=6, holding=3)
    found = killed(question, tmp_path, {"rtpengine": 25})
    (death,) = found.troubles
    assert found.interrupted is None
    died_s = float(re.search(r"(\d+\.\d) s", death)[1])  # type: ignore[index]
    records = found.measured
    assert records.height == 60
    talking = records.filter((pl.col("answered_s") < died_s - 0.1) & (pl.col("bye_s") > died_s + 2.2))
    assert talking.height
    assert set(talking["disposition"]) == {"media_failed"}
    later = records.filter(pl.col("sent_s") > died_s + 0.1)
    assert later.height
    assert set(later.select("disposition", "status", "cause").iter_rows()) == {("no_port", 503, 47)}
    assert death in render(found)


@pytest.mark.parametrize("stack", [ASTERISK])
def test_asterisk(stack: str, tmp_path: Path) -> None:
    found = killed(study(stack, duration_s=6, holding=3), tmp_path, {"asterisk": 20})
    (death,) = found.troubles
    assert re.fullmatch(TOLD.format("asterisk"), death)
    assert found.ended.kind is EndKind.TRUNK_DIED
    assert death in render(found)


@kamailio_only
def test_the_trunk_process_takes_its_programs_with_it(stack: str, tmp_path: Path) -> None:
    found = killed(study(stack, duration_s=8, holding=3, inbound_share=0.3), tmp_path, {THE_TRUNK: 20})
    assert found.ended.kind is EndKind.TRUNK_DIED


@kamailio_only
def test_ctrl_c_ends_the_calls_and_the_programs(stack: str, tmp_path: Path) -> None:
    question, folder = tmp_path / "long.yaml", tmp_path / "out"
    question.write_text(study(duration_s=120, holding=10, inbound_share=0.3).on("embedded").model_dump_json())
    command = [sys.executable, "-m", "trunkproof.experiments.cli", "validate", str(question), "--stack", stack]
    process = subprocess.Popen(
        [*command, "--out", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    card = folder / "trunk" / CARD
    deadline = time.monotonic() + 60
    while not card.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert set(json.loads(card.read_text())["processes"]) == {"kamailio", "rtpengine"}
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED, stderr
    assert "cut short" in stdout
    saved = read_evidence(folder)
    assert saved.measured["ended_s"].null_count() == 0
    assert "still_up" in set(saved.measured["disposition"])
    assert (saved.troubles, saved.measured.height > 10) == ((), True)
    assert_nothing_left(tmp_path)
