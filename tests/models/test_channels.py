"""A pool of channels: the base limit, and the burst above it by the rule that the module tells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.models.channels import ChannelPool
from trunkproof.models.study import Burst, Carrier


def taken(pool: ChannelPool, count: int, now: float) -> int:
    return sum(pool.take(now) for _ in range(count))


def given_back(pool: ChannelPool, count: int, now: float) -> None:
    for _ in range(count):
        pool.give_back(now)


def bursting() -> ChannelPool:
    return ChannelPool(2, Burst(channels=4, for_s=10))


def test_no_more_calls_at_once_than_the_base_limit() -> None:
    pool = ChannelPool(2, None)
    assert taken(pool, 5, 0.0) == 2
    pool.give_back(1.0)
    assert taken(pool, 5, 1.0) == 1


def test_without_a_limit_all_are_taken() -> None:
    assert taken(ChannelPool(None, None), 1000, 0.0) == 1000


def test_a_burst_goes_up_to_its_channels() -> None:
    assert taken(bursting(), 9, 100.0) == 4


def test_a_burst_ends_after_its_time_and_calls_that_are_up_stay_up() -> None:
    pool = bursting()
    assert taken(pool, 3, 0.0) == 3
    assert taken(pool, 1, 9.5) == 1
    pool.give_back(9.75)
    # The limit of time is reached: back to the base, though the burst has a channel free.
    assert not pool.take(10.0)
    assert pool.used == 3
    given_back(pool, 2, 10.0)
    assert taken(pool, 3, 10.0) == 1


def test_only_time_above_the_base_is_spent() -> None:
    pool = bursting()
    assert taken(pool, 2, 0.0) == 2
    assert taken(pool, 1, 1000.0) == 1
    assert taken(pool, 1, 1009.5) == 1


def test_a_burst_is_given_back_whole_after_as_long_at_or_below_the_base() -> None:
    pool = bursting()
    assert taken(pool, 3, 0.0) == 3
    pool.give_back(10.0)
    assert [pool.take(now) for now in (10.0, 14.0, 19.9)] == [False] * 3
    assert pool.take(20.0)
    assert pool.take(29.9)
    assert not pool.take(30.0)


def test_a_burst_may_be_spent_in_pieces_and_a_rest_that_is_broken_gives_nothing_back() -> None:
    pool = bursting()
    assert taken(pool, 2, 0.0) == 2
    for begin in (0.0, 9.0):
        assert pool.take(begin)
        pool.give_back(begin + 4)
    # Eight seconds are spent, as no rest was of ten.
    assert pool.take(18.0)
    assert pool.take(19.9)
    pool.give_back(19.9)
    assert not pool.take(20.0)


def test_a_burst_is_there_again_for_one_that_was_never_above_the_base_for_long() -> None:
    pool = bursting()
    assert taken(pool, 2, 0.0) == 2
    for begin in (0.0, 14.0, 28.0, 42.0):
        assert pool.take(begin)
        pool.give_back(begin + 4)


def test_refusals_do_not_change_what_is_spent() -> None:
    asked, quiet = bursting(), bursting()
    for pool in (asked, quiet):
        assert taken(pool, 4, 0.0) == 4
    for tenth in range(1, 95):
        assert not asked.take(tenth / 10)
    for pool in (asked, quiet):
        pool.give_back(9.5)
        assert pool.take(9.5)
        pool.give_back(10.0)
        assert not pool.take(10.0)


@given(st.lists(st.tuples(st.floats(0, 4), st.booleans()), max_size=120))
def test_what_holds_of_any_traffic(steps: list[tuple[float, bool]]) -> None:
    pool, now, above_since = bursting(), 0.0, 0.0
    for gap_s, takes in steps:
        now += gap_s
        before = pool.used
        if takes and pool.take(now):
            assert pool.used <= 4
            # A call above the base comes within the burst's time, counted from when use last was at the base.
            assert pool.used <= 2 or before <= 2 or now - above_since <= 10
        elif takes:
            assert before >= 2
        elif before:
            pool.give_back(now)
        if before <= 2 < pool.used:
            above_since = now


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ({"burst": {"channels": 5, "for_s": 60}}, "give channels too"),
        ({"channels": 5, "burst": {"channels": 5, "for_s": 60}}, "must be more than the base limit 5"),
        ({"channels": 5, "burst": {"channels": 6, "for_s": 0}}, "for_s"),
        ({"channels": 5, "burst": {"channels": 6}}, "for_s"),
        ({"channels_per": "trunk"}, "channels_per"),
    ],
)
def test_what_is_no_limit_is_refused(written: dict[str, object], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Carrier.model_validate(written)
