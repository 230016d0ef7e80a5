"""The receiver's counts, against RFC 3550's own definitions on streams built by hand."""

import random
from itertools import pairwise

import pytest

from trunkproof.loadgen.media.statistics import DUPLICATE, JUMPED, RESTARTED, ReceptionStatistics


def note(statistics: ReceptionStatistics, number: int, timestamp: int | None, arrival: float) -> int:
    missing = statistics.add(number & 0xFFFF)
    if missing not in {DUPLICATE, JUMPED}:
        if timestamp is not None:
            statistics.play(missing, timestamp & 0xFFFFFFFF, arrival, marker=False)
        statistics.note(arrival)
    return missing


def _stream(numbers: list[int], delays_s: list[float] | None = None) -> ReceptionStatistics:
    statistics = ReceptionStatistics()
    for index, number in enumerate(numbers):
        delay = delays_s[index] if delays_s else 0.0
        note(statistics, number, number * 160, number * 0.02 + delay)
    return statistics


def test_a_3_loss_is_expected_less_received() -> None:
    statistics = _stream([10, 11, 13, 14, 17])
    assert (statistics.received, statistics.expected, statistics.lost) == (5, 8, 3)


def test_duplicates_and_reordered_packets_are_no_loss() -> None:
    statistics = _stream([1, 3, 2, 2, 4])
    assert (statistics.received, statistics.duplicate, statistics.reordered, statistics.lost) == (4, 1, 1, 0)


def test_a_packet_before_the_first_counts_as_expected() -> None:
    statistics = _stream([5, 4, 6])
    assert (statistics.expected, statistics.lost, statistics.reordered) == (3, 0, 1)


def test_a_1_sequence_numbers_roll_over_twice() -> None:
    begun, packets = 65_000, 140_000
    statistics = _stream([begun + number for number in range(packets) if number != 70_000])
    assert (statistics.expected, statistics.lost, statistics.reordered) == (packets, 1, 0)
    # 32 bits: cycles above, sequence number below.
    assert statistics.highest == begun + packets - 1


def test_reordering_across_the_rollover() -> None:
    statistics = _stream([65_534, 65_536, 65_535, 65_537])
    assert (statistics.received, statistics.reordered, statistics.lost) == (4, 1, 0)


def test_a_8_jitter_is_the_recursion_of_the_appendix() -> None:
    random_source = random.Random(3550)
    delays = [random_source.uniform(0.0, 0.03) for _ in range(500)]
    jitter = 0.0
    for before, after in pairwise(delays):
        jitter += (abs(after - before) - jitter) / 16
    assert _stream(list(range(500)), delays).jitter_ms == pytest.approx(1000 * jitter, rel=1e-6)


def test_a_8_constant_delay_has_no_jitter_even_as_timestamps_wrap() -> None:
    statistics = ReceptionStatistics()
    for number in range(100):
        note(statistics, number, 0xFFFFFFFF - 3000 + number * 160, 7.0 + number * 0.02)
    assert statistics.jitter_ms == pytest.approx(0.0, abs=1e-6)


def test_a_packet_without_timestamp_counts_but_leaves_jitter_alone() -> None:
    statistics = ReceptionStatistics()
    for number in range(20):
        note(statistics, number, None if 5 <= number < 13 else number * 160, number * 0.02)
    assert (statistics.received, statistics.lost) == (20, 0)
    assert statistics.jitter_ms == pytest.approx(0.0, abs=1e-6)


def test_a_3_fraction_lost_is_since_the_last_report() -> None:
    statistics = ReceptionStatistics()
    for number in (0, 1, 3):
        note(statistics, number, number * 160, number * 0.02)
    assert statistics.fraction_lost() == 256 // 4
    note(statistics, 4, 640, 0.08)
    assert statistics.fraction_lost() == 0


def test_nothing_heard_is_all_zero() -> None:
    statistics = ReceptionStatistics()
    assert (statistics.expected, statistics.lost, statistics.highest, statistics.fraction_lost()) == (0, 0, 0, 0)


def test_a_1_two_numbers_in_sequence_after_a_jump_are_a_restart_and_no_loss() -> None:
    statistics = _stream([100, 101, 102, 20_000, 20_001, 20_002])
    assert (statistics.received, statistics.expected, statistics.lost) == (6, 6, 0)
    assert statistics.highest == 20_002


def test_a_1_a_single_number_far_off_is_left_out() -> None:
    statistics = ReceptionStatistics()
    found = [statistics.add(number) for number in (5, 6, 40_000, 7, 8, 30_000, 9)]
    assert found == [-1, 0, JUMPED, 0, 0, JUMPED, 0]
    assert (statistics.received, statistics.lost) == (5, 0)


def test_a_1_a_restart_backwards_keeps_what_was_lost_before() -> None:
    statistics = ReceptionStatistics()
    found = [statistics.add(number) for number in (30_000, 30_001, 30_004, 3, 4, 6)]
    assert found == [-1, 0, 2, JUMPED, RESTARTED, 1]
    assert (statistics.received, statistics.lost) == (6, 3)


def test_a_1_less_than_3000_numbers_ahead_is_a_loss() -> None:
    assert _stream([0, 2_999]).lost == 2_998
