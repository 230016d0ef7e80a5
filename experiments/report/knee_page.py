"""The page of a knee: what was predicted, what was measured, and every load that was tried on each side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import plotly.graph_objects as go

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.common.targets import target_words
from trunkproof.experiments.report.sheet import Panel, fill
from trunkproof.experiments.sizing.knee.load import LoadKind
from trunkproof.experiments.sizing.knee.result import AGREEMENT, Knee, Step
from trunkproof.loadgen.system.files import write_text
from trunkproof.models.kpis import DEFINITIONS
from trunkproof.models.plots import MEASURED, PREDICTED, blank_figure

_GREY = "#8a929a"
_LEGEND = "filled: quality held; hollow: it did not"


def write_knee_page(knee: Knee, path: Path) -> None:
    """Write the page of a knee."""
    write_text(path, render_knee(knee))


def render_knee(knee: Knee) -> str:
    """Return the page as HTML text."""
    return fill(
        "knee.html",
        panels=[_quality(knee)],
        knee=knee,
        rows=list(_rows(knee)),
        quality=_quality_words(knee),
        agreement=AGREEMENT,
        **_state(knee),
    )


def _state(knee: Knee) -> dict[str, str]:
    # First: a search that the generator ended says nothing, whatever its figures are.
    if knee.is_void:
        return {"state": "void", "badge": "VOID"}
    if knee.difference_share is None:
        return {"state": "doubt", "badge": "NOT FOUND"}
    return {"state": "agree", "badge": "AGREE"} if knee.agrees else {"state": "differ", "badge": "DIFFER"}


def _quality_words(knee: Knee) -> str:
    targets = knee.measured.steps[0].shown.targets if knee.measured.steps else ()
    return "; ".join(["no failed call", *(target_words(one.asked) for one in targets)])


def _sides(knee: Knee) -> list[tuple[str, str, str, tuple[Step, ...], float | None]]:
    """Return name, colour, dash, steps and knee of each side."""
    return [
        ("predicted", PREDICTED, "dash", knee.predicted.steps, knee.predicted.knee),
        ("measured", MEASURED, "solid", knee.measured.steps, knee.measured.knee),
        ("without the quota", _GREY, "dot", knee.baseline, None),
    ]


def _quality(knee: Knee) -> Panel:
    """Draw quality against load: SRD where signalling is loaded, MOS where audio is."""
    kpi = "mos_p5" if knee.kind is LoadKind.AT_ONCE else "srd_p95_ms"
    definition = DEFINITIONS[kpi]
    figure = blank_figure(knee.kind.value, f"{definition.title} ({definition.unit})")
    for name, colour, dash, steps, found in _sides(knee):
        ordered = sorted(steps, key=lambda step: step.load)
        figure.add_trace(_line(name, colour, dash, ordered, [getattr(step.shown, kpi) for step in ordered]))
        if found is not None:
            figure.add_vline(x=found, line={"color": colour, "dash": dash, "width": 1})
    for target in knee.predicted.steps[0].shown.targets:
        if target.asked.kpi == kpi:
            figure.add_hline(y=target.asked.bound, line={"color": _GREY, "width": 1}, annotation_text="target")
    # The MOS has fixed ends. A delay grows many times over near the knee.
    figure.update_yaxes(**({"range": [1, 4.6]} if kpi == "mos_p5" else {"type": "log"}))
    figure.update_layout(hovermode="closest")
    caption = f"Each mark is a load that was tried ({_LEGEND}). Vertical lines are the knees."
    return Panel("quality", f"{definition.title} against load", caption, figure)


def _line(name: str, colour: str, dash: str, steps: list[Step], values: list[float | None]) -> go.Scatter:
    symbols = ["circle" if step.holds else "circle-open" for step in steps]
    return go.Scatter(
        x=[step.load for step in steps],
        y=values,
        name=name,
        mode="lines+markers",
        line={"color": colour, "dash": dash, "width": 2},
        marker={"symbol": symbols, "size": 9, "color": colour},
    )


def _rows(knee: Knee) -> Iterator[dict[str, str]]:
    """Yield one row per run, by side and load."""
    for name, _, _, steps, _ in _sides(knee):
        for step in sorted(steps, key=lambda step: step.load):
            # All runs, VOID ones too: a reader must see what was not counted.
            for run in step.runs:
                yield {
                    "side": name,
                    "load": f"{run.load:,.4g}",
                    "holds": "yes" if run.holds else "no",
                    "srd": formatted(run.srd_p95_ms, "ms"),
                    "failures": f"{run.failures} of {run.wanted}",
                    "mos": formatted(run.mos_p5, "MOS"),
                    "cpu": formatted(run.cpu_share, "share"),
                    "slowdown": "n/a" if run.slowdown is None else f"{run.slowdown:.2f}",
                    "throttled": formatted(run.throttled_share, "share"),
                    "generator": "" if name == "predicted" else run.generator.value,
                }
