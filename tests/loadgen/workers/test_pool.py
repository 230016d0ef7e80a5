"""Real calls from several workers: the same as from one process, as predicted, and in good order when somebody dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
from polars.testing import assert_frame_equal
from tests.loadgen.watching import Listening, Watching

from trunkproof.experiments.common.result_folder import COMPARISON
from trunkproof.experiments.validation.validate import read_evidence, validate
from trunkproof.loadgen.journal.reading import read_journal
from trunkproof.loadgen.observer import Observer, RunProgress
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import RunResult, drive
from trunkproof.loadgen.run_end import EndKind
from trunkproof.loadgen.schedule.share import share_of
from trunkproof.loadgen.sip.trace import open_trace
from trunkproof.loadgen.stacks.control import ControlClient
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.loadgen.workers import pool as team
from trunkproof.loadgen.workers.placer import RECORD_ORDER
from trunkproof.models.errors import InputError, StackError
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import Direction, to_frame
from trunkproof.models.study import Study
from trunkproof.models.study_file import parse_study

GONE_WITHIN_S = 20.0
PLANNED = (
    *("row", "call", "attempt", "trunk", "direction", "disposition", "status", "cause", "redialled", "connection"),
    "ports",
)
"""The columns of a record that the plan decides where no limit is in the way; the others are measured."""
EVERYTHING = """\
name: a little of everything from two workers
duration_s: 6
pop:
  carrier: {channels: 30, setup: 0.05}
trunks:
  - name: first
    account: first
    customer_address: 127.0.0.51
    throttle: {policy: token_bucket, limit: 240, window_s: 60, burst: 8, retry_after_s: 1}
    traffic:
      arrivals: {kind: poisson, rate_per_minute: 600}
      holding: {kind: exponential, mean_s: 1.5}
      ringing: 0.3
      outcomes: {busy: 0.1, no_answer: 0.1, abandoned: 0.05, rejected: [{status: 404, share: 0.05}]}
      redial: {probability: 0.6, delay: 1.0, attempts: 3}
      tls: {policy: pool, pool_size: 4}
  - name: second
    account: second
    customer_address: 127.0.0.52
    throttle: {policy: none}
    traffic:
      arrivals: {kind: poisson, rate_per_minute: 400}
      holding: {kind: exponential, mean_s: 1.5}
      ringing: 0.3
      inbound_share: 0.5
      tls: {policy: per_call}
