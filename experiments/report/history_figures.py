"""Figures of the history and of its fit: the week, its overdispersion, holding times, and the days kept out.

A figure with nothing to show is left out: a history may be too short to fit.
"""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import polars as pl

from trunkproof.experiments.report.curve_figures import SERIES
from trunkproof.experiments.report.review_words import brief, in_unit
from trunkproof.experiments.report.sheet import Panel
from trunkproof.experiments.review.result import Review
from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.result import WEEKDAYS, DurationFit, HeldOut
from trunkproof.models.plots import blank_figure

_SEEN, _FITTED, _OUTSIDE = SERIES[0], SERIES[1], "#d64550"
_GREY, _SHADE = "#8a929a", "rgba(31,119,208,0.18)"
_MOST_POINTS = 4000
_GROUPS = 12


def history_panels(review: Review) -> list[Panel]:
    """Return the panels of the week, variance against mean, holding times and held-out days."""
    fit = review.fit
    panels = [_week(review), _variance(review), _holding(fit.holding)]
    if fit.held_out is not None:
        panels += [_held_out(fit.held_out, by_day=False), _held_out(fit.held_out, by_day=True)]
    return [panel for panel in panels if panel is not None]


def _week(review: Review) -> Panel | None:
    """Draw mean attempts by hour of the week, and mark hours with intervals above the throttle."""
    # An untypical day, such as a holiday, would change the mean of its weekday.
    counts = review.history.counts.filter(~pl.col("start_local").dt.date().is_in(list(review.history.closed)))
    if counts.is_empty():
        return None
    limit, per_minute = review.request.now_per_minute, 60 / review.history.interval_s
    cells = counts.group_by(
        (pl.col("start_local").dt.weekday() - 1).cast(pl.Int64).alias("weekday"),
        pl.col("start_local").dt.hour().cast(pl.Int64).alias("hour"),
    ).agg(
        (pl.col("attempts").mean() * per_minute).alias("mean"),
        (pl.col("attempts") * per_minute > limit).mean().alias("above"),
    )
    mean, above = np.full((7, 24), np.nan), np.zeros((7, 24))
    for weekday, hour, average, share in cells.select("weekday", "hour", "mean", "above").iter_rows():
        mean[weekday, hour], above[weekday, hour] = average, share
    figure = _heat_map(mean, above, limit)
    return Panel("week", "Attempts by hour of the week", _week_caption(mean, above, limit, review), figure)


def _heat_map(mean: FloatArray, above: FloatArray, limit: int) -> go.Figure:
    figure = blank_figure("hour of the day, local time", "")
    names = [day[:3] for day in WEEKDAYS]
    figure.add_trace(
        go.Heatmap(
            z=mean,
            x=list(range(24)),
            y=names,
            colorscale="Cividis",
            xgap=1,
            ygap=1,
            zmin=0,
            colorbar={"title": {"text": "a minute"}, "thickness": 9, "len": 1.0},
            hovertemplate="%{y} %{x}:00: %{z:.0f} attempts per minute<extra></extra>",
        )
    )
    days, hours = np.nonzero(above > 0)
    figure.add_trace(
        go.Scatter(
            x=hours,
            y=[names[day] for day in days],
            mode="markers",
            showlegend=False,
            marker={
                # The root, because the eye compares areas.
                "size": 3 + 6 * np.sqrt(above[days, hours]),
                "color": _OUTSIDE,
                "line": {"color": "#ffffff", "width": 1},
            },
            customdata=100 * above[days, hours],
            hovertemplate=f"%{{y}} %{{x}}:00: %{{customdata:.1f}} % of its intervals above {limit:,}<extra></extra>",
        )
    )
    # Monday on top, as in a calendar.
    figure.update_yaxes(autorange="reversed", rangemode="normal")
    figure.update_xaxes(dtick=3, range=[-0.5, 23.5])
    figure.update_layout(hovermode="closest", margin={"l": 42})
    return figure


def _week_caption(mean: FloatArray, above: FloatArray, limit: int, review: Review) -> str:
    weekday, hour = np.unravel_index(int(np.nanargmax(mean)), mean.shape)
    marked = int((above > 0).sum())
    words = (
        f"Busiest: {WEEKDAYS[int(weekday)]} {int(hour)}:00 with {np.nanmax(mean):,.0f} attempts a minute, "
        f"redials included. Red dots: {marked} hours of the week with intervals above the throttle of {limit:,} a "
        "minute. The larger the dot, the more such intervals."
    )
    closed = ", ".join(str(day) for day in review.history.closed)
    return f"{words} Not counted, as untypical days: {closed}." if closed else words


