"""One batch of spans, simulated under several throttles with the same draws: the work of one worker.

Only numbers come back: one value per quantity, span and throttle. Which batches are run is `sweep`'s.
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
"""Refuses nothing and remembers nothing, but is asked, which takes time on some stacks."""


@dataclass(frozen=True, eq=False)
class Unthrottled:
    """What the spans come to without a throttle, and so under each that is shown to refuse nothing."""

    asked: Asked
    values: SpanValues


@dataclass(frozen=True)
class Batch:
    """A task of a worker."""

    study: Study
    """With any throttle on its first trunk; its calls come in the spans of `layout`."""
    layout: Layout
    throttles: tuple[ThrottleSettings, ...]
    """To put in its place, one after the other."""
    engine: Engine = Engine.KERNEL
    unthrottled: Unthrottled | None = None
    """Where an earlier run of the same spans found it out."""


@dataclass(frozen=True)
class BatchResult:
    """What a worker gives back."""

    values: tuple[SpanValues, ...]
    """By throttle."""
    attempts: int
    """Simulated, those that do not count and those of neighbours included."""
    runs: int
    """Simulations that this took; the other throttles were shown to be without effect."""
    unthrottled: Unthrottled | None = None
    """None: nobody needed it."""


def run_batches(batches: Sequence[Batch], executor: Executor | None) -> Iterable[BatchResult]:
    """Run batches here, or on an executor; results come in the order of the batches."""
    if executor is None:
        return map(run_batch, batches)
    futures = [executor.submit(run_batch, batch) for batch in batches]
    return (future.result() for future in futures)


def run_batch(batch: Batch) -> BatchResult:
    """Simulate the spans under each throttle; at the top of the module, because processes must find it by its name."""
    bench = _Bench(batch)
    different = list(dict.fromkeys(batch.throttles))
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
        """Each span under that throttle."""
        study = _throttled(self._batch.study, throttle)
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
        """Cheap to tell, and spares the run without a throttle where all of them refuse."""
        throttle = study.trunks[0].throttle
        # Where there is none, none is asked, and on some stacks that is quicker.
        if not throttle.is_asked or throttle.counts != self._counts or study.pop.incidents:
            return False
        if self.known_unthrottled is not None:
            return True
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
    """Numbers of the first call of each span, and of the first after it: numbers ascend in time."""
    begins = layout.counts_from_s
    firsts, ends = np.searchsorted(fresh_s, begins), np.searchsorted(fresh_s, begins + layout.length_s)
    return firsts + trunk * ROWS_PER_TRUNK, ends + trunk * ROWS_PER_TRUNK
