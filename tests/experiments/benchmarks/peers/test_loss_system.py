"""The loss system in four hands loses what Erlang's formula says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trunkproof.experiments.benchmarks.peers.loss_system import LossSystem, ciw, plain_simpy, study
from trunkproof.experiments.benchmarks.running import BenchmarkError
from trunkproof.models.plan import draw_plan
from trunkproof.models.records import Disposition
from trunkproof.models.teletraffic import erlang_b
from trunkproof.simulator.run import simulate

CALLS = 5000


@pytest.mark.parametrize("work", [plain_simpy, ciw])
def test_a_peer_loses_what_erlang_says(work: Callable[[LossSystem, int, int], tuple[int, int]]) -> None:
    lost, offered = work(LossSystem(), CALLS, 1)
    assert offered == CALLS
    assert abs(LossSystem().check("peer", lost, offered)) <= 4.5


def test_our_trunk_loses_what_erlang_says_and_nothing_else() -> None:
    question = study(LossSystem(), CALLS, 1)
    plan = draw_plan(question)
    ends = simulate(question, plan)["disposition"].value_counts()
    counts = dict(zip(ends["disposition"], ends["count"], strict=True))
    assert set(counts) == {Disposition.COMPLETED.value, Disposition.NO_CHANNEL.value}
    LossSystem().check("ours", counts[Disposition.NO_CHANNEL.value], sum(counts.values()))


def test_another_system_is_found_out() -> None:
    twenty_one = erlang_b(20.0, 21)
    with pytest.raises(BenchmarkError, match=r"formula says 0\.15"):
        LossSystem().check("somebody", round(100_000 * twenty_one), 100_000)
