"""Check the simulator against formulas: repeat each case, and compare its mean with the exact value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np

from trunkproof.experiments.prediction.twin import LARGEST_Z
from trunkproof.experiments.report.sheet import Panel
from trunkproof.experiments.verification.cases import Case, loss_cases, throttle_cases
from trunkproof.experiments.verification.check import Check, Point
from trunkproof.experiments.verification.figures import parity_figure
from trunkproof.experiments.verification.redials import redial_points
from trunkproof.experiments.verification.size import Size
from trunkproof.simulator.replicate import replicate
from trunkproof.simulator.run import Start

_READ = (
    "Above: simulated against exact; a correct simulator lies on the diagonal. Below: the relative difference, "
    f"with bars of {LARGEST_Z:g} standard errors; all bars of a correct simulator touch zero. Red crosses: incorrect."
)


def measure(task: tuple[Case, int]) -> Point:
    """Repeat one case. It stands at the top of the module because processes must find it by its name."""
    case, repetitions = task
    estimates = replicate(case.study, replications=repetitions, start=Start.STATIONARY).estimates
    found = estimates["refused_share"]
    # Refusals come in clusters: their error is at least that of independent ones, even where none was seen.
    attempts = estimates["attempts"].mean * repetitions
    independent = math.sqrt(case.exact * (1 - case.exact) / attempts)
    return Point(case.name, case.exact, found.mean, max(found.standard_error, independent), repetitions)


def loss_check(size: Size, executor: Executor | None = None) -> tuple[Check, list[Point]]:
    """Check Erlang's loss formula."""
    points = _measured(loss_cases(size.calls), size, executor)
    return parity_check("channels", "Channels: Erlang's loss formula", points, "blocking"), points


def throttle_check(size: Size, executor: Executor | None = None) -> tuple[Check, list[Point]]:
    """Check every throttle's formula."""
    points = _measured(throttle_cases(size.calls), size, executor)
    return parity_check("throttles", "Throttles: share refused", points, "share refused"), points


def redial_check(size: Size, executor: Executor | None = None) -> tuple[Check, list[Point]]:
    """Check the fixed point of callers who redial. Only one of the two points of each rate is independent."""
    points = redial_points(size, executor)
    return parity_check("redials", "Redials: refused and lost", points, "share"), points[::2]


def _measured(cases: list[Case], size: Size, executor: Executor | None) -> list[Point]:
    run = map if executor is None else executor.map
    return list(run(measure, [(case, size.repetitions) for case in cases]))


def parity_check(name: str, title: str, points: Sequence[Point], what: str) -> Check:
    """Judge points that should lie on the diagonal."""
    wrong = [point for point in points if not point.is_correct]
    worst = max(points, key=lambda point: abs(point.score))
    detectable = float(np.median([point.reach / point.exact for point in points]))
    found = (
        f"All {len(points)} agree, the farthest ({worst.name}) at z = {worst.score:+.1f}"
        if not wrong
        else f"{len(wrong)} of {len(points)} differ by more than chance: {'; '.join(point.name for point in wrong)}"
    )
    line = f"{found}. An error of {100 * detectable:.1f} % (median) would have shown."
    panel = Panel(name, title, _READ, parity_figure(points, what))
    values = {"points": [point.to_json() for point in points], "detectable_share": detectable}
    return Check(panel, not wrong, line, values)
