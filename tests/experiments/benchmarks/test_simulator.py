"""Simulators side by side, in a size that only shows that they do the same work."""

from __future__ import annotations

import numpy as np
import pytest

from trunkproof.experiments.benchmarks.result import Row
from trunkproof.experiments.benchmarks.simulator import (
    Sizes,
    counts_by_disposition,
    in_a_table,
    measure,
    on_kernel,
    whole_trunk,
)
from trunkproof.models.plan import draw_plan
from trunkproof.models.traffic import PoissonArrivals
from trunkproof.simulator.run import Engine, simulate

SMALL = Sizes(1000, 4000, 1, (2000, 4000), (150, 250), 1800.0)


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    results = measure(True, SMALL)
    found = {result.name: result for result in results if isinstance(result, Row)}
    assert len(found) == len(results)
    return found


def test_the_rows_that_were_asked_for_are_there(rows: dict[str, Row]) -> None:
    assert {"simulator.simpy.calls_per_s", "simulator.kernel.calls_per_s", "simulator.sweep_s"} <= set(rows)
    # What a user waits for is told beside what the kernel alone does, and is less.
    assert rows["simulator.simulate.calls_per_s"].unit == rows["simulator.kernel.calls_per_s"].unit
    assert {
        f"simulator.{ours}.vs_{theirs}" for ours in ("kernel", "simpy") for theirs in ("plain_simpy", "ciw")
    } <= set(rows)


def test_the_kernel_is_compared_with_our_own_model(rows: dict[str, Row]) -> None:
    assert rows["simulator.kernel.calls_per_s"].baseline == rows["simulator.simpy.calls_per_s"].value


def test_everybody_lost_what_erlang_says(rows: dict[str, Row]) -> None:
    """`measure` raises where one did not; what each of them came to is told."""
    note = rows["simulator.kernel.vs_ciw"].note
    assert all(who in note for who in ("plain SimPy", "Ciw", "our SimPy model", "kernel"))


def test_both_engines_simulate_the_same_attempts() -> None:
    plan = draw_plan(whole_trunk(1000))
    timed = in_a_table(plan.study, plan), on_kernel(plan.study, plan)
    assert len({(each.attempts, each.lost) for each in timed}) == 1
    assert simulate(plan.study, plan).equals(simulate(plan.study, plan, engine=Engine.KERNEL))


def test_the_whole_trunk_has_every_way_to_end() -> None:
    """Throttled, no channel, busy, no answer, abandoned, completed: the benchmark spares the model nothing."""
    assert np.count_nonzero(counts_by_disposition(whole_trunk(5000))) == 6


def test_a_month_has_ten_million_callers() -> None:
    month = whole_trunk(10_000_000)
    arrivals = month.trunks[0].traffic.arrivals
    assert isinstance(arrivals, PoissonArrivals)
    assert month.duration_s == pytest.approx(30 * 86_400, rel=0.001)
