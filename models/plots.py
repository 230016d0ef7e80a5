"""Figures of plans and record tables, for notebooks and for pages alike.

`blank_figure` has no colours for text and grid, because a page's script sets them for light or dark. `shown` gives a
figure the white look of a notebook.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import plotly.graph_objects as go
import polars as pl

from trunkproof.models.occupancy import steps
from trunkproof.models.records import REFUSED_BY_TRUNK, Disposition

PREDICTED, MEASURED = "#e07b00", "#1f77d0"
"""Orange and blue: told apart by every kind of colour vision, on white and on black."""
BAD = "#b3261e"
GREY, SHADE = "#8a929a", "rgba(128,128,128,0.12)"
_SERIES = ("31,119,208", "224,123,0", "22,121,74", "138,90,0", "120,80,160")
_HEIGHT = 320
_COLUMNS = 40
_STEPS = 25
_GROUPS = {
    "reached the called side": (MEASURED, {Disposition.COMPLETED, Disposition.BUSY, Disposition.NO_ANSWER}),
    "given up, or cut by the end of the run": (GREY, {Disposition.ABANDONED, Disposition.STILL_UP}),
    "refused by the trunk": (PREDICTED, set(REFUSED_BY_TRUNK)),
}
"""Name -> colour and dispositions. What is in none of them has failed otherwise."""
REFUSED = pl.col("disposition").cast(pl.String).is_in([kind.value for kind in REFUSED_BY_TRUNK])
"""The records of attempts that the trunk refused."""


def blank_figure(x: str, y: str) -> go.Figure:
    """Return a figure without data, with the titles of its axes."""
    return go.Figure(
        layout={
            "height": _HEIGHT,
            "margin": {"l": 56, "r": 12, "t": 8, "b": 44},
            "xaxis": {"title": x},
            "yaxis": {"title": y, "rangemode": "tozero"},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hovermode": "x unified",
        }
    )


def shown(figure: go.Figure, title: str) -> go.Figure:
    """Return the figure as a notebook shows it: with a title, on white."""
    margin = {"t": 90, "l": 56, "r": 12, "b": 44}
    return figure.update_layout(title=title, template="plotly_white", height=400, margin=margin)


def line(name: str, colour: str, dash: str, x: np.ndarray, y: np.ndarray, *, shape: str = "linear") -> go.Scatter:
    """Return one line of a figure."""
    return go.Scatter(
        x=x, y=y, name=name, mode="lines", line={"color": colour, "dash": dash, "width": 2, "shape": shape}
    )


def endings_over_time(records: pl.DataFrame) -> go.Figure:
    """Draw attempts per minute by when they were intended, stacked by what came of them."""
    instants_s, kinds = records["intended_s"].to_numpy(), records["disposition"].to_list()
    edges = np.linspace(0, max(1.0, float(instants_s.max())) if len(instants_s) else 1.0, _COLUMNS + 1)
    per_minute = 60 / (edges[1] - edges[0])
    grouped = {kind for _, members in _GROUPS.values() for kind in members}
    groups = _GROUPS | {"failed otherwise": (BAD, set(Disposition) - grouped)}
    figure = blank_figure("seconds after plan zero", "attempts per minute")
    for name, (colour, members) in groups.items():
        chosen = np.array([kind in members for kind in kinds], dtype=bool)
        if chosen.any():
            counts = np.histogram(instants_s[chosen], edges)[0] * per_minute
            figure.add_trace(go.Bar(x=(edges[1:] + edges[:-1]) / 2, y=counts, name=name, marker_color=colour))
    return figure.update_layout(barmode="stack", bargap=0)


def rates_of_sides(sides: Mapping[str, pl.DataFrame], chosen: pl.Expr) -> go.Figure:
    """Draw the chosen attempts per minute of each side, `predicted` or `measured`, and in grey all of the first's."""
    figure = blank_figure("seconds after plan zero", "attempts per minute")
    end = max((float(r["intended_s"].to_numpy().max()) for r in sides.values() if r.height), default=1.0)
    edges = np.linspace(0, max(end, 1.0), _STEPS + 1)
    per_minute = 60 / (edges[1] - edges[0])

    def rate(records: pl.DataFrame) -> np.ndarray:
        counts = np.histogram(records["intended_s"].to_numpy(), edges)[0] * per_minute
        # A step is drawn from one edge to the next, so the last count is needed at both of its edges.
        return np.append(counts, counts[-1])

    offered = line("offered", GREY, "solid", edges, rate(next(iter(sides.values()))), shape="hv")
    offered.update(fill="tozeroy", fillcolor=SHADE, line_width=0.5)
    figure.add_trace(offered)
    for side, records in sides.items():
        colour, dash = (PREDICTED, "dash") if side == "predicted" else (MEASURED, "solid")
        figure.add_trace(line(side, colour, dash, edges, rate(records.filter(chosen)), shape="hv"))
    return figure


def planned_calls(table: pl.DataFrame) -> go.Figure:
    """Draw a plan: first attempts per minute, and how many calls would be up at once if none were refused."""
    firsts = table.filter(pl.col("attempt") == 0)
    begins = firsts["place_s"].to_numpy()
    edges = np.linspace(0, max(1.0, float(begins.max())) if len(begins) else 1.0, _COLUMNS + 1)
    counts = np.histogram(begins, edges)[0] * 60 / (edges[1] - edges[0])
    answered = firsts.filter(pl.col("outcome") == "answered").select(
        begin=pl.col("place_s") + pl.col("setup_s") + pl.col("ring_s"), hold=pl.col("hold_s")
    )
    begin = answered["begin"].to_numpy()
    at, level = steps(begin, begin + answered["hold"].to_numpy(), np.ones(answered.height))
    figure = blank_figure("seconds after plan zero", "calls per minute")
    figure.add_trace(go.Bar(x=(edges[1:] + edges[:-1]) / 2, y=counts, name="calls per minute", marker_color=MEASURED))
    up = line("calls at once, if none is refused", PREDICTED, "solid", at, level, shape="hv")
    figure.add_trace(up.update(yaxis="y2"))
    return figure.update_layout(
        bargap=0, yaxis2={"title": "calls at once", "overlaying": "y", "side": "right", "rangemode": "tozero"}
    )


@dataclass(frozen=True)
class Banded:
    """A line with its band."""

    name: str
    x: Sequence[float]
    value: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def banded_lines(lines: Iterable[Banded], x: str, y: str, marks: Mapping[str, float]) -> go.Figure:
    """Draw lines with their bands, and a vertical line at each named place of the x axis."""
    figure = blank_figure(x, y)
    # As many interpretations as there are colours may be told apart; then colours repeat.
    for one, colour in zip(lines, cycle(_SERIES), strict=False):
        # There along the upper edge and back along the lower one: a closed outline.
        figure.add_scatter(
            x=[*one.x, *reversed(one.x)], y=[*one.high, *reversed(one.low)], fill="toself", mode="lines",
            fillcolor=f"rgba({colour},0.14)", line={"width": 0}, hoverinfo="skip", showlegend=False,
        )  # fmt: skip
        own = {"color": f"rgb({colour})"}
        figure.add_scatter(x=list(one.x), y=list(one.value), name=one.name, mode="lines+markers", line=own)
    for row, (name, at) in enumerate(marks.items()):
        # Each label in a row of its own: places may be the same.
        figure.add_vline(x=at, line={"color": GREY, "dash": "dot"})
        figure.add_annotation(x=at, y=1 - 0.07 * row, yref="paper", text=name, showarrow=False, xanchor="right")
    return figure
