"""Write scores as a page of Markdown, as JSON, and as one picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from trunkproof.experiments.verification.review.score import ALL, COLUMNS, Scores, Tally

TABLE, FIGURES, PICTURE = "table.md", "scores.json", "picture.html"
ASKED = 0.95
_DRAWN = {
    "claims_true": ("claims “all targets hold” that are true", "#1f77d0", "circle"),
    "refused_covered": ("intervals of attempts refused that hold the truth", "#e07b00", "diamond"),
    "lost_covered": ("intervals of customers lost that hold the truth", "#3d9970", "square"),
}
_READING = "Right of the line: as promised. Bars: 95 % intervals, wide where there are few histories."


def write_scores(scores: Mapping[str, Scores], folder: Path, command: str) -> None:
    """Write table, figures and picture into a folder."""
    (folder / TABLE).write_text(markdown(scores, command), encoding="utf-8")
    whole = {"command": command, "scores": {kind: each.to_json() for kind, each in scores.items()}}
    (folder / FIGURES).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    picture(scores).write_html(folder / PICTURE, include_plotlyjs=True)


def markdown(scores: Mapping[str, Scores], command: str) -> str:
    """Return the table: a row for each kind, the last for all."""
    headings = ["kind", "histories", "decisions", *(heading for heading, _ in COLUMNS.values())]
    lines = [
        "# How often the review tells the truth",
        "",
        f"Made by `{command}`. Bounds: too bold in at most 2 % of all decisions; claims true in at least 95 % of each "
        "kind; intervals cover 90 to 98 %; needless `cannot_tell` below 15 %.",
        "",
        "| " + " | ".join(headings) + " |",
        "|" + "---|" * len(headings),
    ]
    for kind, each in scores.items():
        cells = [
            f"**{kind}**" if kind == ALL else kind,
            str(each.histories) + (f" ({each.errors} failed)" if each.errors else ""),
            ", ".join(f"{count} {decision}" for decision, count in sorted(each.decisions.items())),
            *(_cell(tally(each)) for _, tally in COLUMNS.values()),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    bold = scores[ALL].too_bold_seeds
    lines += ["", f"Too bold: {', '.join(bold)}." if bold else "No decision was too bold.", ""]
    return "\n".join(lines)


def _cell(tally: Tally) -> str:
    return "–" if tally.share is None else f"{100 * tally.share:.0f} % of {tally.of}"


def picture(scores: Mapping[str, Scores]) -> go.Figure:
    """Draw each kind's shares with their intervals, and the line that they should reach."""
    figure = go.Figure()
    names = list(scores)[::-1]
    for offset, (field, (name, colour, symbol)) in enumerate(_DRAWN.items()):
        tallies: list[Tally] = [getattr(scores[kind], field) for kind in names]
        known = [(place, tally) for place, tally in enumerate(tallies) if tally.share is not None]
        shares = [100 * (tally.share or 0.0) for _, tally in known]
        figure.add_trace(
            go.Scatter(
                x=shares,
                y=[place + 0.22 * (1 - offset) for place, _ in known],
                name=name,
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 9},
                error_x=_bars(shares, [tally for _, tally in known], colour),
                text=[f"{names[place]}: {tally.hits} of {tally.of}" for place, tally in known],
                hoverinfo="text",
            )
        )
    figure.add_vline(x=100 * ASKED, line={"color": "#d03027", "dash": "dash"})
    for place, kind in enumerate(names):
        bold = scores[kind].too_bold
        figure.add_annotation(
            x=101.5, y=place, text=f"{bold.hits} of {bold.of} too bold", showarrow=False, xanchor="left",
            font={"color": "#d03027" if bold.hits else "#8a929a"},
        )  # fmt: skip
    figure.update_layout(
        title={"text": f"How often the review tells the truth<br><sub>{_READING}</sub>"},
        height=160 + 44 * len(names),
        margin={"l": 130, "r": 140, "t": 80, "b": 90},
        legend={"orientation": "h", "y": -0.08},
        xaxis={"title": "%", "range": [0, 101]},
        yaxis={"tickvals": list(range(len(names))), "ticktext": names, "range": [-0.6, len(names) - 0.4]},
        plot_bgcolor="rgba(128,128,128,0.06)",
    )
    return figure


def _bars(shares: list[float], tallies: list[Tally], colour: str) -> dict[str, Any]:
    ends = [(100 * low, 100 * high) for low, high in (tally.interval for tally in tallies)]
    return {
        "type": "data",
        "array": [max(0.0, high - share) for share, (_, high) in zip(shares, ends, strict=True)],
        "arrayminus": [max(0.0, share - low) for share, (low, _) in zip(shares, ends, strict=True)],
        "color": colour,
        "thickness": 1,
    }
