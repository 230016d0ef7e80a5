"""Questions asked of the two halves; for notebooks, each one call.

from experiments import draw_plan, read_study, simulate, validate_async

study = read_study("experiments/studies/above.yaml")
records = simulate(study, draw_plan(study))
comparison = await validate_async(study, Path("out"))
"""

import models  # noqa: F401  # first: it keeps linear algebra to one thread
from experiments.forecast import Forecast, forecast
from experiments.prediction import Prediction, predict
from experiments.validation.compare import Comparison, compare
from experiments.validation.validate import read_evidence, validate, validate_async
from loadgen.run import Drive, drive
from loadgen.stacks.process import running_trunk
from models.kpis import Kpis, compute_kpis
from models.plan import Plan, draw_plan
from models.reading import parse_study, read_study
from models.study import Study
from simulator.replicate import Replications, replicate
from simulator.run import Start, simulate

__all__ = [
    "Comparison",
    "Drive",
    "Forecast",
    "Kpis",
    "Plan",
    "Prediction",
    "Replications",
    "Start",
    "Study",
    "compare",
    "compute_kpis",
    "draw_plan",
    "drive",
    "forecast",
    "parse_study",
    "predict",
    "read_evidence",
    "read_study",
    "replicate",
    "running_trunk",
    "simulate",
    "validate",
    "validate_async",
]
