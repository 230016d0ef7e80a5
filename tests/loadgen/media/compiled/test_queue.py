"""The queue of instants, against sorting."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadgen.media.compiled.memory import DUE
from loadgen.media.compiled.queue import drop_first, push


@given(instants=st.lists(st.integers(0, 50), max_size=60), dropped=st.integers(0, 30))
def test_the_earliest_is_always_first(instants: list[int], dropped: int) -> None:
    queue, kept = np.zeros(64, DUE), []
    for number, at_ns in enumerate(instants):
        push(queue, len(kept), at_ns, number)
        kept.append((at_ns, number))
        if number % 3 == 0 and dropped:
            first = (int(queue[0]["at_ns"]), int(queue[0]["slot"]))
            assert first[0] == min(kept)[0]
            drop_first(queue, len(kept))
            kept.remove(first)
            dropped -= 1
    left = []
    for size in range(len(kept), 0, -1):
        left.append((int(queue[0]["at_ns"]), int(queue[0]["slot"])))
        drop_first(queue, size)
    assert [at_ns for at_ns, _ in left] == sorted(at_ns for at_ns, _ in kept)
    assert sorted(left) == sorted(kept)
