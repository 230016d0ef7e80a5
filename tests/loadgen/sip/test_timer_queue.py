"""The queue against the plain meaning of what it does: the earliest of all timers, whatever changed in between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trunkproof.loadgen.sip.timer_queue import TimerQueue


class Owner:
    def __init__(self) -> None:
        self.scheduled_s: float | None = None
        self.due: float | None = None

    def next_timer(self) -> float | None:
        return self.due

    def handle_timer(self, now: float) -> None:
        self.due = None


@given(st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.floats(0, 50))), max_size=400))
def test_next_due_is_the_minimum(changes: list[tuple[int, float | None]]) -> None:
    queue, owners = TimerQueue(), [Owner() for _ in range(5)]
    for index, due in changes:
        owners[index].due = due
        queue.schedule(owners[index])
        assert queue.next_due() == min((owner.due for owner in owners if owner.due is not None), default=None)
    fired = list(queue.pop_due(25.0))
    assert fired == sorted((owner for owner in owners if owner.due is not None and owner.due <= 25.0), key=fired.index)


def test_cancelled_timers_are_not_kept() -> None:
    queue = TimerQueue()
    for number in range(10_000):
        owner = Owner()
        owner.due = float(number)
        queue.schedule(owner)
        queue.cancel(owner)
    assert queue.next_due() is None
    assert len(queue._heap) < 200
