"""A sweep whose responses are chosen, for tests of what is made of a sweep: functions of the load, without noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from trunkproof.experiments.common.progress import Progress, silent
from trunkproof.experiments.review.periods.horizon import Demand
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.sweep.quantities import Ending, Quantity, SpanValues
from trunkproof.experiments.review.sweep.response import Response, Runs
from trunkproof.experiments.review.sweep.sweep import Bench, Cell, Sweep, Witness
from trunkproof.models.records import Disposition

FloatArray = np.ndarray
Lost = Callable[[int, int, float], float]
"""(Number of the interpretation, limit, load) -> share of attempts refused, and of customers lost."""
LEVELS = np.linspace(0.4, 2.0, 41)
"""So close that what is between two of them does not matter."""


def fluid(_: int, limit: int, load: float) -> float:
    """What exceeds the limit is refused."""
    return max(0.0, 1 - limit / load)


def demand_of(per_minute: FloatArray | Sequence[float], days: int = 2) -> Demand:
    """Equally likely alternatives of the mean load, all days alike; level 1 is their mean."""
    loads = np.asarray(per_minute, dtype=np.float64)
    middle = float(loads.mean())
    relative = np.repeat(loads[:, None] / middle, days, axis=1)
    return Demand(np.full(days, middle), np.ones(days), relative, np.full((len(loads), days), 1 / days))


def response_of(
    loads: FloatArray, share: Callable[[float], float], others: Mapping[Quantity, float] = MappingProxyType({})
) -> Response:
    """Of days with these loads at level 1: each is simulated in two pairs of repetitions, all of them alike."""
    days, repetitions = len(loads), 4
    runs = Runs(LEVELS, np.tile(np.arange(days), repetitions), np.repeat(np.arange(repetitions), days), 3600.0)
    load = np.outer(LEVELS, loads[runs.day])
    refused = np.vectorize(share, otypes=[float])(load)
    calls, zeros = 60 * load, np.zeros_like(load)
    values: SpanValues = {Ending(kind): zeros for kind in Disposition}
    values |= {
        "attempts": calls,
        "calls": calls,
        "refused": calls * refused,
        "throttled": calls * refused,
        "lost": calls * refused,
        "answered": 0.9 * calls * (1 - refused),
        "effective": calls * (1 - refused),
        **dict.fromkeys(("blocked", "no_channel", "no_port", "carrier_rejected"), zeros),
        "call_s": 180.0 * calls,
        Ending(Disposition.COMPLETED): 0.9 * calls * (1 - refused),
        Ending(Disposition.THROTTLED): calls * refused,
        Ending(Disposition.BUSY): 0.1 * calls * (1 - refused),
        "srd_p95_ms": np.full_like(load, 300.0),
        "mos_p5": np.full_like(load, 4.3),
        "mos_mean": np.full_like(load, 4.35),
        "peak_concurrency": 3 * load * (1 - refused),
        "peak_channels": 3 * load * (1 - refused),
        "peak_ports": 3 * load * (1 - refused),
        "cpu_share": np.full_like(load, 0.2),
        **{name: np.full_like(load, value) for name, value in others.items()},
    }
    return Response(runs, values)


@dataclass(eq=False)
class KnownSweep(Sweep):
    """Answers by functions; keeps what it was asked for."""

    lost: dict[Witness, Lost] = field(default_factory=dict)
    others: Mapping[Quantity, float] = field(default_factory=dict)
    rounds: list[list[Cell]] = field(default_factory=list)

    def extend(
        self,
        cells: Sequence[Cell],
        executor: Executor | None = None,
        advance: Progress = silent,
    ) -> None:
        """Ask the functions for cells that are not there yet."""
        new = [cell for cell in dict.fromkeys(cells) if (Witness.MODEL, cell) not in self.responses]
        if not new:
            return
        self.rounds.append(new)
        loads = self.demand.rates_per_minute * self.demand.base
        for witness, lost in self.lost.items():
            for interpretation, limit in new:
                self.responses[witness, (interpretation, limit)] = response_of(
                    loads, lambda load, at=(interpretation, limit), of=lost: of(*at, load), self.others
                )


def known_sweep(  # noqa: PLR0917  # what is asked, then what is answered
    request: Request,
    demand: Demand,
    limits: Sequence[int],
    model: Lost = fluid,
    record: Lost | None = None,
    others: Mapping[Quantity, float] = MappingProxyType({}),
) -> KnownSweep:
    """All interpretations of the request at these limits."""
    said = {Witness.MODEL: model} | ({} if record is None else {Witness.RECORD: record})
    runs = response_of(demand.rates_per_minute * demand.base, lambda load: 0.0).runs
    benches = {witness: Bench(runs, ()) for witness in said}
    sweep = KnownSweep(request, demand, benches, lost=said, others=others)
    sweep.extend(
        [(interpretation, limit) for interpretation in range(len(request.interpretations)) for limit in limits]
    )
    return sweep
