"""The rules that make a decision of what holds where."""

from __future__ import annotations

import pytest

from experiments.review.result import Decision, Judged, Point, ReadingResult
from experiments.review.verdict import all_of, decide, decisive, verdict_of
from models.fitting.result import Ranged
from models.policies import FixedWindow, SlidingWindowAttempts, ThrottleSettings
from tests.experiments.review.test_premises import request

NOW_TO_400 = request()


@pytest.mark.parametrize(
    ("holds", "decision", "recommended"),
    [
        ({200: False, 300: True, 400: True, 500: True}, Decision.APPROVE, 400),
        ({200: True, 300: True, 400: False, 500: True}, Decision.APPROVE_LOWER, 300),
        ({200: False, 300: True, 400: None, 500: True}, Decision.APPROVE_LOWER, 300),
        ({200: True, 300: False, 400: False, 500: True}, Decision.REFUSE, None),
        ({200: False, 300: False, 400: None, 500: True}, Decision.CANNOT_TELL, None),
        ({200: None, 300: False, 400: False, 500: None}, Decision.REFUSE, None),
    ],
)
def test_the_largest_candidate_that_holds_is_recommended(
    holds: dict[int, bool | None], decision: Decision, recommended: int | None
) -> None:
    assert decide(holds, NOW_TO_400) == (decision, recommended)


def test_what_all_say() -> None:
    assert all_of([True, True]) is True
    assert all_of([True, None]) is None
    assert all_of([None, False]) is False


def reading(settings: ThrottleSettings, confidences: dict[int, float]) -> ReadingResult:
    points = tuple(
        Point(limit, {}, {}, (Judged("refused_share", 0.01, True, Ranged(0, 0, 0), sure, _held(sure)),))
        for limit, sure in confidences.items()
    )
    decision, recommended = decide({point.limit_per_minute: point.holds for point in points}, NOW_TO_400)
    return ReadingResult(settings, points, decision, recommended, None, {})


def _held(sure: float) -> bool | None:
    return True if sure >= 0.95 else False if sure <= 0.05 else None


def test_readings_that_disagree_are_told_and_the_safe_value_is_taken() -> None:
    generous = reading(FixedWindow(), {200: 0.0, 300: 0.97, 400: 0.99})
    strict = reading(SlidingWindowAttempts(), {200: 0.0, 300: 0.96, 400: 0.5})
    verdict = verdict_of((generous, strict), NOW_TO_400)
    assert verdict.decision is Decision.APPROVE_LOWER
    assert verdict.recommended == 300
    assert verdict.confidence == 0.96
    assert verdict.depends_on_enforcement
    assert decisive((generous, strict), NOW_TO_400) is strict


def test_readings_that_agree() -> None:
    one = reading(FixedWindow(), {200: 0.0, 400: 0.99})
    other = reading(SlidingWindowAttempts(), {200: 0.0, 400: 0.98})
    verdict = verdict_of((one, other), NOW_TO_400)
    assert (verdict.decision, verdict.recommended, verdict.confidence) == (Decision.APPROVE, 400, 0.98)
    assert not verdict.depends_on_enforcement


def test_no_single_candidate_holds_for_all_readings() -> None:
    low = reading(FixedWindow(), {200: 0.0, 300: 1.0, 400: 0.0})
    high = reading(SlidingWindowAttempts(), {200: 0.0, 300: 0.0, 400: 1.0})
    assert verdict_of((low, high), NOW_TO_400).decision is Decision.REFUSE
