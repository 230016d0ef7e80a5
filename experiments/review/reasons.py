"""Why the answer is what it is, the weightiest first, and what it takes for granted.

Words of figures that others computed.
"""

from __future__ import annotations

from collections.abc import Iterator

from experiments.review.headline import Findings, asked_words, named, short_of, sure, unguarded
from experiments.review.request import Request
from experiments.review.result import Decision, Needed, Point, ReadingResult
from models.fitting.result import Fit
from models.history.table import History


def reasons(found: Findings) -> tuple[str, ...]:
    """Why, the weightiest first."""
    return tuple(_reasons(found))


def _reasons(found: Findings) -> Iterator[str]:
    request, verdict, strictest = found.request, found.verdict, found.strictest
    yield _judged(strictest.at(request.requested_per_minute), strictest)
    if verdict.recommended is not None and verdict.recommended != request.requested_per_minute:
        yield _judged(strictest.at(verdict.recommended), strictest)
    if clause := unguarded(found):
        yield f"{clause[0].upper()}{clause[1:]} (see the limits); up to there the throttle protects it, beyond it not."
    yield from _on_readings(found)
    if verdict.decision is Decision.REFUSE:
        yield short_of(found.limits)
    if found.needed:
        yield _wish(found.needed[-1])
    censoring = found.fit.censoring
    if censoring.refused_share > 0:
        yield (
            f"The history was taken behind a throttle: {100 * censoring.refused_share:.2f} % of its attempts were "
            f"refused, and {censoring.recovered_calls:,.0f} calls that never came through are put back."
        )


def _on_readings(found: Findings) -> Iterator[str]:
    if found.verdict.depends_on_enforcement:
        each = "; ".join(f"{policy_words(one)}: {_answer(one)}" for one in found.readings)
        yield f"It depends on how the throttle works, which is not documented ({each}). The safe value is advised."
    elif len(found.readings) > 1:
        yield f"All {len(found.readings)} readings of the throttle come to the same answer."


def _judged(point: Point, result: ReadingResult) -> str:
    """How many targets hold, and the figures of the one that is the least sure."""
    kept = sum(target.holds is True for target in point.targets)
    worst = min(point.targets, key=lambda target: target.confidence, default=None)
    said = f"At {point.limit_per_minute}, under the strictest reading ({policy_words(result)}), "
    if worst is None:
        return f"{said}nothing is asked."
    return (
        f"{said}{kept} of {len(point.targets)} targets hold; the least sure: {named(worst)}, {asked_words(worst)} is "
        f"asked, {sure(worst.confidence)} sure to keep it."
    )


def policy_words(result: ReadingResult) -> str:
    """The algorithm of a reading, for people."""
    return result.reading.policy.replace("_", " ")


def _answer(result: ReadingResult) -> str:
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


def assumptions(request: Request, fit: Fit, history: History) -> tuple[str, ...]:
    """What the answer takes for granted, in words."""
    return tuple(_assumptions(request, fit, history))


def _assumptions(request: Request, fit: Fit, history: History) -> Iterator[str]:
    growth = f"grows to {request.growth:g} times" if request.growth != 1 else "stays what it was"
    unsure = f", give or take {100 * request.growth_cv:.0f} %" if request.growth_cv else ""
    yield f"Busy-hour demand {growth}{unsure} up to the planning horizon; its shape over the week stays."
    yield "How the throttle counts is not documented; every reading listed is taken to be possible."
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
