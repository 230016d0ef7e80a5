"""Measure how punctual calls are at 6,000 a minute on the embedded trunk, and that a starved generator says VOID.

`python -m trunkproof.experiments.benchmarks.pacer`. Trunk and generator have a core each. For the second part another
program takes the generator's core.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trunkproof.experiments.benchmarks.result import Result, Row, figure
from trunkproof.experiments.benchmarks.running import BenchmarkError, main, two_sides
from trunkproof.experiments.benchmarks.with_sipp import await_calls
from trunkproof.experiments.common.exit_codes import ExitCode
from trunkproof.experiments.common.result_folder import MEASURED
from trunkproof.loadgen.card import TrunkCard, read_card
from trunkproof.loadgen.meters.processes import ProcessMeter
from trunkproof.loadgen.stacks.server import CARD
from trunkproof.loadgen.system.cores import on_cores
from trunkproof.models.distributions import Constant
from trunkproof.models.records import Disposition
from trunkproof.models.study import Study, Trunk
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.traffic import PoissonArrivals, Traffic

COMMAND = "python -m trunkproof.experiments.benchmarks.pacer"
_READY_WITHIN_S = 30.0
_END_WITHIN_S = 120.0
_LOWEST_PRIORITY = ("nice", "-n", "19")


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    per_minute: int = 6000
    duration_s: float = 20.0
    hold_s: float = 0.5
    taken_duration_s: float = 12.0
    taken_s: float = 4.0
    """How long another program takes the core, in the middle of a separate run."""


QUICK = Sizes(duration_s=3.0, taken_duration_s=4.0, taken_s=2.0)


@dataclass(frozen=True)
class Run:
    """One run of `trunkproof load`."""

    verdict: str
    reasons: Sequence[str]
    records: pl.DataFrame

    @property
    def lateness_ms(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the lateness of each INVITE in milliseconds: sent minus intended instant."""
        return 1000 * (self.records["sent_s"] - self.records["intended_s"]).drop_nulls().to_numpy()


def measure(quick: bool, sizes: Sizes | None = None) -> list[Result]:
    """Measure all rows of the pacer.

    Raises:
        BenchmarkError: calls failed, or a generator without its core called itself VALID.
    """
    wanted = sizes or (QUICK if quick else Sizes())
    with tempfile.TemporaryDirectory() as folder:
        punctual = place(Path(folder) / "punctual", wanted, wanted.duration_s)
        starved = place(Path(folder) / "starved", wanted, wanted.taken_duration_s, taken_s=wanted.taken_s)
    return [*_punctual(punctual, wanted), _starved(starved, wanted)]


def _punctual(run: Run, sizes: Sizes) -> list[Row]:
    completed = run.records.filter(pl.col("disposition") == Disposition.COMPLETED.value).height
    if completed < run.records.height:
        raise BenchmarkError(f"{run.records.height - completed} of {run.records.height} calls were not completed")
    late = run.lateness_ms
    note = f"sent less intended, {len(late)} calls at {sizes.per_minute} a minute; verdict {run.verdict}"
    return [
        figure("pacer.lateness_p99_ms", float(np.quantile(late, 0.99)), "ms", command=COMMAND, note=note),
        figure("pacer.lateness_p50_ms", float(np.median(late)), "ms", command=COMMAND, note="the median of the same"),
    ]


def _starved(run: Run, sizes: Sizes) -> Row:
    if run.verdict == "valid":
        raise BenchmarkError("a generator whose core was taken away called itself valid")
    note = f"1: the verdict is VOID where its core is taken away for {sizes.taken_s:g} s; it was {run.verdict}"
    return figure("pacer.void_without_core", float(run.verdict == "void"), "of 1", command=COMMAND, note=note)


def place(folder: Path, sizes: Sizes, duration_s: float, *, taken_s: float = 0.0) -> Run:
    """Place the calls as a user would, with `serve` and `load`. For `taken_s`, another program has the core.

    Raises:
        BenchmarkError: the trunk did not start, or the calls did not end.
    """
    folder.mkdir(parents=True)
    question = folder / "study.yaml"
    question.write_text(_study(sizes, duration_s).model_dump_json(), encoding="utf-8")
    caller, far_side = two_sides()
    with _serving(question, folder / "serve", far_side):
        command = _trunkproof("load", question, "--trunk", folder / "serve" / CARD, "--out", folder, "--json")
        with (folder / "load.json").open("wb") as told, (folder / "load.log").open("wb") as log:
            process = subprocess.Popen(
                # At the lowest priority any other program takes the whole core.
                (*on_cores(caller), *(_LOWEST_PRIORITY if taken_s else ()), *command),
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=log,
            )
            if taken_s:
                _take_core(process, caller, duration_s, taken_s)
            process.wait(_END_WITHIN_S)
    if process.returncode not in {ExitCode.OK, ExitCode.VOID}:
        words = (folder / "load.log").read_text(errors="replace")[-1000:]
        raise BenchmarkError(f"trunkproof load ended with {process.returncode}: {words}")
    generator = json.loads((folder / "load.json").read_text(encoding="utf-8"))["generator"]
    return Run(generator["verdict"], generator["reasons"], pl.read_parquet(folder / MEASURED))


def _study(sizes: Sizes, duration_s: float) -> Study:
    traffic = Traffic(
        arrivals=PoissonArrivals(kind="poisson", rate_per_minute=sizes.per_minute),
        holding=Constant(kind="constant", value_s=sizes.hold_s),
        ringing=Constant(kind="constant", value_s=0.0),
    )
    trunk = Trunk(throttle=NoThrottle(policy="none"), traffic=traffic)
    return Study(name="punctuality", duration_s=duration_s, trunks=(trunk,))


def _take_core(process: subprocess.Popen[bytes], cores: Sequence[int], duration_s: float, taken_s: float) -> None:
    """Compute on the generator's core for a while, in the middle of its run."""
    await_calls(process, ProcessMeter({"caller": process.pid}))
    time.sleep((duration_s - taken_s) / 4)
    busy = subprocess.Popen((*on_cores(cores), sys.executable, "-c", "while True: pass"))
    try:
        time.sleep(taken_s)
    finally:
        busy.kill()
        busy.wait()


@contextlib.contextmanager
def _serving(question: Path, folder: Path, cores: Sequence[int]) -> Iterator[TrunkCard]:
    folder.mkdir()
    command = _trunkproof("serve", question, "--port", "0", "--out", folder)
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            (*on_cores(cores), *command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        ready = time.monotonic() + _READY_WITHIN_S
        while not (folder / CARD).exists():
            if process.poll() is not None or time.monotonic() > ready:
                raise BenchmarkError(f"the trunk did not start: {(folder / 'serve.log').read_text(errors='replace')}")
            time.sleep(0.05)
        yield read_card(folder / CARD)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_READY_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _trunkproof(*words: str | os.PathLike[str]) -> tuple[str, ...]:
    return (sys.executable, "-m", "trunkproof.experiments.cli", *(os.fspath(word) for word in words))


if __name__ == "__main__":
    main(measure, __doc__ or "")
