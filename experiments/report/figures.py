"""The figures of a validation page: predicted and measured overlaid, each with a caption that says what to look for.

Text and grid have no colours here: the page's script sets them for light or dark.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import polars as pl

from trunkproof.experiments.report.sheet import Panel
from trunkproof.experiments.validation.windows import anchor_at
from trunkproof.models.occupancy import steps
from trunkproof.models.plots import MEASURED, PREDICTED, REFUSED, SHADE, blank_figure, line, rates_of_sides
from trunkproof.models.records import Disposition

if TYPE_CHECKING:
    from trunkproof.experiments.validation.compare import Comparison


def panels(comparison: Comparison) -> list[Panel]:
    """Return all figures of a comparison, in the order of the page. A VOID run has only the predicted lines."""
    return [build(comparison) for build in (_admitted, _refused, _concurrency, _ports, _delay, _mos, _endings)]


def _sides(comparison: Comparison) -> list[tuple[str, str, str, pl.DataFrame]]:
    """Return name, colour, dash and records of each side that may be shown."""
    predicted = ("predicted", PREDICTED, "dash", comparison.predicted)
    measured = ("measured", MEASURED, "solid", comparison.measured)
    return [measured, predicted] if comparison.valid else [predicted]


def _admitted(comparison: Comparison) -> Panel:
    return Panel(
        "admitted",
        "Attempts admitted",
        "Grey: attempts offered, redials included. Where the dashed line lies on the solid one, prediction and real "
        "calls agree. Grey columns: every other window of a fixed-window throttle. Red columns: incidents.",
        _rates(comparison, ~REFUSED),
    )


def _refused(comparison: Comparison) -> Panel:
    return Panel(
        "refused",
        "Attempts refused by the trunk",
        "Attempts that were throttled, not whitelisted, or found no free channel or port. Grey: attempts offered.",
        _rates(comparison, REFUSED),
    )


def _rates(comparison: Comparison, chosen: pl.Expr) -> go.Figure:
    sides = {side: records for side, _, _, records in _sides(comparison)}
    figure = rates_of_sides(sides, chosen)
    _shade_windows(comparison, figure, float(figure.data[0].x[-1]))
    _shade_incidents(comparison, figure)
    return figure


def _shade_windows(comparison: Comparison, figure: go.Figure, end: float) -> None:
    study = comparison.study
    trunk = study.trunks[0]
    anchor = anchor_at(study, comparison.anchors, trunk.name, 0.0)
    window_s = trunk.throttle.fixed_window_s
    if anchor is None or window_s is None:
        return
    begin, number = anchor, 0
    while begin < end:
        over = begin + window_s
        # A restart of the edge cuts the window short: the next one begins at the restart.
        began_anew = anchor_at(study, comparison.anchors, trunk.name, over)
        if began_anew is not None and began_anew > begin:
            over = min(over, began_anew)
        # Every other window only: two neighbours of one colour could not be told apart.
        if number % 2 and over > 0:
            figure.add_vrect(x0=max(0.0, begin), x1=min(end, over), fillcolor=SHADE, line_width=0, layer="below")
        begin, number = over, number + 1


def _shade_incidents(comparison: Comparison, figure: go.Figure) -> None:
    for incident in comparison.study.pop.incidents:
        lasts_s = incident.down_s if incident.kind == "edge_restart" else incident.lasts_s
        words = incident.kind.replace("_", " ")
        figure.add_vrect(
            x0=incident.at_s, x1=incident.at_s + lasts_s, fillcolor="rgba(200,40,40,0.2)", line_width=0,
            annotation_text=words, annotation_position="top left",
        )  # fmt: skip


def _concurrency(comparison: Comparison) -> Panel:
    figure = blank_figure("seconds after plan zero", "calls at once")
    for side, colour, dash, records in _sides(comparison):
        # A call that a run cut short has no end, and would stay up for ever in this figure.
        up = records.filter(pl.col("answered_s").is_not_null() & pl.col("bye_s").is_not_null())
        at, level = steps(up["answered_s"].to_numpy(), up["bye_s"].to_numpy(), np.ones(up.height))
        figure.add_trace(line(side, colour, dash, at, level, shape="hv"))
    return Panel(
        "concurrency", "Calls at once", "Calls that are answered and not yet hung up. Each step is one call.", figure
    )


def _ports(comparison: Comparison) -> Panel:
    figure = blank_figure("seconds after plan zero", "port pairs in use")
    for side, colour, dash, records in _sides(comparison):
        held = records.filter((pl.col("ports") > 0) & pl.col("sent_s").is_not_null() & pl.col("ended_s").is_not_null())
        weight = held["ports"].cast(pl.Float64).to_numpy()
        at, level = steps(held["sent_s"].to_numpy(), held["ended_s"].to_numpy(), weight)
        figure.add_trace(line(side, colour, dash, at, level, shape="hv"))
    return Panel(
        "ports",
        "Media ports",
        "Port pairs of the PoP's pool that calls hold, from the INVITE to the end. Pairs in quarantine do not count.",
        figure,
    )


def _distribution(comparison: Comparison, x: str, values: Callable[[pl.DataFrame], pl.Series]) -> go.Figure:
    figure = blank_figure(x, "share of calls")
    for side, colour, dash, records in _sides(comparison):
        ordered = np.sort(values(records).drop_nulls().to_numpy())
        share = np.arange(1, len(ordered) + 1) / max(1, len(ordered))
        figure.add_trace(line(side, colour, dash, ordered, share, shape="hv"))
    # A little above 1, so that the line at the top is not half hidden.
    figure.update_yaxes(range=[0, 1.02])
    return figure


def _delay(comparison: Comparison) -> Panel:
    figure = _distribution(
        comparison,
        "milliseconds",
        lambda records: 1000 * (pl.Series(records["ringing_s"]) - records["sent_s"]),
    )
    longest_ms = max((float(trace.x[-1]) for trace in figure.data if len(trace.x)), default=1.0)
    figure.update_xaxes(range=[0, 1.1 * longest_ms])
    return Panel(
        "srd",
        "Session request delay",
        "From INVITE sent to first ringing (RFC 6076): the share of calls that waited no longer than this. The "
        "further left, the faster.",
        figure,
    )


def _mos(comparison: Comparison) -> Panel:
    figure = _distribution(comparison, "MOS", lambda records: records["mos"])
    figure.update_xaxes(range=[1, 4.6])
    return Panel(
        "mos",
        "Voice quality",
        "Mean opinion score of each call (G.107, G.711 with concealment, 60 ms jitter buffer): the share of calls that "
        "are no better than this. A steep rise at the right end is good.",
        figure,
    )


def _endings(comparison: Comparison) -> Panel:
    figure = blank_figure("", "attempts")
    counts = {"predicted": comparison.predicted_kpis, "measured": comparison.measured_kpis}
    kinds = [kind for kind in Disposition if any(kpis.dispositions[kind] for kpis in counts.values())]
    for side, colour, _, _ in _sides(comparison):
        numbers = [counts[side].dispositions[kind] for kind in kinds]
        names = [kind.value.replace("_", " ") for kind in kinds]
        figure.add_trace(go.Bar(x=names, y=numbers, name=side, marker_color=colour, text=numbers, cliponaxis=False))
    figure.update_layout(barmode="group", hovermode="closest")
    return Panel("endings", "Where the attempts end", "Every attempt ends in exactly one disposition.", figure)
