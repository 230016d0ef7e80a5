"""The decision curve: indicators against the throttle, one line for each interpretation of it, and the answer marked.

Lines are the model's; circles are the recorded calls, replayed. Each indicator has a figure of its own: a reader takes
in five figures of the same shape faster than one figure with five axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from trunkproof.experiments.report.review_words import (
    asked,
    in_unit,
    next_limit,
    short_interpretations,
    shown,
    title_of,
    told,
    unit_of,
)
from trunkproof.experiments.report.sheet import Panel
from trunkproof.experiments.review.result import InterpretationResult, Judged, Resource, Review
from trunkproof.models.demand.fitting.result import Ranged
from trunkproof.models.plots import blank_figure

SERIES = ("#1f77d0", "#e07b00", "#14946b", "#c2549d", "#7a6ad8", "#8a929a")
"""Told apart by every kind of colour vision, on white and black. Each line has its own dash and label as well."""
GREY = SERIES[5]
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_CURVES = ("customers_lost_share", "refused_share", "srd_p95_ms", "peak_concurrency", "erlang", "cpu_share")
_MOST_CURVES = 5
_LOG_DEPTH = 30
"""A logarithmic axis begins at the target's bound divided by this."""
_LEAST_GAP = 0.075
"""The least distance between two labels, as a share of the figure's height."""
TARGET, _NEXT = "#d64550", "rgba(214,69,80,0.13)"
_WIDE = 8
"""The axis of throttles is logarithmic where the largest is more than this many times the smallest."""


@dataclass(frozen=True)
class _Scale:
    """The y axis of one indicator. Shares are drawn in per cent."""

    factor: float
    low: float
    top: float
    is_log: bool

    def drawn(self, value: float) -> float:
        """Return the value in the axis' unit; at least `low`, as a logarithmic axis has no zero."""
        return max(self.factor * value, self.low)

    def place(self, value: float) -> float:
        """Return the height at which a value is drawn, as a share of the axis (0 is the bottom)."""
        drawn = self.drawn(value)
        if self.is_log:
            return math.log(drawn / self.low) / math.log(self.top / self.low)
        return drawn / self.top

    @property
    def axis(self) -> dict[str, Any]:
        """Return the axis' settings for Plotly."""
        if not self.is_log:
            return {"range": [0, self.top]}
        ends = [math.log10(self.low), math.log10(self.top)]
        return {"type": "log", "range": ends, "dtick": 1, "exponentformat": "none", "rangemode": "normal"}


@dataclass(frozen=True)
class _Line:
    name: str
    colour: str
    dash: str
    limits: list[int]
    values: list[Ranged]
    recorded: dict[int, Ranged]
    """Values of the replayed record, by throttle."""


def curve_panels(review: Review) -> list[Panel]:
    """Return one panel for each indicator that the sweep has, customers lost first."""
    found = {
        name for interpretation in review.interpretations for point in interpretation.points for name in point.kpis
    }
    chosen = [name for name in _CURVES if name in found]
    # Both are calls at once. Two figures of the same shape would cost the place of another indicator.
    if "peak_concurrency" in chosen and "erlang" in chosen:
        chosen.remove("erlang")
    return [_panel(review, kpi) for kpi in chosen[:_MOST_CURVES]]


def _panel(review: Review, kpi: str) -> Panel:
    lines, target = list(_lines(review, kpi)), _target(review.interpretations, kpi)
    scale = _scale(kpi, lines, target)
    figure = blank_figure("throttle, calls per minute", _axis(kpi))
    figure.update_yaxes(**scale.axis)
    for line in lines:
        # All bands first, so that no band covers another interpretation's line.
        figure.add_trace(_band(line, scale))
    for line in lines:
        figure.add_trace(_curve(line, scale, kpi))
    for line in lines:
        if line.recorded:
            figure.add_trace(_record(line, scale, kpi))
    _label(figure, lines, scale)
    if target is not None:
        _draw_target(figure, target, scale)
    limits = [limit for line in lines for limit in line.limits]
    rows = draw_throttles(figure, review, horizontal_axis(figure, limits))
    _shade_next(figure, review, min(limits), max(limits))
    height = 420 if kpi == _CURVES[0] else 360
    figure.update_layout(showlegend=False, margin={"t": 10 + 16 * rows, "r": 118}, height=height)
    return Panel(f"curve-{kpi}", title_of(kpi), _caption(review, kpi, target, scale), figure)


def note(figure: go.Figure, text: str, **place: Any) -> None:
    """Write small text into a figure."""
    figure.add_annotation(text=text, showarrow=False, font={"size": 11}, **place)


def _axis(kpi: str) -> str:
    unit = unit_of(kpi)
    return title_of(kpi) + {"share": " (%)", "1": "", "Erlang": " (Erlang)"}.get(unit, f" ({unit})")


