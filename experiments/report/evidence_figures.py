"""Figures of the evidence: the history against the back-cast, and what each throttle protects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

import plotly.graph_objects as go

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.report.curve_figures import SERIES, TARGET, draw_throttles, horizontal_axis, note
from trunkproof.experiments.report.review_evidence import amount
from trunkproof.experiments.report.review_words import in_unit, short_interpretations
from trunkproof.experiments.report.sheet import Panel
from trunkproof.experiments.review.result import BackCast, BackCastRow, Review
from trunkproof.models.plots import blank_figure

_SEEN, _EXPECTED, _MISSED = SERIES[0], SERIES[1], "#d64550"
_DRAWN = ("attempts refused", "admitted")
_TITLES = {
    "attempts refused": "Attempts refused: in the history and in the back-cast",
    "admitted": "Attempts admitted: in the history and in the back-cast",
}
_ROW = 26


def backcast_panels(review: Review) -> list[Panel]:
    """Return one panel for each quantity: its value in the history against the back-cast of each interpretation."""
    found = [list(_of(review.backcast, quantity)) for quantity in _DRAWN]
    return [_backcast(quantity, rows) for quantity, rows in zip(_DRAWN, found, strict=True) if rows]


def _of(backcast: tuple[BackCast, ...], quantity: str) -> Iterator[tuple[str, BackCastRow]]:
    names = short_interpretations(one.interpretation for one in backcast)
    scopes = dict.fromkeys(row.scope for one in backcast for row in one.rows)
    for scope in scopes:
        for name, one in zip(names, backcast, strict=True):
            for row in one.rows:
                if (row.scope, row.quantity) == (scope, quantity):
                    yield name, row


def _backcast(quantity: str, rows: list[tuple[str, BackCastRow]]) -> Panel:
    is_share = rows[0][1].unit == "share"
    factor, unit = (100.0, "% of attempts") if is_share else (1.0, "a minute")
    figure = blank_figure(f"{quantity}, {unit}", "")
    scopes = list(dict.fromkeys(row.scope for _, row in rows))
    places, labels = _places(rows)
    for colour, symbol, name, missed in (
        (_EXPECTED, "circle", "expected, with its range", False),
        (_MISSED, "circle", "expected, and not reproduced", True),
    ):
        chosen = [(at, row) for at, (_, row) in zip(places, rows, strict=True) if row.reproduced != missed]
        if chosen:
            figure.add_trace(
                go.Scatter(
                    x=[factor * row.expected.value for _, row in chosen],
                    y=[at for at, _ in chosen],
                    mode="markers",
                    name=name,
                    marker={"color": colour, "size": 8, "symbol": symbol},
                    error_x={
                        "type": "data",
                        "symmetric": False,
                        "array": [factor * (row.expected.high - row.expected.value) for _, row in chosen],
                        "arrayminus": [factor * (row.expected.value - row.expected.low) for _, row in chosen],
                        "color": colour,
                        "thickness": 2,
                        "width": 4,
                    },
                    hovertemplate="expected %{x:.2f}<extra></extra>",
                )
            )
    figure.add_trace(
        go.Scatter(
            x=[factor * row.seen for _, row in rows],
            y=places,
            mode="markers",
            name="seen",
            marker={"color": _SEEN, "size": 11, "symbol": "line-ns", "line": {"color": _SEEN, "width": 3}},
            hovertemplate="seen %{x:.2f}<extra></extra>",
        )
    )
    figure.update_yaxes(
        # The range runs downwards, so that the first row is on top.
        tickvals=places, ticktext=labels, range=[max(places) + 0.7, -1.1], showgrid=False, zeroline=False,
        automargin=True, rangemode="normal",
    )  # fmt: skip
    # Backwards: a dictionary keeps the last value, and the first row of each scope is wanted.
    firsts = {row.scope: at for at, (_, row) in reversed(list(zip(places, rows, strict=True)))}
    for scope in scopes:
        note(
            figure,
            # Plotly reads labels as HTML, and a scope has words of the user's file.
            f"<b>{escape(scope)}</b>",
            x=0,
            y=firsts[scope] - 0.75,
            xref="paper",
            xanchor="left",
            yanchor="middle",
        )
    figure.update_layout(height=110 + round(_ROW * (max(places) + 1.8)), hovermode="closest")
    return Panel(f"backcast-{quantity.replace(' ', '-')}", _TITLES[quantity], _caption(rows), figure)


def _places(rows: list[tuple[str, BackCastRow]]) -> tuple[list[float], list[str]]:
    """Return the y position and label of each row, from the top down, with a gap before each scope."""
    places: list[float] = []
    at, scope = -1.0, rows[0][1].scope
    for _, row in rows:
        at += 1.0 if row.scope == scope else 2.0
        scope = row.scope
        places.append(at)
    return places, [name for name, _ in rows]


def _caption(rows: list[tuple[str, BackCastRow]]) -> str:
    name, first = rows[0]
    missed = sum(not row.reproduced for _, row in rows)
    per = " a minute" if first.unit == "per minute" else ""
    seen, expected = amount(first.seen, first.unit) + per, amount(first.expected.value, first.unit) + per
    return (
        f"In {first.scope} the history shows {seen}; the back-cast by {name} gives {expected}. Blue: the history. "
        "Dots: its days simulated again at the throttle of the time, with the range of repetitions. Not reproduced: "
        f"{missed} of {len(rows)}."
    )


def protection_panels(review: Review) -> list[Panel]:
    """Return the panel of calls that find no line when all of a throttle is used, by throttle."""
    found = [one for one in review.protection if math.isfinite(one.worst.value)]
    # One point makes no curve, and the table below has its figures.
    if len(found) < 2:
        return []
    figure = blank_figure("throttle, calls per minute", "calls that find no line (%)")
    bound = review.request.protects.neighbours_blocked_max
    figure.add_trace(
        go.Scatter(
            x=[one.limit_per_minute for one in found],
            y=[100 * one.worst.value for one in found],
            mode="lines+markers",
            name="worst trunk",
            line={"color": SERIES[3], "width": 2},
            marker={"size": 7},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [100 * (one.worst.high - one.worst.value) for one in found],
                "arrayminus": [100 * (one.worst.value - one.worst.low) for one in found],
                "color": SERIES[3],
            },
            hovertemplate="%{y:.2f} %",
        )
    )
    most = max(one.worst.high for one in found)
    figure.add_hline(y=100 * bound, line={"color": TARGET, "dash": "dash", "width": 1.5})
    note(figure, f"allowed: at most {formatted(bound, 'share')}", x=1, y=100 * bound, xref="paper", xanchor="right",
         yanchor="bottom")  # fmt: skip
    # The bound is always in sight, also where all throttles lie far below it.
    figure.update_yaxes(range=[0, 115 * max(most, 1.3 * bound)])
    place = horizontal_axis(figure, [one.limit_per_minute for one in found])
    rows = draw_throttles(figure, review, place)
    figure.update_layout(showlegend=False, margin={"t": 10 + 16 * rows})
    asked = next((one for one in found if one.limit_per_minute == review.request.requested_per_minute), found[-1])
    caption = (
        f"If this trunk and its neighbours use all of their throttles: at {asked.limit_per_minute:,} a minute "
        f"{in_unit(asked.worst.value, 'share')} of the calls of the trunk that suffers most find no free channel or "
        "port. The throttle is there to keep this low."
    )
    return [Panel("protection", "Calls that find no line when all of it is used", caption, figure)]
