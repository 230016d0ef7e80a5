"""The host by itself: work queues, audio takes its share, a quota and idle programs leave less for both."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.costs import PACKETS_PER_S, Costs
from models.study import Machine
from simulator.host import BUFFER_S, Host, Missed, capacity

COSTS = Costs(
    full_handshake_s=0.0, resumed_handshake_s=0.0, invite_s=0.0, refusal_s=0.0, bye_s=0.0, packet_s=0.001,
    idle_share=0.0, round_trip_s=0.0,
)  # fmt: skip
WAITING = COSTS.model_copy(update={"audio_waits": True, "packet_s": 0.0})
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
    lost = host.audio_ends(readings[0], 4.0).lost_s
    assert lost == pytest.approx(2.0)
    for reading in readings[1:11]:
        host.audio_ends(reading, 4.0)
    assert host.media_load == pytest.approx(0.9)
    assert host.audio_ends(readings[11], 10.0).lost_s == pytest.approx(2.0)


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
    host = Host(Machine(), COSTS.model_copy(update={"waiting_work_share": 0.5}))
    assert [host.finish(0.1, 0.0) for _ in range(3)] == pytest.approx([0.1, 0.15, 0.2])
    assert host.finish(0.1, 0.2) == pytest.approx(0.1)


def test_packets_that_wait_cost_less_so_more_calls_fit() -> None:
    host = Host(Machine(), COSTS.model_copy(update={"waiting_packet_s": 0.0004}))
    readings = [host.audio_begins(0.0) for _ in range(20)]
    # At 1 ms a packet they ask for two cores; at 0.4 ms they can do with 0.8 of one, and nothing is lost.
    assert host.media_load == pytest.approx(0.8)
    assert host.audio_ends(readings[0], 4.0) == (0.0, 0.0)
    # They spend what there is.
    assert host.media_s == pytest.approx(4.0)


def test_audio_behind_signalling_of_the_same_program_comes_late() -> None:
    host = Host(Machine(), WAITING)
    early, late = host.audio_begins(0.0), None
    for begins, work_s in ((1.0, 0.2), (1.1, 0.1)):
        host.finish(work_s, begins)
        late = host.audio_begins(begins)
    assert late is not None
    # Busy from 1.0 to 1.3: what comes before 1.24 waits for longer than the 60 ms of a telephone's buffer.
    assert host.audio_ends(late, 1.2).late_s == pytest.approx(0.1)
    assert host.audio_ends(early, 9.0).late_s == pytest.approx(0.24)
    # As little work as the buffer bridges is heard by nobody.
    reading = host.audio_begins(10.0)
    host.finish(BUFFER_S, 10.0)
    assert host.audio_ends(reading, 11.0).late_s == 0.0


@given(
    pieces=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 30)), max_size=40),
    begins=st.integers(0, 300),
    lasts=st.integers(0, 300),
)
def test_late_is_what_comes_while_more_work_waits_than_a_buffer_bridges(
    pieces: list[tuple[int, int]], begins: int, lasts: int
) -> None:
    host, free_at, late, reading = Host(Machine(), WAITING), 0, 0, Missed(0.0, 0.0)
    # All in hundredths of a second; the buffer has six of them.
    for now in range(begins + lasts):
        for work in (work for at, work in pieces if at == now):
            host.finish(work / 100, now / 100)
            free_at = max(free_at, now) + work
        if now == begins:
            reading = host.audio_begins(now / 100)
        if now >= begins:
            late += min(1, max(0, free_at - 6 - now))
    if lasts:
        assert host.audio_ends(reading, (begins + lasts) / 100).late_s == pytest.approx(late / 100)


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
    assert host.media_load == pytest.approx(PACKETS_PER_S * costs.packet_s / cores)


def test_work_that_comes_alone_gets_the_whole_quota_of_one_core() -> None:
    assert Host(Machine(cores=2, quota=0.5), COSTS).finish(0.1, 0.0) == pytest.approx(0.2)
    assert Host(Machine(cores=2, quota=1.5), COSTS).finish(0.1, 0.0) == pytest.approx(0.1 / 0.75)


@given(calls=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 100)), max_size=30), quota=st.floats(0.05, 4))
def test_audio_gets_what_it_asks_for_without_what_is_lost(calls: list[tuple[int, int]], quota: float) -> None:
    host, lost_s, now = Host(Machine(cores=2, quota=quota), COSTS), 0.0, 0.0
    for at_once, lasts_s in calls:
        readings = [host.audio_begins(now) for _ in range(at_once)]
        now += lasts_s
        lost_s += sum(host.audio_ends(reading, now).lost_s for reading in readings)
    asked_s = sum(at_once * lasts_s for at_once, lasts_s in calls)
    assert host.media_s == pytest.approx((asked_s - lost_s) * PACKETS_PER_S * COSTS.packet_s)
    assert host.media_s <= min(2, quota) * now + 1e-9
