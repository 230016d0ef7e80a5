"""Predict a study at several values of some of its keys: `sweep(study, over={"trunk.throttle.limit": [200, 300]})`.

All points have the same seeds, so the same callers call (common random numbers). Differences between points are then
those of the keys, and little chance. `contrast` gives the interval of such a difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.special import stdtrit

from trunkproof.experiments.common.formatting import formatted
from trunkproof.models.html import html_table
from trunkproof.models.kpis import DEFINITIONS
from trunkproof.models.study import Study
from trunkproof.simulator.replicate import Interval, Replications, replicate
from trunkproof.simulator.run import Engine, Start

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_SHOWN = ("refused_share", "customers_lost_share", "peak_concurrency")


@dataclass(frozen=True, eq=False)
class Sweep:
    """The indicators of a study at each combination of values."""

    study: Study
    over: Mapping[str, tuple[Any, ...]]
    """Key -> its values."""
    points: tuple[Replications, ...]
    """The repetitions at each combination, the last key's values changing fastest."""

    @property
    def combinations(self) -> tuple[tuple[Any, ...], ...]:
        """Return the values of all keys at each point."""
        return tuple(product(*self.over.values()))

    def to_frame(self) -> pl.DataFrame:
        """Return a row per point and indicator.

        Columns: the keys, `kpi`, `mean`, `confidence_low` and `confidence_high` (of the mean), `prediction_low` and
        `prediction_high` (of one further run). An indicator that fewer than two repetitions have has no row.
        """
        rows = [
            dict(zip(self.over, map(_plain, values), strict=True))
            | {"kpi": kpi, "mean": estimate.mean}
            | dict(zip(("confidence_low", "confidence_high"), point.confidence_intervals[kpi], strict=True))
            | dict(zip(("prediction_low", "prediction_high"), point.prediction_intervals[kpi], strict=True))
            for values, point in zip(self.combinations, self.points, strict=True)
            for kpi, estimate in point.estimates.items()
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def plot(self, kpi: str = "refused_share") -> Figure:
        """Return a picture of one indicator over the first key, a line for each combination of the others.

        Bars are the confidence intervals of the means.
        """
        import plotly.graph_objects as go  # noqa: PLC0415  # It takes long to load.

        definition = DEFINITIONS[kpi]
        first, *others = self.over
        figure = go.Figure(layout={"template": "plotly_white", "title": f"{definition.title} of {self.study.name}"})
        frame = self.to_frame().filter(pl.col("kpi") == kpi)
        for names, line in frame.group_by(others or [pl.lit("")], maintain_order=True):
            reach = (line["confidence_high"] - line["mean"]).to_list()
            figure.add_scatter(
                x=line[first].to_list(),
                y=line["mean"].to_list(),
                error_y={"type": "data", "array": reach},
                name=", ".join(f"{key} {name}" for key, name in zip(others, names, strict=False)),
                mode="lines+markers",
            )
        figure.update_xaxes(title=first)
        figure.update_yaxes(title=definition.unit, tickformat=".1%" if definition.unit == "share" else None)
        return figure

    def __repr__(self) -> str:
        return f"<Sweep of {self.study.name!r} over {', '.join(self.over)}: {len(self.points)} points>"

    def _repr_html_(self) -> str:
        rows = [
            (*values, *(formatted(_mean(point, kpi), DEFINITIONS[kpi].unit) for kpi in _SHOWN))
            for values, point in zip(self.combinations, self.points, strict=True)
        ]
        return html_table((*self.over, *(DEFINITIONS[kpi].title for kpi in _SHOWN)), rows, caption=repr(self))


@dataclass(frozen=True)
class Difference:
    """An indicator of a second study minus that of a first one, seed by seed."""

    kpi: str
    mean: float
    confidence_interval: Interval
    """Of the mean difference (Student's t over the pairs)."""
    pairs: int

    @property
    def is_certain(self) -> bool:
        """Tell whether the interval leaves out zero."""
        low, high = self.confidence_interval
        return low > 0 or high < 0


class Contrast(dict[str, Difference]):
    """Indicator -> its difference."""

    def to_frame(self) -> pl.DataFrame:
        """Return a row per indicator: `kpi`, `mean`, `confidence_low`, `confidence_high`, `is_certain`, `pairs`."""
        rows = [
            {"kpi": one.kpi, "mean": one.mean}
            | dict(zip(("confidence_low", "confidence_high"), one.confidence_interval, strict=True))
            | {"is_certain": one.is_certain, "pairs": one.pairs}
            for one in self.values()
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    def _repr_html_(self) -> str:
        rows = []
        for one in self.values():
            definition = DEFINITIONS[one.kpi]
            low, high = (formatted(end, definition.unit, signed=True) for end in one.confidence_interval)
            told = formatted(one.mean, definition.unit, signed=True)
            rows.append((definition.title, told, f"{low} to {high}", "yes" if one.is_certain else ""))
        titles = ("indicator", "second minus first", "95 % confidence", "certain")
        return html_table(titles, rows, caption="Differences between two studies, paired by seed")


def sweep(
    study: Study,
    over: Mapping[str, Sequence[Any]],
    *,
    replications: int = 8,
    precision: float | None = None,
    start: Start = Start.EMPTY,
    executor: Executor | None = None,
    engine: Engine = Engine.KERNEL,
) -> Sweep:
    """Repeat a study at each combination of values. `over` has keys as in `Study.but`.

    Raises:
        InputError: a key or a value is wrong; nothing is simulated then.
    """
    values = {key: tuple(each) for key, each in over.items()}
    studies = [study.but(dict(zip(values, point, strict=True))) for point in product(*values.values())]
    points = (
        replicate(one, replications=replications, precision=precision, start=start, executor=executor, engine=engine)
        for one in studies
    )
    return Sweep(study, values, tuple(points))


def contrast(
    first: Study,
    second: Study,
    *,
    replications: int = 16,
    confidence: float = 0.95,
    start: Start = Start.EMPTY,
    executor: Executor | None = None,
) -> Contrast:
    """Return indicator -> second minus first, paired by seed.

    Both studies should have one seed: then the same callers call in both, and the difference is far more exact than
    from two independent predictions. Source: Law, "Simulation Modeling and Analysis" (5th edition, 2015), 11.2.
    Indicators that fewer than two pairs have are left out.
    """
    sides = [replicate(one, replications=replications, start=start, executor=executor) for one in (first, second)]
    before, after = sides
    found = {kpi: _paired(kpi, before.samples[kpi], after.samples[kpi], confidence) for kpi in DEFINITIONS}
    return Contrast({kpi: difference for kpi, difference in found.items() if difference is not None})


def _paired(
    kpi: str, first: Sequence[float | None], second: Sequence[float | None], confidence: float
) -> Difference | None:
    pairs = zip(first, second, strict=True)
    differences = np.array([after - before for before, after in pairs if before is not None and after is not None])
    if len(differences) < 2:
        return None
    t = float(stdtrit(len(differences) - 1, (1 + confidence) / 2))
    mean, reach = float(differences.mean()), t * float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return Difference(kpi, mean, (mean - reach, mean + reach), len(differences))


def _mean(point: Replications, kpi: str) -> float | None:
    return point.estimates[kpi].mean if kpi in point.estimates else None


def _plain(value: Any) -> Any:
    """Return a value that fits a table's column: settings as text."""
    return value if isinstance(value, str | int | float | bool | None) else str(value)
