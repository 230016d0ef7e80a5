"""Attack a served trunk by strangers while a customer calls: the customer must not notice, and memory must come back.

It takes too long for `make bench`.
`python -m trunkproof.experiments.benchmarks.strangers [--seconds 60] [--invites 5000] [--idle 10000] [--halves 1000]`.
The customer's calls are placed twice: in quiet, then under attack. Their SRD is compared with the plan's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import psutil

from trunkproof.experiments.benchmarks.peers.strangers import Attack
from trunkproof.experiments.benchmarks.result import Report, Result, figure, lower_is_better
from trunkproof.experiments.benchmarks.running import BenchmarkError, load_average
from trunkproof.loadgen.card import TrunkCard
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import RunResult, drive
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.loadgen.stacks.server import CARD
from trunkproof.loadgen.system.loop import run_loop
from trunkproof.models.plan import draw_plan
from trunkproof.models.study import Study

SETUP_S = 0.1
"""The planned SRD: the called side rings so long after the INVITE."""
_BEFORE_S, _AFTER_S = 5.0, 40.0
"""The attack begins so long before the calls. Memory is read so long after it: all its connections have timed out."""
_READ_EVERY_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large an attack is, and how long the customer calls."""

    seconds: float = 60.0
    invites_per_s: float = 5000.0
    idle: int = 10_000
    halves: int = 1000
    before_s: float = _BEFORE_S
    after_s: float = _AFTER_S


@dataclass(frozen=True)
class Outcome:
    """What both runs and the attack came to."""

    quiet: RunResult
    attacked: RunResult
    attack: Attack
    memory_mib: tuple[float, float, float]
    """Resident memory of the trunk before the attack, at its peak, and after it."""


def question(seconds: float) -> Study:
    """Return the study of the neighbour: two calls a second, each of two seconds."""
    traffic = {
        "arrivals": {"kind": "constant", "rate_per_minute": 120},
        "holding": 2.0,
        "ringing": 0.2,
    }
    trunks = [{"customer_address": "127.0.96.1", "throttle": {"policy": "none"}, "traffic": traffic}]
    pop = {"carrier": {"setup": SETUP_S}}
    return Study.model_validate({"name": "neighbour", "duration_s": seconds, "pop": pop, "trunks": trunks})


async def endure(size: Size, folder: Path) -> Outcome:
    """Place the calls in quiet and under attack."""
    study = question(size.seconds)
    async with running_trunk(study, folder) as card:
        trunk = psutil.Process(card.pid)
        quiet = await drive(draw_plan(study), card, RunOptions())
        before = trunk.memory_info().rss
        peak = [before]
        reading = asyncio.create_task(_read(trunk, peak))
        attacking = asyncio.create_task(_attack(card, folder, size))
        await asyncio.sleep(size.before_s)
        attacked = await drive(draw_plan(study), card, RunOptions())
        attack = await attacking
        await asyncio.sleep(size.after_s)
        reading.cancel()
        after = trunk.memory_info().rss
    mib = 2**20
    return Outcome(quiet, attacked, attack, (before / mib, max(peak) / mib, after / mib))


async def _read(trunk: psutil.Process, into: list[int]) -> None:
    while True:
        into.append(trunk.memory_info().rss)
        await asyncio.sleep(_READ_EVERY_S)


async def _attack(card: TrunkCard, folder: Path, size: Size) -> Attack:
    seconds = size.before_s + size.seconds + 2.0
    numbers = (seconds, size.invites_per_s, size.idle, size.halves)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "trunkproof.experiments.benchmarks.peers.strangers",
        str(folder / CARD),
        *map(str, numbers),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        raise BenchmarkError(f"the strangers failed with exit code {process.returncode}")
    return Attack(**json.loads(said))


def excess_ms(run: RunResult) -> pl.Series:
    """Return by how many ms the SRD of each call is above the planned one."""
    ringing = run.records.filter(pl.col("ringing_s").is_not_null())
    return ringing.select(1000 * (pl.col("ringing_s") - pl.col("sent_s") - SETUP_S)).to_series()


def completed(run: RunResult) -> str:
    """Return how many of the calls were completed, in words."""
    done = run.records.filter(pl.col("disposition") == "completed").height
    return f"{done} of {run.records.height} calls completed"


def measure(size: Size) -> list[Result]:
    """Measure all rows."""
    with tempfile.TemporaryDirectory(prefix="trunkproof-strangers-") as folder:
        outcome = run_loop(endure(size, Path(folder)))
    command = (
        f"python -m trunkproof.experiments.benchmarks.strangers --seconds {size.seconds:g} "
        f"--invites {size.invites_per_s:g} --idle {size.idle} --halves {size.halves}"
    )
    rows: list[Result] = []
    quiet, attacked = excess_ms(outcome.quiet), excess_ms(outcome.attacked)
    runs = f"baseline: in quiet; {completed(outcome.quiet)}; under attack {completed(outcome.attacked)}"
    for name, share in (("p50", 0.5), ("p95", 0.95), ("max", 1.0)):
        value, baseline = (float(each.quantile(share, "linear") or 0.0) for each in (attacked, quiet))
        what = f"SRD above the planned {1000 * SETUP_S:g} ms; {runs}"
        rows.append(
            lower_is_better(f"strangers.srd_{name}_ms", value, "ms", baseline=baseline, command=command, note=what)
        )
    before, peak, after = outcome.memory_mib
    did = outcome.attack
    attack = (
        f"the strangers wrote {did.invites:,} INVITEs, opened {did.connections:,} TLS connections and were refused "
        f"{did.refused:,} times; at the end {did.idle:,} idle and {did.halves:,} half-sent ones stood"
    )
    rows += [
        figure("strangers.memory_peak_mib", peak - before, "MiB", command=command, note=f"over {before:.0f}; {attack}"),
        figure("strangers.memory_after_mib", after - before, "MiB", command=command, note=f"over {before:.0f}"),
    ]
    for what, count in outcome.attacked.refused.items():
        kind, _, limit = what.partition(": ")
        name = f"strangers.refused_{'_'.join(limit.split()[:6])}"
        rows.append(figure(name, float(count), "times", command=command, note=f"{kind}: {limit}"))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--invites", type=float, default=5000.0)
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--halves", type=int, default=1000)
    asked = parser.parse_args()
    before = load_average()
    results = measure(Size(seconds=asked.seconds, invites_per_s=asked.invites, idle=asked.idle, halves=asked.halves))
    print(Report.of(results, load_average=(before, load_average()), quick=False).to_markdown())


if __name__ == "__main__":
    main()
