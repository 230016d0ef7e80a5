"""Recover the demand that the throttle of the time hid.

Fresh demand is all first attempts, including refused ones. Where a history does not show refusals, demand is estimated
in hours that stayed at the limit. Source: ITU-T E.501, traffic offered from traffic carried.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy import stats

from trunkproof.models.arrays import BoolArray, FloatArray, IntArray
from trunkproof.models.demand.fitting.grid import Grid
from trunkproof.models.demand.fitting.redials import KNOWN, Chains, fresh_calls
from trunkproof.models.demand.fitting.result import Censoring, RedialFit
from trunkproof.models.demand.history.table import CallStatus, History

_NEAR_LIMIT = 0.93
_FLAT = 0.5
"""Variance over mean of counts per minute: 1 for independent callers, below this where a limit has cut them."""
_LEAST_COUNTS = 4
_STEPS = 30
_LEAST_CALLS = 20


def fresh_counts(history: History, chains: Chains | None, redial: RedialFit) -> tuple[pl.DataFrame, str]:
    """Return a table with `start_local` and fresh calls, seen or estimated, and the name of their column.

    A row is a single call at its instant, or an interval of a history of counts.
    """
    if chains is not None and chains.shown:
        # Chains are sorted by masked numbers, and the mask is new at each reading of a file. Sort by time, or random
        # draws by row and sums of floats would differ from one reading to the next.
        fresh = fresh_calls(chains, redial).sort("start_utc", "row")
        return fresh.select("start_local", "fresh"), "fresh"
    if history.calls is not None:
        # Without numbers nobody knows which attempts are redials. Each refusal subtracts the redial that is expected
        # after it.
        redials = (pl.col("status") == CallStatus.REFUSED.value) * redial.probability.value
        return history.calls.sort("start_utc").select("start_local", (1 - redials).alias("fresh")), "fresh"
    redials = pl.col("refused") * redial.probability.value
    return history.counts.select("start_local", (pl.col("attempts") - redials).alias("fresh")), "fresh"


def censoring(history: History, chains: Chains | None, redial: RedialFit, attempts: Grid, above: int) -> Censoring:
    """Return what was refused on the days of `attempts`; `above` counts hours at the limit without refusals."""
    refused = int(history.counts["refused"].sum())
    by_hour = history.counts.group_by(pl.col("start_utc").dt.truncate("1h")).agg(pl.col("refused").sum())
    per_minute = np.zeros((7, 24))
    for weekday in np.unique(attempts.weekdays):
        of = attempts.weekdays == weekday
        per_minute[weekday] = attempts.hours[of].sum(axis=0) / np.maximum(attempts.minutes[of].sum(axis=0), 1e-9)
    return Censoring(
        refused_share=refused / history.attempts if history.attempts else 0.0,
        attempts_per_minute=per_minute,
        recovered_calls=_lost(chains, refused, redial),
        hours_above_limit=by_hour.filter(pl.col("refused") > 0).height + above,
    )


def _lost(chains: Chains | None, refused: int, redial: RedialFit) -> float:
    """Return the number of calls whose last attempt was refused."""
    if chains is not None and chains.shown:
        ends = chains.attempts.filter(pl.col("status") == CallStatus.REFUSED.value)
        anonymous = ends.filter(~KNOWN).height
        return ends.filter(~pl.col("followed") & KNOWN).height + anonymous * (1 - redial.probability.value)
    return refused * (1 - redial.probability.value)


def hides_refusals(history: History) -> bool:
    """Tell whether the history shows no refusal at all."""
    return int(history.counts["refused"].sum()) <= 1e-4 * history.attempts


def saturated(history: History, grid: Grid, limit_per_minute: int) -> BoolArray:
    """Return which hours stayed at the limit, with less variance than independent callers have, shape (D, 24)."""
    limit = limit_per_minute * history.interval_s / 60
    local = pl.col("start_local")
    hours = history.counts.group_by(local.dt.date().alias("day"), local.dt.hour().alias("hour")).agg(
        pl.col("attempts").mean().alias("mean"), pl.col("attempts").var().alias("variance"), pl.len().alias("n")
    )
    # Two signs together: close to the limit, and flatter than independent callers can be. A busy hour may be close too.
    near = pl.col("mean") >= _NEAR_LIMIT * limit
    flat = (pl.col("n") >= _LEAST_COUNTS) & (pl.col("variance") < _FLAT * pl.col("mean"))
    index = {day: row for row, day in enumerate(grid.dates)}
    at_limit = np.zeros((len(grid), 24), dtype=np.bool_)
    for day, hour in hours.filter(near & flat).select("day", "hour").rows():
        if day in index:
            at_limit[index[day], hour] = True
    return at_limit


@dataclass(frozen=True, eq=False)
class Uncensored:
    """A grid with estimates for the hours that stayed at the limit."""

    grid: Grid
    hours: int
    """Number of estimated hours."""
    unknowable: int
    """Number of hours of the week that stayed at the limit on all of their days: demand there is a lower bound."""


def uncensor(grid: Grid, at_limit: BoolArray) -> Uncensored:
    """Estimate the demand of hours at the limit by a Tobit fit.

    The log of an hour's calls is a part of the day, plus a part of the hour of the week, plus normal noise. Of hours at
    the limit it is only known that demand was above it.
    """
    usable = grid.hours >= _LEAST_CALLS
    cut = at_limit & usable
    seen = np.log(np.maximum(grid.hours, 1.0))
    filled = seen.copy()
    spread = 0.1
    for _ in range(_STEPS):
        model = _two_way(filled, usable, grid.weekdays)
        free = usable & ~cut
        # The spread is that of hours that were not cut: filled-in values lie on the model and have none.
        spread = max(float(np.sqrt(np.mean((seen - model)[free] ** 2))) if free.any() else spread, 0.02)
        short = (seen[cut] - model[cut]) / spread
        # The mean of a normal beyond a bound (the inverse Mills ratio): what an hour at the limit expects, given that
        # demand was above it. By logarithms, because far out both parts underflow. Filling in and fitting again is the
        # EM algorithm.
        filled[cut] = model[cut] + spread * np.exp(stats.norm.logpdf(short) - stats.norm.logsf(short))
    raised = np.where(cut, np.exp(filled - seen), 1.0)
    slots = grid.periods.shape[1]
    # Quarters of an hour are raised as their hour is: within it nothing shows which of them was cut more.
    by_slot = raised[:, (np.arange(slots) * 24) // slots]
    unknowable = sum(
        int((at_limit[grid.weekdays == weekday].all(axis=0)).sum()) for weekday in np.unique(grid.weekdays)
    )
    repaired = replace(grid, hours=grid.hours * raised, periods=grid.periods * by_slot)
    return Uncensored(repaired, int(cut.sum()), unknowable)


def _two_way(values: FloatArray, usable: BoolArray, weekdays: IntArray) -> FloatArray:
    """Fit an additive model of days and hours of the week, by sweeping rows and columns."""
    by_day, by_cell = np.zeros((len(values), 1)), np.zeros_like(values)
    # Rows and columns have holes, so one sweep does not separate them.
    for _ in range(5):
        for weekday in np.unique(weekdays):
            of = weekdays == weekday
            count = np.maximum(usable[of].sum(axis=0), 1)
            by_cell[of] = ((values - by_day)[of] * usable[of]).sum(axis=0) / count
        rest = (values - by_cell) * usable
        by_day = rest.sum(axis=1, keepdims=True) / np.maximum(usable.sum(axis=1, keepdims=True), 1)
    return by_cell + by_day
