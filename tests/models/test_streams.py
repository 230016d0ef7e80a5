"""Streams: entered anywhere, they give the same numbers; different keys give different ones."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trunkproof.models.streams import uniforms


@given(start=st.integers(0, 1000), count=st.integers(0, 100))
def test_number_k_of_a_stream_is_the_same_from_wherever_it_is_read(start: int, count: int) -> None:
    whole = uniforms(7, "holding", 0, start=0, count=1100)
    assert np.array_equal(uniforms(7, "holding", 0, start=start, count=count), whole[start : start + count])


def test_keys_and_seeds_name_different_streams() -> None:
    keys = [(1, "holding", 0), (1, "holding", 1), (1, "ringing", 0), (2, "holding", 0)]
    streams = [uniforms(seed, *key, start=0, count=2000) for seed, *key in keys]
    for index, one in enumerate(streams):
        for other in streams[index + 1 :]:
            assert abs(np.corrcoef(one, other)[0, 1]) < 4.5 / np.sqrt(2000)


def test_numbers_are_uniform_in_the_open_interval() -> None:
    drawn = uniforms(1, "x", start=3, count=100_000)
    assert drawn.min() > 0
    assert drawn.max() < 1
    assert stats.kstest(drawn, "uniform").pvalue > 1e-5
