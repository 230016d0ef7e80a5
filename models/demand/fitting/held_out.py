"""Keep days out of a fit and forecast them: do their counts lie in the intervals?

Days are kept out in folds, each forecast from all days before it. So a long history is tested on more than its last
weeks, which may be calmer or wilder than others.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from trunkproof.models.demand.fitting.forecast import tables
from trunkproof.models.demand.fitting.grid import Grid
from trunkproof.models.demand.fitting.outlook import look_ahead
from trunkproof.models.demand.fitting.result import HeldOut
from trunkproof.models.demand.fitting.trials import with_trials

_MOST_DAYS = 28
_LEAST_FITTED = 7
_ORDER = ("start_local", "seen", "low", "high", "expected")


def held_out_days(days: int) -> int:
    """Return the days of a fold: a quarter of the history, in whole weeks if possible, at most four weeks."""
    quarter = min(days // 4, _MOST_DAYS)
    return quarter - quarter % 7 if quarter >= 7 else quarter


def hold_out(attempts: Grid, *, coverage: float = 0.9) -> HeldOut | None:
    """Forecast folds from the end of `attempts` backwards, at most two thirds of the days; None if too few days."""
    fold, days = held_out_days(len(attempts)), len(attempts)
    if fold == 0:
        return None
    # From the end backwards, so that the last days are always tested. Each fold keeps a week or more to fit from.
    ends = range(days, max(days // 3, _LEAST_FITTED) + fold - 1, -fold)
    folds = [forecast_last(attempts.keep(slice(0, end)), fold, coverage=coverage) for end in reversed(ends)]
    if not folds:
        return None
    hours, by_day = (pl.concat([getattr(one, name) for one in folds]) for name in ("hours", "days"))
    return HeldOut(asked=coverage, hours=hours, days=by_day)


def forecast_last(attempts: Grid, days: int, *, coverage: float = 0.9) -> HeldOut:
    """Forecast the last `days` of `attempts` from those before."""
    kept = len(attempts) - days
    past, rest = attempts.keep(slice(0, kept)), attempts.keep(slice(kept, len(attempts)))
    # From the past alone: the fold must not help to choose the week, the level or the width of the intervals.
    outlook = with_trials(look_ahead(past, np.ones((7, 24)), past.dates[-1]), past)
    hours, by_day = tables(outlook, list(rest.dates), coverage)
    # Hours that clocks skip or repeat are not comparable with a forecast of a whole hour.
    whole = pl.Series(rest.minutes.ravel() == 60)
    return HeldOut(
        asked=coverage,
        hours=hours.with_columns(pl.Series("seen", rest.hours.ravel())).filter(whole).select(_ORDER),
        days=by_day.with_columns(pl.Series("seen", rest.totals)).select(_ORDER),
    )
