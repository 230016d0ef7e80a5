"""The page of an identification: every call over time, which families were left when, and what was told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from trunkproof.experiments.report.sheet import Panel, fill
from trunkproof.experiments.target.identify.attempts import Attempt, observed
from trunkproof.experiments.target.identify.judgement import Family, Identification, families_of
from trunkproof.experiments.target.identify.words import (
    NEVER_TOLD,
    bounds_words,
    headline,
    names_words,
    refusal_words,
    throttle_block,
)
from trunkproof.loadgen.system.files import write_text
from trunkproof.models.plots import MEASURED, PREDICTED, blank_figure
from trunkproof.models.throttles.policy import Limited
from trunkproof.models.throttles.registry import POLICIES

_STAGES = 24
"""So many times in the course of the calls the page says which families were left."""
_SHADE = "rgba(128,128,128,0.12)"
_MOST_WINDOWS = 60


def write_identify_page(found: Mapping[str, Identification], path: Path) -> None:
    """Write the page of what was told of some trunks, by name."""
    write_text(path, render_identify(found))


def render_identify(found: Mapping[str, Identification]) -> str:
    """Return the page as HTML text."""
    sections, panels = [], []
    for number, (name, one) in enumerate(found.items()):
        of = f" of {name}" if len(found) > 1 else ""
        if one.attempts:
            panels += [_calls(one, f"calls{number}", of), _left(one, f"left{number}", of)]
        sections.append(_section(name, one))
    first = next(iter(found.values()))
    return fill(
        "identify.html",
        panels=panels,
        sections=sections,
        sentence=headline(first)
        if len(found) == 1
        else "; ".join(f"{name}: {headline(found[name])}" for name in found),
        never_told=NEVER_TOLD,
        **_state(list(found.values())),
    )


def _state(found: list[Identification]) -> dict[str, str]:
    if all(one.is_sure for one in found):
        return {"state": "agree", "badge": "SURE"}
    if all(one.families for one in found):
        return {"state": "doubt", "badge": "NOT SURE"}
    return {"state": "differ", "badge": "NOT TOLD"}


def _section(name: str, one: Identification) -> dict[str, object]:
    families = [
        {
            "name": family.policy.label,
            "bounds": bounds_words(family),
            "not_told": names_words(family.untold) or "nothing",
        }
        for family in one.families
    ]
    return {
        "name": name,
        "headline": headline(one),
        "doubts": one.doubts,
        "families": families,
        "refusals": refusal_words(one.habits),
        "block": throttle_block(one),
        "clock": f"{1000 * one.clock_s:g}",
        "explained": f"{one.explained:.1%}",
    }


def _calls(one: Identification, panel: str, of: str) -> Panel:
    """Draw every call: admitted ones count up, refused ones lie where the count stood."""
    figure = blank_figure("seconds after the first call", "calls admitted so far")
    begun = one.attempts[0].sent_s
    at = np.array([attempt.sent_s - begun for attempt in one.attempts])
    admitted = np.array([attempt.admitted for attempt in one.attempts])
    count = np.cumsum(admitted)
    for chosen, name, colour, symbol in (
        (admitted, "admitted", MEASURED, "circle"),
        (~admitted, "refused", PREDICTED, "x"),
    ):
        marker = {"color": colour, "symbol": symbol, "size": 6}
        figure.add_trace(go.Scatter(x=at[chosen], y=count[chosen], name=name, mode="markers", marker=marker))
    settings = one.settings
    if one.anchor_s is not None and isinstance(settings, Limited):
        first = (one.anchor_s - begun) % settings.window_s - settings.window_s
        edges = np.arange(first, at[-1] + settings.window_s, settings.window_s)
        for start in edges[::2][:_MOST_WINDOWS]:
            low, high = max(start, 0.0), min(start + settings.window_s, at[-1])
            if low < high:
                figure.add_vrect(x0=low, x1=high, fillcolor=_SHADE, line_width=0, layer="below")
    figure.update_layout(hovermode="closest")
    caption = (
        "Each mark is a call. A refused call bounds the throttle from one side: it was still closed. An admitted one "
        "bounds it from the other side: it was open. Grey columns: every other window, where windows are fixed."
    )
    return Panel(panel, f"Calls{of}", caption, figure)


def _left(one: Identification, panel: str, of: str) -> Panel:
    """Draw for each family until when it explained every call so far."""
    figure = blank_figure("seconds after the first call", "")
    begun = one.attempts[0].sent_s
    stages = sorted({max(1, round(len(one.attempts) * part / _STAGES)) for part in range(1, _STAGES + 1)})
    seen = [(one.attempts[:count], _families(one.attempts[:count], one.clock_s)) for count in stages]
    for policy in POLICIES:
        points = [
            (part[-1].sent_s - begun, bounds_words(family))
            for part, families in seen
            for family in families
            if family.policy is policy
        ]
        if points:
            at, words = zip(*points, strict=True)
            is_left = any(family.policy is policy for family in one.families)
            figure.add_trace(
                go.Scatter(
                    x=at,
                    y=[policy.label] * len(at),
                    text=words,
                    mode="lines+markers",
                    showlegend=False,
                    hovertemplate="%{x:.1f} s: %{text}<extra></extra>",
                    line={"color": MEASURED if is_left else PREDICTED, "width": 3},
                )
            )
    figure.update_layout(hovermode="closest", margin={"l": 150, "r": 12, "t": 8, "b": 44})
    figure.update_yaxes(rangemode="normal", type="category")
    caption = (
        "A line goes on for as long as its kind of throttle explained every call so far. Point at a mark to see the "
        "values that were still possible. Blue: left at the end. Orange: disproved."
    )
    return Panel(panel, f"Kinds of throttle that were left{of}", caption, figure)


def _families(attempts: tuple[Attempt, ...], clock_s: float) -> tuple[Family, ...]:
    return families_of(observed(attempts, clock_s))
