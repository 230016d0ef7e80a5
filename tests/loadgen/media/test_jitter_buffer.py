"""The modelled playout buffer, at its edges."""

import pytest

from trunkproof.loadgen.media.jitter_buffer import DRIFT_S, JitterBuffer


def test_rfc_3550_5_1_packets_in_their_rhythm_are_in_time() -> None:
    buffer = JitterBuffer()
    assert all(buffer.add(3.0) for _ in range(50))
    assert buffer.late == 0


def test_delay_up_to_the_depth_is_in_time_and_beyond_it_late() -> None:
    buffer = JitterBuffer(depth_s=0.06)
    assert buffer.add(1.0)
    assert buffer.add(1.0 + 0.059)
    assert not buffer.add(1.0 + 0.061)
    assert buffer.late == 1


def test_an_early_packet_is_in_time() -> None:
    buffer = JitterBuffer()
    buffer.add(1.0)
    assert buffer.add(0.5)


def test_rfc_3551_4_1_a_pause_may_move_the_playing_time() -> None:
    buffer = JitterBuffer()
    buffer.add(1.0)
    assert not buffer.add(1.1)
    assert buffer.add(1.1, anew=True)
    assert buffer.add(1.1)


@pytest.mark.parametrize("parts_per_million", [100, -100])
def test_two_clocks_that_differ_make_nothing_late_in_an_hour(parts_per_million: int) -> None:
    buffer = JitterBuffer()
    for number in range(50 * 3600):
        buffer.add(number * 0.02 * parts_per_million * 1e-6)
    assert buffer.late == 0


def test_a_queue_that_grows_is_late_all_the_same() -> None:
    buffer = JitterBuffer(depth_s=0.06)
    packets = [number * 0.001 for number in range(100)]
    assert [buffer.add(transit) for transit in packets].count(False) in {39, 40}
    assert 40 * DRIFT_S < 0.001
