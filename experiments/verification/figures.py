"""The suite's pictures. Incorrect points are red and have another shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from scipy.special import ndtri

from trunkproof.experiments.verification.check import Point
from trunkproof.models.plots import MEASURED, PREDICTED, blank_figure

TALL = 520
"""Height of a parity plot with its differences below, in pixels."""
_BAD, _GREY, _SHADE = "#d03027", "#8a929a", "rgba(128,128,128,0.25)"
_COLOURS = (MEASURED, PREDICTED, "#3d9970")
_DRAWN = 400
"""Marks of a quantile plot. They are spread evenly over the scores, so that the tails are complete."""


def parity_figure(points: Sequence[Point], what: str) -> go.Figure:
    """Draw simulated against exact values, and below them the relative difference with error bars."""
    figure = blank_figure("", f"{what}, simulated")
    exact = np.array([point.exact for point in points])
    ends = [exact.min() / 1.5, min(1.0, exact.max() * 1.5)]
    figure.add_trace(go.Scatter(x=ends, y=ends, mode="lines", line=_dashed(), hoverinfo="skip"))
    figure.add_trace(_marks(points, [point.mean for point in points], None))
    bars = [100 * point.reach / point.exact for point in points]
    figure.add_trace(
        _marks(points, [100 * (p.mean - p.exact) / p.exact for p in points], bars).update(xaxis="x", yaxis="y2")
    )
    axis = {"gridcolor": _SHADE, "zerolinecolor": _GREY, "zerolinewidth": 2, "anchor": "x", "domain": [0, 0.42]}
    figure.update_layout(
        height=TALL,
        hovermode="closest",
        showlegend=False,
        xaxis={"type": "log", "title": f"{what}, exact", "anchor": "y2"},
        yaxis={"type": "log", "domain": [0.5, 1], "rangemode": "normal"},
        yaxis2={"title": "difference, %", **axis},
    )
    return figure


def _marks(points: Sequence[Point], y: Sequence[float], bars: Sequence[float] | None) -> go.Scatter:
    good = [point.is_correct for point in points]
    return go.Scatter(
        x=[point.exact for point in points],
        y=y,
        mode="markers",
        text=[f"{point.name}: {point.mean:.5f}, exactly {point.exact:.5f}, z = {point.score:+.1f}" for point in points],
        hoverinfo="text",
        marker={
            "color": [MEASURED if one else _BAD for one in good],
            "symbol": ["circle" if one else "x" for one in good],
            "size": 8,
        },
        error_y=None if bars is None else {"type": "data", "array": list(bars), "color": _GREY, "thickness": 1.2},
    )


def _dashed() -> dict[str, object]:
    return {"color": _GREY, "dash": "dash", "width": 1}


def quantile_figure(samples: Mapping[str, np.ndarray], low: np.ndarray, high: np.ndarray) -> go.Figure:
    """Draw ordered normal scores against the expected ones, with the band in which each must lie."""
    figure = blank_figure("expected normal score", "observed normal score")
    expected = _expected(len(low))
    shown = _evenly(expected)
    edge = {"width": 0.5, "color": _GREY}
    for bound, fill in ((low, None), (high, "tonexty")):
        figure.add_trace(
            go.Scatter(
                x=expected[shown], y=bound[shown], mode="lines", line=edge, fill=fill, fillcolor=_SHADE,
                showlegend=False, hoverinfo="skip",
            )
        )  # fmt: skip
    for (name, scores), colour in zip(samples.items(), _COLOURS, strict=False):
        outside = (scores < low) | (scores > high)
        figure.add_trace(_dots(expected, scores, shown[~outside[shown]], name, {"color": colour, "size": 4}))
        if outside.any():
            wrong = np.flatnonzero(outside)
            wrong = wrong[:: max(1, len(wrong) // _DRAWN)]
            marker = {"color": _BAD, "symbol": "x", "size": 6}
            figure.add_trace(_dots(expected, scores, wrong, f"{name}, outside", marker))
    # The band's tails are far wider than the sample: shown whole, they would flatten everything else.
    farthest = max([-expected[0], *(np.abs(scores[np.isfinite(scores)]).max() for scores in samples.values())]) + 1
    figure.add_trace(go.Scatter(x=[-4, 4], y=[-4, 4], mode="lines", line=_dashed(), showlegend=False, hoverinfo="skip"))
    figure.update_layout(
        hovermode="closest",
        showlegend=len(samples) > 1,
        xaxis={"range": [1.05 * expected[0], -1.05 * expected[0]]},
        yaxis={"range": [-farthest, farthest], "rangemode": "normal"},
    )
    return figure


def _dots(x: np.ndarray, y: np.ndarray, chosen: np.ndarray, name: str, marker: dict[str, object]) -> go.Scatter:
    return go.Scatter(x=x[chosen], y=y[chosen], name=name, mode="markers", marker=marker)


def _expected(count: int) -> np.ndarray:
    return np.asarray(ndtri((np.arange(count) + 0.5) / count))


def _evenly(expected: np.ndarray) -> np.ndarray:
    wanted = np.linspace(expected[0], expected[-1], _DRAWN)
    return np.unique(np.searchsorted(expected, wanted).clip(0, len(expected) - 1))


def coverage_figure(running: Mapping[str, np.ndarray], low: float, high: float) -> go.Figure:
    """Draw the share of intervals that contain the value, repeat by repeat, and the box in which it must end."""
    figure = blank_figure("repeats", "intervals that contain the exact value, %")
    last = max(len(shares) for shares in running.values())
    for (name, shares), colour in zip(running.items(), _COLOURS, strict=False):
        line = {"color": colour, "width": 2}
        repeats = np.arange(1, len(shares) + 1)
        figure.add_trace(go.Scatter(x=repeats, y=100 * shares, name=name, mode="lines", line=line))
    figure.add_hline(y=95, line=_dashed())
    figure.add_shape(
        type="rect", x0=0.97 * last, x1=1.03 * last, y0=100 * low, y1=100 * high, fillcolor=_SHADE,
        line={"color": _GREY, "width": 1},
    )  # fmt: skip
    figure.update_layout(hovermode="closest", yaxis={"range": [min(85.0, 100 * low - 5), 101], "rangemode": "normal"})
    return figure
