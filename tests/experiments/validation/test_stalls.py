"""A trunk that stands still: seen in its responses, whatever its calls end as."""

from __future__ import annotations

import pytest

from trunkproof.experiments.validation.stalls import longest_stall_s
from trunkproof.models.records import Direction, Disposition, Record, to_frame


def attempt(row: int, sent_s: float, ringing_s: float | None, *, status: int | None = 200) -> Record:
    return Record(
        row=row,
        call=row,
        attempt=0,
        trunk="trunk",
        direction=Direction.OUTBOUND,
        disposition=Disposition.COMPLETED,
        intended_s=sent_s,
        sent_s=sent_s,
        ringing_s=ringing_s,
        ended_s=sent_s + 100,
        status=status,
    )


def longest(*waits: tuple[float, float | None]) -> float:
    return longest_stall_s(to_frame([attempt(row, *one) for row, one in enumerate(waits)]))


def test_the_time_in_which_somebody_waits_and_nobody_is_answered() -> None:
    assert longest((0, 0.1), (10, 15.2), (11, 15.1), (14, 15.3)) == pytest.approx(5.1)


def test_a_slow_answer_is_no_stall_while_others_are_answered() -> None:
    assert longest((0, 5), (0.5, 1), (1, 2), (2, 3), (3, 4)) == pytest.approx(1)


def test_quiet_times_and_calls_that_nobody_ever_answered_are_none() -> None:
    assert longest((0, 0.1), (100, 100.2)) == pytest.approx(0.2)
    assert longest_stall_s(to_frame([attempt(0, 0, None, status=None)])) == 0
    assert longest_stall_s(to_frame([])) == 0
