"""A program that stood still while it was called is found; one that nobody called, or that worked, is not."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import polars as pl
import pytest
from tests.loadgen.watching import Watching

from trunkproof.loadgen.meters.report import SAMPLES
from trunkproof.loadgen.meters.stalls import find_stalls
from trunkproof.loadgen.observer import RunProgress
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import RunResult, drive
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import Direction, Disposition, Record, to_frame
from trunkproof.models.study import Study


def record(row: int, sent_s: float, ringing_s: float | None) -> Record:
    return Record(
        row=row,
        call=row,
        attempt=0,
        trunk="t",
        direction=Direction.OUTBOUND,
        disposition=Disposition.COMPLETED,
        intended_s=sent_s,
        sent_s=sent_s,
        ringing_s=ringing_s,
    )


def readings(cpu_s: list[float], wakings: list[float]) -> pl.DataFrame:
    rows = [(float(at), "edge", "cpu_s", value) for at, value in enumerate(cpu_s)]
    rows += [(float(at), "edge", "wakings", value) for at, value in enumerate(wakings)]
    return pl.DataFrame(rows, schema=SAMPLES, orient="row")


@pytest.mark.parametrize(
    ("cpu_s", "wakings", "sent_s", "found"),
    [
        ([1, 2, 2, 2, 3], [1, 2, 2, 2, 3], 2.0, [(1.0, 3.0, 1, 1.5)]),
        ([1, 2, 2, 2, 3], [1, 2, 2, 2, 3], 0.5, []),  # nobody called it
        ([1, 2, 2, 2, 3], [1, 2, 2, 2, 3], 2.95, []),  # the call may have come after the reading
        ([1, 2, 2, 2, 3], [1, 2, 3, 4, 5], 2.0, []),  # it woke: CPU clocks may be coarse
    ],
)
def test_what_stood_still_is_found(
    cpu_s: list[float], wakings: list[float], sent_s: float, found: list[tuple[float, float, int, float]]
) -> None:
    stalls = find_stalls(readings(cpu_s, wakings), to_frame([record(1, sent_s, sent_s + 1.5)]), "edge")
    assert [(stall.from_s, stall.to_s, stall.calls, stall.longest_wait_s) for stall in stalls] == found


def test_a_trunk_that_is_stopped_is_told_and_its_generator_is_not_blamed(tmp_path: Path) -> None:
    traffic = {
        "arrivals": {"kind": "replay", "instants_s": [0.1 * n for n in range(60)]},
        "holding": 0.3,
        "ringing": 0.1,
        "patience": 0.05,
    }
    trunk = {"customer_address": "127.0.0.57", "throttle": {"policy": "none"}, "traffic": traffic}
    study = Study.model_validate(
        {"name": "stopped", "duration_s": 8, "pop": {"carrier": {"setup": 0.03}}, "trunks": [trunk]}
    )

    async def run() -> RunResult:
        async with running_trunk(study, tmp_path) as card:
            assert card.pid is not None
            stopped: list[float] = []

            def watch(progress: RunProgress) -> None:
                if progress.at_s > 1.5 and not stopped:
                    stopped.append(progress.at_s)
                    os.kill(card.pid or 0, signal.SIGSTOP)
                    asyncio.get_running_loop().call_later(3.0, os.kill, card.pid, signal.SIGCONT)

            return await drive(draw_plan(study), card, RunOptions(observers=(Watching(watch),)))

    driven = asyncio.run(run())
    assert driven.generator.verdict != "void", driven.generator.reasons
    assert len(driven.troubles) == 1
    assert driven.troubles[0].startswith("embedded stood still for at least ")
    # Seen by the callers too.
    assert driven.records.select((pl.col("ringing_s") - pl.col("sent_s")).max()).item() > 1.5
