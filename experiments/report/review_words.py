"""How a review's values are written for people: indicators, ranges, interpretations of the throttle, decisions.

Only the wording is here. The values come from the review, and `review_page` decides where they stand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.review.result import Decision, Judged, Limit, Point, Resource, Review
from trunkproof.models.demand.fitting.result import Ranged
from trunkproof.models.kpis import DEFINITIONS
from trunkproof.models.throttles.registry import ThrottleSettings

DECISION_WORDS: dict[Decision, str] = {
    Decision.APPROVE: "Approve",
    Decision.APPROVE_LOWER: "Approve lower",
    Decision.REFUSE: "Refuse",
    Decision.NOT_NEEDED: "Not needed",
    Decision.CANNOT_TELL: "Cannot tell",
}
DECISION_STATES: dict[Decision, str] = {
    Decision.APPROVE: "agree",
    Decision.APPROVE_LOWER: "doubt",
    Decision.REFUSE: "differ",
    Decision.NOT_NEEDED: "settled",
    Decision.CANNOT_TELL: "unknown",
}
"""The style of each decision. The decision's word always stands beside the colour."""

_MORE_TITLES = {
    "no_channel_share": ("No channel free", "share"),
    "no_port_share": ("No port pair free", "share"),
    "carrier_rejected_share": ("Refused by the carrier", "share"),
    "offered_per_minute": ("Callers per minute", "1"),
    "cpu_share": ("CPU", "cores"),
    "erlang": ("Calls at once, mean", "Erlang"),
}
"""Title and unit of what a review tells beside the indicators of `models.kpis`."""


def title_of(kpi: str) -> str:
    """Return an indicator's title."""
    return DEFINITIONS[kpi].title if kpi in DEFINITIONS else _MORE_TITLES[kpi][0]


def unit_of(kpi: str) -> str:
    """Return an indicator's unit, as `models.kpis` writes units."""
    return DEFINITIONS[kpi].unit if kpi in DEFINITIONS else _MORE_TITLES[kpi][1]


def in_unit(value: float, unit: str) -> str:
    """Write a number with its unit, to the digits that mean something."""
    if not math.isfinite(value):
        return "n/a" if math.isnan(value) else "no limit"
    if unit == "share":
        return _share(value)
    if unit == "cores":
        return f"{value:.2f} cores"
    if unit == "MOS":
        return f"{value:.2f}"
    digits = 0 if abs(value) >= 10 or value == 0 else 1
    return f"{value:,.{digits}f}" + ("" if unit == "1" else f" {unit}")


def _share(value: float) -> str:
    # It would be written as 0.00 %, and nobody can promise that.
    if 0 <= value < 0.00005:
        return "< 0.01 %"
    return formatted(value, "share") if value < 0.1 else f"{100 * value:.{0 if value >= 0.9995 else 1}f} %"


def shown(value: float, kpi: str) -> str:
    """Write an indicator's value with its unit."""
    return in_unit(value, unit_of(kpi))


def between(range_: Ranged, unit: str) -> str:
    """Write the ends of a range, with the unit once."""
    low, high = in_unit(range_.low, unit), in_unit(range_.high, unit)
    # If even the upper end is too small to write, the lower one has nothing to add.
    if low == high or high.startswith("<"):
        return high
    shared = {"share": " %", "1": "", "MOS": ""}.get(unit, f" {unit}")
    return f"{low.removesuffix(shared)} to {high}"


def ranged(range_: Ranged, unit: str) -> str:
    """Write a value and its range; the value alone where both would read the same."""
    value, ends = in_unit(range_.value, unit), between(range_, unit)
    return value if value == ends else f"{value} ({ends})"


def told(point: Point, kpi: str) -> Ranged | None:
    """Return the figure of one throttle that the whole page shows.

    A target's figure comes from the witness that is less sure of it, any other figure from the model. None where
    neither has it.
    """
    of_targets = {target.kpi: target.value for target in point.targets}
    return of_targets.get(kpi, point.kpis.get(kpi))


def chosen_limit(review: Review) -> int:
    """Return the throttle that the answer is about: the recommended one, or else the requested one."""
    return review.recommended_per_minute or review.request.requested_per_minute


def or_more(words: str, beyond: bool) -> str:
    """Add "or more" to a figure that is a lower bound."""
    return f"{words} or more" if beyond else words


def asked(target: Judged) -> str:
    """Write what a target asks."""
    return f"{'at most' if target.is_upper else 'at least'} {shown(target.bound, target.kpi)}"


def confidence_words(confidence: float) -> str:
    """Write a probability; it is never written as 0 % or 100 %."""
    if math.isnan(confidence):
        return "n/a"
    # A simulation is never certain.
    if confidence > 0.995:
        return "> 99 %"
    return "< 1 %" if confidence < 0.005 else f"{100 * confidence:.0f} %"


def holds_words(holds: bool | None) -> str:
    """Write whether something holds."""
    return "cannot tell" if holds is None else "holds" if holds else "fails"


def short_interpretations(interpretations: Iterable[ThrottleSettings]) -> list[str]:
    """Write interpretations in short for a figure; equal names are numbered."""
    names = [interpretation.label for interpretation in interpretations]
    return [
        name if names.count(name) == 1 else f"{name} {names[: index + 1].count(name)}"
        for index, name in enumerate(names)
    ]


def brief(words: str) -> str:
    """Round the decimals in a phrase to the digits that mean something."""
    return re.sub(r"\d+\.\d+", lambda found: f"{float(found[0]):.{4 if float(found[0]) >= 1000 else 3}g}", words)


def after_throttle(review: Review) -> Limit | None:
    """Return the resource that binds first, other than the throttle."""
    known = (limit for limit in review.limits if limit.capacity_per_minute is not None)
    return next((limit for limit in known if limit.resource is not Resource.THROTTLE), None)


def next_words(review: Review) -> str | None:
    """Write what binds after the raise, and when; None where no known limit does."""
    limit, beyond = next_limit(review), after_throttle(review)
    if limit is None or limit.capacity_per_minute is None:
        return None
    if limit.resource is not Resource.THROTTLE:
        return f"{limit.capacity}, {capacity_words(limit)}"
    used = f"the requested {review.request.requested_per_minute:,}, {100 * limit.used_requested:.0f} % used"
    return (
        used
        if beyond is None
        else f"{used}; then {beyond.resource.value} ({beyond.capacity}), {capacity_words(beyond)}"
    )


def next_limit(review: Review) -> Limit | None:
    """Return the limit that binds after the raise."""
    return next((limit for limit in review.limits if limit.resource == review.binding_next), None)


def capacity_words(limit: Limit) -> str:
    """Write up to which demand a resource suffices."""
    if limit.capacity_per_minute is None:
        return "no limit known"
    return f"at {limit.capacity_per_minute:,.0f} calls a minute"


def resource_words(resource: Resource | None) -> str:
    """Write a resource with a capital letter; "Nothing" where there is none."""
    return "Nothing" if resource is None else resource.value[0].upper() + resource.value[1:]
