"""One bad hour of the history again: the fresh calls of that hour, met by the present and by the requested throttle.

Callers' instants are the history's; how long they ring and talk, and whether they try again, is the fit's, as a history
does not show what those would have done whom it refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from experiments.review.cells import study_at
from experiments.review.request import Request
from experiments.review.result import Replay
from models.fitting.redials import WINDOW_S, chains, fresh_calls
from models.fitting.result import Fit
from models.history.table import History
from models.policies import ThrottleSettings
from models.records import REFUSED_BY_TRUNK
from models.streams import generator
from models.study import Study
from models.traffic import ReplayedArrivals
from simulator.run import Engine, simulate

FloatArray = NDArray[np.float64]
LEAD_S = 1800.0
"""Of calls before the hour, which fill the trunk."""
MINUTES = 60
MOST_CALLS = 100_000
"""A larger hour is not replayed: its picture would take minutes."""


@dataclass(frozen=True)
class Hour:
    """An hour of the history."""

    began_local: datetime
    began_utc: datetime


def worst_hour(history: History) -> Hour | None:
    """The hour in which most attempts were refused, or, where none were, most were made; None: there are none."""
    table = history.counts.filter(~pl.col("start_local").dt.date().is_in(list(history.closed)))
    hours = (
        # Where clocks are set back, two hours have one name and another offset.
        table.group_by(
            hour=pl.col("start_local").dt.truncate("1h"),
            offset=pl.col("start_local") - pl.col("start_utc").dt.replace_time_zone(None),
        )
        .agg(pl.col("refused").sum(), pl.col("attempts").sum(), pl.col("start_utc").min())
        .sort("refused", "attempts", "start_utc", descending=[True, True, False])
    )
    if not hours.height or not hours["attempts"][0]:
        return None
    return Hour(hours["hour"][0], hours["start_utc"][0])


def fresh_instants(history: History, fit: Fit, hour: Hour, seed: int) -> FloatArray:
    """Seconds after `LEAD_S` before the hour at which a caller called for the first time, ascending."""
    begin = hour.began_utc - timedelta(seconds=LEAD_S)
    span = timedelta(seconds=LEAD_S + 60 * MINUTES)
    if history.calls is not None and history.calls["caller"].null_count() < history.calls.height:
        return _of_calls(history.calls, fit, begin, span, seed)
    return _of_counts(history, fit, begin, span, seed)


def _of_calls(calls: pl.DataFrame, fit: Fit, begin: datetime, span: timedelta, seed: int) -> FloatArray:
    # From a redial's reach before on, or one that comes first would be taken for a call of its own.
    since = begin - timedelta(seconds=WINDOW_S)
    near = calls.filter(pl.col("start_utc").is_between(since, begin + span, closed="left"))
    attempts = fresh_calls(chains(near), fit.redial).filter(pl.col("start_utc") >= begin)
    # Which of the calls without a number are redials is not known, only how many.
    chosen = generator(seed, "replay").random(attempts.height) < attempts["fresh"].to_numpy()
    fresh = attempts.filter(chosen)
    return np.sort((fresh["start_utc"] - begin).dt.total_microseconds().to_numpy() / 1e6)


def _of_counts(history: History, fit: Fit, begin: datetime, span: timedelta, seed: int) -> FloatArray:
    rows = history.counts.filter(pl.col("start_utc").is_between(begin, begin + span, closed="left"))
    fresh = rows["attempts"] - (rows["refused"] * fit.redial.probability.value).round().cast(pl.Int64)
    starts = (rows["start_utc"] - begin).dt.total_microseconds().to_numpy() / 1e6
    spread = np.repeat(starts, np.maximum(fresh.to_numpy(), 0))
    return np.sort(spread + history.interval_s * generator(seed, "replay").random(len(spread)))


def replay(request: Request, history: History, fit: Fit, executor: Executor | None = None) -> Replay | None:
    """The history's worst hour under both throttles; None where there is no such hour, or one too large to replay."""
    hour = worst_hour(history)
    instants = None if hour is None else fresh_instants(history, fit, hour, request.seed)
    if hour is None or instants is None or not 0 < len(instants) <= MOST_CALLS:
        return None
    reading = request.enforced or request.readings[0]
    limits = (request.now_per_minute, request.requested_per_minute)
    studies = [_study(request, fit, reading, limit, instants) for limit in limits]
    minutes = partial(_minutes, engine=request.engine)
    now, requested = (map if executor is None else executor.map)(minutes, studies)
    offered = np.histogram((instants - LEAD_S) / 60, bins=np.arange(MINUTES + 1))[0].astype(np.float64)
    return Replay(hour.began_local, reading, np.arange(MINUTES, dtype=np.float64), offered, now, requested)


def _study(request: Request, fit: Fit, reading: ThrottleSettings, limit: int, instants: FloatArray) -> Study:
    study = study_at(request, fit, reading, limit, 0.0, request.seed, warm_up_s=LEAD_S, hour_s=60.0 * MINUTES)
    arrivals = ReplayedArrivals(kind="replay", instants_s=tuple(float(instant) for instant in instants))
    own = study.trunks[0]
    own = own.model_copy(update={"traffic": own.traffic.model_copy(update={"arrivals": arrivals})})
    return study.model_copy(update={"trunks": (own, *study.trunks[1:])})


def _minutes(study: Study, engine: Engine) -> Mapping[str, FloatArray]:
    """What each minute of the hour shows."""
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
    end = np.sort(up.select(pl.coalesce("bye_s", "ended_s")).to_series().to_numpy())
    level = np.searchsorted(begin, instants_s, side="right") - np.searchsorted(end, instants_s, side="right")
    return level.astype(np.float64)
