"""The sweep: the busy hour simulated at a few loads under every reading and limit of the throttle, as response curves.

All cells have the same dice, so that their differences are the throttle's. More repetitions are made where a target is
still in doubt because of the simulation. What the curves mean for the decision is `judging`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from experiments.review.busy import LoadDraws
from experiments.review.cells import HOUR_S, candidates_of, study_at, with_limit
from experiments.review.curves import Curve
from experiments.review.hour import Hour, HourResult, Values, run_hour
from experiments.review.request import Request
from experiments.targets import targets_of
from models.fitting.result import Fit
from models.kpis import DEFINITIONS
from models.policies import ThrottleSettings
from models.streams import generator

__all__ = ["Sweep", "candidates_of", "nodes_for", "study_at", "sweep", "with_limit"]

FloatArray = NDArray[np.float64]
Cell = tuple[int, int]
"""(Index of the reading, limit per minute)."""
Advance = Callable[[float, str], None]
_NODES = np.array([0.002, 0.06, 0.25, 0.5, 0.75, 0.94, 0.998])
"""Shares of the hours that may be, at whose loads nodes lie: curves are exact where hours are. With the
exact responses of throttles, the mean over hours through these is within 0.001 of what it is where that is near 1 %."""
_NOISE_COUNTS = 0.3
"""More repetitions are of no use where the input leaves more doubt than they could take away: where the simulation's
error is below this share of the input's."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """Response curves of every cell.

    Indicators are those of `models.kpis` but `mean_concurrency`, for the reviewed trunk's callers who come in the hour
    with all their attempts, and: `no_channel_share`, `no_port_share`, `carrier_rejected_share` (per attempt),
    `offered_per_minute` (fresh calls), `erlang` (their call time over the hour), `ends_<disposition>` (share of callers
    by how their last attempt ended), and of the whole PoP `cpu_share` (cores), `peak_ports`, `peak_channels` and
    `refused_share of <neighbour>`.
    """

    readings: tuple[ThrottleSettings, ...]
    limits: tuple[int, ...]
    nodes: FloatArray
    """Loads that were simulated, calls per minute; beyond them curves stay as they are at the last."""
    values: Mapping[Cell, tuple[tuple[Values, ...], ...]]
    """By repetition and node."""
    simulated_attempts: int
    runs: int
    """Simulated hours."""
    spared: int
    """Hours that were shown to be the same as another one, and not simulated again."""

    @property
    def indicators(self) -> tuple[str, ...]:
        """Names of all indicators."""
        return tuple(next(iter(self.values.values()))[0][0])

    def repetitions(self, reading: int, limit: int) -> int:
        """Of that cell, at each node."""
        return len(self.values[reading, limit])

    def curve(self, reading: int, limit: int, kpi: str) -> Curve:
        """An indicator over the load, under the reading of that index at that limit.

        Raises:
            KeyError: there is no such cell or indicator.
        """
        return _curve(self.nodes, self.values[reading, limit], kpi)

    def __repr__(self) -> str:
        return (
            f"<Sweep: {len(self.readings)} readings, {len(self.limits)} limits, {len(self.nodes)} loads; "
            f"{self.runs} simulated hours, {self.simulated_attempts} attempts>"
        )


def sweep(
    request: Request,
    fit: Fit,
    loads: LoadDraws,
    *,
    limits: Sequence[int] | None = None,
    readings: Sequence[ThrottleSettings] | None = None,
    nodes: FloatArray | None = None,
    executor: Executor | None = None,
    repetitions: int = 3,
    most: int = 8,
    hour_s: float = HOUR_S,
    not_judged: Mapping[str, float] = MappingProxyType({}),
    advance: Advance = lambda share, words: None,
) -> Sweep:
    """Simulate what a decision needs; the same seed gives the same answer on every executor.

    Args:
        request: the PoP, the neighbours, the targets and the seed.
        fit: the customer's callers.
        loads: the hours that may be.
        limits: throttles per minute to look at; by default the request's candidates.
        readings: ways in which the throttle may work; by default the request's.
        nodes: loads to simulate, ascending; by default those of `nodes_for`.
        executor: runs the hours; none: here, one after the other. Processes must be spawned, as by `cluster`.
        repetitions: of every hour at first, at least 2.
        most: of the hours of cells where a target stays in doubt because of the simulation.
        hour_s: length of the simulated hour.
        not_judged: indicator -> the part of it that its target is not about, such as customers that no trunk could
            bring through.
        advance: is told of the progress.
    """
    plan = _Sweeping(
        request=request,
        fit=fit,
        loads=loads,
        readings=tuple(request.readings if readings is None else readings),
        limits=tuple(candidates_of(request) if limits is None else sorted(limits)),
        nodes=nodes_for(loads) if nodes is None else np.asarray(nodes, dtype=np.float64),
        hour_s=hour_s,
        not_judged=not_judged,
    )
    wanted, pending = max(2, repetitions), plan.cells
    done = 0
    while pending and done < wanted:
        plan.run(range(done, wanted), pending, executor, advance)
        pending = [cell for cell in pending if plan.is_in_doubt(cell)]
        done, wanted = wanted, min(most, 2 * wanted)
    return plan.result()


def nodes_for(loads: LoadDraws, reach: tuple[float, float] = (0.85, 1.3)) -> FloatArray:
    """Loads to simulate: where the hours are, and as far beyond both ends as `reach` says, for other growth."""
    where = loads.quantile(_NODES)
    wanted = [reach[0] * where[0], *where, reach[1] * where[-1]]
    nodes = wanted[:1]
    for node in wanted[1:]:
        # Between two that are closer nothing can be told apart from noise.
        if node >= 1.01 * nodes[-1] and node > 0:
            nodes.append(node)
    return np.array(nodes)


def _curve(nodes: FloatArray, values: Sequence[Sequence[Values]], kpi: str) -> Curve:
    seen = np.array([[at[kpi] for at in repetition] for repetition in values])
    offered = np.array([[at["offered_per_minute"] for at in repetition] for repetition in values])
    return Curve.of(nodes, seen, offered, 1.0 if _is_share(kpi) else np.inf)


def _is_share(kpi: str) -> bool:
    if kpi in DEFINITIONS:
        return DEFINITIONS[kpi].unit == "share"
    # CPU is a share of one core: several cores make several.
    return kpi != "cpu_share" and (kpi.startswith("ends_") or "_share" in kpi)


@dataclass(eq=False)
class _Sweeping:
    """A sweep under way."""

    request: Request
    fit: Fit
    loads: LoadDraws
    readings: tuple[ThrottleSettings, ...]
    limits: tuple[int, ...]
    nodes: FloatArray
    hour_s: float
    not_judged: Mapping[str, float]
    attempts: int = 0
    runs: int = 0
    spared: int = 0
    found: dict[Cell, list[tuple[Values, ...]]] = field(default_factory=dict)

    @property
    def cells(self) -> list[Cell]:
        """All of them."""
        return [(reading, limit) for reading in range(len(self.readings)) for limit in self.limits]

    @cached_property
    def _warm_up_s(self) -> float:
        """The same for all cells, so that the same callers count.

        What a throttle remembers; a sliding window in overload takes some more to forget that it began empty, which
        makes an hour's refusals a little too few.
        """
        others = [other.throttle for other in self.request.neighbours]
        return max((throttle.memory_s for throttle in (*self.readings, *others)), default=0.0)

    def run(self, numbers: range, cells: list[Cell], executor: Executor | None, advance: Advance) -> None:
        """Make these repetitions of these cells."""
        # The longest first, so that no worker is left with them at the end.
        places = [(number, node) for node in reversed(range(len(self.nodes))) for number in numbers]
        tasks = [self._task(number, node, cells) for number, node in places]
        results: dict[tuple[int, int], HourResult] = {}
        words = f"busy hours, {numbers.stop} of each"
        for place, result in zip(places, _results(tasks, executor), strict=True):
            results[place] = result
            advance(len(results) / len(places), words)
        for number in numbers:
            self._note(cells, [results[number, node] for node in range(len(self.nodes))])

    def _task(self, number: int, node: int, cells: list[Cell]) -> Hour:
        seed = int(generator(self.request.seed, "busy hour", number).integers(2**62))
        throttles = tuple(with_limit(self.readings[reading], limit) for reading, limit in cells)
        first, limit = cells[0]
        study = study_at(
            self.request,
            self.fit,
            self.readings[first],
            limit,
            float(self.nodes[node]),
            seed,
            warm_up_s=self._warm_up_s,
            hour_s=self.hour_s,
        )
        return Hour(study, throttles, self._warm_up_s, self.request.engine)

    def _note(self, cells: list[Cell], at_nodes: list[HourResult]) -> None:
        for index, cell in enumerate(cells):
            self.found.setdefault(cell, []).append(tuple(result.values[index] for result in at_nodes))
        for result in at_nodes:
            self.attempts += result.attempts
            self.runs += result.runs
            self.spared += len(result.values) - result.runs

    def is_in_doubt(self, cell: Cell) -> bool:
        """Whether more repetitions could say if a target holds."""
        asked = self.request.confidence
        for kpi, bound, is_upper in targets_of(self.request.quality):
            curve = _curve(self.nodes, self.found[cell], kpi)
            judged = bound + self.not_judged.get(kpi, 0.0)
            chance = curve.probability(self.loads, judged, is_upper=is_upper)
            if 1 - asked < chance < asked and _is_noisy(curve, self.loads):
                return True
        return False

    def result(self) -> Sweep:
        """What was found so far."""
        values = {cell: tuple(repetitions) for cell, repetitions in self.found.items()}
        return Sweep(self.readings, self.limits, self.nodes, values, self.attempts, self.runs, max(0, self.spared))


def _results(tasks: list[Hour], executor: Executor | None) -> Iterable[HourResult]:
    """In the order of the tasks, whoever does them and whenever."""
    if executor is None:
        return map(run_hour, tasks)
    futures = [executor.submit(run_hour, task) for task in tasks]
    return (future.result() for future in futures)


def _is_noisy(curve: Curve, loads: LoadDraws) -> bool:
    means = curve.means(loads)
    simulation = means.mean(axis=0).std(ddof=1) / np.sqrt(curve.repetitions)
    return bool(simulation > _NOISE_COUNTS * means.mean(axis=1).std())
