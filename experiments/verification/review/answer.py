"""Ask the review: turn a scenario into a request, and a decision into plain values.

No other module here knows what a request and a decision look like.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import BackCast
from trunkproof.experiments.review.review import Case, Decided, read_case
from trunkproof.experiments.verification.review.enforced import Policy
from trunkproof.experiments.verification.review.export import COLUMNS
from trunkproof.experiments.verification.review.kernel import UNLIMITED
from trunkproof.experiments.verification.review.scenario import Scenario
from trunkproof.experiments.verification.review.truth import Period
from trunkproof.models.demand.fitting.result import Ranged

CANNOT_TELL, NOT_NEEDED, REFUSE = "cannot_tell", "not_needed", "refuse"
APPROVALS = ("approve", "approve_lower")
Interval = tuple[float, float, float]
"""Value, low, high."""


@dataclass(frozen=True)
class Claim:
    """What the review says of one throttle under one interpretation."""

    interpretation: int
    limit: int
    holds: bool | None
    """Whether all targets hold; None: the review cannot tell."""
    refused: Interval | None
    lost: Interval | None


@dataclass(frozen=True)
class Answer:
    """The review's answer as plain values."""

    decision: str
    recommended: int | None
    confidence: float
    horizon_days: int
    judged: tuple[Period, ...]
    """Empty where nothing was judged."""
    claims: tuple[Claim, ...]
    simulated_calls: int
    backcast: tuple[str, ...]
    """How well the review's back-cast reproduces the history, one line per row that decides."""

    def spoken_for(self, now: int) -> int | None:
        """Return the throttle at which the decision says that all targets hold; None where it says so of none."""
        return now if self.decision == NOT_NEEDED else self.recommended if self.decision in APPROVALS else None


def horizon_days() -> int:
    """Return the horizon of a request that names none."""
    return int(Request.model_fields["horizon_days"].default)


def ask(scenario: Scenario, history: Path) -> Answer:
    """Review the scenario's request with its history at that path, up to the decision."""
    case = read_case(request_of(scenario, history))
    return answer_of(case.decided()) if case.fit.is_enough else _unanswered(case)


def request_of(scenario: Scenario, history: Path) -> Request:
    """Return the request as the customer would write it: it does not say how the throttle worked.

    Protection of neighbours is not examined here. Its bound is 1, so that no throttle is refused for it.
    """
    carrier = {} if scenario.channels == UNLIMITED else {"channels": scenario.channels}
    columns = {"columns": COLUMNS} if scenario.mechanism.recording.form == "columns" else {}
    return Request.model_validate(
        {
            "name": f"{scenario.mechanism.kind} {scenario.seed}",
            "history": {"path": str(history), **columns},
            "now_per_minute": scenario.now,
            "requested_per_minute": scenario.requested,
            "candidates": list(scenario.named_candidates),
            "interpretations": [_interpretation(policy) for policy in scenario.interpretations],
            "pop": {"carrier": carrier},
            "quality": {
                "refused_share_max": scenario.bounds.refused,
                "customers_lost_share_max": scenario.bounds.lost,
                "srd_p95_ms_max": None,
                "mos_p5_min": None,
            },
            "seed": scenario.seed,
            "protects": {"neighbours_blocked_max": 1.0},
        }
    )


def _interpretation(policy: Policy) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if policy.name == "token_bucket":
        more = {"burst": policy.burst}
    if policy.name == "shaper":
        more = {"max_delay_s": policy.max_delay_s}
    return {"policy": policy.name, **more}


def answer_of(found: Decided) -> Answer:
    """Return the plain values of a decision."""
    return Answer(
        decision=found.verdict.decision.value,
        recommended=found.verdict.recommended,
        confidence=found.confidence,
        horizon_days=found.request.horizon_days,
        judged=tuple(
            (day, period.start_s, period.start_s + period.length_s)
            for period in found.busy.periods
            for day in period.weekdays
        ),
        claims=tuple(
            _claim(found, interpretation, limit) for interpretation in found.interpretations for limit in found.limits
        ),
        simulated_calls=found.judge.sweep.simulated_attempts,
        backcast=tuple(line for one in found.backcast for line in _told(one)),
    )


def _unanswered(case: Case) -> Answer:
    """Return the answer for a history that does not suffice for a decision."""
    return Answer(CANNOT_TELL, None, 0.0, case.request.horizon_days, (), (), 0, case.fit.refusals)


def _claim(found: Decided, interpretation: int, limit: int) -> Claim:
    """Return what the review says of a limit, by the interpretation's index in the request."""
    judge, response = found.judge, found.judge.sweep.response(interpretation, limit)
    return Claim(
        interpretation=interpretation,
        limit=limit,
        holds=judge.holds([interpretation], limit),
        refused=_interval(judge.estimate(response, "refused_share")),
        lost=_interval(judge.estimate(response, "customers_lost_share")),
    )


def _told(one: BackCast) -> list[str]:
    """Return one line for each row that decides whether an interpretation reproduces the history."""
    return [
        f"{one.interpretation.policy}: {row.quantity}, {row.scope}: seen {row.seen:.4g}, "
        f"expected {row.expected.value:.4g} ({row.expected.low:.4g} to {row.expected.high:.4g}), p {row.p_value:.3g}"
        f"{'' if row.reproduced else ', not reproduced'}"
        for row in one.rows
        if row.is_decisive
    ]


def _interval(ranged: Ranged) -> Interval | None:
    return None if math.isnan(ranged.value) else (ranged.value, ranged.low, ranged.high)
