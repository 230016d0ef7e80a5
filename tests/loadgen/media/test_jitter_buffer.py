"""The modelled playout buffer, at its edges."""

from trunkproof.loadgen.media.jitter_buffer import JitterBuffer


def test_packets_in_their_rhythm_are_in_time() -> None:
    buffer = JitterBuffer()
    assert all(buffer.add(100 + number, 5.0 + number * 0.02) for number in range(50))
    assert buffer.late == 0


def test_delay_up_to_the_depth_is_in_time_and_beyond_it_late() -> None:
    buffer = JitterBuffer(depth_s=0.06)
    assert buffer.add(0, 1.0)
    assert buffer.add(1, 1.02 + 0.059)
    assert not buffer.add(2, 1.04 + 0.061)
    assert buffer.late == 1


def test_lost_packets_shift_nothing() -> None:
    buffer = JitterBuffer()
    buffer.add(0, 1.0)
    assert buffer.add(1000, 21.0)
    assert buffer.late == 0


def test_an_early_packet_is_in_time() -> None:
    buffer = JitterBuffer()
    buffer.add(5, 1.0)
    assert buffer.add(6, 0.5)
