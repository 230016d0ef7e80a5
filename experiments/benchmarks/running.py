"""Run work in turns or in a process of its own, and make a program of a benchmark module.

CPU time is measured where possible. On a shared machine, wall time also depends on what other programs do.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from trunkproof.experiments.benchmarks.result import Missing, Report, Result, Row
from trunkproof.models.errors import TrunkproofError

T = TypeVar("T")
Measure = Callable[[bool], list[Result]]
"""A benchmark: called with whether it must be quick, it returns its rows."""


class BenchmarkError(TrunkproofError):
    """The systems compared did not do the same work, so nothing can be said of their speed."""


@dataclass(frozen=True)
class Spent:
    """What a piece of work took."""

    cpu_s: float
    wall_s: float
    peak_bytes: int
    """Peak of resident memory, the interpreter with all its modules included."""


def in_turns(contenders: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Run contenders in turns, A B A B, so that a change of the machine's speed affects all of them alike."""
    results: dict[str, list[T]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            results[name].append(run())
    return results


def spread(values: Sequence[float]) -> str:
    """Write the smallest and the largest value for a note."""
    return f"{min(values):.3g} to {max(values):.3g} in {len(values)} turns"


def apart(work: Callable[..., T], *arguments: object, cores: Sequence[int] = ()) -> tuple[T, Spent]:
    """Run work in a process of its own, so that its memory is measured apart; raises what the work raises.

    It runs on `cores`; without any given, on all of them.
    """
    (result,) = each_apart(work, [arguments], cores=cores)
    return result


def each_apart(
    work: Callable[..., T], many: Sequence[tuple[object, ...]], cores: Sequence[int] = ()
) -> list[tuple[T, Spent]]:
    """Run work with many arguments at the same time, each in a process of its own."""
    with ProcessPoolExecutor(len(many), mp_context=get_context("spawn")) as pool:
        begun = [pool.submit(_measured, work, arguments, cores) for arguments in many]
        return [one.result() for one in begun]


def _measured(work: Callable[..., T], arguments: tuple[object, ...], cores: Sequence[int]) -> tuple[T, Spent]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if cores:
        os.sched_setaffinity(0, cores)
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    result = work(*arguments)
    return result, Spent(time.process_time() - cpu_s, time.perf_counter() - wall_s, peak_bytes())


def two_sides() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the core of the caller and that of the far side; both empty where the machine has only one."""
    usable = sorted(os.sched_getaffinity(0))
    return ((usable[0],), (usable[1],)) if len(usable) > 1 else ((), ())


def peak_bytes() -> int:
    """Return the peak of this process's resident memory."""
    # Not getrusage: on Linux a forked process inherits the peak of its parent there.
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def load_average() -> float:
    """Return the load average of the last minute."""
    return os.getloadavg()[0]


def to_results(lines: Sequence[dict[str, Any]]) -> list[Result]:
    """Read rows back from JSON."""
    return [Missing(**line) if "why" in line else Row(**line) for line in lines]


def main(measure: Measure, what: str) -> None:
    """Run `python -m trunkproof.experiments.benchmarks.NAME [--quick] [--json FILE]`: measure and print."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--quick", action="store_true", help="small sizes; do not quote their figures")
    parser.add_argument("--json", type=Path, help="write the rows to this file and print nothing")
    asked = parser.parse_args()
    before = load_average()
    results = measure(asked.quick)
    if asked.json is not None:
        asked.json.write_text(json.dumps([asdict(result) for result in results]), encoding="utf-8")
    else:
        print(Report.of(results, load_average=(before, load_average()), quick=asked.quick).to_markdown())
