"""Replay the worst hour of the history: its fresh calls under the present and under a raised throttle.

Calls come at the instants of the history. Ringing, holding times and redials are drawn from the fit, because a history
does not show what refused callers would have done.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, time
from functools import partial

import numpy as np
import polars as pl

from trunkproof.experiments.review.request import Request
from trunkproof.experiments.review.result import Replay
from trunkproof.experiments.review.sweep.cells import study_with, with_limit
from trunkproof.experiments.review.sweep.spans import Layout, from_instants
from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.result import Fit
from trunkproof.models.demand.history.table import History
from trunkproof.models.records import REFUSED_BY_TRUNK
from trunkproof.models.streams import generator
from trunkproof.models.study import Study
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.simulator.run import Engine, simulate

LEAD_S = 1800.0
"""Length of the lead-in, whose calls fill the trunk before the hour."""
MINUTES = 60
MOST_CALLS = 100_000
"""An hour with more calls is not replayed: it would take minutes."""


@dataclass(frozen=True)
class Hour:
    """An hour of the history."""

    began_local: datetime


def worst_hour(history: History) -> Hour | None:
    """Return the hour with the most refused attempts, or without refusals the one with the most attempts.

    None where the history has no attempts.
    """
    table = history.counts.filter(~pl.col("start_local").dt.date().is_in(list(history.closed)))
    hours = (
        # Where clocks go back, two hours have the same local name but different offsets.
        table.group_by(
            hour=pl.col("start_local").dt.truncate("1h"),
            offset=pl.col("start_local") - pl.col("start_utc").dt.replace_time_zone(None),
        )
        .agg(pl.col("refused").sum(), pl.col("attempts").sum(), pl.col("start_utc").min())
        .sort("refused", "attempts", "start_utc", descending=[True, True, False])
    )
    if not hours.height or not hours["attempts"][0]:
        return None
    return Hour(hours["hour"][0])


def replay(
    request: Request, history: History, fit: Fit, raised_per_minute: int, executor: Executor | None = None
) -> Replay | None:
    """Replay the history's worst hour under the present throttle and a raised one.

    None where there is no such hour, it is too large, or the history was multiplied, so that its calls are not real.
    """
    hour = worst_hour(history)
    if hour is None or fit.multiplied != 1:
        return None
    begin_s = (hour.began_local - datetime.combine(hour.began_local.date(), time())).total_seconds()
    random = generator(request.seed, "replay")
    # The lead-in is taken from the history too: it fills the trunk with the calls that filled it then.
    instants = fit.fresh.instants_s(hour.began_local.date(), begin_s - LEAD_S, begin_s + 60.0 * MINUTES, random)
    if not 0 < len(instants) <= MOST_CALLS:
        return None
    interpretation = request.enforced or request.interpretations[0]
    limits = (request.now_per_minute, raised_per_minute)
    studies = [_study(request, fit, interpretation, limit, instants) for limit in limits]
    minutes = partial(_minutes, engine=request.engine)
    now, requested = (map if executor is None else executor.map)(minutes, studies)
    offered = np.histogram((instants - LEAD_S) / 60, bins=np.arange(MINUTES + 1))[0].astype(np.float64)
    return Replay(hour.began_local, interpretation, np.arange(MINUTES, dtype=np.float64), offered, now, requested)


def _study(request: Request, fit: Fit, interpretation: ThrottleSettings, limit: int, instants: FloatArray) -> Study:
    layout = Layout(1, LEAD_S, 60.0 * MINUTES)
    arrivals = from_instants([instants], layout)
    return study_with(request, fit, arrivals, layout.duration_s, request.seed, with_limit(interpretation, limit))


def _minutes(study: Study, engine: Engine) -> Mapping[str, FloatArray]:
    """Simulate, and return the counts of each minute of the hour."""
    records = simulate(study, engine=engine).filter(pl.col("trunk") == study.trunks[0].name)
    bins = np.arange(MINUTES + 1)
    refused = records["disposition"].cast(pl.String).is_in([kind.value for kind in REFUSED_BY_TRUNK])
    minute = (records["intended_s"] - LEAD_S) / 60
    return {
        "admitted": np.histogram(minute.filter(~refused), bins=bins)[0].astype(np.float64),
        "refused": np.histogram(minute.filter(refused), bins=bins)[0].astype(np.float64),
        "concurrent": _concurrent(records, (LEAD_S + 60 * (bins[:-1] + 0.5)).astype(np.float64)),
    }


def _concurrent(records: pl.DataFrame, instants_s: FloatArray) -> FloatArray:
    up = records.filter(pl.col("answered_s").is_not_null() & pl.col("ended_s").is_not_null())
    begin = np.sort(up["answered_s"].to_numpy())
    # Up to the BYE, if there was one: its response comes later.
    end = np.sort(up.select(pl.coalesce("bye_s", "ended_s")).to_series().to_numpy())
    level = np.searchsorted(begin, instants_s, side="right") - np.searchsorted(end, instants_s, side="right")
    return level.astype(np.float64)
