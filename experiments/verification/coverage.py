"""The certificate of the intervals: how often intervals of `simulator.replicate` contain the exact value.

Two systems with an exact answer are estimated hundreds of times, each time with other seeds, and with the number of
repetitions that `replicate` makes by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from trunkproof.experiments.report.sheet import Panel
from trunkproof.experiments.verification.cases import loss_system, own_seed, question
from trunkproof.experiments.verification.check import Check, Point
from trunkproof.experiments.verification.figures import coverage_figure
from trunkproof.experiments.verification.size import Size
from trunkproof.models.study import Study
from trunkproof.models.teletraffic import erlang_b, fixed_window_refused
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.simulator.replicate import replicate
from trunkproof.simulator.run import Start

NOMINAL, TOLERANCE, REPEATS = 0.95, 0.02, 400
"""The share that must contain the exact value: 93 to 97 % in 400 repeats."""
_CALLS = 300
_READ = (
    "Share of the 95 % intervals that contain the exact value, by number of repeats. Correct: each line ends inside "
    "the box at the right."
)


@dataclass(frozen=True)
class Repeat:
    """One estimate with its interval."""

    point: Point
    contains: bool


def coverage_check(size: Size, executor: Executor | None = None) -> tuple[Check, list[Point]]:
    """Check the intervals of a loss system and of a fixed window. Return the check and all estimates."""
    run = map if executor is None else executor.map
    repeats = {}
    for name, (study, exact) in _systems().items():
        seeds = [own_seed(name, number) for number in range(1, size.repeats + 1)]
        tasks = [(study.model_copy(update={"seed": seed}), exact) for seed in seeds]
        repeats[name] = list(run(estimate, tasks))
    contained = {name: np.array([one.contains for one in found]) for name, found in repeats.items()}
    return certificate(contained), [one.point for found in repeats.values() for one in found]


def _systems() -> dict[str, tuple[Study, float]]:
    throttle = FixedWindow(limit=10, window_s=5)
    return {
        "2 E on 3 channels": (loss_system("coverage", 2.0, 3, "exponential", _CALLS), erlang_b(2.0, 3)),
        "10 in 5 s, fixed window, 120 per minute": (
            question("coverage", throttle, 120.0, _CALLS),
            fixed_window_refused(10.0, 10),
        ),
    }


def estimate(task: tuple[Study, float]) -> Repeat:
    """Make one repeat. It stands at the top of the module because processes must find it by its name."""
    study, exact = task
    found = replicate(study, start=Start.STATIONARY).estimates["refused_share"]
    point = Point(study.name, exact, found.mean, found.standard_error, found.repetitions)
    return Repeat(point, bool(abs(found.mean - exact) <= found.half_width))


def tolerance(repeats: int) -> float:
    """Return the tolerance of the share: with fewer repeats as many standard errors as with 400."""
    return float(TOLERANCE * np.sqrt(REPEATS / repeats))


def certificate(contained: dict[str, np.ndarray]) -> Check:
    """Judge how many intervals contain the exact value."""
    shares = {name: float(np.mean(each)) for name, each in contained.items()}
    repeats = min(len(each) for each in contained.values())
    low, high = NOMINAL - tolerance(repeats), min(1.0, NOMINAL + tolerance(repeats))
    # Shares are whole numbers of repeats over their count: the last digit of a float must not decide.
    is_correct = all(low - 1e-9 <= share <= high + 1e-9 for share in shares.values())
    found = "; ".join(f"{100 * share:.1f} % ({name})" for name, share in shares.items())
    asked = f"it must be {100 * low:.1f} to {100 * high:.1f} %"
    line = f"{repeats} intervals each contain the exact value in {found}; {asked}."
    figure = coverage_figure({name: _running(each) for name, each in contained.items()}, low, high)
    panel = Panel("coverage", "Certificate: what 95 % intervals contain", _READ, figure)
    return Check(panel, is_correct, line, {"repeats": repeats, "coverage": shares, "asked": [low, high]})


def _running(contained: Sequence[bool] | np.ndarray) -> np.ndarray:
    return np.cumsum(contained) / np.arange(1, len(contained) + 1)
