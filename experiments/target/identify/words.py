"""What was told of a throttle, in words, as JSON, and as the block of a study."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import yaml

from trunkproof.experiments.target.identify.habits import Habits, RetryAfter
from trunkproof.experiments.target.identify.judgement import Family, Identification
from trunkproof.models.throttles.observed import Range

_NAMES = {
    "limit": "limit",
    "window_s": "window",
    "burst": "burst",
    "max_delay_s": "longest delay",
    "interval_s": "time per call",
    "anchor_s": "a window begins at",
}
_NEARLY_ALL = 0.95
"""A share that a right description explains, although instants are not exact."""
NEVER_TOLD = (
    "whether the limit is per trunk, source address, caller or account: all calls came from one of each",
    "whether a limit above the highest rate that was tried exists",
)
"""What calls of one customer cannot tell."""


def throttle_block(found: Identification) -> str:
    """Return the `throttle:` block for a study, as YAML; empty without a description."""
    if found.settings is None:
        return ""
    settings = found.settings
    values = settings.as_written() | {name: getattr(settings, name) for name in ("refusal_status", "retry_after_s")}
    return str(yaml.safe_dump({"throttle": values}, sort_keys=False, allow_unicode=True))


def headline(found: Identification) -> str:
    """Return the answer in one sentence."""
    if found.settings is None:
        return "Nothing was told: there are no attempts."
    what = found.settings.describe()
    if found.is_sure:
        return f"The throttle is this: {what}."
    if not found.settings.is_searched and found.explained >= _NEARLY_ALL:
        kind = found.settings.kind
        return f"It looks like {kind}: {what}. That explains {found.explained:.0%} of the attempts, and is not sure."
    if found.families:
        return f"The throttle may be this: {what}. It is not sure."
    return f"No throttle that we know explains all attempts. The nearest, {what}, explains {found.explained:.0%}."


def lines(found: Identification) -> list[str]:
    """Return everything that was told, a sentence a line."""
    refused = sum(not attempt.admitted for attempt in found.attempts)
    told = [headline(found), f"It saw {len(found.attempts)} attempts, of which {refused} were refused."]
    told += [f"Doubt: {doubt}." for doubt in found.doubts]
    for family in found.families:
        bounds = bounds_words(family)
        told.append(f"Fits: {family.policy.label}" + (f": {bounds}." if bounds else "."))
    told.append(refusal_words(found.habits))
    return told


def refusal_words(habits: Habits) -> str:
    """Return what refusals look like, in a sentence."""
    if not habits.kinds:
        return "Nothing was refused."
    kinds = ", ".join(
        f"{status}{'' if cause is None else f' with cause {cause}'} ({count})" for status, cause, count in habits.kinds
    )
    span = habits.retry_after_s
    if span is None:
        return f"Refusals: {kinds}; no Retry-After."
    seconds = f"{span[0]:g} s" if span[0] == span[1] else f"{span[0]:g} to {span[1]:g} s"
    words = {RetryAfter.FIXED: "always", RetryAfter.COUNTING_DOWN: "counting down", RetryAfter.VARIES: "varying"}
    return f"Refusals: {kinds}; Retry-After {words[habits.retry_after]} {seconds}."


def bounds_words(family: Family) -> str:
    """Return where the values of a family must lie."""
    return "; ".join(f"{_NAMES.get(name, name)} {range_words(name, one)}" for name, one in family.bounds.items())


def names_words(names: Iterable[str]) -> str:
    """Return the names of values as words."""
    return ", ".join(_NAMES.get(name, name) for name in names)


def range_words(name: str, bounds: Range) -> str:
    """Return a range as words, with its unit."""
    unit = " s" if name.endswith("_s") else ""
    if bounds.low == bounds.high:
        return f"{bounds.low:g}{unit}"
    if math.isinf(bounds.high):
        return f"at least {bounds.low:.4g}{unit}"
    return f"{bounds.low:.5g} to {bounds.high:.5g}{unit}"


def to_json(found: Identification) -> dict[str, Any]:
    """Return everything as JSON values. An infinite bound is null."""
    habits = found.habits
    return {
        "sure": found.is_sure,
        "complete": found.is_complete,
        "sentence": headline(found),
        "doubts": list(found.doubts),
        "attempts": len(found.attempts),
        "refused": sum(not attempt.admitted for attempt in found.attempts),
        "explained_share": found.explained,
        "clock_s": found.clock_s,
        "throttle": None if found.settings is None else found.settings.model_dump(mode="json"),
        "anchor_s": found.anchor_s,
        "families": [
            {
                "policy": family.policy.name(),
                "explanations": len(family.explanations),
                "bounds": {name: [_finite(value) for value in bounds] for name, bounds in family.bounds.items()},
                "not_told": list(family.untold),
            }
            for family in found.families
        ],
        "refusals": {
            "kinds": [{"status": status, "cause": cause, "count": count} for status, cause, count in habits.kinds],
            "retry_after": habits.retry_after.value,
            "retry_after_s": None if habits.retry_after_s is None else list(habits.retry_after_s),
        },
        "never_told": list(NEVER_TOLD),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
