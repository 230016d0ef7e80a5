"""Run the model: `simulate(study) -> records`, at once or in batches for long runs.

It sets up the world, starts each trunk's callers, and collects their records. `trunk` models the life of a call.
"""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import groupby
from operator import attrgetter

import polars as pl
import simpy

from trunkproof.models.costs import costs_of
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.limits import Limits, Ports
from trunkproof.models.numbering import check_rows
from trunkproof.models.plan import Plan, PlanRow, plan_chunks, rows_of
from trunkproof.models.records import SCHEMA, Disposition, Record, to_frame
from trunkproof.models.study import Study
from trunkproof.simulator.edge import Edge
from trunkproof.simulator.host import Host, busy_costs, capacity
from trunkproof.simulator.incidents import happen
from trunkproof.simulator.standing import residual_times
from trunkproof.simulator.trunk import Caller, World

Calls = Iterable[list[PlanRow]]
"""The attempts of each caller as one list, in the order of the first attempts."""
OnBatch = Callable[[pl.DataFrame, float], None]
"""Takes records of ended attempts, and an instant. All attempts intended before it have been handed over."""


class Engine(StrEnum):
    """What executes the model. The records are the same to the last bit."""

    SIMPY = "simpy"
    """`simulator.trunk`, the readable reference. It starts at once."""
    KERNEL = "kernel"
    """`simulator.kernel`, for sweeps and repetitions. It is compiled when it is first used. Studies whose destinations
    have limits of their own run on SimPy instead."""


class Start(StrEnum):
    """The state in which a simulation begins."""

    EMPTY = "empty"
    """No call is up, as when real calls begin."""
    STATIONARY = "stationary"
    """The calls of a random moment are up. Use it for questions of capacity."""


def simulate(
    study: Study,
    plan: Plan | None = None,
    *,
    anchors: Mapping[str, float] | None = None,
    start: Start = Start.EMPTY,
    until_s: float | None = None,
    engine: Engine = Engine.SIMPY,
) -> pl.DataFrame:
    """Simulate a study. Return one row per attempt, sorted by the intended instant, as in `models.records`.

    Args:
        study: the trunk and its traffic.
        plan: the plan to execute. None: draw the study's own plan.
        anchors: trunk name -> an instant at which a window of its throttle begins. The default is 0.
        start: empty or stationary.
        until_s: stop at this instant. Attempts under way are then `still_up`. None: wait for the last call.
        engine: what executes the model.

    Raises:
        InputError: the calibration cannot be read, its idle programs leave no CPU for calls, a stationary study is over
            before it counts, or a trunk needs more rows than it has numbers for.
    """
    batches: list[pl.DataFrame] = []
    simulate_in_batches(
        study,
        lambda batch, _: batches.append(batch),
        plan,
        anchors=anchors,
        start=start,
        until_s=until_s,
        engine=engine,
    )
    return pl.concat(batches).sort("intended_s", "row") if batches else pl.DataFrame(schema=SCHEMA)


def simulate_in_batches(
    study: Study,
    on_batch: OnBatch,
    plan: Plan | None = None,
    *,
    anchors: Mapping[str, float] | None = None,
    start: Start = Start.EMPTY,
    until_s: float | None = None,
    counts_from_s: float | None = None,
    batch: int = 20_000,
    engine: Engine = Engine.SIMPY,
) -> None:
    """Simulate a study, and hand over the records in batches as calls end. They need not all be in memory at once.

    Only attempts from `counts_from_s` on are handed over. The default is all of them. With a stationary start it is
    those after the warm-up of the throttles.
    """
    if counts_from_s is None:
        counts_from_s = warm_up_s(study) if start is Start.STATIONARY else 0.0
    check_machine(study)
    # The kernel does not count by number. SimPy has the same records, and only takes longer.
    counts_by_number = any(entry.is_limited for trunk in study.trunks for entry in trunk.traffic.destinations)
    if engine is Engine.KERNEL and not counts_by_number:
        # Import late: Numba compiles on import.
        from trunkproof.simulator.kernel.running import run_in_batches  # noqa: PLC0415

        run_in_batches(
            study,
            on_batch,
            plan,
            anchors=anchors,
            is_stationary=start is Start.STATIONARY,
            until_s=until_s,
            counts_from_s=counts_from_s,
            batch=batch,
        )
        return
    if plan is None:
        check_rows(study)
    collector = _Collector(on_batch, batch, counts_from_s)
    # Each needs the other: the world emits into the collector, which asks the world for the oldest attempt.
    world = _world(study, anchors or {}, collector.emit)
    collector.world = world
    if start is Start.STATIONARY:
        _stand_up(world)
    for trunk in range(len(study.trunks)):
        world.env.process(_callers_come(world, _calls_of(study, plan, trunk)))
    for incident in study.pop.incidents:
        world.env.process(happen(world, incident))
    with _uncollected():
        world.env.run(until=until_s)
        collector.finish(until_s)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Switch the search for reference cycles off: calls make none, and the search takes a tenth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def check_machine(study: Study) -> None:
    """Check that the machine has CPU for calls.

    Raises:
        InputError: the calibration cannot be read, or its idle programs leave no CPU for calls.
    """
    costs = costs_of(study.pop)
    if capacity(study.pop.machine, costs) <= 0:
        what = f"leaves no CPU for calls: without any, the programs take {costs.idle_share:g} cores"
        raise InputError(study.name, [Problem(where="pop.machine", what=what)])


