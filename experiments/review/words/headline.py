"""The answer in two or three sentences, and the phrases that it shares with the reasons.

The figures come from other rooms; this one only words them. First what to do, then why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.review.courses import Courses
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import (
    BackCast,
    BackCastRow,
    Decision,
    InterpretationResult,
    Judged,
    Limit,
    Needed,
    Point,
    Protection,
    Resource,
)
from trunkproof.experiments.review.verdict import Verdict
from trunkproof.models.demand.fitting.result import Fit, Ranged
from trunkproof.models.kpis import DEFINITIONS

_NEXT_TO_NOTHING = 1e-4
"""A smaller share is written as `less than 0.01 %`."""


@dataclass(frozen=True)
class Findings:
    """Everything that the sentences quote."""

    request: Request
    fit: Fit
    verdict: Verdict
    interpretations: tuple[InterpretationResult, ...]
    strictest: InterpretationResult
    """The interpretation that the decision rests on."""
    limits: tuple[Limit, ...]
    binding_next: Resource | None
    demand: Ranged
    """Fresh calls per minute in the busy period."""
    protection: tuple[Protection, ...]
    needed: tuple[Needed, ...]
    backcast: tuple[BackCast, ...]
    confidence: float
    """Probability that all targets hold together at the recommended throttle, or else at the requested one."""
    reproduced: bool
    """Whether some interpretation reproduces the history."""
    courses: Courses

    def protects(self, limit: int) -> Protection | None:
        """Return what that throttle protects; None where that was not computed."""
        return next((one for one in self.protection if one.limit_per_minute == limit), None)


def headline(found: Findings) -> str:
    """Return the answer in a few sentences."""
    request, verdict = found.request, found.verdict
    now, asked = request.now_per_minute, request.requested_per_minute
    brings = f"The busy period will bring {offered(found.demand)}"
    match verdict.decision:
        case Decision.NOT_NEEDED:
            kept = f"at {now}, {_figures(found.strictest.at(now))}"
            return f"No raise is needed. {brings}; {kept}. {_harm(found)}".strip()
        case Decision.APPROVE:
            return f"Raise to {asked}. {brings}; at {asked}, {_figures(found.strictest.at(asked))}. {_guarded(found)}"
        case Decision.APPROVE_LOWER:
            chosen = verdict.recommended or asked
            kept = f"at {chosen}, {_figures(found.strictest.at(chosen))}"
            return f"Raise to {chosen}, not {asked}. {brings}; {kept}. {_harm(found) or _more(found)}"
        case Decision.REFUSE:
            return f"Do not raise above {now}. {_refusal(found)}"
        case Decision.CANNOT_TELL:
            return f"Cannot tell. {_doubt(found)}"


def headline_unreproduced(found: Findings) -> str:
    """Return the answer where no interpretation of the throttle reproduces the history."""
    row = _worst_row(found.backcast)
    why = f": {_row_words(row)}" if row is not None else ""
    return (
        f"Cannot tell. The fitted traffic does not reproduce this history{why}. "
        f"A model that does not reproduce the past is not trusted with the future. If another throttle was in force "
        f"for a part of the history, say so in `throttle_history`. If the trunk refuses with another status or word, "
        f"say so in `history.refusal_codes` or `history.refusal_words`."
    )


def _worst_row(backcast: Sequence[BackCast]) -> BackCastRow | None:
    """Return the worst miss of the interpretation with the fewest misses."""
    missed = [[row for row in one.rows if row.is_decisive and not row.reproduced] for one in backcast]
    missed.sort(key=len)
    return min(missed[0], key=lambda row: row.p_value) if missed and missed[0] else None


def _row_words(row: BackCastRow) -> str:
    seen, expected = (_amount(value, row.unit) for value in (row.seen, row.expected.value))
    return f"in {row.scope} it shows {seen} {row.quantity}, the model {expected}"


def _amount(value: float, unit: str) -> str:
    return formatted(value, "share") if unit == "share" else f"{value:.1f} {unit}" if unit != "1" else f"{value:.0f}"


def headline_without_sweep(request: Request, fit: Fit) -> str:
    """Return the answer where the history is not enough."""
    first = fit.refusals[0].rstrip(".") if fit.refusals else "nothing in it can be fitted"
    return f"Cannot tell whether {request.requested_per_minute} is enough: {first[0].lower()}{first[1:]}."


def _refusal(found: Findings) -> str:
    brings = f"The busy period will bring {offered(found.demand)}"
    smallest = found.verdict.smallest
    if smallest is not None:
        return f"{brings}, which needs {smallest}. {_harmed(found, smallest)}{_still_protected(found)}"
    best = _surest(found)
    return f"{brings}, and even at {best.limit_per_minute} {why_not(best)}. {short_of(found.limits)}"


def _still_protected(found: Findings) -> str:
    """Describe the largest throttle that still protects the others; empty where only the present one does."""
    now = found.request.now_per_minute
    simulated = [point.limit_per_minute for point in found.strictest.points if point.limit_per_minute > now]
    good = [limit for limit in simulated if (one := found.protects(limit)) is not None and one.holds]
    if not good:
        return ""
    highest, today = found.strictest.at(max(good)), found.strictest.at(now)
    shares = [ranged_words(point.kpis["refused_share"], "share") for point in (highest, today)]
    return (
        f" A throttle of up to {max(good)} still protects them: {shares[0]} of attempts would be refused there, "
        f"{shares[1]} at {now}."
    )


def _surest(found: Findings) -> Point:
    request = found.request
    raised = [
        point
        for point in found.strictest.points
        if request.now_per_minute < point.limit_per_minute <= request.requested_per_minute
    ]
    return max(raised, key=lambda point: point.confidence)


def _doubt(found: Findings) -> str:
    brings = f"The busy period will bring {offered(found.demand)}"
    if found.courses.drifts and not found.courses.is_stated:
        weekly = 100 * math.expm1(found.courses.drift.per_week.value)
        return (
            f"Traffic {'grows' if weekly > 0 else 'falls'} by {abs(weekly):.1f} % a week, and the answer depends on "
            f"whether that goes on. State the `growth` to expect within {found.request.horizon_days} days."
        )
    best = _surest(found)
    return f"{brings}, and at {best.limit_per_minute} {why_not(best)}."


def _harm(found: Findings) -> str:
    """Describe the harm of the requested throttle to others; empty where there is none."""
    asked = found.request.requested_per_minute
    return _harmed(found, asked) if found.verdict.unprotected else ""


def _harmed(found: Findings, limit: int) -> str:
    protection = found.protects(limit)
    if protection is None or protection.holds is not False:
        return f"It cannot be said with the confidence asked for whether {limit} still protects the others."
    channels = found.request.pop.carrier.channels
    what = f"the {channels} channels" if channels is not None else "the PoP"
    return (
        f"A throttle of {limit} would no longer protect {what}: if the customer uses all of it, "
        f"{ranged_words(protection.worst, 'share')} of all calls find no free line "
        f"(at most {formatted(found.request.protects.neighbours_blocked_max, 'share')} is allowed)."
    )


def _guarded(found: Findings) -> str:
    protection = found.protects(found.request.requested_per_minute)
    if protection is None or not protection.holds:
        return ""
    return "Even if the customer uses all of it, the others keep their lines."


def _more(found: Findings) -> str:
    """Say why no more than the recommended throttle is granted."""
    chosen, asked = found.verdict.recommended, found.request.requested_per_minute
    return f"The other {asked - (chosen or asked)} are not needed, and a throttle should not be wider than needed."


def offered(demand: Ranged) -> str:
    """Return the busy period's demand with its range."""
    digits = 0 if demand.value >= 100 else 1
    return f"{demand.value:.{digits}f} ({demand.low:.{digits}f} to {demand.high:.{digits}f}) fresh calls per minute"


