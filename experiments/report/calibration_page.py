"""The page of a calibration: what each kind of work costs, its interval, and how well costs explain every level."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from trunkproof.experiments.common.formatting import COST_WORDS
from trunkproof.experiments.report.sheet import Panel, fill
from trunkproof.experiments.sizing.calibration.calibrate import CalibrationRun
from trunkproof.experiments.sizing.calibration.contention import holds, is_contended
from trunkproof.experiments.sizing.calibration.levels import Level
from trunkproof.loadgen.system.files import write_text
from trunkproof.loadgen.verdict import Verdict
from trunkproof.models.costs import CostName
from trunkproof.models.plots import MEASURED, PREDICTED, blank_figure

_SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star")


def write_calibration_page(run: CalibrationRun, path: Path) -> None:
    """Write the page of a calibration run."""
    write_text(path, render_calibration(run))


def render_calibration(run: CalibrationRun) -> str:
    """Return the page as HTML text."""
    return fill(
        "calibration.html",
        panels=[_parity(run), _residuals(run)],
        run=run,
        costs=_costs(run),
        contended=[_contended(level) for level in run.contended],
        reference=run.calibration.reference,
        outliers=[run.levels[index] for index in run.fit.outliers],
        doubtful=[level for level in run.levels if level.generator is not Verdict.VALID],
    )


def _costs(run: CalibrationRun) -> list[dict[str, str]]:
    calibration, rows = run.calibration, []
    for name, words in COST_WORDS.items():
        value = getattr(calibration.costs, name)
        # A stack need not have every cost: without levels under a quota there are no contended ones.
        if value is None:
            continue
        low, high = calibration.intervals.get(name, (value, value))
        # Most costs are seconds of CPU. The few that are shares have their own words.
        in_unit = _UNITS.get(name, _microseconds)
        rows.append(
            {"words": words, "name": name, "value": in_unit(value), "interval": f"{in_unit(low)} to {in_unit(high)}"}
        )
    return rows


def _contended(level: Level) -> dict[str, str]:
    # For an uncontended level between the rungs, the amount is calls and not a share of the CPU.
    rung = is_contended(level)
    response_s = float(np.quantile(level.response_s, 0.95)) if level.response_s else None
    return {
        "work": level.work,
        "share": f"{100 * level.amount:.0f} %" if rung else "no quota",
        "cpu": f"{level.cpu_s:.3f} s",
        "reference": "n/a" if level.reference_s is None else f"{1e6 * level.reference_s:.0f} µs",
        "mos": "n/a" if level.mos_p5 is None else f"{level.mos_p5:.2f}",
        "response": "n/a" if response_s is None else f"{1000 * response_s:,.0f} ms",
        "held": ("yes" if holds(level) else "no") if rung else "",
    }


def _microseconds(seconds: float) -> str:
    return f"{1e6 * seconds:,.1f} µs"


_UNITS: dict[CostName, Callable[[float], str]] = {
    "idle_share": lambda value: f"{100 * value:.3f} % of a core",
    "idle_penalty": lambda value: f"{100 * value:.0f} % of its cost",
    "idle_penalty_decay_load": lambda value: f"{100 * value:.2f} % of a core",
    "contended_work_share": lambda value: f"{100 * value:.0f} % of its cost",
}


def _parity(run: CalibrationRun) -> Panel:
    figure = blank_figure("CPU measured, seconds", "CPU by the fitted costs, seconds")
    for number, work in enumerate(dict.fromkeys(level.work for level in run.levels)):
        chosen = [index for index, level in enumerate(run.levels) if level.work == work]
        figure.add_trace(
            go.Scatter(
                x=run.fit.observed[chosen],
                y=run.fit.fitted[chosen],
                name=work,
                mode="markers",
                marker={"symbol": _SYMBOLS[number % len(_SYMBOLS)], "size": 9},
                text=[f"{run.levels[index].amount:g}" for index in chosen],
            )
        )
    both = np.concatenate([run.fit.observed, run.fit.fitted])
    ends = [float(both.min()), float(both.max())]
    line = {"color": PREDICTED, "dash": "dash", "width": 1}
    figure.add_trace(go.Scatter(x=ends, y=ends, mode="lines", line=line, name="equal", hoverinfo="skip"))
    # The fit is of relative errors: on logarithmic axes equal distances are equal errors.
    figure.update_layout(hovermode="closest", xaxis_type="log", yaxis_type="log", yaxis_rangemode="normal")
    return Panel(
        "parity",
        "CPU by the fitted costs against CPU measured",
        "Each mark is a level. On the dashed line the costs explain it exactly.",
        figure,
    )


def _residuals(run: CalibrationRun) -> Panel:
    figure = blank_figure("level", "residual, in its own standard errors")
    names = [f"{level.work}, {level.amount:g}" for level in run.levels]
    numbers = np.arange(1, len(names) + 1)
    marker = {"color": MEASURED, "size": 8}
    figure.add_trace(
        go.Scatter(x=numbers, y=run.fit.studentised, text=names, mode="markers", marker=marker, name="level")
    )
    for bound in (-3, 3):
        figure.add_hline(y=bound, line={"color": PREDICTED, "dash": "dash", "width": 1})
    figure.update_layout(hovermode="closest", showlegend=False, yaxis={"rangemode": "normal"})
    return Panel(
        "residuals",
        "What is left unexplained",
        "Levels beyond the dashed lines are outliers. They are shown here and stay in the fit.",
        figure,
    )
