"""The event queue against Python's own heap: the order of time, and at the same instant that of scheduling."""

from __future__ import annotations

import heapq

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from trunkproof.simulator.kernel import memory
from trunkproof.simulator.kernel.codes import FAR, NEAR, NONE, SOON
from trunkproof.simulator.kernel.heap import (
    PLACES,
    drop_far,
    drop_near,
    drop_soon,
    first_of,
    next_in,
    schedule,
    schedule_far,
    schedule_message,
)


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


@given(
    steps=st.lists(
        st.none()
        | st.tuples(st.just(FAR), st.sampled_from([0.0, 0.5, 7.25]))
        # Messages that are as late as others or overtake them, and what is too late for the ring.
        | st.tuples(st.just(SOON), st.sampled_from([0.0, 0.001, 0.002, 0.5])),
        max_size=300,
    )
)
@example(steps=[*[(SOON, 0.002), (FAR, 0.0), (SOON, 0.001)] * PLACES, *[None] * 50])
def test_all_parts_together_are_one_queue(steps: list[tuple[int, float] | None]) -> None:
    clock = np.zeros(1, dtype=memory.CLOCK)
    soon, near, far = (np.zeros(size, dtype=memory.EVENT) for size in (PLACES, 512, 512))
    known: list[tuple[float, int]] = []
    for step in steps:
        if step is not None:
            part, delay_s = step
            arguments = (soon, near) if part == SOON else (far,)
            queue = schedule_message if part == SOON else schedule_far
            number = queue(clock, *arguments, delay_s, 8 * len(known))
            heapq.heappush(known, (float(clock["now"][0]) + delay_s, number))
            continue
        part = next_in(clock, soon, near, far)
        if not known:
            assert part == NONE
            continue
        first = first_of(clock, soon, near, far, part)
        assert (first["at"], first["number"]) == known[0]
        clock["now"] = heapq.heappop(known)[0]
        if part == SOON:
            drop_soon(clock)
        elif part == NEAR:
            drop_near(clock, near)
        else:
            drop_far(clock, far)