def _figures(point: Point) -> str:
    """Return what is lost and refused at a throttle that keeps all targets, by the worse witness."""
    worse = {target.kpi: target.value for target in point.targets}
    said = [
        f"{ranged_words(worse.get(kpi, point.kpis[kpi]), 'share')} of {words}"
        for kpi, words in (("customers_lost_share", "customers are lost"), ("refused_share", "attempts refused"))
        if kpi in point.kpis
    ]
    return f"{' and '.join(said) or 'every target holds'} ({sure(point.confidence)} sure that all targets hold)"


def ranged_words(value: Ranged, unit: str) -> str:
    """Return a value with its range; of a negligible share only its upper bound."""
    if unit == "share" and value.high < _NEXT_TO_NOTHING:
        return f"less than {formatted(_NEXT_TO_NOTHING, unit)}"
    suffix = formatted(0.0, unit).lstrip("0.")
    low = formatted(value.low, unit).removesuffix(suffix)
    return f"{formatted(value.value, unit)} ({low} to {formatted(value.high, unit)})"


def why_not(point: Point) -> str:
    """Return the target that is the least sure, with its figures."""
    worst = min(point.targets, key=lambda target: target.confidence)
    return f"{named(worst)}, where {asked_words(worst)} is asked ({sure(worst.confidence)} sure to keep it)"


def named(target: Judged) -> str:
    """Return a target's indicator and the value that it would have."""
    definition = DEFINITIONS[target.kpi]
    title = definition.title if definition.title[:2].isupper() else definition.title.lower()
    return f"{title} would be {ranged_words(target.value, definition.unit)}"


def asked_words(target: Judged) -> str:
    """Return the bound of a target in words."""
    return f"{'at most' if target.is_upper else 'at least'} {formatted(target.bound, DEFINITIONS[target.kpi].unit)}"


def sure(confidence: float) -> str:
    """Return a probability in per cent, but never 0 % or 100 %: no simulation is that sure."""
    if confidence > 0.99:
        return "more than 99 %"
    return "less than 1 %" if confidence < 0.01 else f"{100 * confidence:.0f} %"


def short_of(limits: Sequence[Limit]) -> str:
    """Name the resources that all demand together would exceed."""
    short = [limit for limit in limits if limit.used_wanted > 1 and limit.resource is not Resource.THROTTLE]
    if not short:
        return "Demand is beyond the requested throttle."
    names = " and ".join(f"{limit.resource} ({limit.capacity})" for limit in short)
    return f"What runs out: {names}."
