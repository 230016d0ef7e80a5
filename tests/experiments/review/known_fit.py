"""A fit whose every value is chosen, for tests of what is made of a fit."""

from __future__ import annotations

import numpy as np
import polars as pl

from models.distributions import Constant, Distribution
from models.fitting.result import ArrivalFit, Censoring, DurationFit, Fit, Ranged, RedialFit
from models.traffic import Outcomes, Redial


def known_fit(
    hourly: np.ndarray | float = 200.0,
    *,
    holding: Distribution | None = None,
    rate_cv: float = 0.0,
    day_cv: float = 0.0,
    period_cv: float = 0.0,
    outcomes: Outcomes | None = None,
    redial: Redial | None = None,
    draws: int = 50,
) -> Fit:
    """`hourly`: one rate for every hour of the week, or shape (7, 24); `rate_cv`: of the draws around it."""
    rates = np.broadcast_to(np.asarray(hourly, dtype=np.float64), (7, 24))
    spread = 1 + rate_cv * np.random.default_rng(1).standard_normal((draws, 1, 1))
    holding = holding or Constant(value_s=1.0)
    nothing = np.zeros(0)
    return Fit(
        arrivals=ArrivalFit(
            rate_per_minute=rates,
            rate_draws=rates * spread,
            day_cv=Ranged(day_cv, day_cv, day_cv),
            day_cv_draws=np.full(draws, day_cv),
            period_cv=Ranged(period_cv, period_cv, period_cv),
            period_cv_draws=np.full(draws, period_cv),
            period_s=900.0,
        ),
        holding=DurationFit(holding, Ranged(holding.mean(), holding.mean(), holding.mean()), (), nothing, nothing, 0),
        ringing=DurationFit(Constant(value_s=0.0), Ranged(0, 0, 0), (), nothing, nothing, 0),
        outcomes=outcomes or Outcomes(),
        redial=RedialFit(redial or Redial(), Ranged(0, 0, 0.2), observed=False),
        short_share=None,
        short_s=6.0,
        inbound_share=0.0,
        censoring=Censoring(0.0, np.zeros((7, 24)), 0.0, 0),
        held_out=None,
        outlook=None,
        variance_to_mean=pl.DataFrame(),
    )
