"""The event queue against Python's own heap: the order of time, and at the same instant that of scheduling."""

from __future__ import annotations

import heapq

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.kernel import memory
from simulator.kernel.heap import drop_near, schedule


@given(steps=st.lists(st.none() | st.sampled_from([0.0, 0.5, 1.0, 7.25]), max_size=200))
def test_events_come_in_the_order_of_time_and_of_scheduling(steps: list[float | None]) -> None:
    clock, heap = np.zeros(1, dtype=memory.CLOCK), np.zeros(256, dtype=memory.EVENT)
    known: list[tuple[float, int]] = []
    for delay_s in steps:
        if delay_s is not None:
            number = schedule(clock, heap, delay_s, 8 * len(known))
            heapq.heappush(known, (float(clock["now"][0]) + delay_s, number))
        elif known:
            assert (heap[0]["at"], heap[0]["number"]) == known[0]
            clock["now"] = heapq.heappop(known)[0]
            drop_near(clock, heap)
        assert clock["near"][0] == len(known)
