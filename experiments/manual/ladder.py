"""Draw a ladder as SVG: a vertical line for each place, and a labelled arrow for each step from one to another."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_LETTER_PX = 7.2
_ROW_PX = 34
_HEAD_PX = 40


class Step(NamedTuple):
    """One arrow."""

    start: str
    end: str
    label: str


def draw_ladder(places: Sequence[str], steps: Sequence[Step], title: str) -> str:
    """Return the figure. It takes its colours from the page around it, so it can be read in a dark one too."""
    longest = max(*(len(step.label) for step in steps), *(len(place) + 2 for place in places))
    between = max(96.0, min(150.0, longest * _LETTER_PX))
    at = {place: between * (number + 0.5) for number, place in enumerate(places)}
    width, height = between * len(places), _HEAD_PX + _ROW_PX * (len(steps) + 1)
    lines = [
        f'<line class="place" x1="{x:g}" y1="{_HEAD_PX - 8}" x2="{x:g}" y2="{height - 10:g}"/>' for x in at.values()
    ]
    heads = [f'<text class="head" x="{x:g}" y="20">{escape(place)}</text>' for place, x in at.items()]
    arrows = [_arrow(step, at, _HEAD_PX + _ROW_PX * (number + 1), between) for number, step in enumerate(steps)]
    return (
        f'<div class="ladder"><svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img"'
        f' aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(lines + heads + arrows)}</svg></div>\n"
    )


def _arrow(step: Step, at: dict[str, float], y: float, between: float) -> str:
    begins, ends = at[step.start], at[step.end]
    label = escape(step.label)
    if begins == ends:
        path = f"M{begins:g},{y - 10:g} h22 v10 h-16"
        tip, words = _head(begins + 2, y, -1), f'<text class="own" x="{begins + 27:g}" y="{y - 2:g}">{label}</text>'
        return f'<path class="step" d="{path}"/>{tip}{words}'
    way = 1 if ends > begins else -1
    # Over the first gap, beside where the arrow begins: a long arrow crosses lines, its label does not.
    middle = begins + way * between / 2
    line = f'<path class="step" d="M{begins:g},{y:g} H{ends - way * 6:g}"/>'
    dot = f'<circle class="from" cx="{begins:g}" cy="{y:g}" r="3"/>'
    return f'{line}{dot}{_head(ends, y, way)}<text class="label" x="{middle:g}" y="{y - 5:g}">{label}</text>'


def _head(x: float, y: float, way: int) -> str:
    return f'<path class="tip" d="M{x:g},{y:g} l{-8 * way},-4 v8 z"/>'
