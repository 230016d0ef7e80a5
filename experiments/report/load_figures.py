"""The figures of a load test's page: what was measured, and the bounds of thresholds. None is predicted."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import polars as pl

from trunkproof.experiments.load.judge import JudgedRow
from trunkproof.experiments.load.result import LoadResult
from trunkproof.experiments.report.sheet import Panel
from trunkproof.models.occupancy import steps
from trunkproof.models.plots import BAD, GREY, MEASURED, blank_figure, endings_over_time, line

_MOST_WINDOWS = 6
_MOST_POINTS = 4000
"""Of one line."""


def load_panels(result: LoadResult) -> list[Panel]:
    """Return all figures of a load test, in the order of the page. A VOID run has none."""
    if not result.valid or not result.records.height:
        return []
    windowed = [row for row in result.rows if any(window.value is not None for window in row.windows)]
    caption = "Attempts by when they were intended, redials included, and what came of them."
    figure = endings_over_time(result.records)
    for control in result.controls:
        figure.add_vline(x=control.at_s, line={"color": GREY, "dash": "dot", "width": 1}, annotation_text=control.words)
    if result.controls:
        caption += " Dotted: the rate was changed while the run lasted."
    first = Panel("attempts", "Attempts and what came of them", caption, figure)
    panels = [first, *map(_threshold, range(_MOST_WINDOWS), windowed)]
    answered = result.records.filter(pl.col("answered_s").is_not_null())
    if answered.height:
        panels.append(_concurrency(answered))
    delays = (1000 * (pl.Series(result.records["ringing_s"]) - result.records["sent_s"])).drop_nulls()
    if len(delays):
        caption = "INVITE sent to first ringing (RFC 6076): the share of calls that waited no longer than this."
        panels.append(Panel("srd", "Session request delay", caption, _shares("milliseconds", delays)))
    if len(scores := result.records["mos"].drop_nulls()):
        caption = "Mean opinion score (G.107): the share of calls no better. A steep rise at the right end is good."
        panels.append(Panel("mos", "Voice quality", caption, _shares("MOS", scores).update_xaxes(range=[1, 4.6])))
    return panels


def _threshold(number: int, row: JudgedRow) -> Panel:
    known = [window for window in row.windows if window.value is not None]
    scale = 100 if row.target.definition.unit == "share" else 1
    unit = "%" if scale == 100 else row.target.definition.unit
    figure = blank_figure("end of the window, seconds after plan zero", unit)
    at = np.array([window.until_s for window in known])
    values = np.array([window.value for window in known], dtype=float) * scale
    figure.add_trace(line(row.target.definition.title, MEASURED, "solid", at, values))
    figure.add_hline(y=row.target.bound * scale, line={"color": BAD, "dash": "dash", "width": 2})
    caption = f"{row.word[:1].upper()}{row.word[1:]}: {row.name}. Dashed red: the bound."
    return Panel(f"threshold-{number}", f"{row.target.definition.title} in windows", caption, figure)


def _concurrency(answered: pl.DataFrame) -> Panel:
    # A call that a run cut short has no end, and would stay up for ever in this figure.
    up = answered.filter(pl.col("bye_s").is_not_null())
    at, level = steps(up["answered_s"].to_numpy(), up["bye_s"].to_numpy(), np.ones(up.height))
    if len(at) > _MOST_POINTS:
        # The most of each stretch: a long run must not make a page of many megabytes, and peaks must stay.
        firsts = np.linspace(0, len(at), _MOST_POINTS, endpoint=False).astype(int)
        at, level = at[firsts], np.maximum.reduceat(level, firsts)
    figure = blank_figure("seconds after plan zero", "calls at once")
    figure.add_trace(line("calls up", MEASURED, "solid", at, level, shape="hv"))
    return Panel("concurrency", "Calls at once", "Calls that are answered and not yet hung up.", figure)


def _shares(x: str, values: pl.Series) -> go.Figure:
    share = np.linspace(0, 1, min(len(values), _MOST_POINTS) + 1)[1:]
    ordered = np.quantile(values.to_numpy(), share, method="inverted_cdf")
    figure = blank_figure(x, "share of calls")
    figure.add_trace(line("measured", MEASURED, "solid", ordered, share, shape="hv"))
    return figure.update_yaxes(range=[0, 1.02])
