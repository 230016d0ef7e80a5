"""Independent repetitions of a simulation: means with confidence intervals, for as long as the precision asked for
needs.

Repetition k has seed k of the study's own sequence, whatever executor runs it and in whatever order; records do not
leave their process, only indicators do.
"""

from __future__ import annotations

import math
import multiprocessing
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from models.kpis import DEFINITIONS, KpiAccumulator
from models.policies import Windowed
from models.streams import generator, uniforms
from models.study import Study
from simulator.run import Engine, Start, simulate_in_batches

Interval = tuple[float, float]
_FIRST_ROUND = 8
"""Fewer give no useful estimate of their own spread."""


@dataclass(frozen=True)
class Estimate:
    """A mean over repetitions."""

    mean: float
    half_width: float
    """Of the confidence interval of the mean (Student's t)."""
    deviation: float
    """Standard deviation between repetitions."""
    repetitions: int

    @property
    def standard_error(self) -> float:
        """Of the mean."""
        return self.deviation / math.sqrt(self.repetitions)


@dataclass(frozen=True, eq=False)
class Replications:
    """Indicators of all repetitions; `None` where a repetition had none, such as a delay without calls."""

    samples: Mapping[str, Sequence[float | None]]
    confidence: float
    reached: bool
    """Whether the precision asked for was reached before the largest number of repetitions."""

    @property
    def repetitions(self) -> int:
        """How many there were."""
        return len(next(iter(self.samples.values())))

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Indicator -> its mean; indicators that fewer than two repetitions have are left out."""
        found = {name: [value for value in values if value is not None] for name, values in self.samples.items()}
        return {name: _estimate(values, self.confidence) for name, values in found.items() if len(values) > 1}

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Indicator -> the range in which one further repetition lies with this confidence (prediction interval).

        Source: Student's t with the spread of one more observation, Hahn and Meeker, "Statistical Intervals" (1991),
        4.8. Normality is assumed; bounds are cut to what the repetitions can reach (shares to 0 to 1).
        """
        return {name: self._prediction(name, estimate) for name, estimate in self.estimates.items()}

    def _prediction(self, name: str, estimate: Estimate) -> Interval:
        t = float(stats.t.ppf((1 + self.confidence) / 2, estimate.repetitions - 1))
        reach = t * estimate.deviation * math.sqrt(1 + 1 / estimate.repetitions)
        upper = 1.0 if DEFINITIONS[name].unit == "share" else math.inf
        return max(0.0, estimate.mean - reach), min(upper, estimate.mean + reach)

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name} {estimate.mean:.4g} ± {estimate.half_width:.2g}"
            for name, estimate in self.estimates.items()
            if name in {"refused_share", "customers_lost_share", "peak_concurrency"}
        )
        return f"<Replications: {self.repetitions} of them, {shown}>"


def _estimate(values: Sequence[float], confidence: float) -> Estimate:
    deviation = float(np.std(values, ddof=1))
    t = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1))
    return Estimate(float(np.mean(values)), t * deviation / math.sqrt(len(values)), deviation, len(values))


def replicate(
    study: Study,
    *,
    replications: int = _FIRST_ROUND,
    precision: float | None = None,
    kpi: str = "refused_share",
    most: int = 1000,
    confidence: float = 0.95,
    start: Start = Start.EMPTY,
    executor: Executor | None = None,
    engine: Engine = Engine.KERNEL,
) -> Replications:
    """Repeat a study with other seeds.

    Args:
        study: what to repeat.
        replications: how many times, at least 2; with `precision`, how many to begin with.
        precision: go on until the half width of the interval of `kpi` is at most this share of its mean; a mean of
            0, such as of refusals that were never seen, is never precise.
        kpi: the indicator whose precision counts.
        most: give up on the precision after so many.
        confidence: of all intervals.
        start: as in `simulate`.
        executor: runs the repetitions; none: here, one after the other. Processes must be spawned, as by `processes`:
            Polars has threads, which do not survive a fork.
        engine: as in `simulate`.
    """
    run = map if executor is None else executor.map
    done: list[dict[str, float | None]] = []
    wanted = max(2, replications)
    while True:
        tasks = [(study, number, start, engine) for number in range(len(done), wanted)]
        done += run(_repetition, tasks)
        samples = {name: [values[name] for values in done] for name in DEFINITIONS}
        result = Replications(samples, confidence, reached=_is_precise(samples[kpi], precision, confidence))
        if result.reached or wanted >= most:
            return result
        wanted = min(most, 2 * wanted)


def processes(workers: int | None = None) -> ProcessPoolExecutor:
    """An executor of processes on this machine that is safe to use with `replicate`."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_ctrl_c_to_the_caller)


def _leave_ctrl_c_to_the_caller() -> None:
    """A terminal sends it to all; workers end when their executor does, without a traceback of their own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _is_precise(values: Sequence[float | None], precision: float | None, confidence: float) -> bool:
    if precision is None:
        return True
    known = [value for value in values if value is not None]
    if len(known) < _FIRST_ROUND:
        return False
    estimate = _estimate(known, confidence)
    # What no repetition saw is rarer than they could show, not known to be exactly 0.
    return estimate.mean != 0 and estimate.half_width <= precision * abs(estimate.mean)


def _repetition(task: tuple[Study, int, Start, Engine]) -> dict[str, float | None]:
    """One repetition's indicators; at the top of the module, because processes must find it by its name."""
    study, number, start, engine = task
    seed = int(generator(study.seed, "repetition", number).integers(2**62))
    accumulator = KpiAccumulator()
    simulate_in_batches(
        study.model_copy(update={"seed": seed}),
        accumulator.add,
        anchors=random_anchors(study, seed),
        start=start,
        engine=engine,
    )
    return dict(accumulator.result().values)


def random_anchors(study: Study, seed: int) -> dict[str, float]:
    """Trunk -> where a window of its throttle begins, as `simulate` takes it.

    A fixed window's phase is unknown beforehand: any is as likely as the others, and one where a timer is shared.
    """
    return {
        trunk.name: -trunk.throttle.window_s * _phase(seed, 0 if trunk.throttle.shares_timer else index)
        for index, trunk in enumerate(study.trunks)
        if isinstance(trunk.throttle, Windowed)
    }


def _phase(seed: int, stream: int) -> float:
    return float(uniforms(seed, "phase", stream, start=0, count=1)[0])
