"""The wall clock is set in mid-call, and nothing that is measured changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.loadgen.media.listeners import Network

from trunkproof.loadgen.media.arrival_clock import AHEAD_S, MEMORY_S, ArrivalClock
from trunkproof.loadgen.media.compiled.memory import new_control
from trunkproof.loadgen.media.compiled.sockets import arrival_of, note_clocks
from trunkproof.loadgen.media.voiceprint import Side, write_frame

Look = Callable[[float, float], None]
Arrival = Callable[[float, float], float]
EPOCH = 1.7e9


def _plain() -> tuple[Look, Arrival]:
    clock = ArrivalClock(0.0, EPOCH)
    return clock.look, clock.arrival


def _compiled() -> tuple[Look, Arrival]:
    control = new_control(-1, -EPOCH, 0)[0]
    return (
        lambda monotonic, wall: note_clocks(control, monotonic, wall),
        lambda stamp, now: arrival_of(control, stamp, now),
    )


Clocks = pytest.mark.parametrize("made", [_plain, _compiled], ids=["plain", "compiled"])


@Clocks
@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 86_400.0, 0.05, -0.05, 5.0, -5.0])
def test_a_step_of_the_wall_clock_moves_no_arrival(made: Callable[[], tuple[Look, Arrival]], step_s: float) -> None:
    look, arrival = made()
    wall_ahead, now, waiting = EPOCH, 0.0, []
    for tick in range(400):
        now = tick * 0.02
        if tick == 200:
            wall_ahead += step_s
        # Each datagram waits for up to three more ticks until it is read, as in the compiled pump.
        waiting.append((now, now + wall_ahead))
        look(now + 0.001, now + 0.001 + wall_ahead)
        if tick % 4 == 3:
            for came, stamp in waiting:
                assert arrival(stamp, now + 0.002) == pytest.approx(came, abs=1e-6)
            waiting = []
    assert now > 4 * 0.02 + MEMORY_S


@Clocks
@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_step_that_nobody_has_seen_yet_takes_the_time_of_reading(
    made: Callable[[], tuple[Look, Arrival]], step_s: float
) -> None:
    look, arrival = made()
    look(5.0, EPOCH + 5.0)
    assert arrival(EPOCH + 5.0 + step_s, 5.01) == 5.01


@Clocks
def test_a_slew_is_followed(made: Callable[[], tuple[Look, Arrival]]) -> None:
    look, arrival = made()
    for tick in range(1000):
        now, wall = tick * 0.02, EPOCH + tick * 0.02 * 1.0005
        look(now, wall)
        assert arrival(wall, now + AHEAD_S / 2) == pytest.approx(now, abs=1e-6)


def test_a_call_over_a_step_is_clean_in_both_pumps() -> None:
    network = Network(None)
    clocks = [_plain(), _compiled()]
    wall_ahead = EPOCH
    for number in range(500):
        if number == 250:
            wall_ahead -= 3600.0
        now = (number + 1) * 0.02
        packet = network.frame(write_frame(Side.CALLER, 7, number))
        network.sent.append(packet)
        for (look, arrival), one in zip(clocks, (network.plain, network.compiled), strict=True):
            look(now, now + wall_ahead)
            one.receive(packet, arrival(now + wall_ahead, now))
    network.clock = 500 * 0.02
    report = network.check()
    assert (report.authenticated, report.late, report.lost) == (500, 0, 0)
    assert report.silence_s == pytest.approx(0.5)
    assert report.jitter_ms == pytest.approx(0.0, abs=1e-3)
