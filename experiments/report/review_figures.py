"""All figures of a review's page, by their place on it. A figure with nothing to show is left out."""

from __future__ import annotations

from trunkproof.experiments.report.curve_figures import curve_panels
from trunkproof.experiments.report.evidence_figures import backcast_panels, protection_panels
from trunkproof.experiments.report.history_figures import history_panels
from trunkproof.experiments.report.limit_figures import hour_panels, limit_panels, tornado_panels
from trunkproof.experiments.report.sheet import Panel
from trunkproof.experiments.review.result import Review

MAKERS = {
    "backcast": backcast_panels,
    "curve": curve_panels,
    "protection": protection_panels,
    "limits": limit_panels,
    "tornado": tornado_panels,
    "hour": hour_panels,
    "history": history_panels,
}


def review_panels(review: Review) -> dict[str, list[Panel]]:
    """Map each place on the page to its figures, in order."""
    return {place: make(review) for place, make in MAKERS.items()}
