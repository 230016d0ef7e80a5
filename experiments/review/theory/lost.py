"""Compute the customers whom no trunk can help: the far side rejects them each time that they try."""

from __future__ import annotations

from trunkproof.models.records import Disposition
from trunkproof.models.traffic import Outcomes, Traffic


def failures_of(outcomes: Outcomes) -> tuple[tuple[Disposition, float], ...]:
    """Return how calls that pass the trunk fail: each kind of failure, and its share of these calls."""
    return (
        (Disposition.BUSY, outcomes.busy),
        (Disposition.NO_ANSWER, outcomes.no_answer),
        (Disposition.ABANDONED, outcomes.abandoned),
        (Disposition.CARRIER_REJECTED, sum(part.share for part in outcomes.rejected)),
    )


def lost_anyway(traffic: Traffic) -> float:
    """Return the share of callers whose last attempt the far side rejects, where the trunk refuses nothing."""
    failures, redial = failures_of(traffic.outcomes), traffic.redial
    rejected = dict(failures)[Disposition.CARRIER_REJECTED]
    lost, trying = 0.0, 1.0
    for attempt in range(redial.attempts):
        lost += trying * rejected * (1 - redial.chance(Disposition.CARRIER_REJECTED, attempt))
        trying *= sum(share * redial.chance(reason, attempt) for reason, share in failures)
    return lost
