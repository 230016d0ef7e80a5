"""The answer in one or two sentences, and the phrases that it shares with the reasons.

Words of figures that others computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.formatting import formatted
from experiments.review.request import Request
from experiments.review.result import Decision, Judged, Limit, Needed, Point, ReadingResult, Resource
from experiments.review.verdict import Verdict, decisive
from models.fitting.result import Fit, Ranged
from models.kpis import DEFINITIONS

_NEXT_TO_NOTHING = 1e-4
"""A share below it is not told in digits."""


@dataclass(frozen=True)
class Findings:
    """What the words are of."""

    request: Request
    fit: Fit
    verdict: Verdict
    readings: tuple[ReadingResult, ...]
    limits: tuple[Limit, ...]
    binding_next: Resource | None
    demand: Ranged
    """Fresh calls per minute in the busy hour."""
    guard: float | None
    """As in `Premises`."""
    needed: tuple[Needed, ...]

    @property
    def strictest(self) -> ReadingResult:
        """The reading that the decision rests on."""
        return decisive(self.readings, self.request)


def headline(found: Findings) -> str:
    """The answer in one or two sentences."""
    asked, chosen = found.request.requested_per_minute, found.verdict.recommended
    brings = f"the busy hour brings {offered(found.demand)}"
    match found.verdict.decision:
        case Decision.APPROVE:
            return f"Raise to {asked}: {brings}, and {_figures(found.strictest.at(asked))}. {_then(found)}"
        case Decision.APPROVE_LOWER:
            low, high = found.strictest.at(chosen or asked), found.strictest.at(asked)
            return f"Raise to {chosen}, not {asked}: {brings}; at {chosen} {_kept(low)}, at {asked} {why_not(high)}."
        case Decision.REFUSE:
            return _refusal(found)
        case Decision.CANNOT_TELL:
            return f"Cannot tell whether {asked} will do: {brings}, and {_doubt(found)}."


def _refusal(found: Findings) -> str:
    best = _surest(found)
    return (
        f"Do not raise above {found.request.now_per_minute}: the busy hour brings {offered(found.demand)}, and even at "
        f"{best.limit_per_minute} {why_not(best)}. {short_of(found.limits)}"
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
    best = _surest(found)
    return f"at {best.limit_per_minute} {why_not(best)}"


def headline_without_sweep(request: Request, fit: Fit) -> str:
    """Where the history is not enough."""
    first = fit.refusals[0].rstrip(".") if fit.refusals else "nothing in it can be fitted"
    return f"Cannot tell whether {request.requested_per_minute} will do: {first[0].lower()}{first[1:]}."


def unguarded(found: Findings) -> str:
    """How much of the raise can be used before something else runs out; empty where all of it can."""
    now, asked = found.request.now_per_minute, found.request.requested_per_minute
    if found.guard is None or asked <= found.guard:
        return ""
    usable = max(0, math.floor(found.guard) - now)
    return f"of the {asked - now} more that are asked for, {usable} can be used before something else runs out"


def offered(demand: Ranged) -> str:
    """The busy hour's demand."""
    digits = 0 if demand.value >= 100 else 1
    return f"{demand.value:.{digits}f} ({demand.low:.{digits}f} to {demand.high:.{digits}f}) fresh calls per minute"


def _figures(point: Point) -> str:
    """Of a throttle that keeps all targets: what is lost and refused."""
    said = [
        f"{ranged_words(point.kpis[kpi], 'share')} of {words}"
        for kpi, words in (("customers_lost_share", "customers are lost"), ("refused_share", "attempts refused"))
        if kpi in point.kpis
    ]
    return ", ".join(said) or "every target holds"


def _kept(point: Point) -> str:
    worst = min(point.targets, key=lambda target: target.confidence)
    return f"every target holds ({sure(worst.confidence)} sure)"


def ranged_words(value: Ranged, unit: str) -> str:
    """A value and its range; a share that is next to nothing in one word."""
    if unit == "share" and value.high < _NEXT_TO_NOTHING:
        return f"less than {formatted(_NEXT_TO_NOTHING, unit)}"
    suffix = formatted(0.0, unit).lstrip("0.")
    low = formatted(value.low, unit).removesuffix(suffix)
    return f"{formatted(value.value, unit)} ({low} to {formatted(value.high, unit)})"


def why_not(point: Point) -> str:
    """The target that is the least sure, with its figures."""
    worst = min(point.targets, key=lambda target: target.confidence)
    return f"{named(worst)}, where {asked_words(worst)} is asked ({sure(worst.confidence)} sure to keep it)"


def named(target: Judged) -> str:
    """A target's indicator and what it would be."""
    definition = DEFINITIONS[target.kpi]
    title = definition.title if definition.title[:2].isupper() else definition.title.lower()
    return f"{title} would be {ranged_words(target.value, definition.unit)}"


def asked_words(target: Judged) -> str:
    """The bound of a target."""
    return f"{'at most' if target.is_upper else 'at least'} {formatted(target.bound, DEFINITIONS[target.kpi].unit)}"


def sure(confidence: float) -> str:
    """A probability of which nobody should read 100 %."""
    if confidence > 0.99:
        return "more than 99 %"
    return "less than 1 %" if confidence < 0.01 else f"{100 * confidence:.0f} %"


def _then(found: Findings) -> str:
    resource = found.binding_next
    limit = next((limit for limit in found.limits if limit.resource is resource), None)
    if limit is None or limit.capacity_per_minute is None:
        return "Nothing that is known binds after it."
    if resource is Resource.THROTTLE:
        return "The throttle stays what binds first."
    more = unguarded(found)
    at = f"at {limit.capacity_per_minute:.0f} fresh calls per minute"
    return f"Next to bind: {resource} ({limit.capacity}), {at}{f': {more}' if more else ''}."


def short_of(limits: Sequence[Limit]) -> str:
    """Which resources all demand would exceed."""
    short = [limit for limit in limits if limit.used_wanted > 1 and limit.resource is not Resource.THROTTLE]
    if not short:
        return "Demand is beyond the requested throttle."
    names = " and ".join(f"{limit.resource} ({limit.capacity})" for limit in short)
    return f"What runs out: {names}."
