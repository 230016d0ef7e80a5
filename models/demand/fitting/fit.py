"""Fit a call history: find the traffic that made it, by the modules beside this one.

A fit decides nothing; `experiments.review` does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from trunkproof.models.arrays import BoolArray, FloatArray
from trunkproof.models.demand.fitting.arrivals import fit_arrivals
from trunkproof.models.demand.fitting.censoring import censoring, fresh_counts, hides_refusals, saturated, uncensor
from trunkproof.models.demand.fitting.day_rates import fit_day_rates
from trunkproof.models.demand.fitting.durations import fit_durations, holding_times, known_durations
from trunkproof.models.demand.fitting.goodness import (
    refusals,
    warnings_of_arrivals,
    warnings_of_clock,
    warnings_of_days,
    warnings_of_durations,
    warnings_of_forecast,
)
from trunkproof.models.demand.fitting.grid import Grid, lay_out
from trunkproof.models.demand.fitting.held_out import hold_out
from trunkproof.models.demand.fitting.odd_days import find_odd, usable_days
from trunkproof.models.demand.fitting.outcomes import SHORT_S, fit_outcomes, inbound_share, short_share
from trunkproof.models.demand.fitting.outlook import look_ahead, profile
from trunkproof.models.demand.fitting.redial_chances import LEAST_FAILURES
from trunkproof.models.demand.fitting.redials import Chains, chains, fit_redials
from trunkproof.models.demand.fitting.result import DurationFit, Fit, Fresh, Outlook, RedialFit
from trunkproof.models.demand.fitting.settings import Assumed
from trunkproof.models.demand.fitting.trials import with_trials
from trunkproof.models.demand.fitting.within_minutes import grain_s
from trunkproof.models.demand.history.table import CallStatus, History
from trunkproof.models.throttles.registry import ThrottleSettings
from trunkproof.models.traffic import Outcomes

_ENOUGH_DAYS = 7
_NOT_OURS = 1_000_000
"""Stands for a throttle above any count."""


def fit_history(
    history: History,
    *,
    limit_per_minute: int,
    enforced: ThrottleSettings | None = None,
    assumed: Assumed | None = None,
    seed: int = 1,
) -> Fit:
    """Return the traffic behind `history`, which was under a throttle of `limit_per_minute`; `enforced` says how.

    It never fails on a history that could be read. If a history is too short, `Fit.refusals` says so. If its counts
    were multiplied, the counts of the file are fitted, and the rates are multiplied: the throttle was another
    customer's.
    """
    if history.multiplied != 1:
        # Multiplied counts would show chance as spread; and a limit of this trunk explains nothing about another
        # customer.
        own = fit_history(history.as_filed(), limit_per_minute=_NOT_OURS, assumed=assumed, seed=seed)
        return own.times(history.multiplied)
    taken = assumed or Assumed()
    found = None if history.calls is None else chains(history.calls)
    redial = fit_redials(found, taken, imputed=history.imputed)
    if enforced is not None and enforced.retry_after_s is None:
        # There was no header to obey: the delays in the history are the callers' own.
        redial = replace(redial, redial=redial.redial.model_copy(update={"obeys_retry_after": False}))
    demand = _demand(history, found, redial, limit_per_minute)
    odd = find_odd(demand.fresh)
    usual = usable_days(demand.fresh, odd)
    # Closed and quiet days say nothing of a working day. Very busy days stay: they are demand.
    typical = demand.fresh.keep(usual) if usual.any() else demand.fresh
    arrivals = fit_arrivals(typical, seed)
    holding, ringing = _durations(history, taken, seed)
    # Attempts, because they were counted: a part of the fresh calls is an estimate, which cannot test a forecast.
    held_out = hold_out(demand.attempts)
    return Fit(
        arrivals=arrivals,
        grid=typical,
        odd=odd,
        days=fit_day_rates(
            demand.counts, demand.column, typical, history.interval_s, are_instants=history.calls is not None
        ),
        fresh=Fresh(demand.counts, demand.column, _spread_s(history, demand.counts)),
        holding=holding,
        ringing=ringing,
        outcomes=Outcomes() if history.calls is None else fit_outcomes(history.calls),
        redial=redial,
        short_share=None if history.calls is None else short_share(history.calls),
        short_s=SHORT_S,
        inbound_share=0.0 if history.calls is None else inbound_share(history.calls),
        censoring=censoring(history, found, redial, demand.attempts, int(demand.at_limit.sum())),
        held_out=held_out,
        outlook=_outlook(demand),
        variance_to_mean=variance_to_mean(typical),
        warnings=(
            *warnings_of_days(history, demand.fresh, odd),
            *warnings_of_clock(history),
            *warnings_of_arrivals(typical, arrivals),
            *demand.warnings,
            *_warnings_of_calls(history, redial, holding, ringing),
            *warnings_of_forecast(held_out),
        ),
        refusals=(*refusals(history, demand.fresh), *demand.refusals),
    )


def _spread_s(history: History, counts: pl.DataFrame) -> float | None:
    """Return the interval over which calls are spread; instants rounded to minutes are treated like counts."""
    return history.interval_s if history.calls is None else grain_s(counts) or None


@dataclass(frozen=True, eq=False)
class _Demand:
    """The demand of the trunk."""

    fresh: Grid
    attempts: Grid
    at_limit: BoolArray
    counts: pl.DataFrame
    """Fresh calls in `column`, by `start_local`."""
    column: str
    warnings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


def _demand(history: History, found: Chains | None, redial: RedialFit, limit_per_minute: int) -> _Demand:
    counts, column = fresh_counts(history, found, redial)
    fresh = lay_out(counts, column, history.counts, history.interval_s, history.closed)
    attempts = lay_out(history.counts, "attempts", history.counts, history.interval_s, history.closed)
    none = np.zeros((len(fresh), 24), dtype=np.bool_)
    # Refused attempts that are in the history show the demand above the limit by themselves.
    if not hides_refusals(history):
        return _Demand(fresh, attempts, none, counts, column)
    at_limit = saturated(history, fresh, limit_per_minute)
    if not at_limit.any():
        return _Demand(fresh, attempts, none, counts, column)
    repaired = uncensor(fresh, at_limit)
    warning = (
        f"{repaired.hours} hours were at the limit of {limit_per_minute} calls per minute, and the history shows no "
        f"refusals. Their demand is estimated from other hours and is less certain than its interval says."
    )
    refusal = (
        f"{repaired.unknowable} hours of the week were at the limit on every day, and the history shows no "
        f"refusals: their demand cannot be told. Add the refused attempts to the history."
    )
    return _Demand(
        repaired.grid, attempts, at_limit, counts, column, (warning,), (refusal,) if repaired.unknowable else ()
    )


def _durations(history: History, assumed: Assumed, seed: int) -> tuple[DurationFit, DurationFit | None]:
    if history.calls is None:
        empty = pl.DataFrame(schema={"status": pl.String, "holding_s": pl.Float64})
        return holding_times(empty, assumed, seed), None
    return holding_times(history.calls, assumed, seed), fit_durations(known_durations(history.calls, "ringing_s"), seed)


def _warnings_of_calls(
    history: History, redial: RedialFit, holding: DurationFit, ringing: DurationFit | None
) -> tuple[str, ...]:
    said = []
    if not redial.observed:
        chance = redial.probability
        said.append(
            f"The history does not show {LEAST_FAILURES} refused attempts with their redials. A probability of "
            f"{chance.value:.2g} ({chance.low:.2g} to {chance.high:.2g}) is assumed."
        )
    if holding.count == 0:
        said.append(f"The history has no holding times. A mean of {holding.mean_s.value:g} s is assumed.")
    if history.calls is not None:
        seconds = known_durations(history.calls, "holding_s")
        said += warnings_of_durations("Holding times", seconds, holding.distribution) if holding.count else ()
        if ringing is not None:
            seconds = known_durations(history.calls, "ringing_s")
            said += warnings_of_durations("Ringing times", seconds, ringing.distribution)
        unknown = history.calls.filter(
            (pl.col("status") == CallStatus.ANSWERED.value) & pl.col("holding_s").is_null()
        ).height
        if holding.count and unknown:
            said.append(f"The history does not have the holding time of {unknown} answered calls.")
    return tuple(said)


def _outlook(demand: _Demand) -> Outlook | None:
    attempts = demand.attempts
    if len(attempts) < _ENOUGH_DAYS:
        return None
    outlook = look_ahead(attempts, _fresh_share(demand), attempts.dates[-1])
    return with_trials(outlook, attempts)


def _fresh_share(demand: _Demand) -> FloatArray:
    """Return fresh calls per attempt by hour of the week, shape (7, 24); above 1 where demand was estimated."""
    fresh, attempts = profile(demand.fresh).per_minute, profile(demand.attempts).per_minute
    # An hour without attempts has no ratio. 1 changes nothing there.
    return np.divide(fresh, attempts, out=np.ones((7, 24)), where=attempts > 0)


def variance_to_mean(typical: Grid) -> pl.DataFrame:
    """Return counts per period over days: `weekday`, `second` of the day, `mean`, `variance`, number of `days`."""
    tables = []
    seconds = np.arange(typical.periods.shape[1]) * typical.period_s
    for weekday in np.unique(typical.weekdays):
        of = typical.periods[typical.weekdays == weekday]
        if len(of) < 2:
            continue
        tables.append(
            pl.DataFrame(
                {
                    "weekday": np.full(len(seconds), weekday),
                    "second": seconds.astype(np.int64),
                    "mean": of.mean(axis=0),
                    "variance": of.var(axis=0, ddof=1),
                    "days": np.full(len(seconds), len(of)),
                }
            )
        )
    schema = {"weekday": pl.Int64, "second": pl.Int64, "mean": pl.Float64, "variance": pl.Float64, "days": pl.Int64}
    return pl.concat(tables) if tables else pl.DataFrame(schema=schema)
