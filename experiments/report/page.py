"""The validation page: one HTML file that carries all it needs and opens without a network.

It lays out what `compare` found. The numbers come from there, the figures from `figures`. Dialled numbers are masked.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from trunkproof.experiments.common.formatting import COST_WORDS, formatted
from trunkproof.experiments.report.figures import panels
from trunkproof.experiments.report.sheet import fill
from trunkproof.experiments.validation.compare import Comparison
from trunkproof.experiments.validation.criteria import BOUNDS, TITLES
from trunkproof.experiments.validation.kpi_pair import KpiPair
from trunkproof.experiments.validation.outcome import Outcome
from trunkproof.experiments.validation.throttle_words import throttle_lines
from trunkproof.loadgen.stacks.registry import is_ours, label_of
from trunkproof.loadgen.system.files import write_text
from trunkproof.models.kpis import DEFINITIONS
from trunkproof.models.plan import dialled_number
from trunkproof.models.records import Disposition
from trunkproof.models.study import Study

_TILES = ("refused_share", "customers_lost_share", "peak_concurrency", "srd_p95_ms", "mos_p5")


def write_report(comparison: Comparison, path: Path) -> None:
    """Write the page of a comparison."""
    write_text(path, render(comparison))


def render(comparison: Comparison) -> str:
    """Return the page as HTML text."""
    return fill(
        "page.html",
        panels=panels(comparison),
        c=comparison,
        tiles=[_row(name, comparison.kpis[name]) for name in _TILES],
        rows=[_row(name, pair) for name, pair in comparison.kpis.items()],
        assumptions=_assumptions(comparison),
        masked=partial(_masked, comparison.study),
        words=_words,
        load=_load(comparison),
        cost_words=COST_WORDS,
        bounds=BOUNDS,
        titles=TITLES,
        throttles=[line for fit in comparison.fits for line in throttle_lines(fit)],
        **_state(comparison),
    )


def _row(name: str, pair: KpiPair) -> dict[str, str]:
    definition = DEFINITIONS[name]
    interval = " to ".join(formatted(bound, pair.unit) for bound in pair.prediction_interval or ())
    difference = "" if pair.difference is None else formatted(pair.difference, pair.unit, signed=True)
    return {
        "title": definition.title,
        "definition": definition.definition,
        "predicted": formatted(pair.predicted, pair.unit),
        "measured": formatted(pair.measured, pair.unit),
        "difference": difference,
        "interval": interval,
    }


def _state(comparison: Comparison) -> dict[str, str]:
    # The order matters: a VOID run neither agrees nor differs, and SUSPECT is only a doubt.
    if not comparison.valid:
        return {"state": "void", "badge": "VOID"}
    if comparison.interrupted is not None and not comparison.attempts:
        return {"state": "void", "badge": "NOT RUN"}
    doubt = ", SUSPECT" if comparison.generator.reasons else ""
    match comparison.outcome:
        case Outcome.AGREES:
            return {"state": "doubt" if doubt else "agree", "badge": f"AGREE{doubt}"}
        case Outcome.AGREES_FITTED:
            return {"state": "doubt", "badge": f"AGREE, PHASE FITTED{doubt}"}
        case Outcome.CANNOT_TELL if not comparison.ended.cut_short:
            return {"state": "doubt", "badge": f"CANNOT TELL{doubt}"}
        case _:
            return {"state": "differ", "badge": "DIFFER"}


def _load(comparison: Comparison) -> str:
    study = comparison.study
    limits = "; ".join(f"{trunk.name}: {trunk.throttle.describe()}" for trunk in study.trunks)
    played = "" if is_ours(study.pop.stack) else f" The trunk: {label_of(study.pop.stack)}."
    played = " The trunk: one that somebody else runs." if comparison.abroad else played
    return f"{study.duration_s:g} s of real SIP over TLS with SRTP.{played} Throttle: {limits}."


def _assumptions(comparison: Comparison) -> list[str]:
    lines = []
    for trunk in comparison.study.trunks:
        counted = "calls of both directions" if trunk.throttle.counts == "both" else "calls from the customer only"
        lines.append(f"{trunk.name}: the throttle is modelled as {trunk.throttle.describe()}, and counts {counted}.")
        lines.append(f"{trunk.name}: counted as throttled: {trunk.throttle.describe_refusal_rules()}.")
        anchor = comparison.anchors.get(trunk.name)
        if anchor is not None:
            lines.append(
                f"{trunk.name}: the trunk reports that a window of its throttle began {-anchor:.2f} s before plan zero."
            )
    lines += _edge_lines(comparison)
    if comparison.abroad:
        lines.append(
            "Somebody else runs the trunk. Whether it admits a call is compared call by call. How admitted calls end "
            "and ring is the far end's doing, and compared by distribution."
        )
    elif is_ours(comparison.study.pop.stack):
        lines.append(
            "The embedded trunk and the model share the code of the limits. A run on a foreign stack proves more, "
            "because it shares none."
        )
    else:
        lines.append("The trunk's limits are enforced by programs that share no code with the model.")
    lines.append("Intervals hold 95 % of predictions with other seeds. They are not errors of this prediction.")
    return lines


def _edge_lines(comparison: Comparison) -> list[str]:
    """Say of several edges which attempts ended at which, and when calls move."""
    pop = comparison.study.pop
    if len(pop.doors) == 1:
        return []
    sides = (comparison.predicted, comparison.measured)
    at = [Counter(side["edge"].drop_nulls().to_list()) for side in sides]
    lines = [
        f"Edge {index}, {door.host} (priority {door.priority}, weight {door.weight}): "
        f"{at[0][index]} attempts predicted, {at[1][index]} measured."
        for index, door in enumerate(pop.doors)
    ]
    count = "one throttle for all edges" if pop.throttle_per == "trunk" else "a throttle for each edge"
    lines.append(
        f"A call that loses its edge before it rings goes on at the next, and an edge that failed is avoided for "
        f"{pop.failover.recheck_s:g} s. There is {count}."
    )
    return lines


def _masked(study: Study, row: int) -> str:
    # With destinations the row is not in the number. The records name the number by its place in the study.
    if any(trunk.traffic.destinations for trunk in study.trunks):
        return f"row {row}"
    number = dialled_number(row)
    # The page may be sent around. The last digits are enough to find a call in the records.
    return f"{number[:3]}{'•' * 6}{number[-4:]}"


def _words(disposition: Disposition | None) -> str:
    return "no such attempt" if disposition is None else disposition.value.replace("_", " ")
