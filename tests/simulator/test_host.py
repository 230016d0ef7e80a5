"""The host by itself: work queues, audio takes its share, a quota and idle programs leave less for both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.models.costs import Costs
from trunkproof.models.packets import PACKETS_PER_CALL_S
from trunkproof.models.study import Machine
from trunkproof.simulator.host import Host, capacity

COSTS = Costs(
    full_handshake_s=0.0, resumed_handshake_s=0.0, invite_s=0.0, refusal_s=0.0, bye_s=0.0, packet_s=0.001,
    idle_share=0.0, round_trip_s=0.0,
)  # fmt: skip
IDLING = COSTS.model_copy(update={"idle_share": 0.1})


def test_work_queues_first_come_first_served_and_audio_takes_its_share() -> None:
    host = Host(Machine(cores=2), COSTS)
    assert [host.finish(0.1, 0.0) for _ in range(3)] == pytest.approx([0.1, 0.1, 0.2])
    # 100 packets a second at 1 ms on two cores: 10 calls ask for half of them, and work takes twice as long.
    for _ in range(10):
        host.audio_begins(1.0)
    assert host.media_load == pytest.approx(0.5)
    assert host.finish(0.1, 1.0) == pytest.approx(0.2)


def test_audio_beyond_the_cores_loses_packets_for_the_time_it_lasts() -> None:
    host = Host(Machine(), COSTS)
    readings = [host.audio_begins(0.0) for _ in range(20)]
    # 20 calls ask for twice the core: half of the packets of these 4 seconds are lost.
    lost = host.audio_ends(readings[0], 4.0)
    assert lost == pytest.approx(2.0)
    for reading in readings[1:11]:
        host.audio_ends(reading, 4.0)
    assert host.media_load == pytest.approx(0.9)
    assert host.audio_ends(readings[11], 10.0) == pytest.approx(2.0)


def test_the_other_side_talks_on_until_the_bye_is_with_it() -> None:
    host = Host(Machine(), COSTS)
    readings = [host.audio_begins(0.0) for _ in range(4)]
    assert host.media_load == pytest.approx(0.4)
    for reading in readings:
        host.one_stops(reading, 1.0)
    assert host.media_load == pytest.approx(0.2)
    # Work of 0.4 s takes longer for it.
    assert host.finish(0.4, 1.0) == pytest.approx(0.5)
    for _ in readings:
        host.other_stops(1.5)
    assert host.media_load == 0.0
    assert host.media_s == pytest.approx(0.4 + 0.1)


def test_work_that_waits_takes_its_smaller_share() -> None:
    host = Host(Machine(), COSTS.model_copy(update={"contended_work_share": 0.5}))
    assert [host.finish(0.1, 0.0) for _ in range(3)] == pytest.approx([0.1, 0.15, 0.2])
    assert host.finish(0.1, 0.2) == pytest.approx(0.1)


def test_packets_that_wait_cost_less_so_more_calls_fit() -> None:
    host = Host(Machine(), COSTS.model_copy(update={"contended_packet_s": 0.0004}))
    readings = [host.audio_begins(0.0) for _ in range(20)]
    # At 1 ms a packet they ask for two cores; at 0.4 ms they can do with 0.8 of one, and nothing is lost.
    assert host.media_load == pytest.approx(0.8)
    assert host.audio_ends(readings[0], 4.0) == 0.0
    # They spend what there is.
    assert host.media_s == pytest.approx(4.0)


def test_packets_that_cost_more_where_cpu_is_short_are_lost_before_it_is_spent() -> None:
    host = Host(Machine(), COSTS.model_copy(update={"contended_packet_s": 0.002}))
    readings = [host.audio_begins(0.0) for _ in range(8)]
    # At 1 ms a packet they ask for 0.8 of a core; at 2 ms for 1.6, of which three eighths are lost.
    assert host.audio_ends(readings[0], 4.0) == pytest.approx(4 * 3 / 8)
    assert host.media_s == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("machine", "costs", "cores"),
    [
        (Machine(cores=2), COSTS, 2.0),
        (Machine(cores=2), IDLING, 1.9),
        (Machine(cores=2, quota=0.5), COSTS, 0.5),
        (Machine(cores=2, quota=0.5), IDLING, 0.4),
        (Machine(cores=2, quota=8), IDLING, 1.9),
    ],
)
def test_capacity_is_what_the_quota_leaves_and_idle_programs_do_not_take(
    machine: Machine, costs: Costs, cores: float
) -> None:
    assert capacity(machine, costs) == pytest.approx(cores)
    host = Host(machine, costs)
    # As much work as an hour of all of it, in pieces that come at once, is done in an hour.
    pieces = [host.finish(cores, 0.0) for _ in range(3600)]
    assert max(pieces) == pytest.approx(3600)
    host.audio_begins(3600.0)
    assert host.media_load == pytest.approx(PACKETS_PER_CALL_S * costs.packet_s / cores)


def test_work_that_comes_alone_gets_the_whole_quota_of_one_core() -> None:
    assert Host(Machine(cores=2, quota=0.5), COSTS).finish(0.1, 0.0) == pytest.approx(0.2)
    assert Host(Machine(cores=2, quota=1.5), COSTS).finish(0.1, 0.0) == pytest.approx(0.1 / 0.75)


@given(calls=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 100)), max_size=30), quota=st.floats(0.05, 4))
def test_audio_gets_what_it_asks_for_without_what_is_lost(calls: list[tuple[int, int]], quota: float) -> None:
    host, lost_s, now = Host(Machine(cores=2, quota=quota), COSTS), 0.0, 0.0
    for at_once, lasts_s in calls:
        readings = [host.audio_begins(now) for _ in range(at_once)]
        now += lasts_s
        lost_s += sum(host.audio_ends(reading, now) for reading in readings)
    asked_s = sum(at_once * lasts_s for at_once, lasts_s in calls)
    assert host.media_s == pytest.approx((asked_s - lost_s) * PACKETS_PER_CALL_S * COSTS.packet_s)
    assert host.media_s <= min(2, quota) * now + 1e-9
