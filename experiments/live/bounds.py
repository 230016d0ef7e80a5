"""How near a run is to its quality targets and thresholds, on the attempts that have ended so far.

It decides nothing: `experiments.load.watch` ends a run, and `experiments.load.judge` judges it. Calls under way count
as good here too, so that a value is not shown worse than it will be.
"""

from __future__ import annotations

import polars as pl

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.common.targets import target_words
from trunkproof.experiments.live.snapshot import Bound
from trunkproof.experiments.load.judge import scope_of
from trunkproof.models.columns import Columns, columns_of
from trunkproof.models.records import Record, to_frame
from trunkproof.models.study import Study
from trunkproof.models.targets import Target
from trunkproof.models.thresholds import KpiThreshold
from trunkproof.models.windows import Sums, WindowedKpi, is_windowed


class Bounds:
    """The targets and thresholds of a study that attempts say something of."""

    def __init__(self, study: Study) -> None:
        self._all = [_Running(each, "", None) for each in study.quality.measured_targets if is_windowed(each.kpi)]
        self._all += [
            _Running(each.target, each.scope, _scope(each, study), each.window_s)
            for each in study.thresholds
            if is_windowed(each.kpi)
        ]

    def judge(self, ended: list[Record], under_way: int, now_s: float) -> tuple[Bound, ...]:
        """Take the attempts that have ended since the last time, and return where each bound stands."""
        if ended:
            table = to_frame(ended)
            # Once for all: most bounds are of every attempt, and this is what costs.
            columns = columns_of(table)
            for one in self._all:
                one.add(table, columns)
        return tuple(one.stand(under_way, now_s) for one in self._all)


def _scope(threshold: KpiThreshold, study: Study) -> pl.Expr | None:
    """Return which attempts a threshold is of. None: of all."""
    is_of_all = threshold.trunk is None and threshold.number is None and threshold.far_end is None
    return None if is_of_all else scope_of(threshold, study)


class _Running:
    def __init__(self, target: Target, scope: str, chosen: pl.Expr | None, window_s: float | None = None) -> None:
        self._target, self._chosen = target, chosen
        self._name = target_words(target) + (f" ({scope})" if scope else "")
        self._sums = Sums()
        self._windowed = None if window_s is None else WindowedKpi(target, window_s)
        self._value: float | None = None

    def add(self, table: pl.DataFrame, columns: Columns) -> None:
        chosen = columns if self._chosen is None else columns_of(table.filter(self._chosen))
        if not len(chosen):
            return
        if self._windowed is None:
            self._sums.add(self._target.definition.reduction, chosen)
        else:
            self._windowed.add(chosen)

    def stand(self, under_way: int, now_s: float) -> Bound:
        target = self._target
        if self._windowed is None:
            self._value = self._sums.at_best(target, under_way) if self._sums.attempts else None
        else:
            # The last full window. Without new attempts the one before it stays.
            for window in self._windowed.fresh(now_s, {}):
                self._value = window.value
        value = self._value
        holds = None if value is None else bool(target.holds(value))
        shown = formatted(value, target.definition.unit)
        return Bound(self._name, target.bound, value, holds, shown, _used(target, value))


def _used(target: Target, value: float | None) -> float | None:
    if value is None:
        return None
    part, whole = (value, target.bound) if target.is_upper else (target.bound, value)
    if whole <= 0:
        # A bound of 0 is used up by anything.
        return 0.0 if part <= 0 else None
    return part / whole
