"""Predict what a SIP trunk can carry, then prove it with real encrypted calls.

    import trunkproof as tp

    study = tp.read_study("experiments/studies/above.yaml")
    records = tp.simulate(study)
    comparison = tp.validate(study, Path("out"))

What people do is here, by one name each; every name is imported when it is first used. The parts of the library are
`trunkproof.models`, `trunkproof.simulator`, `trunkproof.loadgen` and `trunkproof.experiments`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # As type checkers know it. `typing` takes longer to import than all else here.
if TYPE_CHECKING:
    from trunkproof.experiments.load.compare import compare, compare_runs, read_compared
    from trunkproof.experiments.load.result import LoadResult, read_load
    from trunkproof.experiments.load.run import load, load_async
    from trunkproof.experiments.prediction.forecast import Forecast, forecast
    from trunkproof.experiments.prediction.predict import Prediction, predict
    from trunkproof.experiments.prediction.sweep import Contrast, Difference, Sweep, contrast, sweep
    from trunkproof.experiments.review.request import Request
    from trunkproof.experiments.review.request_file import parse_request, read_request
    from trunkproof.experiments.review.result import Review
    from trunkproof.experiments.review.review import review
    from trunkproof.experiments.review.score.score import score
    from trunkproof.experiments.sizing.calibration.calibrate import calibrate
    from trunkproof.experiments.sizing.knee.find import find_knee
    from trunkproof.experiments.target.identify.calling import identify, identify_async
    from trunkproof.experiments.target.identify.judgement import Identification
    from trunkproof.experiments.target.identify.probe import ProbeBounds
    from trunkproof.experiments.validation.compare import Comparison, compare_records
    from trunkproof.experiments.validation.validate import read_evidence, validate, validate_async
    from trunkproof.loadgen.options import RunOptions
    from trunkproof.loadgen.run import Run, RunResult, drive
    from trunkproof.loadgen.stacks.process import running_trunk
    from trunkproof.models.demand.history.reading import read_history
    from trunkproof.models.demand.history.settings import HistorySettings
    from trunkproof.models.errors import InputError, StackError, TrunkproofError
    from trunkproof.models.kpis import Kpis, compute_kpis
    from trunkproof.models.pandas_tables import to_pandas
    from trunkproof.models.plan import Plan, draw_plan
    from trunkproof.models.records import read_records, write_records
    from trunkproof.models.study import Study
    from trunkproof.models.study_file import parse_study, read_study
    from trunkproof.simulator.replicate import Replications, replicate
    from trunkproof.simulator.run import Engine, Start, simulate

_NAMES_OF = {
    "experiments.load.compare": ("compare", "compare_runs", "read_compared"),
    "experiments.load.result": ("LoadResult", "read_load"),
    "experiments.load.run": ("load", "load_async"),
    "experiments.prediction.forecast": ("Forecast", "forecast"),
    "experiments.prediction.predict": ("Prediction", "predict"),
    "experiments.prediction.sweep": ("Contrast", "Difference", "Sweep", "contrast", "sweep"),
    "experiments.review.request": ("Request",),
    "experiments.review.request_file": ("parse_request", "read_request"),
    "experiments.review.result": ("Review",),
    "experiments.review.review": ("review",),
    "experiments.review.score.score": ("score",),
    "experiments.sizing.calibration.calibrate": ("calibrate",),
    "experiments.sizing.knee.find": ("find_knee",),
    "experiments.target.identify.calling": ("identify", "identify_async"),
    "experiments.target.identify.judgement": ("Identification",),
    "experiments.target.identify.probe": ("ProbeBounds",),
    "experiments.validation.compare": ("Comparison", "compare_records"),
    "experiments.validation.validate": ("read_evidence", "validate", "validate_async"),
    "loadgen.options": ("RunOptions",),
    "loadgen.run": ("Run", "RunResult", "drive"),
    "loadgen.stacks.process": ("running_trunk",),
    "models.demand.history.reading": ("read_history",),
    "models.demand.history.settings": ("HistorySettings",),
    "models.errors": ("InputError", "StackError", "TrunkproofError"),
    "models.kpis": ("Kpis", "compute_kpis"),
    "models.plan": ("Plan", "draw_plan"),
    "models.records": ("read_records", "write_records"),
    "models.pandas_tables": ("to_pandas",),
    "models.study": ("Study",),
    "models.study_file": ("parse_study", "read_study"),
    "simulator.replicate": ("Replications", "replicate"),
    "simulator.run": ("Engine", "Start", "simulate"),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}

__all__ = [
    "Comparison",
    "Contrast",
    "Difference",
    "Engine",
    "Forecast",
    "HistorySettings",
    "Identification",
    "InputError",
    "Kpis",
    "LoadResult",
    "Plan",
    "Prediction",
    "ProbeBounds",
    "Replications",
    "Request",
    "Review",
    "Run",
    "RunOptions",
    "RunResult",
    "StackError",
    "Start",
    "Study",
    "Sweep",
    "TrunkproofError",
    "calibrate",
    "compare",
    "compare_records",
    "compare_runs",
    "compute_kpis",
    "contrast",
    "draw_plan",
    "drive",
    "find_knee",
    "forecast",
    "identify",
    "identify_async",
    "load",
    "load_async",
    "parse_request",
    "parse_study",
    "predict",
    "read_compared",
    "read_evidence",
    "read_history",
    "read_load",
    "read_records",
    "read_request",
    "read_study",
    "replicate",
    "review",
    "running_trunk",
    "score",
    "simulate",
    "sweep",
    "to_pandas",
    "validate",
    "validate_async",
    "write_records",
]


def __getattr__(name: str) -> object:
    """Import what is asked for by its name (PEP 562)."""
    from importlib import import_module  # noqa: PLC0415

    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    """Return all names, for completion."""
    return sorted({*globals(), *__all__})
