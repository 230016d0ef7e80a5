"""Measure calls simulated per second by the kernel, our SimPy model, plain SimPy and Ciw; and a sweep of months.

`python -m trunkproof.experiments.benchmarks.simulator`. Every simulation of the loss system must lose what Erlang's
formula says. All times are CPU of one process, except for the sweep: that is wall time, with a process per core.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl

from trunkproof.experiments.benchmarks.peers.loss_system import LossSystem, ciw, plain_simpy, study
from trunkproof.experiments.benchmarks.result import Result, Row, figure, higher_is_better
from trunkproof.experiments.benchmarks.running import BenchmarkError, apart, each_apart, in_turns, main, spread
from trunkproof.experiments.prediction.predict import predict
from trunkproof.experiments.review.sweep.bench import Batch, run_batch
from trunkproof.experiments.review.sweep.spans import Layout
from trunkproof.models.columns import DISPOSITION_CODE
from trunkproof.models.plan import Plan, draw_plan
from trunkproof.models.records import Disposition
from trunkproof.models.study import Study
from trunkproof.models.study_file import read_study
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.traffic import PoissonArrivals
from trunkproof.simulator.kernel.memory import Records
from trunkproof.simulator.kernel.running import Running
from trunkproof.simulator.run import Engine, simulate

_HOUR_S = 3600.0
_HOURS_A_BATCH = 12
COMMAND = "python -m trunkproof.experiments.benchmarks.simulator"
WHOLE_TRUNK = Path(__file__).parent / "whole_trunk.yaml"
_MONTH_S = 30 * 86_400.0
_KINDS = len(Disposition)


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    calls: int = 20_000
    """Calls of the SimPy models and Ciw."""
    kernel_calls: int = 1_000_000
    rounds: int = 3
    memory_at: tuple[int, int] = (1_000_000, 10_000_000)
    limits: tuple[int, ...] = (180, 190, 200, 210, 220, 230, 240, 250, 260, 400)
    """Throttles of the sweep, in calls a minute."""
    month_s: float = _MONTH_S


QUICK = Sizes(3000, 50_000, 1, (20_000, 100_000), (200, 260), _MONTH_S / 400)


@dataclass(frozen=True)
class Timed:
    """A simulation, and the CPU it took."""

    attempts: int
    lost: int
    """Attempts lost for want of a channel."""
    cpu_s: float

    @property
    def per_s(self) -> float:
        """Return the attempts simulated per second of CPU."""
        return self.attempts / self.cpu_s


def measure(quick: bool, sizes: Sizes | None = None) -> list[Result]:
    """Measure all rows of the simulator.

    Raises:
        BenchmarkError: a program did not simulate what was asked.
    """
    wanted = sizes or (QUICK if quick else Sizes())
    _warm_up()
    return [*_whole_trunk(wanted), *_loss_system(wanted), *_memory(wanted), *_sweep(wanted)]


def _warm_up() -> None:
    """Compile or load machine code before anything is timed."""
    question = read_study(WHOLE_TRUNK).model_copy(update={"duration_s": 60.0})
    in_a_table(question, draw_plan(question))
    on_kernel(question, draw_plan(question))
    as_a_whole(question)
    ciw(LossSystem(), 10, 1)


def in_a_table(question: Study, plan: Plan, engine: Engine = Engine.SIMPY) -> Timed:
    """Time an engine, by default the SimPy model, with the table of all records."""
    began_s = time.process_time()
    records = simulate(question, plan, engine=engine)
    spent_s = time.process_time() - began_s
    lost = records.filter(pl.col("disposition") == Disposition.NO_CHANNEL.value).height
    return Timed(records.height, lost, spent_s)


def as_a_whole(question: Study) -> Timed:
    """Time all that `trunkproof simulate` does: draw the plan, simulate, make the records and the indicators."""
    began_s = time.process_time()
    prediction = predict(question, engine=Engine.KERNEL)
    spent_s = time.process_time() - began_s
    counts = prediction.kpis.dispositions
    return Timed(sum(counts.values()), counts[Disposition.NO_CHANNEL], spent_s)


def on_kernel(question: Study, plan: Plan | None = None) -> Timed:
    """Time the compiled model; without a plan given, drawing it is part of the work."""
    began_s = time.process_time()
    counts = counts_by_disposition(question, plan)
    spent_s = time.process_time() - began_s
    return Timed(int(counts.sum()), int(counts[DISPOSITION_CODE[Disposition.NO_CHANNEL]]), spent_s)


def counts_by_disposition(question: Study, plan: Plan | None = None) -> np.ndarray:
    """Simulate with the kernel and count how attempts ended; shape (kinds,), in the order of `Disposition`."""
    counts = np.zeros(_KINDS, np.int64)

    def count(records: Records, _: float) -> None:
        counts[:] += np.bincount(records["disposition"], minlength=_KINDS)

    Running(question, count, plan).to_the_end()
    return counts


def _whole_trunk(sizes: Sizes) -> list[Row]:
    """Compare kernel and SimPy on the same study, with a plan drawn before and with drawing it."""
    plan, larger = (draw_plan(whole_trunk(calls)) for calls in (sizes.calls, sizes.kernel_calls))
    turns = in_turns(
        {
            "simpy": partial(in_a_table, plan.study, plan),
            "kernel": partial(on_kernel, larger.study, larger),
            "table": partial(in_a_table, larger.study, larger, Engine.KERNEL),
            "plan": partial(on_kernel, larger.study),
            "simulate": partial(as_a_whole, larger.study),
        },
        sizes.rounds,
    )
    _check_same("kernel and `simulate`", turns["kernel"][0], turns["simulate"][0])
    _check_same("kernel and SimPy", on_kernel(plan.study, plan), turns["simpy"][0])
    rates = {who: [timed.per_s for timed in each] for who, each in turns.items()}
    what = "attempts of whole_trunk.yaml, plan drawn before"
    return [
        higher_is_better(
            "simulator.kernel.calls_per_s",
            median(rates["kernel"]),
            "calls/s",
            baseline=median(rates["simpy"]),
            command=COMMAND,
            note=f"{what}; {spread(rates['kernel'])}; baseline: our SimPy model",
        ),
        figure("simulator.simpy.calls_per_s", median(rates["simpy"]), "calls/s", command=COMMAND, note=what),
        figure(
            "simulator.kernel.with_plan_calls_per_s",
            median(rates["plan"]),
            "calls/s",
            command=COMMAND,
            note="the same with the plan drawn, chunk by chunk",
        ),
        figure(
            "simulator.kernel.with_table_calls_per_s",
            median(rates["table"]),
            "calls/s",
            command=COMMAND,
            note="a plan drawn before, and the table of records that `simulate` gives",
        ),
        figure(
            "simulator.simulate.calls_per_s",
            median(rates["simulate"]),
            "calls/s",
            command=COMMAND,
            note=f"`simulate --engine kernel` as a whole: plan, table and indicators; {spread(rates['simulate'])}",
        ),
    ]


def _check_same(who: str, one: Timed, other: Timed) -> None:
    if (one.attempts, one.lost) != (other.attempts, other.lost):
        raise BenchmarkError(f"{who} differ on the same plan: {one}, {other}")


def whole_trunk(calls: int) -> Study:
    """Return the study of the whole trunk, as long as about `calls` callers take to arrive."""
    month = read_study(WHOLE_TRUNK)
    arrivals = month.trunks[0].traffic.arrivals
    assert isinstance(arrivals, PoissonArrivals)
    return month.model_copy(update={"duration_s": 60 * calls / arrivals.rate_per_minute})


def _loss_system(sizes: Sizes) -> list[Row]:
    """Compare all programs on the same loss system."""
    system = LossSystem()
    few, many = (draw_plan(study(system, calls, 1)) for calls in (sizes.calls, sizes.kernel_calls))
    contenders: Mapping[str, Callable[[], Timed]] = {
        "plain SimPy": partial(_peer, plain_simpy, system, sizes.calls),
        "Ciw": partial(_peer, ciw, system, sizes.calls),
        "our SimPy model": partial(in_a_table, few.study, few),
        "kernel": partial(on_kernel, many.study, many),
    }
    turns = in_turns(contenders, sizes.rounds)
    zs = {who: system.check(who, timed[0].lost, timed[0].attempts) for who, timed in turns.items()}
    rates = {who: median(timed.per_s for timed in each) for who, each in turns.items()}
    agree = "all within z = 4.5 of Erlang B: " + ", ".join(f"{who} {z:+.1f}" for who, z in zs.items())
    pairs = [(ours, theirs) for ours in ("kernel", "our SimPy model") for theirs in ("plain SimPy", "Ciw")]
    names = {"kernel": "kernel", "our SimPy model": "simpy", "plain SimPy": "plain_simpy", "Ciw": "ciw"}
    return [
        higher_is_better(
            f"simulator.{names[ours]}.vs_{names[theirs]}",
            rates[ours],
            "calls/s",
            baseline=rates[theirs],
            command=COMMAND,
            note=f"M/M/20/20, which uses only the channels of our trunk; baseline: {theirs}; {agree}",
        )
        for ours, theirs in pairs
    ]


def _peer(work: Callable[[LossSystem, int, int], tuple[int, int]], system: LossSystem, calls: int) -> Timed:
    began_s = time.process_time()
    lost, offered = work(system, calls, 1)
    return Timed(offered, lost, time.process_time() - began_s)


def _memory(sizes: Sizes) -> list[Row]:
    """Measure the peak memory of a process that simulates few and many calls, plan included."""
    few, many = sizes.memory_at
    peaks = {calls: apart(_simulated, calls)[1].peak_bytes / 2**20 for calls in (few, many)}
    return [
        figure(
            "simulator.kernel.memory_growth",
            peaks[many] / peaks[few],
            "times",
            command=COMMAND,
            note=f"peak memory with {many:,} calls over that with {few:,}: {peaks[many]:.0f} over {peaks[few]:.0f} MiB",
        )
    ]


def _simulated(calls: int) -> int:
    return int(counts_by_disposition(whole_trunk(calls)).sum())


def _sweep(sizes: Sizes) -> list[Row]:
    """Simulate a month under each throttle with the same draws, on all cores, as a review simulates its hours."""
    cores = min(len(os.sched_getaffinity(0)), len(sizes.limits))
    shares = [(sizes.limits[first::cores], sizes.month_s) for first in range(cores)]
    began_s = time.perf_counter()
    done = each_apart(_months, shares)
    wall_s = time.perf_counter() - began_s
    shares_refused = {
        limit: share
        for (limits, _), (months, _) in zip(shares, done, strict=True)
        for limit, share in zip(limits, months.throttled_shares, strict=True)
    }
    refused = [shares_refused[limit] for limit in sizes.limits]
    if refused != sorted(refused, reverse=True) or refused[0] == refused[-1]:
        raise BenchmarkError(f"a higher throttle did not refuse less: {refused}")
    attempts = sum(months.attempts for months, _ in done)
    peak = max(spent.peak_bytes for _, spent in done) / 2**20
    cpu_s = sum(spent.cpu_s for _, spent in done)
    note = (
        f"{len(refused)} throttles, {sizes.month_s / 86_400:g} days each: {attempts:,} attempts into all indicators of "
        f"a review, plans drawn, processes started; {cores} processes, {cpu_s:.0f} s of CPU, {peak:.0f} MiB each at "
        "most"
    )
    return [
        figure("simulator.sweep_s", wall_s, "s", command=COMMAND, note=note),
        figure("simulator.sweep_calls_per_s", attempts / wall_s, "calls/s", command=COMMAND, note="the same as a rate"),
    ]


@dataclass(frozen=True)
class _Months:
    """What a worker returns."""

    throttled_shares: tuple[float, ...]
    """Share of attempts throttled, by throttle."""
    attempts: int


def _months(limits: tuple[int, ...], month_s: float) -> _Months:
    """Simulate a month in batches of some hours each, as a review does."""
    throttles = tuple(FixedWindow(policy="fixed_window", limit=limit) for limit in limits)
    hours = max(1, round(month_s / _HOUR_S))
    throttled, offered, attempts = np.zeros(len(limits)), np.zeros(len(limits)), 0
    for first in range(0, hours, _HOURS_A_BATCH):
        layout = Layout(min(_HOURS_A_BATCH, hours - first), throttles[0].memory_s, _HOUR_S)
        study = read_study(WHOLE_TRUNK).model_copy(update={"duration_s": layout.duration_s, "seed": 1 + first})
        done = run_batch(Batch(study, layout, throttles))
        throttled += [values["throttled"].sum() for values in done.values]
        offered += [values["attempts"].sum() for values in done.values]
        attempts += done.attempts
    return _Months(tuple((throttled / np.maximum(offered, 1)).tolist()), attempts)


if __name__ == "__main__":
    main(measure, __doc__ or "")
