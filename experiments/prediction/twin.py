"""The analytic twin: compare the simulation with theory where theory has an exact answer to a study.

A z-score beyond 4.5 is no bad luck: the simulator, or a premise of the theory, is wrong. For a study without an exact
answer the twin says which property excludes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any, Self

from trunkproof.models.study import Pop, Study
from trunkproof.models.teletraffic import (
    erlang_b,
)
from trunkproof.models.traffic import PoissonArrivals, Traffic
from trunkproof.simulator.replicate import replicate
from trunkproof.simulator.run import Start

LARGEST_Z = 4.5
_REPETITIONS, _CALLS, _WINDOWS = 16, 1500, 8
"""The size of the long run: a few seconds of computing."""
_LONGEST_MEMORY_S = 600.0


@dataclass(frozen=True)
class TwinCheck:
    """One figure, exact and simulated."""

    name: str
    exact: float
    simulated: float
    standard_error: float

    @property
    def z(self) -> float:
        """Return the distance in standard errors. 0 where nothing can be refused and nothing was."""
        return (self.simulated - self.exact) / self.standard_error if self.standard_error else 0.0

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        return cls(saved["name"], saved["exact"], saved["simulated"], saved["standard_error"])

    def to_json(self) -> dict[str, Any]:
        """Return all values, ready for `json.dumps`."""
        return asdict(self) | {"z": self.z}


def exact_refused_share(study: Study) -> float | str:
    """Return the exact share of attempts refused in the long run, or why there is no exact answer.

    There is one for one trunk with Poisson arrivals at a constant rate and no redials, where only the throttle
    or only the channels limit.
    """
    reason = _excluded(study)
    if reason is not None:
        return reason
    (trunk,) = study.trunks
    arrivals = trunk.traffic.arrivals
    assert isinstance(arrivals, PoissonArrivals)
    if not trunk.throttle.is_asked:
        channels = study.pop.carrier.channels
        erlangs = arrivals.rate_per_minute / 60 * channel_time_s(study.pop, trunk.traffic)
        return 0.0 if channels is None else erlang_b(erlangs, channels)
    share = trunk.throttle.refused_share(arrivals.rate_per_minute) if arrivals.rate_per_minute else 0.0
    return f"there is no formula for the throttle ({trunk.throttle.label})" if share is None else share


def _excluded(study: Study) -> str | None:
    """Return the first property of a study for which theory has no exact answer, or None."""
    trunk, carrier = study.trunks[0], study.pop.carrier
    traffic = trunk.traffic
    throttled = trunk.throttle.is_asked
    properties: list[tuple[bool, str]] = [
        (len(study.trunks) > 1, "several trunks share the PoP"),
        (not isinstance(traffic.arrivals, PoissonArrivals), "the arrivals are not Poisson at a constant rate"),
        (traffic.redial.is_possible, "callers redial"),
        (bool(traffic.destinations), "calls go to listed numbers, each with times of its own"),
        (throttled and traffic.inbound_share > 0 and trunk.throttle.counts == "outbound", "inbound is not counted"),
        (throttled and carrier.channels is not None, "both the throttle and the channels limit"),
        (carrier.burst is not None, "the carrier lends more channels for a time"),
        (carrier.calls_per_second is not None, "the carrier limits the calls per second"),
        (bool(study.pop.incidents), "incidents happen"),
        (trunk.throttle.memory_s > _LONGEST_MEMORY_S, "the throttle forgets too slowly for a run of seconds"),
    ]
    return next((why for holds, why in properties if holds), None)


def channel_time_s(pop: Pop, traffic: Traffic) -> float:
    """Return the mean time for which a call holds a channel, over all outcomes."""
    mix = traffic.outcomes
    rings = (mix.answered + mix.no_answer) * traffic.ringing.mean() + mix.abandoned * traffic.patience.mean()
    return pop.carrier.setup.mean() + rings + mix.answered * traffic.holding.mean()


def analytic_twin(study: Study, executor: Executor | None = None) -> tuple[TwinCheck, ...] | str:
    """Compare the model with the exact answer, in a longer stationary run. Return why there is none otherwise."""
    exact = exact_refused_share(study)
    if isinstance(exact, str):
        return exact
    repeated = replicate(_long_run(study), replications=_REPETITIONS, start=Start.STATIONARY, executor=executor)
    estimate = repeated.estimates.get("refused_share")
    if estimate is None:
        return "no calls are offered"
    # Refusals come in clusters, so their error is at least that of independent ones. Without any, take that error.
    attempts = repeated.estimates["attempts"].mean * repeated.repetitions
    independent = math.sqrt(exact * (1 - exact) / attempts)
    return (TwinCheck("refused_share", exact, estimate.mean, max(estimate.standard_error, independent)),)


def _long_run(study: Study) -> Study:
    """Return the study with a longer run: exact answers hold for the long run, not for a minute."""
    (trunk,) = study.trunks
    arrivals, throttle = trunk.traffic.arrivals, trunk.throttle
    assert isinstance(arrivals, PoissonArrivals)
    warm_up_s = throttle.memory_s
    enough_s = 60 * _CALLS / max(arrivals.rate_per_minute, 1.0)
    return study.model_copy(update={"duration_s": warm_up_s + max(enough_s, _WINDOWS * warm_up_s)})
