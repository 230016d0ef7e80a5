"""Simulate both states of throttles that count refused attempts: calm, and full of redials that keep it full.

Which state a busy period is in depends on how it began. So each period is simulated as the day begins, and after a
rush.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np

from trunkproof.experiments.review.periods.busy import BusyPeriods
from trunkproof.experiments.review.periods.horizon import Demand
from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import TwoStates
from trunkproof.experiments.review.sweep.bench import Batch, run_batches
from trunkproof.experiments.review.sweep.cells import study_with, with_limit
from trunkproof.experiments.review.sweep.spans import Layout, from_rates
from trunkproof.experiments.review.sweep.sweep import lead_s
from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.result import Fit, Ranged
from trunkproof.models.streams import generator
from trunkproof.models.throttles.registry import ThrottleSettings

_RUSH = 2.5
"""Load over the limit in the rush, in the last ten minutes before the period."""
_RUSH_S = 600.0
_SPANS = 12


def two_states(  # noqa: PLR0917  # what a period is made of
    request: Request,
    fit: Fit,
    busy: BusyPeriods,
    demand: Demand,
    interpretations: Sequence[int],
    limit: int,
    executor: Executor | None = None,
) -> tuple[TwoStates, ...]:
    """Return both states at one throttle, for each interpretation that has two."""
    found = []
    for number in interpretations:
        interpretation = request.interpretations[number]
        if interpretation.has_two_states:
            throttle = with_limit(interpretation, limit)
            # The same callers and days in both, so that the state is the only difference.
            batches = [_batch(request, fit, busy, demand, throttle, rush) for rush in (0.0, _RUSH * limit)]
            calm, collapsed = (
                _share(result.values[0]["refused"], result.values[0]["attempts"])
                for result in run_batches(batches, executor)
            )
            found.append(TwoStates(interpretation, limit, calm, collapsed))
    return tuple(found)


def _batch(  # noqa: PLR0917  # as above
    request: Request,
    fit: Fit,
    busy: BusyPeriods,
    demand: Demand,
    throttle: ThrottleSettings,
    rush_per_minute: float,
) -> Batch:
    lead, random = lead_s(request, fit), generator(request.seed, "two states")
    days = np.arange(len(busy.days)) if len(busy.days) <= _SPANS else random.permutation(len(busy.days))[:_SPANS]
    layout, rates = Layout(len(days), lead, busy.length_s), fit.days.draw(random)
    paths = []
    for day in days:
        path = fit.days.path(rates, int(busy.days[day]), busy.start_s[day] - lead, lead + busy.length_s, random)
        path = path * demand.base[day]
        first, last = round((lead - _RUSH_S) / fit.days.step_s), round(lead / fit.days.step_s)
        # Only before the period: what the period itself refuses must come from the state, and not from the rush.
        path[first:last] = np.maximum(path[first:last], rush_per_minute)
        paths.append(path)
    seed = int(generator(request.seed, "two states", 1).integers(2**62))
    arrivals = from_rates(paths, fit.days.step_s, layout)
    study = study_with(request, fit, arrivals, layout.duration_s, seed, throttle)
    return Batch(study, layout, (throttle,), request.engine)


def _share(refused: FloatArray, attempts: FloatArray) -> Ranged:
    """Return the share over all spans, with the smallest and the largest share of a span as its range."""
    shares = refused / np.maximum(attempts, 1.0)
    return Ranged(float(refused.sum() / max(attempts.sum(), 1.0)), float(shares.min()), float(shares.max()))
