"""The reasons of an answer, the weightiest first, and its assumptions.

The figures come from other rooms; this one only words them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from trunkproof.experiments.review.courses import Courses
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import BackCast, Decision, InterpretationResult, Needed, Point
from trunkproof.experiments.review.words.headline import Findings, asked_words, named, ranged_words, short_of, sure
from trunkproof.models.demand.fitting.result import Fit
from trunkproof.models.demand.history.table import History


def reasons(found: Findings) -> tuple[str, ...]:
    """Return the reasons, the weightiest first."""
    return tuple(_reasons(found))


def _reasons(found: Findings) -> Iterator[str]:
    request, verdict, strictest = found.request, found.verdict, found.strictest
    yield from _on_backcast(found)
    shown = dict.fromkeys([verdict.recommended, request.requested_per_minute, request.now_per_minute])
    for limit in shown:
        if limit is not None:
            yield _judged(strictest.at(limit), strictest)
    if verdict.smallest is not None and verdict.smallest != verdict.recommended:
        smallest = f"The smallest throttle that keeps every target is {verdict.smallest}"
        with_headroom = f"; with {100 * request.headroom:.0f} % of headroom that comes to {verdict.recommended}"
        yield f"{smallest}{with_headroom if verdict.recommended else ''}."
    yield from _on_protection(found)
    yield from _on_courses(found)
    yield from _on_interpretations(found)
    if verdict.decision is Decision.REFUSE and verdict.smallest is None:
        yield short_of(found.limits)
    if found.needed:
        yield _wish(found.needed[-1])
    censoring = found.fit.censoring
    if censoring.refused_share > 0:
        yield (
            f"The history was taken behind a throttle: {100 * censoring.refused_share:.2f} % of its attempts were "
            f"refused. Demand includes the {censoring.recovered_calls:,.0f} calls that never came through."
        )


def _on_backcast(found: Findings) -> Iterator[str]:
    if hides_refusals_in(found.backcast):
        yield "The history shows no refused attempts. The back-cast therefore compares admitted calls only."
    dropped = [one for one in found.backcast if not one.reproduces]
    kept = [one for one in found.backcast if one.reproduces]
    if dropped and kept:
        names = ", ".join(one.interpretation.policy.replace("_", " ") for one in dropped)
        yield f"The history contradicts these interpretations of the throttle: {names}. The decision leaves them out."


def hides_refusals_in(backcast: Sequence[BackCast]) -> bool:
    """Tell whether the back-cast had no refused attempts to compare with."""
    return bool(backcast) and not any(row.quantity == "attempts refused" for row in backcast[0].rows)


def _on_protection(found: Findings) -> Iterator[str]:
    for limit in dict.fromkeys([found.verdict.recommended, found.request.requested_per_minute]):
        one = None if limit is None else found.protects(limit)
        if one is not None:
            state = {True: "protects the others", False: "does not protect the others", None: "may not protect others"}
            yield (
                f"Used to the full, {limit} {state[one.holds]}: {ranged_words(one.worst, 'share')} of calls would find "
                f"no free channel or port. Up to {one.peak_channels.value:.0f} channels and {one.cores.value:.1f} "
                f"cores would be in use."
            )


def _on_courses(found: Findings) -> Iterator[str]:
    courses = found.courses
    if courses.drifts:
        week = courses.drift.per_week
        value, low, high = (100 * math.expm1(part) for part in (week.value, week.low, week.high))
        both = "The review judges both courses: the drift stops, and it goes on."
        then = "The growth that the request states replaces this drift." if courses.is_stated else both
        yield f"The level of the history drifts by {value:+.1f} % a week ({low:+.1f} to {high:+.1f} %). {then}"


def _on_interpretations(found: Findings) -> Iterator[str]:
    if len({(one.decision, one.recommended_per_minute) for one in found.interpretations}) > 1:
        each = "; ".join(f"{policy_words(one)}: {_answer(one)}" for one in found.interpretations)
        yield f"The answer depends on how the throttle counts, which is not documented ({each}). The safe value counts."
    elif len(found.interpretations) > 1:
        yield f"All {len(found.interpretations)} interpretations of the throttle give the same answer."


def _judged(point: Point, result: InterpretationResult) -> str:
    """Say how many targets hold, and give the figures of the least sure one."""
    kept = sum(target.holds is True for target in point.targets)
    worst = min(point.targets, key=lambda target: target.confidence, default=None)
    said = f"At {point.limit_per_minute}, under the strictest interpretation ({policy_words(result)}), "
    if worst is None:
        return f"{said}the request sets no target."
    return (
        f"{said}{kept} of {len(point.targets)} targets hold. The least sure: {named(worst)}; {asked_words(worst)} is "
        f"asked ({sure(worst.confidence)} sure to keep it)."
    )


def policy_words(result: InterpretationResult) -> str:
    """Return the name of an interpretation's algorithm, for people."""
    return result.interpretation.policy.replace("_", " ")


