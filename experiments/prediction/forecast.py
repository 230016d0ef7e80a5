"""Sum up a plan before it runs: calls, Erlangs, ports, bandwidth and run time, and one sentence.

This is no prediction. It assumes that nothing is refused and nothing queues. `simulator` predicts what the trunk does.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from trunkproof.models.destinations import NumberLimits, masked_number
from trunkproof.models.edge_choice import EdgeChoice
from trunkproof.models.occupancy import Occupancy
from trunkproof.models.packets import PACKETS_PER_CALL_S, STREAM_MBIT_PER_S
from trunkproof.models.plan import Plan
from trunkproof.models.records import Direction, FarEnd


@dataclass(frozen=True)
class TrunkForecast:
    """One trunk's part of a study, if nothing is refused."""

    trunk: str
    calls: int
    offered_per_minute: float
    limit: str
    mean_hold_s: float
    offered_erlang: float
    """Answered calls times their mean holding time, over the time in which calls are offered."""


@dataclass(frozen=True)
class NumberForecast:
    """The calls to one listed number, if nothing is refused."""

    trunk: str
    number: str
    """Masked, unless it was asked for. A block of our own answering side is one entry."""
    far_end: FarEnd
    calls: int
    """Calls that will be placed. Redials come on top."""
    at_once: int
    """The most of them at once, from the INVITE to the end."""
    left_out: int
    """Calls that will not be placed, because the number would be called more often than it may be."""


@dataclass(frozen=True)
class EdgeForecast:
    """One of several edges, if none goes away."""

    edge: int
    """Its place in the study's list, from 0."""
    host: str
    priority: int
    weight: int
    calls: int
    """Outbound calls that try it first."""


@dataclass(frozen=True)
class Forecast:
    """The sums of a plan, if nothing is refused."""

    study: str
    calls: int
    possible_redials: int
    duration_s: float
    run_time_s: float
    """From plan zero to the end of the last first attempt. Redials may take longer."""
    peak_concurrency: int
    peak_held: int
    """The most attempts at once that are placed and not ended, answered or not."""
    peak_ports: int
    peak_bandwidth_mbit_per_s: float
    """Both directions together, on Ethernet."""
    packets: int
    trunks: tuple[TrunkForecast, ...]
    numbers: tuple[NumberForecast, ...] = ()
    """The listed numbers that get calls, in the study's order."""
    edges: tuple[EdgeForecast, ...] = ()
    """The edges of the trunk, where it has several."""

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """Return the plan in one sentence."""
        rate = sum(trunk.offered_per_minute for trunk in self.trunks)
        return (
            f"{self.calls} calls in {self.duration_s:g} s ({rate:.0f} calls per minute), "
            f"up to {self.peak_concurrency} at once on {self.peak_ports} port pairs, "
            f"{self.peak_bandwidth_mbit_per_s:.1f} Mbit/s of audio at the peak; "
            f"a real run takes about {_clock(self.run_time_s)}."
        )

    def __repr__(self) -> str:
        return f"<Forecast of {self.study!r}: {self.sentence}>"


def _edges(plan: Plan, firsts: pl.DataFrame) -> tuple[EdgeForecast, ...]:
    doors = plan.study.pop.doors
    if len(doors) == 1:
        return ()
    choice = EdgeChoice(doors, plan.study.seed, plan.study.pop.failover.recheck_s)
    outbound = firsts.filter(pl.col("direction") == Direction.OUTBOUND)["call"].to_list()
    first = Counter(choice.likely(call, 0.0) for call in outbound)
    return tuple(
        EdgeForecast(index, door.host, door.priority, door.weight, first[index]) for index, door in enumerate(doors)
    )