"""


def study(calls: int = 40, hold_s: float = 0.6, every_s: float = 0.05, **traffic: Any) -> Study:
    settings = {
        "arrivals": {"kind": "replay", "instants_s": [every_s * n for n in range(calls)]},
        "holding": hold_s,
        "ringing": 0.1,
        "patience": 0.05,
        "tls": {"policy": "pool", "pool_size": 4},
    }
    trunk = {"customer_address": "127.0.0.53", "throttle": {"policy": "none"}, "traffic": settings | traffic}
    pop = {"carrier": {"setup": 0.03}}
    return Study.model_validate({"name": "shared", "duration_s": 60, "pop": pop, "trunks": [trunk]})


def processes_of(parent: psutil.Process) -> list[psutil.Process]:
    """The workers that this process has now, the first one first."""
    found = []
    for child in parent.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "trunkproof.loadgen.workers" in child.cmdline():
                found.append((int(child.cmdline()[-1]), child))
    return [child for _, child in sorted(found, key=lambda pair: pair[0])]


def real(
    question: Study,
    folder: Path,
    *,
    watch: Callable[[RunProgress], None] = lambda progress: None,
    stop: asyncio.Event | None = None,
    also: Sequence[Observer] = (),
    **options: Any,
) -> RunResult:
    async def run() -> RunResult:
        async with running_trunk(question, folder) as card:
            chosen = RunOptions(observers=(Watching(watch), *also), **options)
            return await drive(draw_plan(question), card, chosen, stop=stop)

    return asyncio.run(run())


@pytest.mark.alone
def test_two_workers_are_predicted_call_for_call(tmp_path: Path) -> None:
    comparison = validate(parse_study(EVERYTHING), tmp_path, options=RunOptions(workers=2), command="a test")
    assert comparison.attempts > 100
    assert comparison.agreement >= 0.99, comparison.disagreements
    assert comparison.agrees, comparison.sentence
    assert comparison.srtp.received == comparison.srtp.authenticated > 500
    assert comparison.generator.workers == 2
    assert '"workers": 2' in (tmp_path / COMPARISON).read_text()
    assert read_evidence(tmp_path).to_json() == comparison.to_json()
    # Each attempt once, and the connections that the model predicts.
    assert comparison.measured["row"].is_unique().all()
    handshakes = [
        table.filter((pl.col("trunk") == "first") & (pl.col("connection") == "full")).height
        for table in (comparison.predicted, comparison.measured)
    ]
    assert handshakes == [4, 4]


def test_what_the_plan_decides_is_the_same_from_one_process_and_from_two(tmp_path: Path) -> None:
    question = study(
        100,
        outcomes={"busy": 0.1, "no_answer": 0.1, "abandoned": 0.1, "rejected": [{"status": 404, "share": 0.2}]},
        redial={"probability": 0.7, "delay": 0.3, "attempts": 3},
        inbound_share=0.2,
    )
    told = (Listening(), Listening())
    one, two = (
        real(question, tmp_path / f"{workers}", workers=workers, also=[listens], journal=tmp_path / f"journal{workers}")
        for workers, listens in zip((1, 2), told, strict=True)
    )
    assert one.records["attempt"].max() == 2
    assert_frame_equal(one.records.select(PLANNED).sort("row"), two.records.select(PLANNED).sort("row"))
    assert two.records.select("intended_s", "row").rows() == sorted(two.records.select("intended_s", "row").rows())
    assert (one.generator.workers, two.generator.workers) == (1, 2)
    assert two.heard.received == two.heard.authenticated > 1000
    for driven, listens, workers in ((one, told[0], 1), (two, told[1], 2)):
        # Whoever places an attempt, the run's observers are told of it, and the journal has it: record for record.
        ended = to_frame(listens.ended).sort(RECORD_ORDER)
        assert_frame_equal(ended, driven.records)
        assert {record.row for record in listens.began} == set(driven.records["row"])
        assert set(driven.records["direction"]) == {"outbound", "inbound"}
        assert sum(len(health.lateness_s) for health in listens.health) == (ended["direction"] == "outbound").sum()
        files = sorted((tmp_path / f"journal{workers}").iterdir())
        assert [file.name for file in files] == ["run.jsonl", "worker-1.jsonl", "worker-2.jsonl"][: 2 * workers - 1]
        journals = [read_journal(file) for file in files]
        assert not any(journal.under_way or journal.damaged or journal.torn_bytes for journal in journals)
        kept = to_frame([record for journal in journals for record in journal.records.values()])
        assert_frame_equal(kept.sort(RECORD_ORDER), driven.records)


def test_a_worker_that_is_killed_voids_the_run_and_the_others_end_their_calls(tmp_path: Path) -> None:
    killed: list[psutil.Process] = []

    def kill_second(progress: RunProgress) -> None:
        if progress.begun == 20 and not killed:
            killed.extend(processes_of(psutil.Process()))
            killed[1].kill()

    question = study(20, hold_s=40.0)
    driven = real(question, tmp_path, workers=2, watch=kill_second)
    assert len(killed) == 2
    assert driven.generator.verdict == "void"
    assert driven.generator.reasons[-1].startswith("void: worker 2 died")
    told = re.search(
        r"killed by SIGKILL: of the 10 attempts that it had begun, (\d+) are in its journal and in the records, "
        r"(\d+) of them without their end",
        driven.generator.reasons[-1],
    )
    assert told is not None
    assert (driven.end.kind, driven.end.who) == (EndKind.WORKER_LOST, "worker 2")
    assert str(driven.end).startswith("worker 2 died")
    # The other one ended its calls with BYE, and they are all there. Those of the dead one are there without their end.
    first = share_of(question, 0, 2)
    rows = [row.row for row in draw_plan(question).rows.values() if first.places(row)]
    theirs = pl.col("row").is_in(rows)
    assert set(driven.records.filter(theirs)["row"]) == set(rows)
    assert driven.records.filter(theirs)["ended_s"].null_count() == 0
    assert driven.records.filter(~theirs).height == int(told[1]) == int(told[2]) > 0
    assert set(driven.records["disposition"]) == {"still_up"}
    assert not processes_of(psutil.Process())


def test_workers_whose_run_is_killed_end_their_calls_and_themselves(tmp_path: Path) -> None:
    file = tmp_path / "long.yaml"
    question = study(20, hold_s=50.0)
    file.write_text(question.model_dump_json())
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    async def run() -> None:
        async with running_trunk(question, tmp_path / "trunk") as card:
            assert card.control_port is not None
            control = await ControlClient.connect(card.host, card.control_port, card.control_secret or "")
            load = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "trunkproof.experiments.cli", "load", str(file), "--workers", "2"),
                *("--trunk", str(tmp_path / "trunk" / "trunk.json"), "--out", str(tmp_path / "out")),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=os.environ | {"TMPDIR": str(temporary)},
            )
            while (await control.status()).channels_used < 20:
                await asyncio.sleep(0.1)
            workers = processes_of(psutil.Process(load.pid))
            load.kill()
            await load.wait()
            _, alive = await asyncio.to_thread(psutil.wait_procs, workers, GONE_WITHIN_S)
            assert len(workers) == 2
            assert not alive
            assert not list(temporary.glob("trunkproof-*"))
            # Ended with BYE, not by dropping the line: the trunk has nothing left.
            assert (await control.status()).channels_used == 0
            await control.close()

    asyncio.run(run())


def test_a_worker_that_is_terminated_is_told_as_dead(tmp_path: Path) -> None:
    terminated: list[psutil.Process] = []

    def terminate(progress: RunProgress) -> None:
        if progress.begun == 20 and not terminated:
            terminated.append(processes_of(psutil.Process())[0])
            terminated[0].terminate()

    driven = real(study(20, hold_s=40.0), tmp_path, workers=2, watch=terminate)
    assert driven.generator.verdict == "void"
    assert "worker 1 died" in driven.generator.reasons[-1]
    assert "ended with exit code 0" in driven.generator.reasons[-1]


def test_a_worker_that_hangs_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "_OBEYS_WITHIN_S", 5.0)
    stop = asyncio.Event()

    def hang(progress: RunProgress) -> None:
        if progress.begun == 20 and not stop.is_set():
            processes_of(psutil.Process())[1].suspend()
            stop.set()

    driven = real(study(20, hold_s=40.0), tmp_path, workers=2, watch=hang, stop=stop)
    assert driven.generator.verdict == "void"
    assert "worker 2 died" in driven.generator.reasons[-1]
    assert "it had not answered for 5 s and was ended: of the 10 attempts" in driven.generator.reasons[-1]
    assert driven.end.kind is EndKind.INTERRUPTED
    assert set(driven.records["disposition"]) == {"still_up"}
    assert driven.records["ended_s"].count() == 10
    assert not processes_of(psutil.Process())


def test_stopping_ends_the_calls_of_all_workers_and_keeps_every_record(tmp_path: Path) -> None:
    stop = asyncio.Event()

    def enough(progress: RunProgress) -> None:
        if progress.begun == 20:
            stop.set()

    driven = real(study(20, hold_s=40.0), tmp_path, workers=2, watch=enough, stop=stop)
    assert driven.end.kind is EndKind.INTERRUPTED
    assert driven.records.height == 20
    assert set(driven.records["disposition"]) == {"still_up"}
    assert not any("died" in reason for reason in driven.generator.reasons)


def test_a_customer_is_called_in_one_of_the_workers(tmp_path: Path) -> None:
    driven = real(study(10, inbound_share=1.0), tmp_path, workers=2)
    assert set(driven.records["direction"]) == {Direction.INBOUND}
    assert driven.records["disposition"].to_list() == ["completed"] * 10


def test_workers_that_cannot_start_say_why(tmp_path: Path) -> None:
    question = study()
    (trunk,) = question.trunks
    elsewhere = trunk.model_copy(update={"customer_address": "192.0.2.9"})
    with pytest.raises(StackError, match=r"worker 1 did not start: .*this machine has no such address"):
        real(question.model_copy(update={"trunks": (elsewhere,)}), tmp_path, workers=2)


def test_a_pump_that_there_is_not_is_the_users_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with running_trunk(study(), tmp_path) as card:
            monkeypatch.setenv("TRUNKPROOF_MEDIA_PUMP", "steam")
            await drive(draw_plan(study()), card, RunOptions(workers=2))

    with pytest.raises(InputError, match="steam"):
        asyncio.run(run())


def test_a_trace_is_one_processs(tmp_path: Path) -> None:
    with open_trace(tmp_path / "trace.txt") as trace, pytest.raises(InputError, match="one process"):
        real(study(), tmp_path, workers=2, trace=trace)