def _world(study: Study, anchors: Mapping[str, float], emit: Callable[[Record], None]) -> World:
    env, costs = simpy.Environment(), busy_costs(study)
    host = Host(study.pop.machine, costs)
    edges = [Edge(env, host, costs) for _ in study.pop.doors]
    return World(env, study, costs, host, edges, Limits(study, anchors), emit)


def _calls_of(study: Study, plan: Plan | None, trunk: int) -> Calls:
    tables = plan_chunks(study, trunk) if plan is None else [plan.table.filter(pl.col("trunk") == trunk)]
    # Without a plan, chunks are drawn only as far as simulated time has come: a month takes no more memory than an
    # hour.
    for table in tables:
        yield from _by_call(rows_of(table))


def _by_call(rows: Iterator[PlanRow]) -> Calls:
    return (list(attempts) for _, attempts in groupby(rows, key=attrgetter("call")))


def _callers_come(world: World, calls: Calls) -> Generator[simpy.Event, object, None]:
    env = world.env
    here: list[Caller] = []
    for attempts in calls:
        place_s = attempts[0].place_s or 0.0
        if place_s > env.now:
            # Schedule the next caller before these callers act: the kernel has the same order of events.
            following = env.timeout(place_s - env.now)
            for caller in here:
                env.process(caller.run())
            here.clear()
            yield following
        here.append(Caller(world, attempts))
    for caller in here:
        env.process(caller.run())


def warm_up_s(study: Study) -> float:
    """Return the length of the warm-up: until then the throttle has not seen all that it remembers.

    Raises:
        InputError: the study is over before the warm-up is.
    """
    memory_s = max(trunk.throttle.memory_s for trunk in study.trunks)
    if study.duration_s <= memory_s:
        what = f"a stationary start counts from {memory_s:g} s on, the throttle's memory; make it longer"
        raise InputError(study.name, [Problem(where="duration_s", what=what)])
    return memory_s


def _stand_up(world: World) -> None:
    """Start the calls that a stationary trunk has at a random moment."""
    for trunk in range(len(world.study.trunks)):
        for residual_s in residual_times(world.study, trunk):
            # A standing call needs ports as any other does. Where none are free, there is one such call less.
            taken = world.limits.pool.acquire(0.0)
            if taken is not None:
                world.limits.carrier.hold(trunk)
                world.env.process(_standing_call(world, trunk, taken, float(residual_s)))


def _standing_call(world: World, trunk: int, ports: Ports, residual_s: float) -> Generator[simpy.Event, object, None]:
    reading = world.host.audio_begins(world.env.now)
    yield world.env.timeout(residual_s)
    # A standing call has no record: its audio only loads the machine.
    world.host.audio_ends(reading, world.env.now)
    world.limits.give_back(trunk, ports, world.env.now)


class _Collector:
    """Gathers ended attempts into batches."""

    def __init__(self, on_batch: OnBatch, size: int, counts_from_s: float) -> None:
        self._on_batch = on_batch
        self._size = size
        self._ended: list[Record] = []
        self._counts_from_s = counts_from_s
        self.world: World | None = None

    def emit(self, record: Record) -> None:
        """Take an attempt that has ended."""
        assert self.world is not None
        del self.world.under_way[record]
        if record.intended_s >= self._counts_from_s:
            self._ended.append(record)
        if len(self._ended) >= self._size:
            # Attempts begin at their intended instants, and `under_way` keeps their order: nothing older is missing.
            oldest = next(iter(self.world.under_way), None)
            self._hand_over(self.world.env.now if oldest is None else oldest.intended_s)

    def finish(self, until_s: float | None) -> None:
        """Hand over the rest; attempts that have not ended are still up."""
        assert self.world is not None
        for record in self.world.under_way:
            record.disposition, record.ended_s = Disposition.STILL_UP, until_s
            if record.intended_s >= self._counts_from_s:
                self._ended.append(record)
        self._hand_over(math.inf)

    def _hand_over(self, complete_until_s: float) -> None:
        self._on_batch(to_frame(self._ended), complete_until_s)
        self._ended.clear()
