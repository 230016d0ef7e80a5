"""Predict a study: with its own seed, with other seeds for intervals, and against exact theory where there is any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.common.targets import JudgedTarget, judge_quality
from trunkproof.experiments.prediction.twin import TwinCheck, analytic_twin
from trunkproof.models.html import html_table
from trunkproof.models.kpis import DEFINITIONS, Kpis, compute_kpis
from trunkproof.models.study import Study
from trunkproof.simulator.replicate import Interval, Replications, replicate
from trunkproof.simulator.run import Engine, Start, simulate

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, eq=False)
class Prediction:
    """The model's prediction of a study."""

    study: Study
    records: pl.DataFrame
    kpis: Kpis
    """The indicators with the study's own seed."""
    repeated: Replications | None
    engine: Engine
    twin: tuple[TwinCheck, ...] | str

    @property
    def prediction_intervals(self) -> Mapping[str, Interval]:
        """Return indicator -> the range in which 95 % of runs with other seeds lie. Empty without repetitions."""
        return {} if self.repeated is None else self.repeated.prediction_intervals

    @property
    def confidence_intervals(self) -> Mapping[str, Interval]:
        """Return indicator -> the range in which its mean over all seeds lies, 95 % sure. Empty without repetitions."""
        return {} if self.repeated is None else self.repeated.confidence_intervals

    @property
    def targets(self) -> tuple[JudgedTarget, ...]:
        """Return the study's quality targets, judged on the prediction."""
        return judge_quality(self.study.quality, self.kpis)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the records, ready for `json.dumps`."""
        estimates = {} if self.repeated is None else self.repeated.estimates
        return {
            "study": self.study.name,
            "study_hash": self.study.digest(),
            "seed": self.study.seed,
            "engine": self.engine.value,
            "repetitions": 0 if self.repeated is None else self.repeated.repetitions,
            "precision_reached": self.repeated is None or self.repeated.reached,
            "kpis": {
                name: {
                    "value": value,
                    "prediction_interval": self.prediction_intervals.get(name),
                    "confidence_interval": self.confidence_intervals.get(name),
                    "mean": estimates[name].mean if name in estimates else None,
                    "half_width": estimates[name].half_width if name in estimates else None,
                }
                for name, value in self.kpis.values.items()
            },
            "dispositions": {kind.value: count for kind, count in self.kpis.dispositions.items()},
            "targets": [target.to_json() for target in self.targets],
            "twin": self.twin if isinstance(self.twin, str) else [check.to_json() for check in self.twin],
        }

    def plot(self) -> Figure:
        """Return a Plotly figure: attempts per minute over time, by what came of them."""
        from trunkproof.models.plots import endings_over_time, shown  # noqa: PLC0415  # Plotly takes long to load.

        return shown(endings_over_time(self.records), f"{self.study.name}, predicted")

    def _repr_html_(self) -> str:
        rows = []
        for name, definition in DEFINITIONS.items():
            words = [formatted(self.kpis[name], definition.unit)]
            for intervals in (self.prediction_intervals, self.confidence_intervals) if self.repeated else ():
                ends = intervals.get(name)
                words.append(" to ".join(formatted(end, definition.unit) for end in ends) if ends else "")
            rows.append((definition.title, *words))
        more = ("95 % of further runs", "mean over seeds, 95 % sure") if self.repeated else ()
        return html_table(("indicator", "predicted", *more), rows, caption=f"{self.study.name}, predicted")

    def __repr__(self) -> str:
        return f"<Prediction for {self.study.name!r}: {self.kpis!r}>"


def predict(
    study: Study,
    *,
    replications: int = 0,
    precision: float | None = None,
    start: Start = Start.EMPTY,
    anchor_s: float = 0.0,
    engine: Engine | None = None,
) -> Prediction:
    """Simulate a study with its own seed and, if `replications` or `precision` is given, with other seeds too.

    By default SimPy runs a single simulation, and the compiled kernel runs repetitions. Both give the same records.
    `anchor_s` is an instant at which a window of every throttle begins. With other seeds the phase is random.
    """
    repeats = bool(replications) or precision is not None
    chosen = engine or (Engine.KERNEL if repeats else Engine.SIMPY)
    anchors = {trunk.name: anchor_s for trunk in study.trunks}
    records = simulate(study, start=start, anchors=anchors, engine=chosen)
    repeated = None
    if repeats:
        repeated = replicate(study, replications=replications, precision=precision, start=start, engine=chosen)
    return Prediction(study, records, compute_kpis(records), repeated, chosen, analytic_twin(study))
