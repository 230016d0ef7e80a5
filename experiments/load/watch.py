"""Watch the thresholds of a load test while its calls last, and end the run when one that aborts is missed.

It is judged once a second, on the attempts that have ended. What is still under way counts as good (`models.windows`),
so a run is never ended for what later calls would have mended. Attempts from the PSTN are known only after the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.load.judge import JudgedRow, scope_of
from trunkproof.loadgen.control import AppliedControl
from trunkproof.loadgen.observer import Observer, RunProgress
from trunkproof.loadgen.schedule.tempo import Tempo
from trunkproof.models.columns import columns_of
from trunkproof.models.plan import Plan
from trunkproof.models.records import Direction, Record, to_frame
from trunkproof.models.study import Study
from trunkproof.models.thresholds import KpiThreshold
from trunkproof.models.windows import Sums, WindowedKpi

_EVERY_S = 1.0


class ThresholdWatch(Observer):
    """Ends a run by the first threshold that it misses. Set `abort` before the first call is placed."""

    def __init__(self, plan: Plan) -> None:
        self._watched = [_Watched(one, plan) for one in plan.study.thresholds if one.aborts_from_s is not None]
        self._ended: list[Record] = []
        self._tempo = Tempo()
        self._next_s = _EVERY_S
        self.abort: Callable[[str], None] | None = None

    def controlled(self, applied: AppliedControl) -> None:
        """Expect the calls at another tempo."""
        if applied.change is not None:
            self._tempo.change(applied.change)
            for one in self._watched:
                one.expect(self._tempo)

    def attempt_ended(self, record: Record) -> None:
        """Keep the record until the next judgement."""
        if self._watched and record.direction is Direction.OUTBOUND:
            self._ended.append(record)

    def progressed(self, progress: RunProgress) -> None:
        """Judge once a second."""
        if not self._watched or progress.at_s < self._next_s:
            return
        self._next_s = progress.at_s + _EVERY_S
        table, self._ended = to_frame(self._ended), []
        # Every threshold takes its records, also where another one ends the run.
        missed = [words for one in self._watched if (words := one.judge(table, progress.at_s)) is not None]
        if missed and self.abort is not None:
            self.abort("; ".join(missed))
            self._watched = []


class _Watched:
    """One threshold, and the attempts so far that it is of."""

    def __init__(self, threshold: KpiThreshold, plan: Plan) -> None:
        self._threshold, self._scope = threshold, scope_of(threshold, plan.study)
        self._plan_s = _planned_instants(threshold, plan)
        self._sums = Sums()
        self._windowed = None if threshold.window_s is None else WindowedKpi(threshold.target, threshold.window_s)
        self._firsts_ended: Counter[int] = Counter()
        self._redials_pending = 0
        self.expect(Tempo())

    def expect(self, tempo: Tempo) -> None:
        """Expect the planned calls at that tempo."""
        instants_s = tempo.all_run_s(self._plan_s)
        # Of a paused or drained run, only the calls that came or will come.
        self._planned_s = instants_s[np.isfinite(instants_s)]
        self._placed_by_step = Counter(map(self._step_of, self._planned_s.tolist()))

    def _step_of(self, instant_s: float) -> int:
        return 0 if self._windowed is None else self._windowed.step_of(instant_s)

    def judge(self, table: pl.DataFrame, now_s: float) -> str | None:
        """Take the attempts that have ended, and return in words what is missed for good, or None."""
        threshold, target = self._threshold, self._threshold.target
        chosen = table.filter(self._scope)
        self._count(chosen)
        values = []
        if self._windowed is None:
            self._sums.add(target.definition.reduction, columns_of(chosen))
            value = self._sums.at_best(target, self._under_way(now_s))
            values.append((self._sums.attempts, value))
        else:
            self._windowed.add(columns_of(chosen))
            under_way = {step: placed - self._firsts_ended[step] for step, placed in self._placed_by_step.items()}
            values += [(window.attempts, window.value) for window in self._windowed.fresh(now_s, under_way)]
        if now_s < (threshold.aborts_from_s or 0.0):
            return None
        for attempts, value in values:
            if attempts >= threshold.attempts_min and value is not None and not target.holds(value):
                row = JudgedRow(target, threshold.scope, attempts, value, True, False)
                return f"{row.name}: {formatted(value, target.definition.unit)}"
        return None

    def _count(self, chosen: pl.DataFrame) -> None:
        firsts = chosen.filter(pl.col("attempt") == 0)
        self._firsts_ended.update(map(self._step_of, firsts["intended_s"].to_list()))
        # An attempt that will be redialled leaves one more to come.
        self._redials_pending += int(chosen["redialled"].sum()) - (chosen.height - firsts.height)

    def _under_way(self, now_s: float) -> int:
        placed = int(np.searchsorted(self._planned_s, now_s))
        return max(0, placed - self._firsts_ended.total()) + max(0, self._redials_pending)


def _planned_instants(threshold: KpiThreshold, plan: Plan) -> np.ndarray:
    study = plan.study
    places: Mapping[str, int] = threshold.places_in({trunk.name: trunk.traffic.where for trunk in study.trunks})
    instants = []
    for row in plan.first_attempts():
        trunk = study.trunks[row.trunk]
        is_of_it = row.direction is Direction.OUTBOUND and threshold.trunk in {None, trunk.name}
        if is_of_it and threshold.number is not None:
            is_of_it = row.destination is not None and places.get(trunk.name) == row.destination
        if is_of_it and threshold.far_end is not None:
            is_of_it = row.destination is not None and _far_end(study, row.trunk, row.destination) is threshold.far_end
        if is_of_it and row.place_s is not None:
            instants.append(row.place_s)
    return np.sort(np.array(instants))


def _far_end(study: Study, trunk: int, destination: int) -> object:
    return study.trunks[trunk].traffic.where.entry_of(destination).far_end
