"""Simulate one batch of spans under several throttles with the same draws: the work of one worker.

Most throttles refuse nothing in most batches. So the batch is first simulated without a throttle. A throttle that would
have refused none of those attempts has the same results and is not simulated. Only numbers come back: one value per
quantity, span and throttle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trunkproof.experiments.review.sweep.quantities import SpanValues
from trunkproof.experiments.review.sweep.spans import Layout
from trunkproof.experiments.review.sweep.tally import Callers, Tally, run_tallied
from trunkproof.models.arrays import FloatArray, IntArray
from trunkproof.models.draws import ROWS_PER_TRUNK
from trunkproof.models.study import Study
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.policy import Asked
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.simulator.replicate import random_anchors
from trunkproof.simulator.run import Engine

_OPEN = FixedWindow(limit=1_000_000, window_s=1e-6)
"""Refuses nothing and remembers nothing. But it is asked, which takes time on some stacks."""


@dataclass(frozen=True, eq=False)
class Unthrottled:
    """Results of the spans without a throttle, and so under every throttle that is shown to refuse nothing."""

    asked: Asked
    values: SpanValues


@dataclass(frozen=True)
class Batch:
    """The task of a worker."""

    study: Study
    """The study, with any throttle on its first trunk; its calls come in the spans of `layout`."""
    layout: Layout
    throttles: tuple[ThrottleSettings, ...]
    """The throttles to put on the first trunk, one after the other."""
    engine: Engine = Engine.KERNEL
    unthrottled: Unthrottled | None = None
    """Results of an earlier run of the same spans, if there was one."""


@dataclass(frozen=True)
class BatchResult:
    """The results of a worker."""

    values: tuple[SpanValues, ...]
    """By throttle."""
    attempts: int
    """Simulated attempts, including those of neighbours and of lead-ins."""
    runs: int
    """Number of simulations; the other throttles were shown to refuse nothing."""
    unthrottled: Unthrottled | None = None
    """None where it was not needed."""


def run_batches(batches: Sequence[Batch], executor: Executor | None) -> Iterable[BatchResult]:
    """Run batches in this process or on an executor; results come in the order of the batches."""
    if executor is None:
        return map(run_batch, batches)
    futures = [executor.submit(run_batch, batch) for batch in batches]
    return (future.result() for future in futures)


def run_batch(batch: Batch) -> BatchResult:
    """Simulate the spans under each throttle. Defined at module level, because other processes find it by its name."""
    bench = _Bench(batch)
    different = list(dict.fromkeys(batch.throttles))
    # Two of them may be the same throttle, which is simulated once.
    found = {throttle: bench.values(throttle) for throttle in different}
    values = tuple(found[throttle] for throttle in batch.throttles)
    return BatchResult(values, bench.attempts, bench.runs, bench.known_unthrottled)


class _Bench:
    """Runs one plan under several throttles."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.known_unthrottled = batch.unthrottled
        self.attempts, self.runs = 0, 0

    @cached_property
    def _callers(self) -> Callers:
        return Callers.of(self._batch.study)

    @cached_property
    def _bounds(self) -> list[tuple[IntArray, IntArray]]:
        return [_bounds(fresh_s, trunk, self._batch.layout) for trunk, fresh_s in enumerate(self._callers.fresh_s)]

    def values(self, throttle: ThrottleSettings) -> SpanValues:
        """Return the values of every span under that throttle."""
        study = _throttled(self._batch.study, throttle)
        # If it refuses none of the attempts that come without a throttle, no redial follows, and nothing changes.
        if self._may_be_without_effect(study) and self._lets_pass(study, self._unthrottled.asked):
            return self._unthrottled.values
        return self._run(study).values()

    def _run(self, study: Study) -> Tally:
        tally = Tally(study, self._batch.layout, self._bounds)
        run_tallied(study, tally, self._callers, self._batch.engine)
        self.attempts += tally.attempts
        self.runs += 1
        return tally

    @property
    def _unthrottled(self) -> Unthrottled:
        if self.known_unthrottled is None:
            tally = self._run(_throttled(self._batch.study, _OPEN.model_copy(update={"counts": self._counts})))
            self.known_unthrottled = Unthrottled(tally.asked(self._counts), tally.values())
        return self.known_unthrottled

    def _may_be_without_effect(self, study: Study) -> bool:
        """Tell whether the throttle may refuse nothing. Cheap to test, it can spare the run without a throttle."""
        throttle = study.trunks[0].throttle
        # Without a throttle none is asked, which is quicker on some stacks: other results.
        if not throttle.is_asked or throttle.counts != self._counts or study.pop.incidents:
            return False
        if self.known_unthrottled is not None:
            return True
        # Before anything was simulated only the fresh calls are known. If even these may be refused, the run without a
        # throttle would probably be in vain.
        fresh_s = self._callers.fresh_s[0]
        return self._lets_pass(study, Asked(fresh_s if self._counts == "both" else fresh_s[~self._callers.inbound]))

    def _lets_pass(self, study: Study, asked: Asked) -> bool:
        trunk = study.trunks[0]
        return trunk.throttle.refuses_none(asked, random_anchors(study, study.seed).get(trunk.name, 0.0))

    @property
    def _counts(self) -> str:
        return self._batch.study.trunks[0].throttle.counts


def _throttled(study: Study, throttle: ThrottleSettings) -> Study:
    trunk = study.trunks[0].model_copy(update={"throttle": throttle})
    return study.model_copy(update={"trunks": (trunk, *study.trunks[1:])})


def _bounds(fresh_s: FloatArray, trunk: int, layout: Layout) -> tuple[IntArray, IntArray]:
    """Return the number of the first call of each span, and of the first call after it. Numbers ascend in time."""
    begins = layout.counts_from_s
    # By the instant of the first attempt: a caller's redials belong to the span in which the caller began.
    firsts, ends = np.searchsorted(fresh_s, begins), np.searchsorted(fresh_s, begins + layout.length_s)
    return firsts + trunk * ROWS_PER_TRUNK, ends + trunk * ROWS_PER_TRUNK
