"""The page of a review: one HTML file with the decision, its curves, its reasons and its doubts, for file:// and paper.

It lays out what a `Review` holds and computes nothing but the words; its figures are `review_figures`', its tables
`review_tables`'.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from experiments.report.review_figures import review_panels
from experiments.report.review_tables import (
    Row,
    fitted_facts,
    indicator_rows,
    limit_rows,
    need_rows,
    neighbour_rows,
    oddity_rows,
    reading_rows,
    rollout_rows,
    swing_rows,
    target_tables,
    what_to_bring,
)
from experiments.report.review_words import (
    DECISION_STATES,
    DECISION_WORDS,
    confidence_words,
    holds_words,
    next_words,
    resource_words,
    short_readings,
)
from experiments.report.sheet import fill
from experiments.report.what_if import what_if
from experiments.review.result import Decision, Review


def write_review_page(review: Review, path: Path) -> None:
    """Write the page of a review."""
    path.write_text(render_review(review), encoding="utf-8")


def render_review(review: Review) -> str:
    """The page as text."""
    places = review_panels(review)
    asked = what_if(review)
    return fill(
        "review.html",
        panels=[panel for panels in places.values() for panel in panels],
        places={place: [panel.name for panel in panels] for place, panels in places.items()},
        r=review,
        badge=DECISION_WORDS[review.decision],
        state=DECISION_STATES[review.decision],
        unable=review.decision is Decision.CANNOT_TELL,
        tiles=_tiles(review),
        what_if=asked,
        what_if_json=_embedded(asked),
        **_tables(review),
    )


def _tables(review: Review) -> dict[str, Any]:
    return {
        "readings": reading_rows(review),
        "short_names": short_readings(reading.reading for reading in review.readings),
        "targets": target_tables(review),
        "indicators": indicator_rows(review),
        "limits": limit_rows(review),
        "needed": need_rows(review),
        "neighbours": neighbour_rows(review),
        "swings": swing_rows(review),
        "rollout": rollout_rows(review),
        "oddities": oddity_rows(review),
        "facts": fitted_facts(review),
        "bring": what_to_bring(review),
        "checks": [(check.name, holds_words(check.holds), check.said, check.holds) for check in review.checks],
    }


def _tiles(review: Review) -> list[Row]:
    """The three figures that a reader with ten seconds takes away."""
    request, chosen = review.request, review.recommended_per_minute
    at = request.requested_per_minute if chosen is None else chosen
    sure = f"asked {100 * request.confidence:g} %; of the least sure target and reading, at {at:,}"
    return [
        {
            "name": "Recommended throttle",
            "value": _recommended(review),
            "note": f"now {request.now_per_minute:,}, requested {request.requested_per_minute:,} calls per minute",
        },
        {
            "name": "Confidence",
            "value": confidence_words(review.confidence) if review.readings else "n/a",
            "note": sure if review.readings else "nothing was simulated",
        },
        _next_tile(review),
    ]


def _recommended(review: Review) -> str:
    if review.recommended_per_minute is not None:
        return f"{review.recommended_per_minute:,} CPM"
    return "cannot tell" if review.decision is Decision.CANNOT_TELL else f"stay at {review.request.now_per_minute:,}"


def _next_tile(review: Review) -> Row:
    name = "What binds next"
    if not review.limits:
        return {"name": name, "value": "n/a", "note": "the demand is not known"}
    now, then = f"now: {resource_words(review.binding_now).lower()}", next_words(review)
    if then is None:
        return {"name": name, "value": "Nothing known", "note": now}
    return {"name": name, "value": resource_words(review.binding_next), "note": f"{then}; {now}"}


def _embedded(value: Any) -> str:
    """JSON that may stand in a script element: without NaN, and without anything that could end the element."""
    return json.dumps(_finite(value), allow_nan=False).replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
