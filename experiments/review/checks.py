"""Checks that show whether a review can be believed: exact theory, real stacks, and days kept out of the fit.

Each check says what was compared and whether it holds. None changes the decision.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

from scipy.stats import binom

from trunkproof.experiments.prediction.twin import LARGEST_Z, channel_time_s
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import Check
from trunkproof.experiments.review.sweep.bench import Batch, run_batches
from trunkproof.experiments.review.sweep.cells import study_with, with_limit
from trunkproof.experiments.review.sweep.spans import Layout
from trunkproof.experiments.validation.suite.cells import SUITE
from trunkproof.models.demand.fitting.result import Fit
from trunkproof.models.distributions import Exponential
from trunkproof.models.streams import generator
from trunkproof.models.study import Carrier, Machine, Pop
from trunkproof.models.teletraffic import (
    call_congestion_standard_error,
    channels_needed,
    erlang_b,
    fixed_window_refused,
    fixed_window_standard_error,
)
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.throttles.no_throttle import NoThrottle
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.traffic import Outcomes, PoissonArrivals, Redial

RESULTS = Path(__file__).parents[1] / "results"
_REPETITIONS = 4
_LEAST, _MOST = 10.0, 300.0
"""Range of calls per minute in the runs against theory: enough to be significant, few enough to be quick."""
_HOLD_S = 60.0
_LEAD_S = 600.0
"""Ten mean calls: by then the empty trunk of the beginning no longer matters."""
_COVERAGE_DOUBT = 0.01
"""The coverage of the days kept out is wrong if it is less likely than this for independent days."""


def checks_of(request: Request, fit: Fit, per_minute: float, executor: Executor | None = None) -> tuple[Check, ...]:
    """Return all checks; `per_minute` is the number of fresh calls per minute in the busy hour."""
    rate = min(_MOST, max(_LEAST, round(per_minute)))
    theory = (_throttle_theory(request, fit, rate, executor), _erlang_theory(request, fit, rate, executor))
    return (*theory, *cheap_checks(fit))


def cheap_checks(fit: Fit) -> tuple[Check, ...]:
    """Return the checks that need no simulation."""
    return (*_held_out(fit), real_stacks(RESULTS))


def _throttle_theory(request: Request, fit: Fit, rate: float, executor: Executor | None) -> Check:
    limit = round(rate)
    seen = _refused_in_sweep(request, fit, rate, executor, interpretation=FixedWindow())
    error = fixed_window_standard_error(rate, limit, 60 * _REPETITIONS)
    return _compared(
        f"exact theory: a throttle of {limit} per fixed minute", fixed_window_refused(rate, limit), seen, error, rate
    )


def _erlang_theory(request: Request, fit: Fit, rate: float, executor: Executor | None) -> Check:
    # A channel is kept from set-up on, ringing included.
    erlang = rate / 60 * channel_time_s(Pop(), _plain(fit).traffic())
    channels = channels_needed(erlang, 0.02)
    seen = _refused_in_sweep(request, fit, rate, executor, interpretation=NoThrottle(), channels=channels)
    error = call_congestion_standard_error(erlang, channels, 60 * rate * _REPETITIONS)
    return _compared(
        f"exact theory: {channels} channels for {erlang:.0f} Erlang", erlang_b(erlang, channels), seen, error, rate
    )


def _refused_in_sweep(
    request: Request,
    fit: Fit,
    rate: float,
    executor: Executor | None,
    *,
    interpretation: ThrottleSettings,
    channels: int | None = None,
) -> float:
    """Return the share that the review's own simulation refuses, of callers as theory assumes them."""
    pop = Pop(carrier=Carrier(channels=channels), machine=Machine(cores=64, calibration=request.pop.calibration))
    asked = request.model_copy(update={"pop": pop, "neighbours": ()})
    layout = Layout(1, _LEAD_S, 3600.0)
    arrivals = PoissonArrivals(kind="poisson", rate_per_minute=rate)
    throttle = with_limit(interpretation, round(rate))
    batches = []
    for repetition in range(_REPETITIONS):
        seed = int(generator(request.seed, "exact theory", repetition).integers(2**62))
        study = study_with(asked, _plain(fit), arrivals, layout.duration_s, seed, throttle)
        batches.append(Batch(study, layout, (throttle,), request.engine))
    found = [result.values[0] for result in run_batches(batches, executor)]
    return sum(float(one["refused"].sum()) for one in found) / sum(float(one["attempts"].sum()) for one in found)


def _plain(fit: Fit) -> Fit:
    """Return callers as theory assumes them: always answered, exponential holding times, no redials."""
    return replace(
        fit,
        holding=replace(fit.holding, distribution=Exponential(kind="exponential", mean_s=_HOLD_S)),
        ringing=None,
        outcomes=Outcomes(),
        redial=replace(fit.redial, redial=Redial()),
        inbound_share=0.0,
    )


def _compared(name: str, exact: float, seen: float, error: float, rate: float) -> Check:
    z = (seen - exact) / error if error else 0.0
    said = (
        f"at {rate:.0f} Poisson calls per minute the formula refuses {100 * exact:.3f} %, "
        f"the simulation of this review {100 * seen:.3f} % (z = {z:+.1f})"
    )
    return Check(name, said, abs(z) <= LARGEST_Z)


def _held_out(fit: Fit) -> tuple[Check, ...]:
    held = fit.held_out
    if held is None:
        return (Check("days kept out of the fit", "the history is too short to keep any out", None),)
    rows = (("days", held.days.height, held.seen_by_day), ("hours", held.hours.height, held.seen_by_hour))
    return tuple(
        Check(
            f"{what} kept out of the fit",
            f"{100 * seen:.0f} % of {count} lie in their {100 * held.asked:.0f} % intervals",
            _covers(held.asked, count, seen),
        )
        for what, count, seen in rows
        if count
    )


def _covers(asked: float, count: int, seen: float) -> bool | None:
    """Tell whether the share inside is not significantly too small; None where there are too few to tell."""
    if math.isnan(seen) or count < 3:
        return None
    # Hours of one day move together, so fewer of them are independent.
    independent = max(3, count if count < 24 else count // 8)
    return bool(binom.cdf(round(seen * independent), independent, asked) > _COVERAGE_DOUBT)


def real_stacks(results: Path) -> Check:
    """Return the result of the newest validation with real calls through real stacks."""
    name = "real calls through real stacks"
    files = sorted(results.glob(f"*/{SUITE}"))
    if not files:
        return Check(name, "there are no results of `validate --suite`", None)
    try:
        cells = json.loads(files[-1].read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError) as error:
        return Check(name, f"{files[-1].name} cannot be read ({error})", None)
    return _summed_up(name, files[-1].parent.name, [cell for cell in cells if cell.get("attempts")])


def _summed_up(name: str, day: str, played: list[Mapping[str, Any]]) -> Check:
    attempts = sum(cell["attempts"] for cell in played)
    agreed = sum(round(cell["attempts"] * cell["agreement"]) for cell in played)
    stacks = Counter(cell["stack"] for cell in played)
    missed = [f"{cell['title']} on {cell['stack']}: {', '.join(cell['misses'])}" for cell in played if cell["misses"]]
    said = (
        f"{day}: {agreed:,} of {attempts:,} attempts ended as predicted, call for call, in "
        f"{' and '.join(f'{count} profiles on {stack}' for stack, count in stacks.items())}"
    )
    said += f"; beyond what was allowed: {'; '.join(missed)}" if missed else "; every criterion was kept"
    return Check(name, said, all(cell["agrees"] for cell in played) if played else None)
