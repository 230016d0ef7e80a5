"""The sweep: simulate the busy periods of the history under every throttle that may be granted.

An example: the history has 20 days with a busy hour, the throttle has 3 interpretations and 4 limits, and demand at the
horizon may be 0.8 to 1.3 times today's.

    witness   who calls          the fitted model (new callers, each day's rates), or the record (calls as they came)
    span      when               one day's busy period, after a lead-in that fills the trunk
    level     how much           a factor on that day's demand; 6 levels from 0.68 to 1.56 in the example
    cell      under what         one interpretation of the throttle at one limit; 12 cells in the example

1. `prepare` lays out the spans of both witnesses at all levels, in batches. Nothing is simulated yet.
2. `Sweep.extend` simulates every batch under all cells that are new. All cells meet the same callers, so differences
   between them come from the throttle and not from chance.
3. Each cell becomes a `Response` per witness: every quantity of every span at every level. Between two levels it is
   interpolated, so any demand between the lowest and the highest level can be asked later without a new simulation.

The model repeats days with new callers. Two repetitions at a time have the same parameters of callers: they differ by
chance alone, which shows how large chance is. The record cannot be drawn anew; its calls are thinned for a lower level,
and calls of other days come on top for a higher one.

What the responses mean for the decision is `judging`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

import numpy as np

from trunkproof.experiments.common.progress import Progress, silent
from trunkproof.experiments.review.periods.busy import BusyPeriods
from trunkproof.experiments.review.periods.horizon import Demand
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.sweep.bench import Batch, BatchResult, Unthrottled, run_batches
from trunkproof.experiments.review.sweep.cells import study_with, with_limit
from trunkproof.experiments.review.sweep.quantities import SpanValues
from trunkproof.experiments.review.sweep.response import Response, Runs
from trunkproof.experiments.review.sweep.spans import Layout, from_instants, from_rates, rescaled
from trunkproof.models.arrays import FloatArray, IntArray
from trunkproof.models.demand.fitting.alternatives import alternative
from trunkproof.models.demand.fitting.result import Fit
from trunkproof.models.streams import generator
from trunkproof.models.study import Study
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.traffic import Arrivals

Cell = tuple[int, int]
"""Index of the interpretation, and limit in calls per minute."""

CALLS_WANTED = 300_000
"""Calls of the model in all spans of one level. A share of 1 % is then known to some 3 % of itself, if calls are
independent."""
_MOST_SPANS = 64
_LEAST_SPANS = 16
_EVERY_DAY_OF = 40
"""Of a history with at most this many days, each day is simulated at least once."""
_REPETITIONS = 8
_MOST_RECORDED = 60
"""Days that are replayed. Of a longer history these are the busiest days, and a random sample of the others."""
_STEP = 1.18
"""Largest factor between two levels."""
_REACH = (0.85, 1.2)
"""Factors that add one level below and one above the likely ones, for the what-if of the page."""
_LEAST_LEAD_S, _MOST_LEAD_S = 900.0, 2700.0
_BATCH_CALLS = 60_000
"""Calls in one simulation: enough that its overhead does not matter, few enough to keep all processes busy."""


class Witness(StrEnum):
    """Where the calls of a simulation come from."""

    MODEL = "model"
    """The fitted traffic, drawn anew."""
    RECORD = "record"
    """The recorded calls, replayed."""


@dataclass(frozen=True, eq=False)
class Bench:
    """The spans of one witness, ready to be run under any throttle."""

    runs: Runs
    batches: tuple[tuple[Batch, int, IntArray], ...]
    """Of each batch: the batch without throttles, the index of its level, and the indices of its spans."""


@dataclass(frozen=True, eq=False)
class _Job:
    """Throttles to simulate on a bench, and their results."""

    bench: Bench
    throttles: Sequence[ThrottleSettings]
    values: list[SpanValues]

    @classmethod
    def of(cls, bench: Bench, throttles: Sequence[ThrottleSettings]) -> Self:
        return cls(bench, throttles, [{} for _ in throttles])

    def put(self, level: int, which: IntArray, result: BatchResult) -> None:
        shape = len(self.bench.runs.levels), len(self.bench.runs.day)
        for mine, found in zip(self.values, result.values, strict=True):
            for name, seen in found.items():
                # NaN shows a span that no batch has filled, where 0 would pass for a result.
                mine.setdefault(name, np.full(shape, np.nan))[level, which] = seen

    def responses(self) -> list[Response]:
        return [Response(self.bench.runs, found) for found in self.values]


@dataclass(eq=False)
class Sweep:
    """Responses of every simulated cell, by both witnesses; `extend` adds more."""

    request: Request
    demand: Demand
    benches: Mapping[Witness, Bench]
    responses: dict[tuple[Witness, Cell], Response] = field(default_factory=dict)
    simulated_attempts: int = 0
    simulations: int = 0
    unthrottled: dict[tuple[int, int], Unthrottled] = field(default_factory=dict)
    """Results without a throttle, by seed and level of a batch: a throttle that refuses nothing has the same."""

    def extend(
        self,
        cells: Sequence[Cell],
        executor: Executor | None = None,
        advance: Progress = silent,
    ) -> None:
        """Simulate the cells that are new. The same seed gives the same results on every executor."""
        wanted = [cell for cell in dict.fromkeys(cells) if (Witness.MODEL, cell) not in self.responses]
        throttles = [
            with_limit(self.request.interpretations[interpretation], limit) for interpretation, limit in wanted
        ]
        if not wanted:
            return
        jobs = {witness: _Job.of(bench, throttles) for witness, bench in self.benches.items()}
        # All at once, so that no core waits for the other witness.
        tasks = [(job, *one) for job in jobs.values() for one in job.bench.batches]
        # High levels have the most calls: what takes longest must not begin last.
        tasks.sort(key=lambda task: -task[2])
        batches = [
            replace(batch, throttles=tuple(job.throttles), unthrottled=self.unthrottled.get((batch.study.seed, level)))
            for job, batch, level, _ in tasks
        ]
        results = run_batches(batches, executor)
        for number, ((job, batch, level, which), result) in enumerate(zip(tasks, results, strict=True)):
            # Kept for the next round of the search, which needs no run without a throttle then.
            if result.unthrottled is not None:
                self.unthrottled[batch.study.seed, level] = result.unthrottled
            self.simulated_attempts += result.attempts
            self.simulations += result.runs
            job.put(level, which, result)
            advance((number + 1) / len(tasks), "busy periods")
        for witness, job in jobs.items():
            for cell, response in zip(wanted, job.responses(), strict=True):
                self.responses[witness, cell] = response

    def response(self, interpretation: int, limit: int, witness: Witness = Witness.MODEL) -> Response:
        """Return the response of one cell.

        Raises:
            KeyError: the cell was not simulated.
        """
        return self.responses[witness, (interpretation, limit)]

    @property
    def witnesses(self) -> tuple[Witness, ...]:
        """Return the witnesses that this sweep has."""
        return tuple(self.benches)

    def __repr__(self) -> str:
        return (
            f"<Sweep: {len(self.responses)} responses; {self.simulations} simulations, "
            f"{self.simulated_attempts} attempts>"
        )


def prepare(request: Request, fit: Fit, busy: BusyPeriods, demand: Demand) -> Sweep:
    """Lay out the spans of both witnesses. Nothing is simulated yet.

    Args:
        request: the PoP, the neighbours and the seed.
        fit: the customer's callers.
        busy: the judged periods.
        demand: the demand that their days may have at the horizon.
    """
    benches = {Witness.MODEL: _of_model(request, fit, busy, demand)}
    recorded = _of_record(request, fit, busy, demand)
    if recorded is not None:
        benches[Witness.RECORD] = recorded
    return Sweep(request, demand, benches)


def levels_for(demand: Demand, reach: tuple[float, float] = _REACH) -> FloatArray:
    """Return the levels to simulate, ascending: close together where demand is likely, and one beyond either end."""
    # The few alternatives outside are read at the outermost level, one step beyond these.
    low, high = (float(value) for value in np.quantile(demand.relative, [0.002, 0.998]))
    count = max(3, 1 + math.ceil(math.log(high / low) / math.log(_STEP)))
    # Equal ratios, because demand is a factor. A known demand still needs two levels to interpolate between.
    inner = np.geomspace(low, max(high, low * 1.02), count)
    return np.concatenate([[reach[0] * inner[0]], inner, [reach[1] * inner[-1]]])


def lead_s(request: Request, fit: Fit) -> float:
    """Return how long the trunk fills before the period counts: three mean calls, and all that a throttle remembers."""
    others = [other.throttle for other in request.neighbours]
    memory = max((throttle.memory_s for throttle in (*request.interpretations, *others)), default=0.0)
    # After three mean calls an empty trunk has 95 % of its calls, if they are exponential: 1 - e^-3.
    filled = min(3 * fit.holding.mean_s.value, _MOST_LEAD_S)
    return 60.0 * math.ceil(max(_LEAST_LEAD_S, filled, memory) / 60)


def _of_model(request: Request, fit: Fit, busy: BusyPeriods, demand: Demand) -> Bench:
    lead, days = lead_s(request, fit), len(busy.days)
    layout = Layout(1, lead, busy.length_s)
    calls = float((demand.rates_per_minute * demand.base).mean()) * (lead + busy.length_s) / 60
    least = max(_LEAST_SPANS, min(days, _EVERY_DAY_OF))
    spans = int(np.clip(CALLS_WANTED / max(calls, 1.0), least, max(least, _MOST_SPANS)))
    each = min(days, math.ceil(spans / _REPETITIONS))
    # An even number, for pairs, and two pairs at least: one alone cannot show how callers differ.
    repetitions = int(np.clip(2 * math.ceil(spans / each / 2), 4, 2 * _REPETITIONS))
    # Without replacement until every day had its turn: so no day is left out by chance.
    turns = _turns(days, each * repetitions, generator(request.seed, "turns"))
    levels = levels_for(demand)
    batches: list[tuple[Batch, int, IntArray]] = []
    day_of: list[int] = []
    repetition_of: list[int] = []
    for repetition in range(repetitions):
        random = generator(request.seed, "days of a repetition", repetition)
        # A pair of repetitions has the same callers, so that what they differ by is chance.
        callers = alternative(fit, _known_calls(fit), generator(request.seed, "callers", repetition // 2))
        chosen = np.sort(turns[repetition * each : (repetition + 1) * each])
        # One draw of rates for all days of a repetition, because their alternatives belong together.
        paths = fit.days.draw(random)
        mine = [
            fit.days.path(paths, int(busy.days[day]), busy.start_s[day] - lead, lead + busy.length_s, random)
            for day in chosen
        ]
        first = len(day_of)
        day_of += chosen.tolist()
        repetition_of += [repetition] * len(chosen)
        for part, which in enumerate(_parts([float(path.mean()) for path in mine], lead + busy.length_s)):
            placed = Layout(len(which), layout.lead_s, layout.length_s)
            for number, level in enumerate(levels):
                arrivals = from_rates(
                    [mine[index] * demand.base[chosen[index]] * level for index in which], fit.days.step_s, placed
                )
                study = _study(request, callers, arrivals, placed, repetition, part)
                batches.append((Batch(study, placed, (), request.engine), number, first + which))
    return Bench(Runs(levels, np.array(day_of), np.array(repetition_of), busy.length_s), tuple(batches))


def _turns(days: int, wanted: int, random: np.random.Generator) -> IntArray:
    """Return the days in the order of simulation: all of them in random order, then all again."""
    rounds = [random.permutation(days) for _ in range(math.ceil(wanted / days))]
    return np.concatenate(rounds)[:wanted]


def _of_record(request: Request, fit: Fit, busy: BusyPeriods, demand: Demand) -> Bench | None:
    """Lay out the recorded calls. None where the history was multiplied: its counts are then no calls of this trunk."""
    if fit.multiplied != 1:
        return None
    lead, random = lead_s(request, fit), generator(request.seed, "record")
    days = _replayed_days(demand, random)
    calls = float((demand.rates_per_minute * demand.base)[days].sum()) * (lead + busy.length_s) / 60
    # Few levels are quick. A straight line between two of them overestimates refusals a little, which is safe.
    shares = [0.02, 0.5, 0.98] if calls < CALLS_WANTED else [0.05, 0.95]
    levels = np.unique(np.quantile(demand.relative, shares))
    seen = {
        day: fit.fresh.instants_s(
            fit.days.dates[busy.days[day]], busy.start_s[day] - lead, busy.start_s[day] + busy.length_s, random
        )
        for day in days.tolist()
    }
    # `_parts` yields the busiest days first, so that the longest batches are not the last.
    sizes = [len(seen[day]) for day in days.tolist()]
    batches: list[tuple[Batch, int, IntArray]] = []
    for part, which in enumerate(_parts([60 * size / (lead + busy.length_s) for size in sizes], lead + busy.length_s)):
        placed = Layout(len(which), lead, busy.length_s)
        for number, level in enumerate(levels):
            instants = [
                rescaled(
                    seen[int(days[index])],
                    [seen[day] for day in days.tolist() if _is_other(busy, day, int(days[index]))],
                    # The record is already at its day's own level, so the factor is the whole of it.
                    float(demand.base[days[index]] * level),
                    generator(request.seed, "rescaled", int(days[index])),
                )
                for index in which
            ]
            study = _study(request, fit, from_instants(instants, placed), placed, -1, part)
            batches.append((Batch(study, placed, (), request.engine), number, which))
    # One repetition: a record cannot be drawn anew, so it shows no noise (`_noisy` adds none).
    runs = Runs(levels, days, np.zeros(len(days), dtype=np.int64), busy.length_s)
    return Bench(runs, tuple(batches))


def _is_other(busy: BusyPeriods, day: int, own: int) -> bool:
    return day != own and busy.period_of_day[day] == busy.period_of_day[own]


def _replayed_days(demand: Demand, random: np.random.Generator) -> IntArray:
    """Return the indices of the replayed days: all, or the 30 busiest and 30 random others."""
    days = len(demand.base)
    if days <= _MOST_RECORDED:
        return np.arange(days)
    order = np.argsort(-demand.rates_per_minute * demand.base)
    half = _MOST_RECORDED // 2
    # The busiest alone would be a record of rushes; they decide, but the mean needs the others too.
    rest = random.permutation(order[half:])[:half]
    return np.sort(np.concatenate([order[:half], rest]))


def _parts(per_minute: Sequence[float], length_s: float) -> Iterator[IntArray]:
    """Yield the spans that are simulated together: those of about the same load.

    If a throttle cuts a single span of a batch, the whole batch is simulated again under that throttle.
    """
    order = np.argsort(per_minute, kind="stable")[::-1]
    calls = float(np.sum(per_minute)) * length_s / 60
    count = int(np.clip(round(calls / _BATCH_CALLS), min(2, len(order)), len(order)))
    for part in np.array_split(order, count):
        yield np.sort(part)


def _known_calls(fit: Fit) -> float:
    return float(fit.days.counts.sum())


def _study(  # noqa: PLR0917  # what it is made of, then which it is
    request: Request, fit: Fit, arrivals: Arrivals, layout: Layout, repetition: int, part: int
) -> Study:
    seed = int(generator(request.seed, "spans", repetition, part).integers(2**62))
    return study_with(request, fit, arrivals, layout.duration_s, seed, request.interpretations[0])