def _variance(review: Review) -> Panel | None:
    table = review.fit.variance_to_mean.filter((pl.col("mean") > 0) & (pl.col("variance") > 0))
    if table.is_empty():
        return None
    arrivals = review.fit.arrivals
    mean = table["mean"].to_numpy()
    line = np.geomspace(mean.min(), mean.max(), 60)
    # The rate is the product of two independent factors of mean 1: this is the squared CV of their product.
    squared_cv = (1 + arrivals.day_cv.value**2) * (1 + arrivals.period_cv.value**2) - 1
    figure = blank_figure("mean, calls in a period", "variance")
    figure.add_trace(
        go.Scatter(
            x=mean, y=table["variance"], mode="markers", name="seen", marker={"color": _SEEN, "size": 5, "opacity": 0.6}
        )
    )
    for name, values, colour, dash in (
        ("Poisson", line, _GREY, "dash"),
        ("fitted", line + squared_cv * line**2, _FITTED, "solid"),
    ):
        figure.add_trace(
            go.Scatter(x=line, y=values, mode="lines", name=name, line={"color": colour, "width": 2, "dash": dash})
        )
    for axis in (figure.update_xaxes, figure.update_yaxes):
        axis(type="log", rangemode="normal", dtick=1, exponentformat="none")
    figure.update_layout(hovermode="closest")
    variance = table["variance"].to_numpy()
    # Of the sums, not the mean of the ratios: the ratios of quiet periods scatter most and say least.
    ratio = float(variance.sum() / mean.sum())
    # Single variances scatter widely. Their averages show on which line they lie.
    groups = [group for group in np.array_split(np.argsort(mean), _GROUPS) if len(group)]
    figure.add_trace(
        go.Scatter(
            x=[mean[group].mean() for group in groups],
            y=[variance[group].mean() for group in groups],
            mode="markers",
            name="seen, averaged",
            marker={"color": _GREY, "size": 9, "symbol": "diamond", "line": {"color": "#ffffff", "width": 1}},
        )
    )
    caption = (
        f"Counts per period vary {ratio:.1f} times as much as those of independent callers, over all periods of "
        f"{arrivals.period_s / 60:.3g} min. Points above the dashed line (Poisson) mean that calls come in waves."
    )
    return Panel("variance", "Variance against mean", caption, figure)


def _holding(holding: DurationFit) -> Panel | None:
    seen, fitted = holding.observed_quantiles_s, holding.fitted_quantiles_s
    # Logarithmic axes have no zero.
    keep = (seen > 0) & (fitted > 0)
    if not keep.any():
        return None
    seen, fitted = seen[keep], fitted[keep]
    low, high = float(min(seen.min(), fitted.min())), float(max(seen.max(), fitted.max()))
    figure = blank_figure("fitted, seconds", "seen, seconds")
    figure.add_trace(go.Scatter(x=fitted, y=seen, mode="markers", name="quantiles", marker={"color": _SEEN, "size": 5}))
    figure.add_trace(
        go.Scatter(x=[low, high], y=[low, high], mode="lines", name="equal", line={"color": _GREY, "dash": "dash"})
    )
    for axis in (figure.update_xaxes, figure.update_yaxes):
        axis(type="log", rangemode="normal", dtick=1, exponentformat="none")
    figure.update_layout(hovermode="closest")
    caption = (
        f"{holding.count:,} holding times, {brief(holding.distribution.describe())}. "
        "Points on the dashed line: the fit agrees with the history. Points above it: calls in the history are "
        "longer than the fit says; below it: shorter."
    )
    return Panel("holding", "Holding times, seen against fitted", caption, figure)


def _held_out(held_out: HeldOut, *, by_day: bool) -> Panel | None:
    table = held_out.days if by_day else held_out.hours
    if table.is_empty():
        return None
    # More points would make the page large, and nobody could tell them apart.
    table = table.sort("start_local").tail(_MOST_POINTS)
    unit, covered = ("day", held_out.seen_by_day) if by_day else ("hour", held_out.seen_by_hour)
    figure = blank_figure("", f"attempts per {unit}")
    at = table["start_local"].to_list()
    figure.add_trace(
        go.Scatter(
            x=at + at[::-1],
            y=table["high"].to_list() + table["low"].to_list()[::-1],
            fill="toself",
            mode="lines",
            line={"width": 0},
            fillcolor=_SHADE,
            name=f"forecast, {100 * held_out.asked:.0f} %",
            hoverinfo="skip",
        )
    )
    # Many markers side by side would hide the line.
    mode = "lines+markers" if table.height < 60 else "lines"
    line = {"color": _SEEN, "width": 1.5}
    figure.add_trace(go.Scatter(x=at, y=table["seen"], mode=mode, name="seen", line=line, marker={"size": 5}))
    out = table.filter((pl.col("seen") < pl.col("low")) | (pl.col("seen") > pl.col("high")))
    figure.add_trace(
        go.Scatter(
            x=out["start_local"].to_list(),
            y=out["seen"],
            mode="markers",
            name="outside",
            marker={"color": _OUTSIDE, "size": 6, "symbol": "x"},
        )
    )
    caption = (
        f"{in_unit(covered, 'share')} of {table.height:,} {unit}s lie in the interval; it should hold "
        f"{100 * held_out.asked:.0f} % of them. These days were kept out of the fit and forecast from the others."
    )
    return Panel(f"held-out-{unit}s", f"Days kept out of the fit, by {unit}", caption, figure)
