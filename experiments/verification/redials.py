"""Check callers who redial against the fixed point of `teletraffic.redial_load`.

The formula assumes that redials are Poisson and independent of the window that refused them. To meet it, callers here
wait forty windows on average, may make twenty attempts, and are counted only once redials have settled.
"""

from __future__ import annotations

import math
from concurrent.futures import Executor

import numpy as np
import polars as pl

from trunkproof.experiments.verification.cases import question
from trunkproof.experiments.verification.check import Point
from trunkproof.experiments.verification.size import Size
from trunkproof.models.distributions import Exponential
from trunkproof.models.records import REFUSED_BY_TRUNK
from trunkproof.models.streams import generator
from trunkproof.models.study import Study
from trunkproof.models.teletraffic import RedialLoad, fixed_window_refused, redial_load
from trunkproof.models.throttles.fixed_window import FixedWindow
from trunkproof.models.traffic import Redial
from trunkproof.simulator.run import simulate

_LIMIT, _WINDOW_S, _PROBABILITY = 5, 2.5, 0.8
_DELAY_S = 40 * _WINDOW_S
_SETTLED_S = 8 * _DELAY_S
"""Counting begins after this. The share of redials still missing then is exp(-8 (1 - p r)): 2e-3 at most here."""
_RUN_OUT_S = 5 * _DELAY_S
"""Counting ends this long before the last fresh call: later redials meet fewer other calls."""
_RATES = (90.0, 105.0, 115.0)
"""Fresh calls per minute, at a limit of 120."""
_REFUSED = [kind.value for kind in REFUSED_BY_TRUNK]


def redial_points(size: Size, executor: Executor | None = None) -> list[Point]:
    """Return two points for every rate: share of attempts refused, and share of customers lost."""
    run = map if executor is None else executor.map
    tasks = [(_study(rate, size.redial_calls), number) for rate in _RATES for number in range(size.redial_repetitions)]
    samples = np.array(list(run(repetition, tasks))).reshape(len(_RATES), size.redial_repetitions, 2)
    return [point for rate, found in zip(_RATES, samples, strict=True) for point in _points(rate, found)]


def _points(rate: float, found: np.ndarray) -> list[Point]:
    load = exact(rate)
    means, errors = found.mean(axis=0), found.std(axis=0, ddof=1) / math.sqrt(len(found))
    names = (f"{rate:g} fresh calls per minute, attempts refused", f"{rate:g} fresh calls per minute, customers lost")
    answers = (load.refused_share, load.lost_share)
    return [
        Point(name, answer, float(mean), float(error), len(found))
        for name, answer, mean, error in zip(names, answers, means, errors, strict=True)
    ]


def exact(rate_per_minute: float) -> RedialLoad:
    """Return the formula's answer for loads per window."""
    fresh = rate_per_minute * _WINDOW_S / 60
    return redial_load(fresh, _PROBABILITY, lambda offered: fixed_window_refused(offered, _LIMIT))


def _study(rate: float, calls: int) -> Study:
    redial = Redial(probability=_PROBABILITY, delay=Exponential(mean_s=_DELAY_S), attempts=20, obeys_retry_after=False)
    study = question(f"redials at {rate:g}", FixedWindow(limit=_LIMIT, window_s=_WINDOW_S), rate, calls, redial=redial)
    return study.model_copy(update={"duration_s": study.duration_s + _SETTLED_S + _RUN_OUT_S})


def repetition(task: tuple[Study, int]) -> tuple[float, float]:
    """Simulate once and return the shares refused and lost, once redials have settled.

    It stands at the top of the module because processes must find it by its name.
    """
    study, number = task
    seed = int(generator(study.seed, "redials", number).integers(2**62))
    records = simulate(study.model_copy(update={"seed": seed}))
    refused = pl.col("disposition").cast(pl.String).is_in(_REFUSED)
    counted = records.filter(pl.col("intended_s").is_between(_SETTLED_S, study.duration_s - _RUN_OUT_S))
    first = counted.filter(pl.col("attempt") == 0)["call"]
    last = records.filter(pl.col("call").is_in(first.implode()) & ~pl.col("redialled"))
    return _share(counted, refused), _share(last, refused)


def _share(records: pl.DataFrame, chosen: pl.Expr) -> float:
    return records.filter(chosen).height / records.height
