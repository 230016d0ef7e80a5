"""Add up the records of a simulation by span: one value per span and quantity, from either engine.

Numerators and denominators are kept apart, so a share over many spans weights each by its calls. The memory is a few
numbers per attempt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trunkproof.experiments.review.sweep.quantities import Counted, Ending, NeighbourSum, Quantity, SpanValues
from trunkproof.experiments.review.sweep.spans import Layout
from trunkproof.models.arrays import BoolArray, FloatArray, IntArray
from trunkproof.models.columns import DISPOSITION_CODE, Columns, columns_of
from trunkproof.models.costs import CostName, spend, study_costs, work_counts
from trunkproof.models.records import NOT_DELIVERED, REFUSED_BY_TRUNK, Direction, Disposition
from trunkproof.models.study import Study
from trunkproof.models.throttles.policy import Asked
from trunkproof.simulator.replicate import random_anchors
from trunkproof.simulator.run import Engine, check_machine, simulate_in_batches

if TYPE_CHECKING:
    from trunkproof.simulator.kernel.memory import Records

_REFUSED = np.array([kind in REFUSED_BY_TRUNK for kind in Disposition])
_UNDELIVERED = np.array([kind in NOT_DELIVERED for kind in Disposition])
_BLOCKED = np.array([kind in {Disposition.NO_CHANNEL, Disposition.NO_PORT} for kind in Disposition])
_EFFECTIVE = np.array(
    [kind in {Disposition.BUSY, Disposition.NO_ANSWER, Disposition.ABANDONED} for kind in Disposition]
)
_KINDS = len(Disposition)
_KEPT = ("disposition", "attempt", "redialled", "sent_s", "ringing_s", "answered_s", "bye_s", "ended_s")


@dataclass(frozen=True, eq=False)
class Callers:
    """The calls of all trunks of a study; they are drawn once and used for all throttles."""

    study: Study
    pieces: Sequence[Sequence[Records]]
    """Rows of calls by trunk, in the form that the compiled model reads."""
    fresh_s: Sequence[FloatArray]
    """Instants of first attempts by trunk, ascending."""
    inbound: BoolArray
    """Whether each call of the first trunk is inbound."""

    @classmethod
    def of(cls, study: Study) -> Self:
        """Draw the calls of a study."""
        # Import lazily: Numba compiles on import.
        from trunkproof.simulator.kernel.rows import pieces  # noqa: PLC0415

        drawn = [list(each) for each in pieces(study)]
        firsts = [[piece[piece["attempt"] == 0] for piece in each] for each in drawn]
        fresh_s = [np.concatenate([np.empty(0), *(first["place_s"] for first in each)]) for each in firsts]
        inbound = np.concatenate([np.empty(0, np.bool_), *(first["inbound"] != 0 for first in firsts[0])])
        return cls(study, drawn, fresh_s, inbound)


def run_tallied(study: Study, tally: Tally, callers: Callers, engine: Engine) -> None:
    """Simulate from an empty trunk, with throttle windows at the phase that the study's seed gives.

    `study` may differ from the study of `callers` in its throttles only.
    """
    check_machine(study)
    anchors = random_anchors(study, study.seed)
    if engine is Engine.SIMPY:
        simulate_in_batches(study, tally.add_table, anchors=anchors, counts_from_s=0.0, engine=engine)
        return
    from trunkproof.simulator.kernel.running import Running  # noqa: PLC0415  # as above

    Running(study, tally.add_records, [iter(each) for each in callers.pieces], anchors=anchors).to_the_end()


class Tally:
    """Takes records in batches, and adds them up by span."""

    def __init__(self, study: Study, layout: Layout, bounds: Sequence[tuple[IntArray, IntArray]]) -> None:
        """Count calls by `bounds`: for each trunk, the numbers of the first call of each span and of the first after
        it.
        """
        self._study, self._layout, self._bounds = study, layout, bounds
        self._index = {trunk.name: index for index, trunk in enumerate(study.trunks)}
        self._parts: list[dict[str, NDArray[Any]]] = []
        self._work: dict[CostName, float] = {"idle_share": layout.duration_s}
        self.attempts = 0

    def add_table(self, records: pl.DataFrame, complete_until_s: float) -> None:
        """Take a table of `simulate_in_batches`."""
        trunk = records["trunk"].replace_strict(self._index, return_dtype=pl.Int64).to_numpy()
        inbound = (records["direction"] == Direction.INBOUND.value).to_numpy()
        self._add(columns_of(records), trunk, records["call"].to_numpy(), inbound)

    def add_records(self, records: Records, complete_until_s: float) -> None:
        """Take records of the compiled model."""
        from trunkproof.simulator.kernel.frames import to_columns  # noqa: PLC0415  # as above

        inbound = records["inbound"] != 0
        self._add(to_columns(records, self._study.trunks), records["trunk"].copy(), records["call"].copy(), inbound)

    def _add(self, records: Columns, trunk: IntArray, call: IntArray, inbound: BoolArray) -> None:
        self.attempts += len(records)
        for work, times in work_counts(records).items():
            self._work[work] = self._work.get(work, 0.0) + times
        kept: dict[str, NDArray[Any]] = {name: getattr(records, name) for name in (*_KEPT, "ports", "mos")}
        # Copy: these arrays are the compiled model's own memory, which it overwrites.
        kept |= {name: kept[name].copy() for name in ("attempt", "ports")}
        self._parts.append(kept | {"trunk": trunk, "call": call, "inbound": inbound})

    def _column(self, name: str) -> NDArray[Any]:
        return np.concatenate([part[name] for part in self._parts]) if self._parts else np.empty(0)

    def values(self) -> SpanValues:
        """Return every quantity of every span.

        Sums of the first trunk: `attempts`, `calls`, `refused`, `throttled`, `lost`, `answered`, `effective`, `blocked`
        (no channel or no port), `no_channel`, `no_port`, `carrier_rejected`, `call_s`, and an `Ending` for each
        disposition. Sums of each other trunk: a `NeighbourSum` for each `Counted`.

        Values of the first trunk: `srd_p95_ms`, `mos_p5`, `mos_mean`, `peak_concurrency`. Of all trunks that share
        channels with it: `peak_channels`. Of all trunks: `cpu_share`, `peak_ports`.
        """
        if not self._parts:
            return self._nothing()
        data = {name: self._column(name) for name in (*_KEPT, "ports", "mos", "trunk", "call")}
        spans, count = self._spans(data["call"]), self._layout.count
        chosen = np.flatnonzero((spans >= 0) & (spans < count))
        own = {name: data[name][chosen] for name in (*_KEPT, "mos")}
        found = self._sums(own, spans[chosen]) | self._quantiles(own, spans[chosen])
        for index, name in enumerate(list(self._index)[1:], 1):
            other = (spans >= index * count) & (spans < (index + 1) * count)
            table = self._table(spans[other] - index * count, data["disposition"][other], _KINDS)
            found[NeighbourSum(Counted.ATTEMPTS, name)] = table.sum(axis=1)
            found[NeighbourSum(Counted.REFUSED, name)] = table[:, _REFUSED].sum(axis=1)
            found[NeighbourSum(Counted.BLOCKED, name)] = table[:, _BLOCKED].sum(axis=1)
        return found | self._levels(data)

    def _nothing(self) -> SpanValues:
        """Return the same quantities of a simulation without a single call."""
        zeros = np.zeros(self._layout.count)
        names: list[Quantity] = [
            "attempts",
            "calls",
            "refused",
            "throttled",
            "lost",
            "answered",
            "effective",
            "blocked",
            "call_s",
        ]
        names += ["no_channel", "no_port", "carrier_rejected", "peak_concurrency", "peak_channels", "peak_ports"]
        names += [Ending(kind) for kind in Disposition]
        names += [NeighbourSum(counted, name) for name in list(self._index)[1:] for counted in Counted]
        found = dict.fromkeys(names, zeros)
        for name in ("srd_p95_ms", "mos_p5", "mos_mean"):
            found[name] = np.full(self._layout.count, np.nan)
        found["cpu_share"] = np.full(self._layout.count, study_costs(self._study).idle_share)
        return found

    def _spans(self, call: IntArray) -> IntArray:
        """Return the span of each attempt's first attempt: its index, plus the number of spans for each earlier trunk.

        It is -1 where the first attempt lies in no span.
        """
        # Numbers of calls ascend from trunk to trunk, so they tell the trunk as well.
        firsts, ends = (np.concatenate(each) for each in zip(*self._bounds, strict=True))
        place = np.searchsorted(firsts, call, side="right") - 1
        # A call of a lead-in has a number between two spans: after the end of one, before the first of the next.
        return np.where((place >= 0) & (call < ends[np.maximum(place, 0)]), place, -1)

    def _count(self, span: IntArray, weights: FloatArray | None = None) -> FloatArray:
        return np.bincount(span, weights=weights, minlength=self._layout.count).astype(np.float64)

    def _table(self, span: IntArray, kinds: IntArray, most: int) -> FloatArray:
        """Count the attempts of each kind in each span, shape (spans, `most`), in one pass for all sums."""
        counted = np.bincount(span * most + kinds, minlength=self._layout.count * most)
        return counted.reshape(self._layout.count, most).astype(np.float64)

    def _sums(self, own: dict[str, NDArray[Any]], span: IntArray) -> SpanValues:
        up = ~np.isnan(own["answered_s"])
        # One number for disposition, redialled and answered: a single pass counts all. The axes are then span,
        # answered, redialled, disposition.
        kinds = own["disposition"] + _KINDS * (own["redialled"] + 2 * up.astype(np.int64))
        table = self._table(span, kinds, 4 * _KINDS).reshape(-1, 2, 2, _KINDS)
        # Not redialled means that it was the caller's last attempt.
        kind, last, answered = table.sum(axis=(1, 2)), table[:, :, 0].sum(axis=1), table[:, 1].sum(axis=(1, 2))
        code = DISPOSITION_CODE
        found: SpanValues = {
            "attempts": kind.sum(axis=1),
            "call_s": self._count(span[up], (own["bye_s"] - own["answered_s"])[up]),
            "calls": self._count(span[own["attempt"] == 0]),
            "refused": kind[:, _REFUSED].sum(axis=1),
            "throttled": kind[:, code[Disposition.THROTTLED]],
            "lost": last[:, _UNDELIVERED].sum(axis=1),
            "answered": answered,
            "effective": answered + table[:, 0].sum(axis=1)[:, _EFFECTIVE].sum(axis=1),
            "blocked": kind[:, _BLOCKED].sum(axis=1),
            "no_channel": kind[:, code[Disposition.NO_CHANNEL]],
            "no_port": kind[:, code[Disposition.NO_PORT]],
            "carrier_rejected": kind[:, code[Disposition.CARRIER_REJECTED]],
        }
        return found | {Ending(one): last[:, code[one]] for one in Disposition}

    def _quantiles(self, own: dict[str, NDArray[Any]], span: IntArray) -> SpanValues:
        # If a call is answered without ringing, its 200 is the first response.
        first_s = np.where(np.isnan(own["ringing_s"]), own["answered_s"], own["ringing_s"])
        known = ~np.isnan(own["mos"])
        heard, in_span = own["mos"][known], span[known]
        counts, total = self._count(in_span), self._count(in_span, heard)
        mean = np.divide(total, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        # Where no packet is lost all calls sound the same, and no sorting is needed.
        same = len(heard) > 0 and heard.min() == heard.max()
        return {
            "srd_p95_ms": self._by_span((first_s - own["sent_s"]) * 1000, span, 0.95),
            "mos_p5": np.where(counts > 0, heard[0], np.nan) if same else self._by_span(heard, in_span, 0.05),
            "mos_mean": mean,
        }

    def _by_span(self, values: FloatArray, span: IntArray, share: float) -> FloatArray:
        """Return a quantile of each span: the smallest value that the given share of its values does not exceed."""
        known = ~np.isnan(values)
        values, span = values[known], span[known]
        # 16-bit integers are sorted by counting, which is fast.
        values = values[np.argsort(span.astype(np.uint16), kind="stable")]
        ends = np.cumsum(np.bincount(span, minlength=self._layout.count))
        found = np.full(self._layout.count, np.nan)
        for number, within in enumerate(np.split(values, ends[:-1])):
            if len(within):
                at = max(math.ceil(share * len(within)) - 1, 0)
                # One value is needed, so no full sort.
                found[number] = np.partition(within, at)[at]
        return found

    def _levels(self, data: dict[str, NDArray[Any]]) -> SpanValues:
        """Return the peaks of calls, channels and ports in each span, and the CPU of all spans together."""
        ended = ~np.isnan(data["ended_s"])
        up = ended & ~np.isnan(data["answered_s"]) & (data["trunk"] == 0)
        held = ended & (data["ports"] > 0)
        call_end = np.where(np.isnan(data["bye_s"]), data["ended_s"], data["bye_s"])
        sent_s, ended_s = np.nan_to_num(data["sent_s"][held]), data["ended_s"][held]
        together = self._peaks(sent_s, ended_s)
        carrier = self._study.pop.carrier
        mine = data["trunk"][held] == 0
        # With channels per account, neighbours do not share the first trunk's.
        channels = together if carrier.channels_per == "pop" else self._peaks(sent_s[mine], ended_s[mine])
        if carrier.channels is not None:
            # A channel is free some milliseconds before the BYE is answered. Records do not show that: cap the peak.
            channels = np.minimum(channels, carrier.channels if carrier.burst is None else carrier.burst.channels)
        # Over all of the run, lead-ins included: work is not recorded by span.
        cpu_s = sum(spend(study_costs(self._study), self._work).values())
        return {
            "peak_concurrency": self._peaks(data["answered_s"][up], call_end[up]),
            "peak_channels": channels,
            # Every call takes as many port pairs as it has legs.
            "peak_ports": together * self._study.pop.ports.legs,
            "cpu_share": np.full(self._layout.count, cpu_s / self._layout.duration_s),
        }

    def _peaks(self, start_s: FloatArray, end_s: FloatArray) -> FloatArray:
        """Return the highest number at once in each span, including the number at its begin.

        Only starts can make a peak. An end at the instant of a start comes first.
        """
        begins = self._layout.counts_from_s
        start_s, end_s = np.sort(start_s), np.sort(end_s)
        first, after = np.searchsorted(start_s, begins), np.searchsorted(start_s, begins + self._layout.length_s)
        # The calls that are up when the period begins: begun before, and not ended by then.
        highest = first - np.searchsorted(end_s, begins, side="right")
        for number, (one, end) in enumerate(zip(first.tolist(), after.tolist(), strict=True)):
            level = np.arange(one + 1, end + 1) - np.searchsorted(end_s, start_s[one:end], side="right")
            highest[number] = max(highest[number], level.max(initial=0))
        return highest.astype(np.float64)

    def asked(self, counts: str) -> Asked:
        """Return when the first trunk's throttle was asked: between an INVITE and its first response."""
        if not self._parts:
            return Asked(np.empty(0), 0.0)
        heard_s = self._column("ended_s")
        for earlier in ("answered_s", "ringing_s"):
            known = self._column(earlier)
            heard_s = np.where(np.isnan(known), heard_s, known)
        sent_s = self._column("sent_s")
        chosen = (self._column("trunk") == 0) & ~np.isnan(sent_s)
        if counts != "both":
            chosen &= ~self._column("inbound").astype(np.bool_)
        # The throttle was asked somewhere in between. The widest such gap bounds them all.
        within_s = heard_s[chosen] - sent_s[chosen]
        return Asked(np.sort(sent_s[chosen]), float(np.nanmax(within_s)) if len(within_s) else 0.0)
