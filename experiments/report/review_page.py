"""The page of a review: one HTML file with the decision, its curves, reasons and doubts, for file:// and paper.

It lays out what a `Review` holds, and computes nothing but words. Figures come from `review_figures`, tables from
`review_tables`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from trunkproof.experiments.report.review_evidence import (
    backcast_blocks,
    disagreement_rows,
    has_record,
    judged_facts,
    protection_rows,
    state_rows,
)
from trunkproof.experiments.report.review_figures import review_panels
from trunkproof.experiments.report.review_tables import (
    fitted_facts,
    indicator_rows,
    interpretation_rows,
    limit_rows,
    need_rows,
    neighbour_rows,
    oddity_rows,
    rollout_rows,
    swing_rows,
    target_tables,
    what_to_bring,
)
from trunkproof.experiments.report.review_top import top_table
from trunkproof.experiments.report.review_words import (
    DECISION_STATES,
    DECISION_WORDS,
    chosen_limit,
    holds_words,
    short_interpretations,
)
from trunkproof.experiments.report.sheet import fill
from trunkproof.experiments.report.what_if import what_if
from trunkproof.experiments.review.result import Decision, Review
from trunkproof.loadgen.system.files import write_text


def write_review_page(review: Review, path: Path) -> None:
    """Write the page of a review."""
    write_text(path, render_review(review))


def render_review(review: Review) -> str:
    """Return the page as HTML text."""
    places = review_panels(review)
    asked = what_if(review)
    return fill(
        "review.html",
        # The page's script draws all figures from one list. `places` says where each belongs.
        panels=[panel for panels in places.values() for panel in panels],
        places={place: [panel.name for panel in panels] for place, panels in places.items()},
        r=review,
        badge=DECISION_WORDS[review.decision],
        state=DECISION_STATES[review.decision],
        unable=review.decision is Decision.CANNOT_TELL,
        top=top_table(review),
        what_if=asked,
        what_if_json=_embedded(asked),
        **_tables(review),
    )


def _tables(review: Review) -> dict[str, Any]:
    return {
        "backcast": backcast_blocks(review),
        "protection": protection_rows(review),
        "states": state_rows(review),
        "disagreements": disagreement_rows(review),
        "has_record": has_record(review),
        "judged": judged_facts(review),
        "interpretations": interpretation_rows(review),
        "contradicted": [interpretation.describe_kind() for interpretation in review.contradicted],
        "chosen": f"{chosen_limit(review):,}",
        "short_names": short_interpretations(
            interpretation.interpretation for interpretation in review.interpretations
        ),
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


def _embedded(value: Any) -> str:
    """Return JSON for a script element: without NaN, and without anything that could end the element."""
    return json.dumps(_finite(value), allow_nan=False).replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value
