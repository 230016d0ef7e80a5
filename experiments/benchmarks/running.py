"""Runs what is compared, in turns or in a process of its own, and makes a program of a benchmark module.

What is measured is CPU where it can be: on a machine that others use too, wall time says what they did.
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
"""A benchmark: whether it is to be quick -> what it found."""


class BenchmarkError(TrunkproofError):
    """The systems compared did not do the same work, so nothing can be said of their speed."""


@dataclass(frozen=True)
class Spent:
    """What a piece of work took."""

    cpu_s: float
    wall_s: float
    peak_bytes: int
    """Of resident memory, the interpreter with all its modules included."""


def in_turns(contenders: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Each contender's results: A B A B, so that a machine that changes its pace meets them all."""
    results: dict[str, list[T]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            results[name].append(run())
    return results


def spread(values: Sequence[float]) -> str:
    """From the least to the largest, as a note says it."""
    return f"{min(values):.3g} to {max(values):.3g} in {len(values)} turns"


def apart(work: Callable[..., T], *arguments: object, cores: Sequence[int] = ()) -> tuple[T, Spent]:
    """Do work in a process of its own, so that its memory is not this one's; raises what it raises.

    `cores`: those that it is to run on; none given: all.
    """
    (result,) = each_apart(work, [arguments], cores=cores)
    return result


def each_apart(
    work: Callable[..., T], many: Sequence[tuple[object, ...]], cores: Sequence[int] = ()
) -> list[tuple[T, Spent]]:
    """The same for many arguments, all at the same time."""
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
    """A core for those who call and another one for those who answer; none where there is only one for both."""
    usable = sorted(os.sched_getaffinity(0))
    return ((usable[0],), (usable[1],)) if len(usable) > 1 else ((), ())


def peak_bytes() -> int:
    """The most resident memory that this process ever had."""
    # Not getrusage: Linux lets a process that was forked begin with its parent's peak.
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def load_average() -> float:
    """Of the last minute."""
    return os.getloadavg()[0]


def to_results(lines: Sequence[dict[str, Any]]) -> list[Result]:
    """What `json` wrote of rows."""
    return [Missing(**line) if "why" in line else Row(**line) for line in lines]


def main(measure: Measure, what: str) -> None:
    """`python -m trunkproof.experiments.benchmarks.NAME [--quick] [--json FILE]`: measure, and print."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--quick", action="store_true", help="small sizes; figures are not to be quoted")
    parser.add_argument("--json", type=Path, help="write the rows there, and print nothing")
    asked = parser.parse_args()
    before = load_average()
    results = measure(asked.quick)
    if asked.json is not None:
        asked.json.write_text(json.dumps([asdict(result) for result in results]), encoding="utf-8")
    else:
        print(Report.of(results, load_average=(before, load_average()), quick=asked.quick).to_markdown())
