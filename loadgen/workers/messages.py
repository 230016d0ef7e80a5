"""What a team of workers is told, as files in its folder: the plan, whom to call, and how; and how each one answers.

The plan goes over as the table itself, so that no two processes can have different dice.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import Target
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.tls.certificates import CertificateFiles
from trunkproof.loadgen.verdict import Measurements
from trunkproof.loadgen.workers.placer import Part
from trunkproof.models.plan import Plan
from trunkproof.models.records import read_records, write_records
from trunkproof.models.settings import Settings
from trunkproof.models.study import Study

_TASK, _PLAN, _TALLY = "task.json", "plan.parquet", "tally"


class Task(Settings):
    """Whom all workers call, and how; the guard has agreed to it for the whole plan."""

    study: Study
    workers: int
    card: TrunkCard
    target: Target
    allowed: tuple[str, ...]
    """Hosts outside loopback that audio may be sent to."""
    client_certificate: CertificateFiles | None = None
    keylog: Path | None = None


def write_task(task: Task, plan: Plan, folder: Path) -> None:
    """Leave task and plan in the folder, and a count of attempts begun by each worker, which survives its death."""
    (folder / _TASK).write_text(task.model_dump_json(), encoding="utf-8")
    plan.table.write_parquet(folder / _PLAN)
    np.zeros(task.workers, np.int64).tofile(folder / _TALLY)


def read_task(folder: Path) -> tuple[Task, Plan]:
    """What `write_task` left."""
    task = Task.model_validate_json((folder / _TASK).read_text(encoding="utf-8"))
    table = pl.read_parquet(folder / _PLAN)
    return task, Plan(task.study, table)


def open_tally(folder: Path) -> np.memmap[Any, np.dtype[np.int64]]:
    """By worker: attempts begun; shared memory of all who open it, each worker writing its own number."""
    return np.memmap(folder / _TALLY, np.int64, "r+")


def digest_of(plan: Plan) -> str:
    """Equal for equal plans: workers say it, so that nobody calls by another one."""
    return f"{plan.study.digest()}-{plan.table.height}-{plan.table.hash_rows(0).sum()}"


def write_part(part: Part, folder: Path, index: int) -> None:
    """Leave a worker's results in the folder, to be read there once the worker has said so."""
    write_records(part.records, folder / f"records-{index}.parquet")
    measured = part.measured
    np.savez(folder / f"health-{index}.npz", lateness_s=measured.lateness_s, loop_lag_s=measured.loop_lag_s)
    numbers = {
        "cpu_share": measured.cpu_share,
        "media_lateness_p99_ms": measured.media_lateness_p99_ms,
        "never_placed": measured.never_placed,
    }
    text = json.dumps({"measured": numbers, "heard": asdict(part.heard)})
    (folder / f"part-{index}.json").write_text(text, encoding="utf-8")


def read_part(folder: Path, index: int) -> Part:
    """What `write_part` left."""
    saved = json.loads((folder / f"part-{index}.json").read_text(encoding="utf-8"))
    with np.load(folder / f"health-{index}.npz") as arrays:
        measured = Measurements(lateness_s=arrays["lateness_s"], loop_lag_s=arrays["loop_lag_s"], **saved["measured"])
    return Part(read_records(folder / f"records-{index}.parquet"), measured, Heard(**saved["heard"]))
