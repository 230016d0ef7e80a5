"""Occupancy: peaks and usage are exact, however the intervals are cut into batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkproof.models.occupancy import Occupancy, steps

intervals = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20), st.integers(1, 3)), min_size=1, max_size=40)


def test_an_end_meets_a_start_at_the_same_instant_before_it() -> None:
    occupancy = Occupancy()
    occupancy.add(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.ones(2), complete_until_s=math.inf)
    assert occupancy.peak == 1
    assert occupancy.usage_s == 2


@given(drawn=intervals, size=st.integers(1, 10))
def test_batches_in_order_of_their_start_equal_a_count_at_every_instant(
    drawn: list[tuple[int, int, int]], size: int
) -> None:
    drawn.sort()
    occupancy = Occupancy()
    for index in range(0, len(drawn), size):
        batch = np.array(drawn[index : index + size], dtype=float)
        known = drawn[index + size][0] if index + size < len(drawn) else math.inf
        occupancy.add(batch[:, 0], batch[:, 0] + batch[:, 1], batch[:, 2], complete_until_s=known)
    levels = [sum(weight for start, length, weight in drawn if start <= t < start + length) for t in range(71)]
    assert occupancy.peak == max(levels)
    assert occupancy.usage_s == pytest.approx(sum(length * weight for _, length, weight in drawn))


def test_steps_are_the_level_over_time() -> None:
    at, level = steps(np.array([0.0, 1.0]), np.array([3.0, 2.0]), np.array([1.0, 2.0]))
    assert at.tolist() == [0, 1, 2, 3]
    assert level.tolist() == [1, 3, 1, 0]
