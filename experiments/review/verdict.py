"""From "holds" and "does not hold" at each candidate to a decision, for one reading of the throttle and for all.

The rules only; whether a target holds is `judging`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.review.request import Request
from experiments.review.result import Decision, ReadingResult


@dataclass(frozen=True)
class Verdict:
    """The decision over all readings."""

    decision: Decision
    recommended: int | None
    confidence: float
    depends_on_enforcement: bool


def decide(holds: Mapping[int, bool | None], request: Request) -> tuple[Decision, int | None]:
    """The decision, and the throttle recommended.

    `holds`: candidate -> whether every target holds there; None: neither this nor its opposite can be said. The largest
    candidate up to the requested one at which all hold is recommended; where there is none, it counts whether all of
    them are known to fail.
    """
    now, requested = request.now_per_minute, request.requested_per_minute
    asked = {limit: held for limit, held in holds.items() if now < limit <= requested}
    good = [limit for limit, held in asked.items() if held]
    if good:
        is_all = max(good) == request.requested_per_minute
        return (Decision.APPROVE if is_all else Decision.APPROVE_LOWER), max(good)
    return (Decision.CANNOT_TELL if None in asked.values() else Decision.REFUSE), None


def verdict_of(readings: Sequence[ReadingResult], request: Request) -> Verdict:
    """What holds under every reading of the throttle."""
    holds = {
        point.limit_per_minute: all_of([result.at(point.limit_per_minute).holds for result in readings])
        for point in readings[0].points
    }
    decision, recommended = decide(holds, request)
    decisive_limit = recommended or request.requested_per_minute
    return Verdict(
        decision=decision,
        recommended=recommended,
        confidence=min(result.at(decisive_limit).confidence for result in readings),
        depends_on_enforcement=len({(result.decision, result.recommended_per_minute) for result in readings}) > 1,
    )


def all_of(answers: Sequence[bool | None]) -> bool | None:
    """Whether all hold; None: none is known to fail, and not all are known to hold."""
    return False if False in answers else None if None in answers else True


def decisive(readings: Sequence[ReadingResult], request: Request) -> ReadingResult:
    """The strictest reading: the one that allows least, and of those the one that is least sure."""
    requested = request.requested_per_minute
    return min(readings, key=lambda result: (result.recommended_per_minute or 0, result.at(requested).confidence))
