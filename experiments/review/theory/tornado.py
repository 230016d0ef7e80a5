"""Show how the uncertainty of each input moves the headroom at the requested throttle, and what to measure next.

Headroom is the growth of demand up to which every target holds. It comes from the exact formulas, limit by limit, and
needs no new simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from trunkproof.experiments.review.result import Swing
from trunkproof.experiments.review.theory.needed import needed_for
from trunkproof.experiments.review.theory.premises import Premises
from trunkproof.models.costs import load_calibration
from trunkproof.models.demand.fitting.result import Fit, Ranged
from trunkproof.models.packets import PACKETS_PER_CALL_S

MOST_HEADROOM = 20.0
"""Largest headroom shown. Beyond it the axis tells nothing."""


@dataclass(frozen=True)
class Doubt:
    """One uncertain input, with the premises at both ends of its range."""

    what: str
    low: str
    high: str
    premises_low: Premises
    premises_high: Premises
    measure: str
    """How to learn more about it."""


def headroom(premises: Premises) -> float:
    """Return the growth of demand up to which every target holds at the requested throttle, at most 20."""
    request = premises.request
    allowed = premises.allowed(request.requested_per_minute)
    if allowed is None:
        return MOST_HEADROOM
    return min(MOST_HEADROOM, request.growth * allowed / max(premises.demand_per_minute, 1e-9))


def tornado(premises: Premises, fit: Fit, busy_hour: Ranged) -> tuple[tuple[Swing, ...], str]:
    """Return the swings, the widest first, and the sentence that says what to measure next.

    Args:
        premises: with the values of the fit.
        fit: the ranges of these values.
        busy_hour: fresh calls per minute at the planning horizon, and its range from the fit alone.
    """
    doubts = list(_doubts(premises, fit, busy_hour))
    swings = [(_swing(doubt, premises.request.growth), doubt.measure) for doubt in doubts]
    swings.sort(key=lambda pair: abs(pair[0].headroom_high - pair[0].headroom_low), reverse=True)
    return tuple(swing for swing, _ in swings), _measure_next(swings)


def _swing(doubt: Doubt, growth: float) -> Swing:
    low, high = headroom(doubt.premises_low), headroom(doubt.premises_high)
    return Swing(doubt.what, doubt.low, doubt.high, low, high, changes_decision=(low >= growth) != (high >= growth))


def _measure_next(swings: Sequence[tuple[Swing, str]]) -> str:
    deciding = [(swing, how) for swing, how in swings if swing.changes_decision]
    if deciding:
        swing, how = deciding[0]
        return f"Measure next: {how}. It alone changes the decision: {_range(swing)}."
    if not swings:
        return "Nothing that is not known changes the decision."
    swing, how = swings[0]
    return f"Nothing that is not known changes the decision by itself; the widest is {swing.what}: {how}."


def _range(swing: Swing) -> str:
    return (
        f"with {swing.what} {swing.low} demand may grow to {swing.headroom_low:.2f} times, "
        f"with {swing.high} to {swing.headroom_high:.2f} times"
    )


def _doubts(premises: Premises, fit: Fit, busy_hour: Ranged) -> Iterator[Doubt]:
    inputs = [*_of_demand(premises, fit, busy_hour), *_of_callers(premises, fit), *_of_costs(premises)]
    yield from (_between_ends(one) for one in inputs if one.ends.high > one.ends.low)
    yield from _of_interpretations(premises)
    yield from _of_channels(premises)


@dataclass(frozen=True)
class _Input:
    """One number of the premises, its range, and how to change it."""

    what: str
    ends: Ranged
    said: Callable[[float], str]
    turned: Callable[[float], Premises]
    measure: str


def _between_ends(one: _Input) -> Doubt:
    low, high = one.ends.low, one.ends.high
    return Doubt(one.what, one.said(low), one.said(high), one.turned(low), one.turned(high), one.measure)


def _of_demand(premises: Premises, fit: Fit, busy_hour: Ranged) -> Iterator[_Input]:
    growth, cv, demand = premises.request.growth, premises.request.growth_cv, premises.demand_per_minute
    growths = Ranged(growth, growth * max(0.05, 1 - 1.96 * cv), growth * (1 + 1.96 * cv))

    def grown(value: float) -> Premises:
        return replace(premises, demand_per_minute=demand * value / growth)

    def offered(value: float) -> Premises:
        return replace(premises, demand_per_minute=value)

    def busy_days(value: float) -> Premises:
        return replace(premises, busyness=replace(premises.busyness, day_cv=value))

    def busy_periods(value: float) -> Premises:
        return replace(premises, busyness=replace(premises.busyness, period_cv=value))

    more = "more weeks of history show it better"
    yield _Input("growth", growths, "{:.2f}".format, grown, "ask the customer what growth is planned")
    yield _Input("busy-hour rate", busy_hour, "{:.0f} a minute".format, offered, more)
    yield _Input("busyness of days", fit.arrivals.day_cv, _percent, busy_days, more)
    yield _Input("busyness of periods", fit.arrivals.period_cv, _percent, busy_periods, more)


def _of_callers(premises: Premises, fit: Fit) -> Iterator[_Input]:
    hold, redial = fit.holding.mean_s, fit.redial.probability
    audio_share = premises.per_call.audio_s * PACKETS_PER_CALL_S * premises.costs.packet_s / premises.per_call.cpu_s

    def held(value: float) -> Premises:
        return replace(premises, per_call=premises.per_call.with_hold(value / max(hold.value, 1e-9), audio_share))

    def redialled(value: float) -> Premises:
        return replace(premises, callers=replace(premises.callers, redial_probability=min(0.99, value)))

    yield _Input("mean hold", hold, "{:.0f} s".format, held, "call records with their durations show it better")
    yield _Input(
        "redial probability", redial, _percent, redialled, "call records with the numbers of both sides show it better"
    )


def _of_costs(premises: Premises) -> Iterator[_Input]:
    interval = load_calibration(premises.request.pop.calibration).intervals.get("packet_s")
    if interval is None or not premises.knows_machine:
        return
    slowdown, packets = premises.request.pop.machine.slowdown, premises.per_call.audio_s * PACKETS_PER_CALL_S
    ends = Ranged(premises.costs.packet_s, slowdown * interval[0], slowdown * interval[1])

    def priced(value: float) -> Premises:
        cpu_s = premises.per_call.cpu_s + packets * (value - premises.costs.packet_s)
        return replace(premises, per_call=replace(premises.per_call, cpu_s=cpu_s))

    how = "calibrate the stack on the machine that it will run on"
    yield _Input("CPU per packet", ends, lambda value: f"{1e6 * value:.0f} us", priced, how)


def _of_interpretations(premises: Premises) -> Iterator[Doubt]:
    if len(premises.interpretations) < 2:
        return
    requested = premises.request.requested_per_minute
    each = [replace(premises, interpretations=(interpretation,)) for interpretation in premises.interpretations]
    each.sort(key=lambda one: one.throttle(requested) or math.inf)
    low, high = each[0], each[-1]
    how = "ask the operator, or find out by test calls, how the throttle counts"
    yield Doubt(
        "interpretation of the throttle", low.interpretations[0].policy, high.interpretations[0].policy, low, high, how
    )


def _of_channels(premises: Premises) -> Iterator[Doubt]:
    if premises.channels is not None:
        return
    enough = needed_for(premises, premises.request.now_per_minute).channels
    few = replace(premises, channels=enough)
    low = f"{enough} (the present throttle's worth)"
    yield Doubt("number of channels", low, "unlimited", few, premises, "ask the carrier how many channels it gives")


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