def forecast(plan: Plan, *, show_numbers: bool = False) -> Forecast:
    """Sum up a plan's first attempts as if the trunk refused none. Numbers are masked unless `show_numbers`."""
    firsts = plan.table.filter(pl.col("attempt") == 0).with_columns(
        answered_s=pl.col("place_s") + pl.col("setup_s") + pl.col("ring_s"),
    )
    firsts = firsts.with_columns(end_s=pl.col("answered_s") + pl.col("hold_s"))
    answered = firsts.filter(pl.col("outcome") == "answered")
    peak_calls, peak_held = _peak(answered, "answered_s"), _peak(firsts, "place_s")
    end = firsts["end_s"].max()
    return Forecast(
        study=plan.study.name,
        calls=firsts.height,
        possible_redials=plan.table.height - firsts.height,
        duration_s=plan.study.duration_s,
        run_time_s=float(end) if isinstance(end, float) else 0.0,
        peak_concurrency=peak_calls,
        peak_held=peak_held,
        peak_ports=peak_held * plan.study.pop.ports.legs,
        peak_bandwidth_mbit_per_s=2 * peak_calls * STREAM_MBIT_PER_S,
        packets=round(float(answered["hold_s"].sum()) * PACKETS_PER_CALL_S),
        trunks=tuple(_trunk(plan, index, firsts) for index in range(len(plan.study.trunks))),
        numbers=tuple(_numbers(plan, firsts, show=show_numbers)),
        edges=_edges(plan, firsts),
    )


def _numbers(plan: Plan, firsts: pl.DataFrame, *, show: bool) -> Iterator[NumberForecast]:
    called = firsts.drop_nulls("destination").sort("trunk", "destination", "place_s")
    for (trunk, destination), calls in called.group_by("trunk", "destination", maintain_order=True):
        assert isinstance(trunk, int)
        assert isinstance(destination, int)
        placed = _placed(plan, calls)
        entry = plan.destinations[trunk].entry_of(destination)
        yield NumberForecast(
            trunk=plan.study.trunks[trunk].name,
            number=_words_for(plan, trunk, destination, show=show),
            far_end=entry.far_end,
            calls=placed.height,
            at_once=_peak(placed, "place_s"),
            left_out=calls.height - placed.height,
        )


def _placed(plan: Plan, calls: pl.DataFrame) -> pl.DataFrame:
    """Return those calls to one number that its limits let pass, if each ends as planned."""
    limits = NumberLimits(plan.destinations)
    under_way: list[float] = []
    passed = []
    for trunk, destination, place_s, end_s in calls.select("trunk", "destination", "place_s", "end_s").iter_rows():
        while under_way and under_way[0] <= place_s:
            heapq.heappop(under_way)
            limits.end(trunk, destination)
        passed.append(limits.begin(trunk, destination, place_s))
        if passed[-1]:
            heapq.heappush(under_way, end_s)
    return calls.filter(pl.Series(passed, dtype=pl.Boolean))


def _words_for(plan: Plan, trunk: int, destination: int, *, show: bool) -> str:
    entry = plan.destinations[trunk].entry_of(destination)
    told = (lambda number: number) if show else masked_number
    if entry.far_end is not FarEnd.PLAN:
        return told(plan.destinations[trunk].number(destination))
    if entry.range is None:
        return "made from the plan"
    return f"{told(entry.at(0))} to {told(entry.at(len(entry.range) - 1))}"


def _trunk(plan: Plan, index: int, firsts: pl.DataFrame) -> TrunkForecast:
    trunk, own = plan.study.trunks[index], firsts.filter(pl.col("trunk") == index)
    holds = own.filter(pl.col("outcome") == "answered")["hold_s"]
    return TrunkForecast(
        trunk=trunk.name,
        calls=own.height,
        offered_per_minute=60 * own.height / plan.study.duration_s,
        limit=trunk.throttle.describe(),
        mean_hold_s=float(holds.sum()) / max(1, len(holds)),
        offered_erlang=float(holds.sum()) / plan.study.duration_s,
    )


def _peak(calls: pl.DataFrame, start: str) -> int:
    occupancy = Occupancy()
    ones = np.ones(calls.height)
    occupancy.add(calls[start].to_numpy(), calls["end_s"].to_numpy(), ones, complete_until_s=np.inf)
    return int(occupancy.peak)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
