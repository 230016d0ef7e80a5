"""Why the answer is what it is, the weightiest first, and what it takes for granted.

Words of figures that others computed.
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
    """Why, the weightiest first."""
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
            f"refused, and {censoring.recovered_calls:,.0f} calls that never came through are put back."
        )


def _on_backcast(found: Findings) -> Iterator[str]:
    if hides_refusals_in(found.backcast):
        yield "The history shows no refused attempt, so it is held against the calls that were admitted alone."
    dropped = [one for one in found.backcast if not one.reproduces]
    kept = [one for one in found.backcast if one.reproduces]
    if dropped and kept:
        names = ", ".join(one.interpretation.policy.replace("_", " ") for one in dropped)
        yield f"The history contradicts these interpretations of the throttle: {names}. The decision leaves them out."


def hides_refusals_in(backcast: Sequence[BackCast]) -> bool:
    """Whether a back-cast had no refusals to be held against."""
    return bool(backcast) and not any(row.quantity == "attempts refused" for row in backcast[0].rows)


def _on_protection(found: Findings) -> Iterator[str]:
    for limit in dict.fromkeys([found.verdict.recommended, found.request.requested_per_minute]):
        one = None if limit is None else found.protects(limit)
        if one is not None:
            state = {True: "protects the others", False: "does not protect the others", None: "may not protect others"}
            yield (
                f"Used to the full, {limit} {state[one.holds]}: {ranged_words(one.worst, 'share')} of calls would find "
                f"no free channel or port, with up to {one.peak_channels.value:.0f} channels and {one.cores.value:.1f} "
                f"cores in use."
            )


def _on_courses(found: Findings) -> Iterator[str]:
    courses = found.courses
    if courses.drifts:
        week = courses.drift.per_week
        value, low, high = (100 * math.expm1(part) for part in (week.value, week.low, week.high))
        stands = "the growth that the request states stands for it" if courses.is_stated else "both courses are judged"
        yield f"The level of the history drifts by {value:+.1f} % a week ({low:+.1f} to {high:+.1f} %); {stands}."


def _on_interpretations(found: Findings) -> Iterator[str]:
    if len({(one.decision, one.recommended_per_minute) for one in found.interpretations}) > 1:
        each = "; ".join(f"{policy_words(one)}: {_answer(one)}" for one in found.interpretations)
        yield f"It depends on how the throttle works, which is not documented ({each}). The safe value is advised."
    elif len(found.interpretations) > 1:
        yield f"All {len(found.interpretations)} interpretations of the throttle come to the same answer."


def _judged(point: Point, result: InterpretationResult) -> str:
    """How many targets hold, and the figures of the one that is the least sure."""
    kept = sum(target.holds is True for target in point.targets)
    worst = min(point.targets, key=lambda target: target.confidence, default=None)
    said = f"At {point.limit_per_minute}, under the strictest interpretation ({policy_words(result)}), "
    if worst is None:
        return f"{said}nothing is asked."
    return (
        f"{said}{kept} of {len(point.targets)} targets hold; the least sure: {named(worst)}, {asked_words(worst)} is "
        f"asked, {sure(worst.confidence)} sure to keep it."
    )


def policy_words(result: InterpretationResult) -> str:
    """The algorithm of an interpretation, for people."""
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
    """Why nothing was simulated."""
    return (*fit.refusals, *fit.warnings)


def assumptions(request: Request, fit: Fit, history: History, courses: Courses | None) -> tuple[str, ...]:
    """What the answer takes for granted, in words; `courses`: None where nothing was simulated."""
    return tuple(_assumptions(request, fit, history, courses))


def _assumptions(request: Request, fit: Fit, history: History, courses: Courses | None) -> Iterator[str]:
    growth = f"grows to {request.growth:g} times" if request.growth != 1 else "keeps its level"
    unsure = f", give or take {100 * request.growth_cv:.0f} %" if request.growth_cv else ""
    yield (
        f"Busy-period demand {growth}{unsure} within {request.horizon_days} days of the history's end; its shape over "
        f"the week stays."
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
            f"Redials after a refusal are hardly seen in the history; {100 * chance.value:.0f} % is taken "
            f"({100 * chance.low:.0f} to {100 * chance.high:.0f} %)."
        )
    if history.calls is None:
        yield "The history has counts only: holding times and outcomes are the request's word, not seen."
    if request.pop.carrier.channels is None:
        yield "The carrier's channels are not known and taken to be unlimited."
    if request.pop.carrier.calls_per_second is None:
        yield "The carrier's calls per second are not known and taken to be unlimited."
    if request.bandwidth_mbit_per_s is None:
        yield "The link between customer and PoP is not known and taken to be wide enough."
    rejected = sum(part.share for part in fit.outcomes.rejected)
    if rejected:
        yield (
            f"{100 * rejected:.1f} % of calls are rejected beyond the trunk at any throttle; "
            "customers lost are those that the trunk's limits add to them."
        )
    yield f"CPU is that of the calibration {request.pop.calibration}, on the machine where it was measured."
    if history.closed:
        yield f"{len(history.closed)} days that the request calls untypical are shown, not fitted."
