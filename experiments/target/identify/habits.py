"""How a throttle refuses: with which statuses and causes, and what its Retry-After says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from trunkproof.experiments.target.identify.attempts import Attempt

_WHOLE_SECOND_S = 1.01
"""Retry-After is in whole seconds (RFC 3261 section 20.33), so a countdown looks up to one second off."""


class RetryAfter(StrEnum):
    """What the Retry-After headers of the refusals say."""

    ABSENT = "absent"
    FIXED = "fixed"
    COUNTING_DOWN = "counting_down"
    """Within each row of refusals they name the same instant."""
    VARIES = "varies"
    """Random, or by a rule that we do not know."""


@dataclass(frozen=True)
class Habits:
    """What the refusals look like."""

    kinds: tuple[tuple[int | None, int | None, int], ...]
    """Status, Q.850 cause, and how many refusals had them; the most frequent first."""
    retry_after: RetryAfter
    retry_after_s: tuple[float, float] | None
    """The least and the most that any said."""

    @classmethod
    def of(cls, attempts: Sequence[Attempt]) -> Habits:
        """Return the habits that these attempts show."""
        refusals = [attempt for attempt in attempts if not attempt.admitted]
        kinds = Counter((attempt.status, attempt.cause) for attempt in refusals).most_common()
        said = [attempt.retry_after_s for attempt in refusals if attempt.retry_after_s is not None]
        habit = RetryAfter.ABSENT
        if said:
            habit = RetryAfter.FIXED if min(said) == max(said) else RetryAfter.VARIES
        if habit is RetryAfter.VARIES and _counts_down(attempts):
            habit = RetryAfter.COUNTING_DOWN
        span = (min(said), max(said)) if said else None
        return cls(tuple((status, cause, count) for (status, cause), count in kinds), habit, span)


def _counts_down(attempts: Sequence[Attempt]) -> bool:
    rows: list[list[float]] = [[]]
    for attempt in sorted(attempts, key=lambda attempt: attempt.sent_s):
        if attempt.admitted:
            rows.append([])
        elif attempt.retry_after_s is not None:
            rows[-1].append(attempt.responded_s + attempt.retry_after_s)
    return all(max(row) - min(row) <= _WHOLE_SECOND_S for row in rows if row)