def _answer(result: InterpretationResult) -> str:
    words = result.decision.value.replace("_", " ")
    return words if result.recommended_per_minute is None else f"{words}, {result.recommended_per_minute}"


def _wish(needed: Needed) -> str:
    return (
        f"All demand, {needed.per_minute} fresh calls per minute, would need a throttle of "
        f"{needed.throttle_per_minute}, {needed.channels} channels, {needed.ports} port pairs, "
        f"{needed.cores:.1f} cores and {needed.bandwidth_mbit_per_s:.0f} Mbit/s each way."
    )


def reasons_without_sweep(fit: Fit) -> tuple[str, ...]:
    """Return the reasons why nothing was simulated."""
    return (*fit.refusals, *fit.warnings)


def assumptions(request: Request, fit: Fit, history: History, courses: Courses | None) -> tuple[str, ...]:
    """Return the assumptions of the answer; `courses` is None where nothing was simulated."""
    return tuple(_assumptions(request, fit, history, courses))


def _assumptions(request: Request, fit: Fit, history: History, courses: Courses | None) -> Iterator[str]:
    growth = f"grows to {request.growth:g} times" if request.growth != 1 else "keeps its level"
    unsure = f", give or take {100 * request.growth_cv:.0f} %" if request.growth_cv else ""
    yield (
        f"Busy-period demand {growth}{unsure} within {request.horizon_days} days of the history's end. The shape of "
        f"the week stays the same."
    )
    yield "How the throttle counts is not documented. Every interpretation that the history does not contradict counts."
    if courses is not None and courses.step is not None:
        yield courses.step.words
    elif courses is not None and len(set(courses.limits.values())) > 1:
        changes = [(day, limit) for day, limit in courses.limits.items()]
        first = {limit: day for day, limit in reversed(changes)}
        said = ", ".join(f"{limit} from {day} on" for limit, day in sorted(first.items(), key=lambda pair: pair[1]))
        yield f"The throttle changed within the history: {said}."
    if not fit.redial.observed:
        chance = fit.redial.probability
        yield (
            f"The history hardly shows redials after a refusal. A probability of {100 * chance.value:.0f} % "
            f"({100 * chance.low:.0f} to {100 * chance.high:.0f} %) is assumed."
        )
    if history.calls is None:
        yield "The history has counts only. Holding times and outcomes are those that the request states."
    if request.pop.carrier.channels is None:
        yield "The number of the carrier's channels is not known: no limit is assumed."
    if request.pop.carrier.calls_per_second is None:
        yield "The carrier's limit on calls per second is not known: no limit is assumed."
    if request.bandwidth_mbit_per_s is None:
        yield "The bandwidth between customer and PoP is not known: it is assumed to be enough."
    rejected = sum(part.share for part in fit.outcomes.rejected)
    if rejected:
        yield (
            f"The far side rejects {100 * rejected:.1f} % of calls at any throttle. "
            "Customers lost are only those that the trunk's limits add."
        )
    yield f"CPU figures are of the calibration {request.pop.calibration}, on the machine where it was measured."
    if history.closed:
        yield f"{len(history.closed)} days that the request calls untypical are shown but not fitted."