def _lines(review: Review, kpi: str) -> Iterator[_Line]:
    names = short_interpretations(interpretation.interpretation for interpretation in review.interpretations)
    for index, (name, interpretation) in enumerate(zip(names, review.interpretations, strict=True)):
        points = [
            point for point in interpretation.points if kpi in point.kpis and math.isfinite(point.kpis[kpi].value)
        ]
        if points:
            limits = [point.limit_per_minute for point in points]
            values = [point.kpis[kpi] for point in points]
            recorded = {point.limit_per_minute: point.record[kpi] for point in points if kpi in point.record}
            yield _Line(name, SERIES[index % len(SERIES)], _DASHES[index % len(_DASHES)], limits, values, recorded)


def _band(line: _Line, scale: _Scale) -> go.Scatter:
    edges = [scale.drawn(one.high) for one in line.values] + [scale.drawn(one.low) for one in reversed(line.values)]
    red, green, blue = (int(line.colour[at : at + 2], 16) for at in (1, 3, 5))
    return go.Scatter(
        # There along the upper edge and back along the lower one: a closed outline.
        x=line.limits + line.limits[::-1],
        y=edges,
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.14)",
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        name=f"{line.name}, range",
    )


def _curve(line: _Line, scale: _Scale, kpi: str) -> go.Scatter:
    return go.Scatter(
        x=line.limits,
        y=[scale.drawn(one.value) for one in line.values],
        name=line.name,
        mode="lines+markers",
        line={"color": line.colour, "dash": line.dash, "width": 2},
        marker={"size": 5},
        customdata=[f"{shown(v.value, kpi)} ({shown(v.low, kpi)} to {shown(v.high, kpi)})" for v in line.values],
        hovertemplate="%{customdata}",
    )


def _record(line: _Line, scale: _Scale, kpi: str) -> go.Scatter:
    values = list(line.recorded.values())
    drawn = [scale.drawn(one.value) for one in values]
    return go.Scatter(
        x=list(line.recorded),
        y=drawn,
        name=f"{line.name}, as recorded",
        mode="markers",
        marker={"size": 8, "symbol": "circle-open", "color": line.colour, "line": {"width": 2}},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [scale.drawn(one.high) - at for one, at in zip(values, drawn, strict=True)],
            "arrayminus": [at - scale.drawn(one.low) for one, at in zip(values, drawn, strict=True)],
            "color": line.colour,
            "thickness": 1,
            "width": 3,
        },
        customdata=[f"{shown(v.value, kpi)} ({shown(v.low, kpi)} to {shown(v.high, kpi)})" for v in values],
        hovertemplate="%{customdata}",
    )


def _target(interpretations: tuple[InterpretationResult, ...], kpi: str) -> Judged | None:
    targets = (
        target for interpretation in interpretations for point in interpretation.points for target in point.targets
    )
    return next((target for target in targets if target.kpi == kpi), None)


def _scale(kpi: str, lines: list[_Line], target: Judged | None) -> _Scale:
    """Choose a logarithmic axis for shares far above their bound, so that one sees where they fall below it."""
    factor = 100.0 if unit_of(kpi) == "share" else 1.0
    values = [value for line in lines for value in (*line.values, *line.recorded.values())]
    # One very wide range must not press all lines to the bottom.
    most = max((max(one.value, min(one.high, 1.5 * one.value)) for one in values), default=0.0)
    # On a linear axis such a bound would lie close to the zero line.
    if factor > 1 and target is not None and target.is_upper and 0 < target.bound < most / 5:
        return _Scale(factor, factor * target.bound / _LOG_DEPTH, factor * min(1.0, 1.6 * most), is_log=True)
    # A bound far above all lines is left out: to show it, the axis would have to hide them.
    if target is not None and target.bound < 4 * most:
        most = max(most, target.bound)
    return _Scale(factor, 0.0, 1.12 * factor * most or 1.0, is_log=False)


def _label(figure: go.Figure, lines: list[_Line], scale: _Scale) -> None:
    """Write each line's name at its right end; names are moved apart where lines meet."""
    ends = sorted(lines, key=lambda line: line.values[-1].value)
    floor, places = 0.03, []
    for line in ends:
        places.append(max(floor, scale.place(line.values[-1].value)))
        floor = places[-1] + _LEAST_GAP
    # Where the names do not fit below the top, all of them move down together.
    over = max(0.0, max(places, default=0.0) - 0.96)
    for line, place in zip(ends, places, strict=True):
        text = f'<span style="color:{line.colour}">●</span> {line.name}'
        note(figure, text, x=1, y=place - over, xref="paper", yref="paper", xanchor="left", yanchor="middle", xshift=4)


