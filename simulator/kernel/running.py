"""Run the compiled model from Python: bring the plan piece by piece, make room, and take the records in batches.

Memory holds the calls under way, one piece of the plan for each trunk, and one batch of records.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict, Unpack

import numpy as np
import polars as pl

from trunkproof.models.plan import Plan
from trunkproof.models.study import Study
from trunkproof.simulator.host import busy_costs
from trunkproof.simulator.kernel import codes, memory
from trunkproof.simulator.kernel.arrivals import stand_up
from trunkproof.simulator.kernel.encoding import world_of
from trunkproof.simulator.kernel.frames import to_frame
from trunkproof.simulator.kernel.loop import run
from trunkproof.simulator.kernel.memory import Records, World, grown
from trunkproof.simulator.kernel.rows import Pieces, pieces
from trunkproof.simulator.standing import residual_times

OnRecords = Callable[[Records, float], None]
"""A function that takes finished attempts and an instant: every attempt intended before it has been handed over.

The attempts are `memory.RECORD`s, and are valid until the function returns.
"""


class How(TypedDict, total=False):
    """The options of a run: arguments of `simulator.run.simulate_in_batches`, with the same defaults."""

    anchors: Mapping[str, float] | None
    is_stationary: bool
    until_s: float | None
    counts_from_s: float
    batch: int


def run_in_batches(
    study: Study, on_batch: Callable[[pl.DataFrame, float], None], plan: Plan | None = None, **how: Unpack[How]
) -> None:
    """Simulate a study that has been checked, and give its records to `on_batch` as tables, batch by batch."""

    def handed_over(records: Records, complete_until_s: float) -> None:
        on_batch(to_frame(records, study.trunks), complete_until_s)

    Running(study, handed_over, plan, **how).to_the_end()


class Running:
    """One simulation under way."""

    def __init__(
        self, study: Study, on_records: OnRecords, plan: Plan | Sequence[Pieces] | None = None, **how: Unpack[How]
    ) -> None:
        """Prepare a simulation. The plan may be a plan, pieces from `rows.shared`, or None to draw it.

        Raises:
            ValueError: `until_s` is not after the beginning.
        """
        until_s = how.get("until_s")
        if until_s is not None and until_s <= 0:
            raise ValueError(f"a simulation begins at 0, and cannot stop at {until_s}")
        self._study, self._on_records = study, on_records
        self._world = world_of(study, busy_costs(study), how.get("anchors") or {}, batch=how.get("batch", 20_000))
        self._set("counts_from_s", how.get("counts_from_s", 0.0))
        self._set("until_s", math.inf if until_s is None else until_s)
        self._plans = pieces(study, plan) if plan is None or isinstance(plan, Plan) else plan
        self._last_s = math.nan if until_s is None else until_s
        if how.get("is_stationary"):
            self._stand_up()

    def to_the_end(self) -> None:
        """Simulate until the last call is over, or until the instant at which to stop."""
        while self.goes_on():
            pass

    def goes_on(self) -> bool:
        """Simulate until another piece of the plan is needed, and take it. Return False when all is over."""
        while (wants := run(self._world)) != codes.DONE:
            self._serve(wants)
            # Stop at each piece: simulations that share their pieces (`rows.shared`) can then run in turn, so that a
            # piece is freed soon.
            if wants == codes.WANTS_PLAN:
                return True
        self._leave_up()
        self._hand_over(math.inf)
        return False

    @property
    def under_way(self) -> int:
        """Return how many callers have a place now."""
        return len(self._world.attempts) - int(self._get("free"))

    def room(self) -> dict[str, int]:
        """Return the size of each array of the memory, by its name."""
        return {name: array.size for name, array in self._world._asdict().items()}

    def _serve(self, wants: int) -> None:
        match wants:
            case codes.BATCH_IS_FULL:
                self._hand_over(float(self._get("complete_until_s")))
            case codes.WANTS_PLAN:
                self._bring_plan(int(self._get("arriving")))
            case codes.WANTS_ROOM:
                # Only Python makes arrays: compiled code stops, and goes on with the larger ones.
                self._world = _roomier(self._world)
            case _:
                self._put_in_order()

    def _get(self, name: str) -> float:
        value: float = self._world.clock[name][0]
        return value

    def _set(self, name: str, value: float) -> None:
        self._world.clock[name][0] = value

    def _hand_over(self, complete_until_s: float) -> None:
        count = int(self._get("records"))
        self._set("records", 0)
        self._on_records(self._world.records[:count], complete_until_s)

    def _bring_plan(self, trunk: int) -> None:
        state, buffers = self._world.trunks[trunk], self._world.plan
        piece = next(self._plans[trunk], None)
        if piece is None:
            state["is_last"] = True
            return
        first, filled = int(state["first"]), int(state["filled"])
        rows = filled - first + len(piece)
        # All trunks share one array, so it is as wide as the trunk with the most rows needs.
        if rows > buffers.shape[1]:
            wider = np.zeros((len(buffers), max(rows, 2 * buffers.shape[1])), dtype=memory.ROW)
            wider[:, : buffers.shape[1]] = buffers
            self._world = self._world._replace(plan=wider)
        # Copy as bytes, which is one copy: NumPy would copy records field by field.
        buffer, size = self._world.plan[trunk].view(np.uint8), memory.ROW.itemsize
        buffer[: (filled - first) * size] = buffer[first * size : filled * size].copy()
        buffer[(filled - first) * size : rows * size] = piece.view(np.uint8)
        # The rows that were used up are gone from the front of the buffer, so places move by as many.
        state["looked"] -= first
        state["first"], state["filled"] = 0, rows

    def _put_in_order(self) -> None:
        """Queue the attempts that a lost edge breaks off, in the order of their INVITEs."""
        attempts, fallen = self._world.attempts, int(self._get("fallen"))
        is_at_it = (attempts["edge"] == fallen) | (fallen < 0)
        inviting = np.flatnonzero((attempts["begun"] > 0) & (attempts["invited"] > 0) & is_at_it)
        # SimPy interrupts them in this order, and the order decides which of two equal instants comes first.
        inviting = inviting[np.argsort(attempts["invited"][inviting])]
        self._world = self._world._replace(interrupted=inviting)
        self._set("interrupted", 0)
        self._set("interrupts", len(inviting))

    def _stand_up(self) -> None:
        for trunk in range(len(self._study.trunks)):
            residual_s = residual_times(self._study, trunk)
            while int(self._get("far")) + len(residual_s) > len(self._world.far):
                self._world = self._world._replace(far=grown(self._world.far, len(residual_s)))
            stand_up(self._world, self._study.channel_pools[trunk], residual_s)

    def _leave_up(self) -> None:
        """Write a record of each attempt that is still up at the end, in the order in which they began."""
        attempts, world = self._world.attempts, self._world
        counts = (attempts["begun"] > 0) & (attempts["intended_s"] >= self._get("counts_from_s"))
        # The order in which SimPy's `under_way` has them.
        up = attempts[counts][np.argsort(attempts["begun"][counts])]
        count = int(self._get("records"))
        records = np.zeros(count + len(up), dtype=memory.RECORD)
        records[:count] = world.records[:count]
        left = records[count:]
        for name in set(memory.RECORD.names or ()) & set(memory.ATTEMPT.names or ()) - {"row"}:
            left[name] = up[name]
        for name in ("row", "call", "attempt"):
            left[name] = world.rows[name][up["row"]]
        # The batch's own records stay in front: attempts that ended come before those that are still up.
        left["ended_s"], left["disposition"] = self._last_s, codes.STILL_UP
        self._world = world._replace(records=records)
        self._set("records", len(records))


def _roomier(world: World) -> World:
    """Return the same world with more room in each array that has little left."""
    clock = world.clock[0]
    if clock["free"] < 1:
        more = np.arange(len(world.attempts), 2 * len(world.attempts))
        free = np.zeros(2 * len(world.attempts), dtype=np.int64)
        free[: len(more)] = more
        # Room is asked for when no place is free, so the stack has the new places only.
        clock["free"] = len(more)
        world = world._replace(attempts=grown(world.attempts, 0), free=free)
    if clock["rows"] < len(world.rows) // 2:
        more = np.arange(len(world.rows), 2 * len(world.rows))
        free_rows = np.zeros(2 * len(world.rows), dtype=np.int64)
        free_rows[: clock["rows"]] = world.free_rows[: clock["rows"]]
        free_rows[clock["rows"] : clock["rows"] + len(more)] = more
        clock["rows"] += len(more)
        world = world._replace(rows=grown(world.rows, 0), free_rows=free_rows)
    if clock["near"] + 64 > len(world.near):
        world = world._replace(near=grown(world.near, 0))
    if clock["far"] + 64 > len(world.far):
        world = world._replace(far=grown(world.far, 0))
    return world
