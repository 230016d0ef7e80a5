"""Messages between the pool and its workers: files in the pool's folder, and orders and reports on pipes.

The pool sends the plan as a table and not as a study with a seed. So all processes have the same draws.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trunkproof.loadgen.bugs import Bug
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.guard import Target
from trunkproof.loadgen.journal.keeper import WORKERS
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.parties.audio import Heard
from trunkproof.loadgen.schedule.tempo import TempoChange
from trunkproof.loadgen.system.messages import Codec
from trunkproof.loadgen.verdict import Measurements
from trunkproof.loadgen.workers.placer import PlacedCalls, Tally, new_tally
from trunkproof.models.plan import Plan
from trunkproof.models.records import read_records, write_records
from trunkproof.models.settings import Settings
from trunkproof.models.study import Study

_TASK, _PLAN, _TALLY = "task.json", "plan.parquet", "tally"


@dataclass(frozen=True)
class Begin:
    """An order: plan zero is at `zero` of the machine's monotonic clock."""

    zero: float


@dataclass(frozen=True)
class Stop:
    """An order: place no more, and end every call under way."""


@dataclass(frozen=True)
class Finish:
    """An order: write the results into the folder."""


@dataclass(frozen=True)
class Ready:
    """A report: the worker is ready, and its plan has that digest."""

    plan_digest: str


@dataclass(frozen=True)
class Placed:
    """A report: all calls of the worker are over."""


@dataclass(frozen=True)
class Left:
    """A report: the results are in the folder."""


Order = Begin | TempoChange | Stop | Finish
Report = Ready | Placed | Left
ORDERS: Codec[Order] = Codec(Begin, TempoChange, Stop, Finish)
REPORTS: Codec[Report] = Codec(Ready, Placed, Left)


class Task(Settings):
    """What all workers need beside the plan. The guard has already allowed the target for the whole plan."""

    study: Study
    card: TrunkCard
    target: Target
    options: RunOptions


def write_task(task: Task, plan: Plan, folder: Path) -> None:
    """Write the task, the plan and the tally into the folder. The tally survives the death of a worker."""
    (folder / _TASK).write_text(task.model_dump_json(), encoding="utf-8")
    plan.table.write_parquet(folder / _PLAN)
    # A file and not a pipe: what a worker counted can be read after it was killed.
    new_tally(task.options.workers).tofile(folder / _TALLY)


def read_task(folder: Path) -> tuple[Task, Plan]:
    """Read the task and the plan that `write_task` wrote."""
    task = Task.model_validate_json((folder / _TASK).read_text(encoding="utf-8"))
    table = pl.read_parquet(folder / _PLAN)
    return task, Plan(task.study, table)


def open_tally(folder: Path, workers: int) -> Tally:
    """Open the tally as memory shared by all processes. Each worker writes only its own row."""
    # No lock: each worker writes only its own row, and a reader may be one attempt behind.
    return np.memmap(folder / _TALLY, np.int64, "r+", shape=new_tally(workers).shape)


def journal_of(options: RunOptions, folder: Path, index: int) -> Path:
    """Return the path of a worker's journal: in the folder of the options, or else in the pool's."""
    return (options.journal or folder) / WORKERS.format(index + 1)


def digest_of(plan: Plan) -> str:
    """Return the digest of a plan. Workers report it, so that none of them can place a different plan."""
    # The study's digest alone is not enough: the plan is drawn from it, and the table is what is placed.
    return f"{plan.study.digest()}-{plan.table.height}-{plan.table.hash_rows(0).sum()}"


def write_placed(placed: PlacedCalls, folder: Path, index: int) -> None:
    """Write a worker's results into the folder. The pool reads them after the worker's report `Left`."""
    write_records(placed.records, folder / f"records-{index}.parquet")
    measured = placed.measured
    np.savez(folder / f"health-{index}.npz", lateness_s=measured.lateness_s, loop_lag_s=measured.loop_lag_s)
    numbers = {
        "cpu_share": measured.cpu_share,
        "media_lateness_p99_ms": measured.media_lateness_p99_ms,
        "never_placed": measured.never_placed,
    }
    bugs = [asdict(bug) for bug in placed.bugs]
    text = json.dumps({"measured": numbers, "heard": asdict(placed.heard), "bugs": bugs, "keys": dict(placed.keys)})
    (folder / f"placed-{index}.json").write_text(text, encoding="utf-8")


def read_placed(folder: Path, index: int) -> PlacedCalls:
    """Read the results that `write_placed` wrote."""
    saved: dict[str, Any] = json.loads((folder / f"placed-{index}.json").read_text(encoding="utf-8"))
    with np.load(folder / f"health-{index}.npz") as arrays:
        measured = Measurements(lateness_s=arrays["lateness_s"], loop_lag_s=arrays["loop_lag_s"], **saved["measured"])
    return PlacedCalls(
        read_records(folder / f"records-{index}.parquet"),
        measured,
        Heard(**saved["heard"]),
        bugs=tuple(Bug(**bug) for bug in saved["bugs"]),
        keys={int(row): keys for row, keys in saved["keys"].items()},
    )
