"""Repeat a simulation with independent seeds until the estimates are precise enough. Give confidence intervals.

A ratio, such as a share of attempts, is estimated by the sum of all numerators over the sum of all denominators. Do not
take the mean of the ratios: a busy run has more refusals, and would weigh no more than a quiet one. For runs of one
minute the refused share then comes out a tenth too low.

Repetition k has seed k of the study's own sequence, with any executor and in any order. Only indicators leave the
process of a repetition; its records do not.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.context import SpawnContext, SpawnProcess

import numpy as np
from scipy.special import stdtrit

from trunkproof.models.kpis import DEFINITIONS, KpiAccumulator, Kpis
from trunkproof.models.streams import generator, uniforms
from trunkproof.models.study import Study
from trunkproof.models.throttles.registry import shares_timer
from trunkproof.simulator.run import Engine, Start, simulate_in_batches

Interval = tuple[float, float]
_FIRST_ROUND = 8
"""With fewer repetitions the estimate of their spread is useless."""


@dataclass(frozen=True)
class Estimate:
    """An indicator over all repetitions."""

    mean: float
    """For a ratio: sum of numerators over sum of denominators, so that every call weighs the same."""
    half_width: float
    """Half the width of the confidence interval of the mean (Student's t)."""
    standard_error: float
    """The standard error of the mean."""
    repetitions: int


@dataclass(frozen=True, eq=False)
class Replications:
    """The indicators of all repetitions. None where a repetition has none, such as a delay without calls."""

    samples: Mapping[str, Sequence[float | None]]
    weights: Mapping[str, Sequence[float]]
    """Indicator that is a ratio -> its denominator in every repetition."""
    confidence: float
    reached: bool
    """Whether the precision asked for was reached before the largest number of repetitions."""

    @property
    def repetitions(self) -> int:
        """Return the number of repetitions."""
        return len(next(iter(self.samples.values())))

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Return indicator -> its estimate. Indicators that fewer than two repetitions have are left out."""
        found = {
            name: _estimate(values, self.weights.get(name), self.confidence) for name, values in self.samples.items()
        }
        return {name: estimate for name, estimate in found.items() if estimate is not None}

    @cached_property
    def confidence_intervals(self) -> dict[str, Interval]:
        """Return indicator -> the confidence interval of its mean. More repetitions make it narrower.

        Bounds are cut to possible values (shares to 0 to 1).
        """
        return {name: _possible(name, one.mean, one.half_width) for name, one in self.estimates.items()}

    @cached_property
    def prediction_intervals(self) -> dict[str, Interval]:
        """Return indicator -> the interval in which one more repetition lies with this confidence.

        More repetitions do not make it much narrower: it has the spread of a single run.

        Source: Student's t with the spread of one more observation, Hahn and Meeker, "Statistical Intervals" (1991),
        4.8. Normality is assumed. Bounds are cut to possible values (shares to 0 to 1).
        """
        return {name: self._prediction(name) for name in self.estimates}

    def _prediction(self, name: str) -> Interval:
        # The question is about one repetition's value, whatever it weighs. So take the plain mean and spread.
        values = np.array([value for value in self.samples[name] if value is not None])
        t = float(stdtrit(len(values) - 1, (1 + self.confidence) / 2))
        # The spread of one more observation, and the error of the mean of those that there are.
        return _possible(name, float(values.mean()), t * float(values.std(ddof=1)) * math.sqrt(1 + 1 / len(values)))

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name} {estimate.mean:.4g} ± {estimate.half_width:.2g}"
            for name, estimate in self.estimates.items()
            if name in {"refused_share", "customers_lost_share", "peak_concurrency"}
        )
        return f"<Replications: {self.repetitions} of them, {shown}>"


def _possible(kpi: str, mean: float, reach: float) -> Interval:
    upper = 1.0 if DEFINITIONS[kpi].unit == "share" else math.inf
    return max(0.0, mean - reach), min(upper, mean + reach)


def _estimate(values: Sequence[float | None], weights: Sequence[float] | None, confidence: float) -> Estimate | None:
    """Estimate an indicator, or return None if fewer than two repetitions have it. Without weights all weigh the same.

    Source: the ratio estimator and its linearised variance, Cochran, "Sampling Techniques" (3rd edition, 1977), 6.4.
    With equal weights it is the mean and its usual standard error. For a skew indicator, such as a share that is 0 in
    half of the repetitions, few repetitions give intervals that are a little short: with 16, a 95 % interval contains
    the truth in 91 % of cases.
    """
    # A repetition without the indicator (no call, no delay) is left out. Counting it as 0 would be wrong.
    known = [number for number, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return None
    value = np.array([values[number] for number in known], dtype=np.float64)
    weight = np.ones(len(known)) if weights is None else np.array([weights[number] for number in known])
    mean = float(np.average(value, weights=weight))
    residuals = (value - mean) * weight / weight.mean()
    standard_error = math.sqrt(float(np.sum(residuals**2)) / (len(known) * (len(known) - 1)))
    t = float(stdtrit(len(known) - 1, (1 + confidence) / 2))
    return Estimate(mean, t * standard_error, standard_error, len(known))


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
        replications: how many repetitions, at least 2. With `precision`, how many to begin with.
        precision: go on until the half width of the interval of `kpi` is at most this share of its mean. A mean of 0,
            such as of refusals that were never seen, is never precise.
        kpi: the indicator whose precision counts.
        most: stop after this many repetitions, precise or not.
        confidence: the confidence of all intervals.
        start: as in `simulate`.
        executor: runs the repetitions. None: they run here, one after the other. Processes must be spawned, as by
            `processes`, because the threads of Polars do not survive a fork.
        engine: as in `simulate`.
    """
    run = map if executor is None else executor.map
    done: list[Kpis] = []
    # One repetition has no spread, so no interval.
    wanted = max(2, replications)
    while True:
        tasks = [(study, number, start, engine) for number in range(len(done), wanted)]
        done += run(_repetition, tasks)
        samples = {name: [kpis[name] for kpis in done] for name in DEFINITIONS}
        weights = {name: [kpis.weights[name] for kpis in done] for name in done[0].weights}
        reached = precision is None or _is_precise(_estimate(samples[kpi], weights.get(kpi), confidence), precision)
        if reached or wanted >= most:
            return Replications(samples, weights, confidence, reached)
        # Doubling: few rounds, in which all processes have work, and at most twice as many repetitions as needed.
        wanted = min(most, 2 * wanted)


def processes(workers: int | None = None) -> ProcessPoolExecutor:
    """Return an executor of processes on this machine that is safe to use with `replicate`.

    A terminal sends Ctrl-C to all processes. These processes ignore it, and end when their executor ends.
    """
    return ProcessPoolExecutor(workers, mp_context=_Context())


class _LeavesCtrlC(SpawnProcess):
    """A process that ignores Ctrl-C from its first instruction on. A handler would come too late for its imports."""

    def start(self) -> None:
        """Start the process with the signal blocked. A child inherits that."""
        if not hasattr(signal, "pthread_sigmask"):  # Windows: Ctrl-C is no signal there
            super().start()
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Context(SpawnContext):
    """Starts such processes."""

    Process = _LeavesCtrlC


def _is_precise(estimate: Estimate | None, precision: float) -> bool:
    if estimate is None or estimate.repetitions < _FIRST_ROUND:
        return False
    # If no repetition saw an event, it is rare. It is not known to be impossible.
    return estimate.mean != 0 and estimate.half_width <= precision * abs(estimate.mean)


def _repetition(task: tuple[Study, int, Start, Engine]) -> Kpis:
    """Return one repetition's indicators. A module-level function, because processes find it by its name."""
    study, number, start, engine = task
    # From the number alone, so that a repetition does not depend on which process runs it, or when.
    seed = int(generator(study.seed, "repetition", number).integers(2**62))
    accumulator = KpiAccumulator()
    simulate_in_batches(
        study.model_copy(update={"seed": seed}),
        accumulator.add,
        # Each repetition has another phase of the throttle's window, because nobody knows it: the spread includes it.
        anchors=random_anchors(study, seed),
        start=start,
        engine=engine,
    )
    return accumulator.result()


def random_anchors(study: Study, seed: int) -> dict[str, float]:
    """Return trunk name -> an instant at which a window of its throttle begins, for `simulate`.

    The phase of a fixed window is not known beforehand, so draw it uniformly. Trunks that share a timer have one phase.
    """
    return {
        trunk.name: -trunk.throttle.fixed_window_s * _phase(seed, 0 if shares_timer(trunk.throttle) else index)
        for index, trunk in enumerate(study.trunks)
        if trunk.throttle.fixed_window_s is not None
    }


def _phase(seed: int, stream: int) -> float:
    return float(uniforms(seed, "phase", stream, start=0, count=1)[0])
