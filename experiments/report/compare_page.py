"""The page of a comparison of two runs: one HTML file that opens without a network."""

from __future__ import annotations

from pathlib import Path

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.load.compare import MARGINS, Change, ComparedKpi, RunComparison
from trunkproof.experiments.report.sheet import fill
from trunkproof.loadgen.system.files import write_text

_STATES = {Change.WORSE: "missed", Change.BETTER: "kept", Change.SAME: "", Change.CANNOT_TELL: "open"}


def interval_words(one: ComparedKpi) -> str:
    """Return the interval of the difference in words, or nothing where there is none."""
    if one.interval is None:
        return ""
    unit = one.definition.unit
    return " to ".join(formatted(bound, unit, signed=True) for bound in one.interval)


def write_compare_page(found: RunComparison, path: Path) -> None:
    """Write the page."""
    changes = {one.change for one in found.kpis}
    worst = next((change for change in (Change.WORSE, Change.BETTER) if change in changes), Change.SAME)
    badge = {Change.WORSE: "WORSE", Change.BETTER: "BETTER"}.get(worst, "NO CHANGE SEEN")
    page = fill(
        "compare.html",
        c=found,
        badge=badge,
        state={Change.WORSE: "differ", Change.BETTER: "agree"}.get(worst, "doubt"),
        states=_STATES,
        formatted=formatted,
        interval_words=interval_words,
        margins=[
            f"{formatted(least, unit)}{f' or {100 * part:g} % of A' if part else ''}"
            for unit, (least, part) in MARGINS.items()
        ],
    )
    write_text(path, page)