def _draw_target(figure: go.Figure, target: Judged, scale: _Scale) -> None:
    bound = scale.factor * target.bound
    # The caption names it all the same.
    if bound > scale.top:
        return
    figure.add_hline(y=bound, line={"color": TARGET, "dash": "dash", "width": 1.5})
    place = {"x": 0, "y": scale.place(target.bound), "xref": "paper", "yref": "paper", "xanchor": "left"}
    note(figure, f"asked: {asked(target)}", yanchor="top", xshift=2, **place)


def horizontal_axis(figure: go.Figure, limits: Sequence[int]) -> Callable[[float], float]:
    """Lay out the axis of throttles. Return the function from a throttle to the x position of a note."""
    first, last = min(limits), max(limits)
    if last > _WIDE * first:
        # Plotly wants notes and range of a logarithmic axis as logarithms to base 10.
        ends = (math.log10(first), math.log10(last))
        margin = 0.03 * (ends[1] - ends[0])
        ticks = [one * 10**power for power in range(7) for one in (1, 2, 5) if first <= one * 10**power <= last]
        figure.update_xaxes(
            type="log",
            range=[ends[0] - margin, ends[1] + margin],
            tickvals=ticks,
            ticktext=[f"{tick:,}" for tick in ticks],
        )
        return math.log10
    margin = 0.03 * (last - first)
    figure.update_xaxes(range=[first - margin, last + margin])
    return float


def draw_throttles(figure: go.Figure, review: Review, place: Callable[[float], float]) -> int:
    """Mark the throttles now, requested and recommended, each label in its own row. Return the number of rows."""
    chosen = review.recommended_per_minute
    marks = dict(sorted(marks_of(review).items(), reverse=True))
    for row, (limit, name) in enumerate(marks.items()):
        is_chosen = limit == chosen
        line = {"color": SERIES[2] if is_chosen else GREY, "width": 3 if is_chosen else 1, "dash": "solid"}
        figure.add_vline(x=limit, line=line, layer="below")
        text = f"<b>{name} {limit:,}</b>" if is_chosen else f"{name} {limit:,}"
        anchor = "left" if limit == review.request.now_per_minute else "center"
        note(figure, text, x=place(limit), y=1, yref="paper", xanchor=anchor, yanchor="bottom", yshift=15 * row)
    return len(marks)


def marks_of(review: Review) -> Mapping[int, str]:
    """Return the throttles that the page describes in full with their names, in ascending order."""
    request, chosen = review.request, review.recommended_per_minute
    marks = {request.now_per_minute: "now", request.requested_per_minute: "requested"}
    if chosen is not None:
        marks[chosen] = f"{marks[chosen]}, recommended" if chosen in marks else "recommended"
    return dict(sorted(marks.items()))


def _shade_next(figure: go.Figure, review: Review, first: int, last: int) -> None:
    """Shade the throttles at which another resource than the throttle limits calls."""
    margin = 0.03 * (last - first)
    limit = next_limit(review)
    if limit is None or limit.resource is Resource.THROTTLE or limit.capacity_per_minute is None:
        return
    if limit.capacity_per_minute < last:
        # Above zero, for the logarithmic axis.
        begin = max(first - margin, limit.capacity_per_minute, 0.5)
        figure.add_vrect(x0=begin, x1=last + margin, fillcolor=_NEXT, line_width=0, layer="below")
        text = f"next limit:<br>{limit.resource.value}"
        note(figure, text, x=1, y=0.55, xref="paper", yref="paper", xanchor="right", align="right", xshift=-3)


def _caption(review: Review, kpi: str, target: Judged | None, scale: _Scale) -> str:
    first, *others = marks_of(review)
    parts = [f"At {first:,} a minute {_across(review, first, kpi)}"]
    parts += [f"at {limit:,} {_across(review, limit, kpi)}" for limit in others]
    if target is not None:
        parts.append(f"asked: {asked(target)}")
    words = f"{'; '.join(parts)}. Values are the mean of the judged periods at the horizon; bands are its 95 % range."
    if any(kpi in point.record for interpretation in review.interpretations for point in interpretation.points):
        words += " Lines: the model. Circles: the recorded calls, replayed. In this text: the less sure of both."
    if scale.is_log:
        words += f" The axis is logarithmic; values below {scale.low:.2g} % are drawn at the bottom."
    return words


def _across(review: Review, limit: int, kpi: str) -> str:
    """Return the values of all interpretations at one throttle, from the lowest to the highest."""
    found = (told(interpretation.at(limit), kpi) for interpretation in review.interpretations)
    values = [one.value for one in found if one is not None and math.isfinite(one.value)]
    if not values:
        return "n/a"
    low, high = (in_unit(end, unit_of(kpi)) for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
