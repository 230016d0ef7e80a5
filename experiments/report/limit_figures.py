"""Figures of limits and of single hours: limits, tornado, replay of the worst hour, endings of calls.

A figure for which the review has no data is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

import plotly.graph_objects as go

from trunkproof.experiments.report.curve_figures import SERIES, note
from trunkproof.experiments.report.review_words import chosen_limit, in_unit, next_words, resource_words
from trunkproof.experiments.report.sheet import Panel
from trunkproof.experiments.review.result import Limit, Replay, Review, Swing
from trunkproof.models.arrays import FloatArray
from trunkproof.models.plots import blank_figure

NOW, WANTED = SERIES[0], SERIES[1]
_ALL, _REFUSED = "#8a929a", "#d64550"
_ROW = 64
_LONGEST_LABEL = 24
_MOST_SHOWN = 200.0
"""Bars end at this per cent of a capacity: a longer one would flatten all others."""


def limit_panels(review: Review) -> list[Panel]:
    """Return the panel of what binds now and what binds next."""
    limits = [limit for limit in review.limits if limit.capacity_per_minute is not None]
    if not limits:
        return []
    figure = blank_figure("demand, % of the resource's capacity", "")
    names = [resource_words(limit.resource) for limit in limits]
    for name, colour, used in _uses(review, limits):
        percent = [100 * share for share in used]
        figure.add_trace(
            go.Bar(
                y=names,
                # The bar is cut, but its text says the true share.
                x=[min(one, _MOST_SHOWN) for one in percent],
                name=name,
                orientation="h",
                marker_color=colour,
                text=[f"{one:,.0f} %" for one in percent],
                textposition="outside",
                hovertemplate="%{y}: %{text}",
                cliponaxis=False,
            )
        )
    figure.add_vline(x=100, line={"color": _REFUSED, "dash": "dash", "width": 1.5})
    widest = max(100 * max(limit.used_now, limit.used_requested, limit.used_wanted) for limit in limits)
    # Room for the text beside the longest bar.
    figure.update_xaxes(range=[0, 1.18 * max(100.0, min(widest, _MOST_SHOWN))])
    _lay_out_rows(figure, len(limits), 3)
    return [Panel("limits", "What binds now, what binds next", _binding(review), figure)]


def _uses(review: Review, limits: list[Limit]) -> list[tuple[str, str, list[float]]]:
    request = review.request
    return [
        (f"at {request.now_per_minute:,} a minute", NOW, [limit.used_now for limit in limits]),
        (f"at {request.requested_per_minute:,} a minute", WANTED, [limit.used_requested for limit in limits]),
        ("all demand", _ALL, [limit.used_wanted for limit in limits]),
    ]


def _lay_out_rows(figure: go.Figure, rows: int, bars: int) -> None:
    """Lay out horizontal bars, the first row on top, in a figure as high as they need."""
    figure.update_yaxes(autorange="reversed", automargin=True, rangemode="normal")
    figure.update_layout(
        height=90 + rows * max(_ROW, 22 * bars),
        barmode="group",
        bargap=0.25,
        hovermode="closest",
        legend={"traceorder": "normal"},
    )


def _binding(review: Review) -> str:
    now, then = resource_words(review.binding_now), next_words(review)
    if then is None or review.binding_next is None:
        words = "after the raise no known limit does"
    else:
        words = f"after the raise: {review.binding_next.value}, {then}"
    return f"Binds now: {now.lower()}; {words}. The dashed line (100 %) is a resource's capacity."


def tornado_panels(review: Review) -> list[Panel]:
    """Return the tornado: how far the headroom moves between the low and the high value of each uncertain input."""
    if not review.tornado:
        return []
    swings, growth = review.tornado, review.request.growth
    figure = blank_figure("demand may grow to (times)", "")
    for row, swing in enumerate(swings):
        figure.add_trace(_swing(swing, row))
    ends = [growth, *(end for swing in swings for end in (swing.headroom_low, swing.headroom_high))]
    # A headroom of zero has no logarithm.
    low, high = max(min(ends), 0.01), max(*ends, 0.02)
    # Ratios far apart need a logarithmic axis. Plotly wants its annotations at logarithms to base 10.
    is_wide = high > 4 * low
    place: Callable[[float], float] = (lambda value: math.log10(max(value, 0.01))) if is_wide else float
    for row, swing in enumerate(swings):
        _label_swing(figure, swing, row, place)
    figure.add_vline(x=growth, line={"color": _ALL, "dash": "dash", "width": 1.5})
    note(figure, f"planned: {growth:.2f}", x=place(growth), y=1, yref="paper", yanchor="bottom")
    pad = 0.55 * (place(high) - place(low)) or 0.1
    axis = {"type": "log", "dtick": "D2"} if is_wide else {}
    figure.update_xaxes(range=[place(low) - pad, place(high) + pad], **axis)
    rows = len(swings)
    figure.update_yaxes(
        range=[rows - 0.5, -0.75], showticklabels=False, showgrid=False, zeroline=False, rangemode="normal"
    )
    margin = {"t": 26, "l": 12}
    figure.update_layout(height=90 + 48 * rows, margin=margin, showlegend=False, hovermode="closest")
    return [Panel("tornado", "What would change the answer", _tornado_caption(swings), figure)]


def _swing(swing: Swing, row: int) -> go.Scatter:
    colour = _REFUSED if swing.changes_decision else NOW
    return go.Scatter(
        x=[swing.headroom_low, swing.headroom_high],
        y=[row, row],
        # Plotly reads labels as HTML, and this text may come from the user's file.
        name=escape(swing.what),
        mode="lines+markers",
        line={"color": colour, "width": 14},
        marker={"size": 14, "symbol": "line-ns", "line": {"color": colour, "width": 3}},
        customdata=[escape(swing.low), escape(swing.high)],
        hovertemplate="%{customdata}: up to %{x:.2f} times",
    )


def _label_swing(figure: go.Figure, swing: Swing, row: int, place: Callable[[float], float]) -> None:
    note(figure, escape(swing.what), x=0, y=row, xref="paper", xanchor="left", yanchor="bottom", yshift=8)
    is_rising = swing.headroom_high >= swing.headroom_low
    # A higher input may mean less headroom: each label stands at the end that it leads to.
    left, right = (swing.low, swing.high) if is_rising else (swing.high, swing.low)
    ends = sorted((swing.headroom_low, swing.headroom_high))
    for x, text, anchor, shift in ((ends[0], left, "right", -6), (ends[1], right, "left", 6)):
        note(figure, escape(_cut(text)), x=place(x), y=row, xanchor=anchor, xshift=shift)


def _cut(text: str) -> str:
    """Cut a long label; the table below the figure has it in full."""
    text = text.replace("_", " ")
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1].rstrip()}…"


def _tornado_caption(swings: tuple[Swing, ...]) -> str:
    deciding = [swing.what for swing in swings if swing.changes_decision]
    words = (
        f"These inputs would change the decision (red): {', '.join(deciding)}."
        if deciding
        else "No input would change the decision."
    )
    widest = swings[0]
    return (
        f"{words} Each bar is one input. It shows how far demand may grow until the requested throttle is too small, "
        f"with the low and with the high value of that input. The widest: {widest.what}, {widest.headroom_low:.2f} to "
        f"{widest.headroom_high:.2f} times."
    )


def hour_panels(review: Review) -> list[Panel]:
    """Return the replay of the worst hour, and how callers end, before and after the raise."""
    return _replays(review) + _endings(review)


def _replays(review: Review) -> list[Panel]:
    replay = review.replay
    if replay is None:
        return []
    now, raised = review.request.now_per_minute, chosen_limit(review)
    sides = [("now", now, replay.now)]
    if raised != now:
        sides.append(("raised", raised, replay.requested))
    most = max(float((side["admitted"] + side["refused"]).max()) for _, _, side in sides)
    # One scale for both figures, or they could not be compared by eye.
    top = 1.08 * max(most, float(replay.offered.max()))
    panels = [_replayed(replay, limit, side, what, top) for side, limit, what in sides]
    return [*panels, _concurrency(review, replay, [(limit, what) for _, limit, what in sides])]


def _replayed(replay: Replay, limit: int, side: str, what: Mapping[str, FloatArray], top: float) -> Panel:
    figure = blank_figure("minutes into the hour", "attempts per minute")
    figure.add_trace(
        go.Scatter(
            x=replay.minutes,
            y=replay.offered,
            name="fresh calls offered",
            mode="lines",
            fill="tozeroy",
            fillcolor="rgba(128,128,128,0.15)",
            line={"color": _ALL, "width": 1, "shape": "hvh"},
        )
    )
    for name, colour, dash in (("admitted", NOW, "solid"), ("refused", _REFUSED, "dot")):
        line = {"color": colour, "width": 2, "dash": dash, "shape": "hvh"}
        figure.add_trace(go.Scatter(x=replay.minutes, y=what[name], name=name, mode="lines", line=line))
    figure.update_yaxes(range=[0, top])
    refused = float(what["refused"].sum())
    # An hour without attempts must not divide by zero.
    share = refused / max(1.0, refused + float(what["admitted"].sum()))
    caption = (
        f"{refused:,.0f} attempts refused in this one hour ({in_unit(share, 'share')}), redials included. It is the "
        "worst hour of the history, at the demand of its day; the decision judges a mean, not this hour. "
        f"{replay.began:%A %d %B %Y, %H:%M} local time; interpretation of the throttle: "
        f"{replay.interpretation.describe_kind()}."
    )
    return Panel(f"replay-{side}", f"The worst hour at {limit:,} a minute", caption, figure)


def _concurrency(review: Review, replay: Replay, sides: Sequence[tuple[int, Mapping[str, FloatArray]]]) -> Panel:
    figure = blank_figure("minutes into the hour", "calls at once")
    peaks = []
    for (limit, side), colour, dash in zip(sides, (NOW, WANTED), ("solid", "dash"), strict=False):
        line = {"color": colour, "width": 2, "dash": dash}
        figure.add_trace(
            go.Scatter(x=replay.minutes, y=side["concurrent"], name=f"at {limit:,} a minute", mode="lines", line=line)
        )
        peaks.append(f"{float(side['concurrent'].max()):,.0f} at {limit:,} a minute")
    channels = review.request.pop.carrier.channels
    if channels is not None:
        figure.add_hline(y=channels, line={"color": _REFUSED, "dash": "dash", "width": 1.5})
        note(figure, x=0, y=channels, xref="paper", xanchor="left", yanchor="top", text=f"{channels:,} channels")
    return Panel(
        "replay-calls",
        "Calls at once in that hour",
        f"Most calls at once of the history's worst hour: {', '.join(peaks)}.",
        figure,
    )


def _endings(review: Review) -> list[Panel]:
    endings, request = review.endings, review.request
    if endings is None:
        return []
    kinds = [kind for kind in endings.now if endings.now[kind] or endings.requested.get(kind)]
    # An ending that only the raise brings is the most interesting one.
    kinds += [kind for kind in endings.requested if kind not in endings.now and endings.requested[kind]]
    kinds.sort(key=lambda kind: -endings.now.get(kind, 0.0))
    figure = blank_figure("share of callers (%)", "")
    for limit, shares, colour in (
        (request.now_per_minute, endings.now, NOW),
        (request.requested_per_minute, endings.requested, WANTED),
    ):
        values = [100 * shares.get(kind, 0.0) for kind in kinds]
        figure.add_trace(
            go.Bar(
                y=[str(kind).replace("_", " ") for kind in kinds],
                x=values,
                name=f"at {limit:,} a minute",
                orientation="h",
                marker_color=colour,
                text=[f"{value:.2f} %" for value in values],
                textposition="outside",
                cliponaxis=False,
                hovertemplate="%{y}: %{text}",
            )
        )
    _lay_out_rows(figure, len(kinds), 2)
    most = 100 * max(max(endings.now.values(), default=0.0), max(endings.requested.values(), default=0.0))
    figure.update_layout(height=90 + 44 * len(kinds), xaxis={"range": [0, 1.25 * most]})
    throttled = [in_unit(side.get("throttled", 0.0), "share") for side in (endings.now, endings.requested)]
    caption = (
        "How the last attempt of each caller ends in the judged periods at the horizon, by the model. Throttled: "
        f"{throttled[0]} at {request.now_per_minute:,} a minute, {throttled[1]} at {request.requested_per_minute:,}."
    )
    return [Panel("endings", "How callers end, before and after", caption, figure)]
