"""The compiled machine against `simulator.host`: how long work takes and what audio loses, to the last bit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.models.costs import costs_of
from trunkproof.models.study import Study
from trunkproof.simulator.host import Host
from trunkproof.simulator.kernel.encoding import world_of
from trunkproof.simulator.kernel.host import audio_changes, finish, work

TRAFFIC = {"arrivals": {"kind": "constant", "rate_per_minute": 1}, "holding": 1}
WORK = st.tuples(st.just("work"), st.sampled_from([0.0, 0.1, 0.5]) | st.floats(0, 2))
AUDIO = st.tuples(st.sampled_from(["begins", "ends"]), st.floats(0, 2))


@pytest.mark.parametrize("machine", [{}, {"cores": 4}, {"quota": 0.01}, {"cores": 3, "quota": 2.5, "slowdown": 90}])
@given(pieces=st.lists(st.tuples(st.sampled_from([0.0, 0.25]) | st.floats(0, 1), WORK | AUDIO), max_size=60))
def test_the_same_to_the_last_bit(machine: dict[str, float], pieces: list[tuple[float, tuple[str, float]]]) -> None:
    pop = {"machine": machine | {"calibration": "embedded"}}
    study = Study.model_validate({"name": "t", "pop": pop, "trunks": [{"traffic": TRAFFIC}]})
    changes = {"idle_share": 0.001, "contended_work_share": 0.5, "packet_s": 0.004}
    costs = costs_of(study.pop).model_copy(update=changes)
    clock, cores = (world := world_of(study, costs, {}, batch=1)).clock, world.cores
    host, now, readings = Host(study.pop.machine, costs), 0.0, []
    for gap_s, (what, amount) in pieces:
        now += gap_s
        clock["now"] = now
        if what == "work":
            assert finish(clock, cores, amount) == host.finish(amount, now)
        elif what == "begins":
            readings.append(host.audio_begins(now))
            assert audio_changes(clock, 2) == readings[-1]
        elif readings:
            reading = readings.pop()
            assert audio_changes(clock, -1) - reading == host.one_stops(reading, now)


def test_nothing_to_do_is_not_queued_for() -> None:
    study = Study.model_validate({"name": "t", "trunks": [{"traffic": TRAFFIC}]})
    world = world_of(study, costs_of(study.pop), {}, batch=1)
    assert finish(world.clock, world.cores, 1.0) > 0
    assert work(world.clock, world.cores, 0.0) == 0.0
