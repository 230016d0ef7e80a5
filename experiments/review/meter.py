"""What a simulated hour comes to: records in batches, by either engine, into one value per indicator.

Memory is that of one batch, but where the meter is to remember when the throttle was asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from experiments.review.identical import Asked
from models.columns import DISPOSITION_CODE, BoolArray, Columns, columns_of
from models.costs import CostName, costs_of, spend, work_counts
from models.kpis import KpiAccumulator
from models.plan import Plan
from models.records import Direction, Disposition
from models.study import Study
from simulator.replicate import random_anchors
from simulator.run import Engine, Start, check_machine, simulate_in_batches

if TYPE_CHECKING:
    from simulator.kernel.memory import Records

Values = dict[str, float]
"""Indicator -> value; NaN where the hour has none, such as a delay without calls."""
IntArray = NDArray[np.int64]
_POP_WIDE = ("peak_ports", "peak_channels")


def run_metered(studies: Sequence[Study], meters: Sequence[Meter], plan: Plan | None, engine: Engine) -> None:
    """Simulate from a stationary start on, with windows at the phase that the study's seed gives.

    The same callers come to all studies, which differ in their throttles only: no plan given, it is drawn once for all.
    """
    check_machine(studies[0])
    anchors = [random_anchors(study, study.seed) for study in studies]
    # All attempts are handed over, or nobody could say what the throttle was asked.
    if engine is Engine.SIMPY:
        how: dict[str, Any] = {"start": Start.STATIONARY, "counts_from_s": 0.0, "engine": engine}
        for study, meter, phase in zip(studies, meters, anchors, strict=True):
            simulate_in_batches(study, meter.add_table, plan, anchors=phase, **how)
        return
    # Compiling is nobody's who does not ask for it.
    from simulator.kernel.rows import shared  # noqa: PLC0415
    from simulator.kernel.running import Running  # noqa: PLC0415

    runs = [
        Running(study, meter.add_records, pieces, anchors=phase, is_stationary=True)
        for study, meter, pieces, phase in zip(
            studies, meters, shared(studies[0], len(studies), plan), anchors, strict=True
        )
    ]
    while runs:
        runs = [run for run in runs if run.goes_on()]


class Meter:
    """Takes records in batches and makes the hour's indicators of them."""

    def __init__(self, study: Study, firsts: Mapping[int, int], hour_s: float, *, remembers: bool = False) -> None:
        """Of callers from `firsts` on, by trunk, who come within `hour_s`; `remembers` what `asked` tells."""
        self._study, self._hour_s = study, hour_s
        self._index = {trunk.name: index for index, trunk in enumerate(study.trunks)}
        self._firsts = np.array([firsts[index] for index in range(len(study.trunks))])
        self._trunks = [KpiAccumulator() for _ in study.trunks]
        self._pop = KpiAccumulator() if len(study.trunks) > 1 else self._trunks[0]
        self._remembers = remembers
        self._asked: list[tuple[BoolArray, NDArray[np.float64], NDArray[np.float64]]] = []
        self._last = np.zeros(len(Disposition), dtype=np.int64)
        self._work: dict[CostName, float] = {"idle_share": hour_s}
        self._call_s = 0.0
        self.attempts = 0

    def add_table(self, records: pl.DataFrame, complete_until_s: float) -> None:
        """As `simulate_in_batches` hands them over."""
        trunk = records["trunk"].replace_strict(self._index, return_dtype=pl.Int64).to_numpy()
        inbound = (records["direction"] == Direction.INBOUND.value).to_numpy()
        self._add(columns_of(records), trunk, records["call"].to_numpy(), inbound, complete_until_s)

    def add_records(self, records: Records, complete_until_s: float) -> None:
        """As the compiled model hands them over."""
        from simulator.kernel.frames import to_columns  # noqa: PLC0415  # as above

        inbound = records["inbound"] != 0
        self._add(to_columns(records), records["trunk"], records["call"], inbound, complete_until_s)

    def _add(  # what a record has
        self, records: Columns, trunk: IntArray, call: IntArray, inbound: BoolArray, complete_until_s: float
    ) -> None:
        self.attempts += len(records)
        if self._remembers:
            self._remember(records, inbound, trunk == 0)
        counts = call >= self._firsts[trunk]
        counted = records if counts.all() else records.where(counts)
        by_trunk = [counted]
        if len(self._trunks) > 1:
            by_trunk = [counted.where(trunk[counts] == index) for index in range(len(self._trunks))]
            self._pop.add_columns(counted, complete_until_s)
        for accumulator, part in zip(self._trunks, by_trunk, strict=True):
            accumulator.add_columns(part, complete_until_s)
        for work, times in work_counts(counted).items():
            self._work[work] = self._work.get(work, 0.0) + times
        self._sum_up(by_trunk[0])

    def _remember(self, records: Columns, inbound: BoolArray, is_own: BoolArray) -> None:
        heard_s = records.ended_s
        for earlier in (records.answered_s, records.ringing_s):
            heard_s = np.where(np.isnan(earlier), heard_s, earlier)
        self._asked.append((inbound[is_own], records.sent_s[is_own], heard_s[is_own]))

    def _sum_up(self, own: Columns) -> None:
        self._call_s += float(np.nansum(own.bye_s - own.answered_s))
        self._last += np.bincount(own.disposition[~own.redialled], minlength=len(Disposition))

    @cached_property
    def values(self) -> Values:
        """The indicators; see `sweep.Sweep` for those that `models.kpis` does not define."""
        own, pop = self._trunks[0].result(), self._pop.result()
        calls = max(1.0, own["calls"] or 0.0)
        shares = {
            f"{kind.value}_share": own.dispositions[kind] / max(1.0, own["attempts"] or 0.0)
            for kind in (Disposition.NO_CHANNEL, Disposition.NO_PORT, Disposition.CARRIER_REJECTED)
        }
        ends = {f"ends_{kind.value}": int(self._last[code]) / calls for kind, code in DISPOSITION_CODE.items()}
        others = {
            f"refused_share of {trunk.name}": accumulator.result()["refused_share"]
            for trunk, accumulator in zip(self._study.trunks[1:], self._trunks[1:], strict=True)
        }
        # What the hour's callers keep up between them, over the hour: the mean in a trunk that is always as busy.
        offered = {"offered_per_minute": 60 * (own["calls"] or 0.0) / self._hour_s}
        cpu_s = sum(spend(costs_of(self._study.pop), self._work).values())
        flows = {"erlang": self._call_s / self._hour_s, "cpu_share": cpu_s / self._hour_s}
        shared = {kpi: pop[kpi] for kpi in _POP_WIDE}
        found = {**own.values, **shared, **shares, **ends, **others, **offered, **flows}
        del found["mean_concurrency"]  # Over the drain too: not the hour's.
        return {kpi: math.nan if value is None else float(value) for kpi, value in found.items()}

    def asked(self, counts: str) -> Asked:
        """When the first trunk's throttle was asked: after the INVITE was sent, and before its first response."""
        inbound, sent_s, heard_s = (np.concatenate(parts) for parts in zip(*self._asked, strict=True))
        chosen = ~np.isnan(sent_s) & ((counts == "both") | ~inbound.astype(np.bool_))
        within_s = heard_s[chosen] - sent_s[chosen]
        longest = float(np.nanmax(within_s)) if len(within_s) else 0.0
        return Asked(np.sort(sent_s[chosen]), longest)
