"""The evidence on a review's page: back-cast, protection, two states, disagreements of the witnesses, what was judged.

Tables are returned as rows of words. Every figure in them comes from the review.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.report.review_words import between, in_unit, ranged, title_of
from trunkproof.experiments.review.result import BackCast, BackCastRow, Review
from trunkproof.models.demand.fitting.drift import find_drift

Row = dict[str, Any]
_PROTECTS = {True: "protected", False: "not protected", None: "cannot tell"}


def backcast_blocks(review: Review) -> list[Row]:
    """Return one block per interpretation, the deciding one first: whether it reproduces the history, and its rows."""
    decisive = review.strictest
    order = sorted(
        review.backcast,
        key=lambda one: (decisive is None or one.interpretation != decisive.interpretation, not one.reproduces),
    )
    return [_block(one, is_first=number == 0) for number, one in enumerate(order)]


def _block(one: BackCast, *, is_first: bool) -> Row:
    missed = [row for row in one.rows if row.is_decisive and not row.reproduced]
    # The least probable difference is the one to quote.
    missed.sort(key=lambda row: row.p_value)
    why = f": {_missed(missed[0])}" if missed else ""
    return {
        "name": one.interpretation.describe_kind(),
        "reproduces": one.reproduces,
        "verdict": "reproduces the history" if one.reproduces else f"contradicted by the history{why}",
        "is_open": is_first,
        "rows": [_backcast_row(row) for row in one.rows],
    }


def _missed(row: BackCastRow) -> str:
    per = " a minute" if row.unit == "per minute" else ""
    seen, expected = amount(row.seen, row.unit), amount(row.expected.value, row.unit)
    return f"{row.quantity} in {row.scope}, seen {seen}{per}, expected {expected}{per}"


def _backcast_row(row: BackCastRow) -> Row:
    per = " a minute" if row.unit == "per minute" else ""
    return {
        "scope": row.scope,
        "quantity": f"{row.quantity}{per}",
        "seen": amount(row.seen, row.unit),
        "expected": amount(row.expected.value, row.unit),
        "range": between_amounts(row),
        "p": p_words(row.p_value),
        "outcome": ("yes" if row.reproduced else "no") if row.is_decisive else "for information",
        "state": ("yes" if row.reproduced else "no") if row.is_decisive else "",
    }


def amount(value: float, unit: str) -> str:
    """Write a quantity of the back-cast."""
    if value == 0:
        return "none"
    return in_unit(value, "share") if unit == "share" else f"{value:,.1f}" if unit != "1" else in_unit(value, "1")


def between_amounts(row: BackCastRow) -> str:
    """Write the range of the expected value."""
    if row.unit in {"share", "1"}:
        return between(row.expected, row.unit)
    return f"{row.expected.low:,.1f} to {row.expected.high:,.1f}"


def p_words(p_value: float) -> str:
    """Write a probability; a very small one is never written as 0."""
    return "n/a" if math.isnan(p_value) else "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def protection_rows(review: Review) -> list[Row]:
    """Return a row for each throttle: what it still protects when all of it is used."""
    marks = {review.request.now_per_minute: "now", review.request.requested_per_minute: "asked for"}
    if review.recommended_per_minute is not None:
        mark = marks.get(review.recommended_per_minute)
        marks[review.recommended_per_minute] = "recommended" if mark is None else f"{mark}, recommended"
    return [
        {
            "limit": f"{one.limit_per_minute:,}",
            "mark": marks.get(one.limit_per_minute, ""),
            "blocked": [f"{name}: {ranged(share, 'share')}" for name, share in one.blocked.items()],
            "worst": ranged(one.worst, "share"),
            "channels": ranged(one.peak_channels, "1"),
            "cores": "n/a" if math.isnan(one.cores.value) else f"{one.cores.value:.2f}",
            "mos": in_unit(one.mos_p5.value, "MOS"),
            "verdict": _PROTECTS[one.holds],
            "state": "open" if one.holds is None else "yes" if one.holds else "no",
        }
        for one in review.protection
    ]


def state_rows(review: Review) -> list[list[str]]:
    """Return a row for each interpretation that has two states, calm and collapsed."""
    return [
        [f"{one.limit_per_minute:,}", one.interpretation.describe_kind(), ranged(one.calm, "share"),
         ranged(one.collapsed, "share")]
        for one in review.states
    ]  # fmt: skip


def disagreement_rows(review: Review) -> list[Row]:
    """Return a row for each difference between model and record, with the hours that it comes from."""
    return [
        {
            "limit": f"{one.limit_per_minute:,}",
            "interpretation": one.interpretation.describe_kind(),
            "kpi": title_of(one.kpi),
            "model": ranged(one.model, "share"),
            "record": ranged(one.record, "share"),
            "hours": one.hours,
        }
        for one in review.disagreements
    ]


def has_record(review: Review) -> bool:
    """Tell whether the recorded calls were replayed, so that there are two witnesses."""
    return any(point.record for interpretation in review.interpretations for point in interpretation.points)


def judged_facts(review: Review) -> list[tuple[str, str]]:
    """Return what the decision is about: which periods, when, at what demand."""
    request = review.request
    if not review.busy_periods:
        return []
    periods = [
        f"{one.words}: in it one call in a hundred comes in a minute with more than "
        f"{in_unit(one.level_per_minute, '1')} fresh calls"
        for one in review.busy_periods
    ]
    last = review.fit.days.dates[-1]
    # From the history's end and not from today: that is where the forecast begins.
    until = last + timedelta(days=request.horizon_days)
    # A growth of 1 that was written is a statement. A growth of 1 by default is none.
    if "growth" in request.model_fields_set:
        growth = f"{request.growth:g} times the end of the history, as the request states"
    else:
        growth = "none stated: demand stays at its level at the history's end, unless it clearly drifts"
    unsure = f", give or take {100 * request.growth_cv:.0f} %" if request.growth_cv else ""
    most = formatted(request.protects.neighbours_blocked_max, "share")
    return [
        ("judged periods", "; ".join(periods)),
        ("demand in them", f"{ranged(review.busy_hour_per_minute, '1')} fresh calls a minute, at the horizon"),
        ("horizon", f"{request.horizon_days} days after the history's end ({last}), that is {until}"),
        ("growth", f"{growth}{unsure}"),
        ("drift of the history", find_drift(review.fit.grid, seed=request.seed).words),
        ("asked", f"every target with {100 * request.confidence:g} % confidence; {100 * request.headroom:.0f} % of "
                  f"headroom above the smallest throttle; in full use at most {most} of calls may find no line"),
    ]  # fmt: skip
