"""Questions asked of the two halves; for notebooks, each one call.

from trunkproof.experiments import draw_plan, read_study, simulate, validate_async

study = read_study("experiments/studies/above.yaml")
records = simulate(study, draw_plan(study))
comparison = await validate_async(study, Path("out"))
"""

import trunkproof.models  # noqa: F401  # first: it keeps linear algebra to one thread
from trunkproof.experiments.prediction.forecast import Forecast, forecast
from trunkproof.experiments.prediction.predict import Prediction, predict
from trunkproof.experiments.validation.compare import Comparison, compare
from trunkproof.experiments.validation.validate import read_evidence, validate, validate_async
from trunkproof.loadgen.options import RunOptions
from trunkproof.loadgen.run import Run, RunResult, drive
from trunkproof.loadgen.stacks.process import running_trunk
from trunkproof.models.kpis import Kpis, compute_kpis
from trunkproof.models.plan import Plan, draw_plan
from trunkproof.models.study import Study
from trunkproof.models.study_file import parse_study, read_study
from trunkproof.simulator.replicate import Replications, replicate
from trunkproof.simulator.run import Start, simulate

__all__ = [
    "Comparison",
    "Forecast",
    "Kpis",
    "Plan",
    "Prediction",
    "Replications",
    "Run",
    "RunOptions",
    "RunResult",
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
