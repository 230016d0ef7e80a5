"""The same loss system (M/M/c/c, Erlang's) in plain SimPy, in Ciw and as a study of ours; for `simulator`.

Each is written as in its own documentation: the shortest way to the share of calls lost.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass

import simpy

from trunkproof.experiments.benchmarks.running import BenchmarkError
from trunkproof.models.distributions import Constant, Exponential
from trunkproof.models.study import Carrier, Pop, Study, Trunk
from trunkproof.models.teletraffic import call_congestion_standard_error, erlang_b
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.traffic import PoissonArrivals, Traffic

LARGEST_Z = 4.5


@dataclass(frozen=True)
class LossSystem:
    """Poisson arrivals, exponential holding times, and no waiting."""

    channels: int = 20
    offered_erlang: float = 20.0
    mean_hold_s: float = 3.0

    @property
    def calls_per_s(self) -> float:
        """Return the rate at which calls are offered."""
        return self.offered_erlang / self.mean_hold_s

    def check(self, who: str, lost: int, offered: int) -> float:
        """Return the distance of the calls lost from Erlang's formula, in standard errors.

        Raises:
            BenchmarkError: it is more than `LARGEST_Z`, so another system was simulated.
        """
        exact = erlang_b(self.offered_erlang, self.channels)
        error = call_congestion_standard_error(self.offered_erlang, self.channels, offered)
        z = (lost / offered - exact) / error
        if abs(z) > LARGEST_Z:
            raise BenchmarkError(f"{who} lost {lost} of {offered}; Erlang's formula says {exact:.4f} (z = {z:.1f})")
        return z


def plain_simpy(system: LossSystem, calls: int, seed: int) -> tuple[int, int]:
    """Simulate with a process per call and a Resource for channels, as SimPy's examples do. Return (lost, offered)."""
    env, draws = simpy.Environment(), random.Random(seed)
    channels = simpy.Resource(env, system.channels)
    lost = 0

    def call() -> Generator[simpy.Event, object, None]:
        nonlocal lost
        if channels.count == channels.capacity:
            lost += 1
            return
        with channels.request() as channel:
            yield channel
            yield env.timeout(draws.expovariate(1 / system.mean_hold_s))

    def arrivals() -> Generator[simpy.Event, object, None]:
        for _ in range(calls):
            yield env.timeout(draws.expovariate(system.calls_per_s))
            env.process(call())

    env.process(arrivals())
    env.run()
    return lost, calls


def ciw(system: LossSystem, calls: int, seed: int) -> tuple[int, int]:
    """Simulate a Ciw network of one node without a queue. Return (lost, offered)."""
    # Import late: Ciw takes longer to import than this whole module.
    import ciw as library  # noqa: PLC0415

    network = library.create_network(
        arrival_distributions=[library.dists.Exponential(rate=system.calls_per_s)],
        service_distributions=[library.dists.Exponential(rate=1 / system.mean_hold_s)],
        number_of_servers=[system.channels],
        queue_capacities=[0],
    )
    library.seed(seed)
    simulation = library.Simulation(network)
    simulation.simulate_until_max_customers(calls, method="Arrive")
    arrived = simulation.nodes[0]
    return arrived.number_of_individuals - arrived.number_accepted_individuals, arrived.number_of_individuals


def study(system: LossSystem, calls: int, seed: int) -> Study:
    """Return our whole trunk, with TLS, edge, host and audio, in which only the channels limit calls."""
    return Study(
        name="loss system",
        seed=seed,
        duration_s=calls / system.calls_per_s,
        pop=Pop(carrier=Carrier(channels=system.channels, setup=_nothing())),
        trunks=(
            Trunk(
                throttle=NoThrottle(policy="none"),
                traffic=Traffic(
                    arrivals=PoissonArrivals(kind="poisson", rate_per_minute=60 * system.calls_per_s),
                    holding=Exponential(kind="exponential", mean_s=system.mean_hold_s),
                    ringing=_nothing(),
                ),
            ),
        ),
    )


def _nothing() -> Constant:
    return Constant(kind="constant", value_s=0.0)
