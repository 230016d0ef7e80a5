"""The kinds of history: each is a function that draws a mechanism."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import numpy as np

from trunkproof.experiments.verification.review.callers import Callers, callers
from trunkproof.experiments.verification.review.enforced import Policy
from trunkproof.experiments.verification.review.mechanism import Mechanism, Recording
from trunkproof.experiments.verification.review.traffic import (
    Batches,
    Campaign,
    Exciting,
    LognormalDays,
    MonthEnds,
    Regimes,
    Spikes,
    Traffic,
    Trend,
    Wandering,
    day_curve,
)
from trunkproof.models.arrays import FloatArray

Rng = np.random.Generator


def mechanism(kind: str, seed: int) -> Mechanism:
    """Draw the mechanism of that kind and seed.

    Raises:
        KeyError: there is no such kind.
    """
    return KINDS[kind](np.random.default_rng([seed, *kind.encode()]))


def _week(rng: Rng, peak: float | None = None, saturday: float | None = None) -> FloatArray:
    """Draw a week with two smooth peaks a day. Weekdays differ by some per cent, weekends are lower."""
    morning = (rng.uniform(10.0, 12.0), rng.uniform(3.0, 4.5), 1.0)
    afternoon = (rng.uniform(15.0, 17.0), rng.uniform(3.0, 4.5), rng.uniform(0.5, 0.95))
    return _scaled(rng, day_curve((morning, afternoon)), peak, saturday)


def _scaled(rng: Rng, curve: FloatArray, peak: float | None = None, saturday: float | None = None) -> FloatArray:
    """Return a week of that day curve, in calls per minute."""
    of_days = rng.uniform(0.9, 1.1, 7)
    of_days[5] = rng.uniform(0.3, 0.6) if saturday is None else saturday
    of_days[6] = rng.uniform(0.1, 0.3)
    height = rng.uniform(14.0, 34.0) if peak is None else peak
    return np.asarray(height * of_days[:, None] * curve)


def _mechanism(rng: Rng, kind: str, traffic: Traffic, who: Callers | None = None, **more: Any) -> Mechanism:
    """Return a mechanism, and draw what all kinds leave to chance.

    These are the behaviour of callers, the length of the history, its first Monday, and the form of its file.
    """
    settings: dict[str, Any] = {
        "days": 7 * int(rng.integers(4, 9)),
        "first_day": date(2026, 1, 5) + timedelta(weeks=int(rng.integers(0, 20))),
    }
    # The operator's export has no SIP status: a rejection there looks like a refusal.
    form = "operator" if rng.random() < 1 / 3 and "recording" not in more else "columns"
    usual = callers(rng, rejected=0.0 if form == "operator" else None)
    settings["recording"] = Recording(form=form)
    return Mechanism(kind=kind, traffic=traffic, callers=who or usual, **(settings | more))


def _plain(rng: Rng) -> Mechanism:
    return _mechanism(rng, "plain", Traffic(week=_week(rng)))


def _campaign(rng: Rng) -> Mechanism:
    peak = rng.uniform(10.0, 16.0)
    traffic = Campaign(
        week=_week(rng, peak),
        day_spread=0.05,
        first_minute=10 * int(rng.integers(54, 100)),
        minutes=40,
        per_minute=peak * rng.uniform(0.8, 1.6),
        deviation=rng.uniform(0.0, 0.15),
    )
    return _mechanism(rng, "campaign", traffic)


def _batches(rng: Rng) -> Mechanism:
    traffic = Batches(
        week=_week(rng),
        day_spread=0.05,
        batched_share=rng.uniform(0.4, 0.9),
        mean_size=rng.uniform(3.0, 9.0),
        within_s=rng.uniform(4.0, 30.0),
    )
    return _mechanism(rng, "batches", traffic)


def _spikes(rng: Rng) -> Mechanism:
    hours = (int(rng.integers(10, 13)),) if rng.random() < 0.5 else (10, 11, 12, 15, 16)
    return _mechanism(rng, "spikes", Spikes(week=_week(rng), day_spread=0.05, share=0.4, times=1.9, hours=hours))


def _lognormal_days(rng: Rng) -> Mechanism:
    return _mechanism(rng, "lognormal days", LognormalDays(week=_week(rng), deviation=rng.uniform(0.12, 0.3)))


def _regimes(rng: Rng) -> Mechanism:
    traffic = Regimes(
        week=_week(rng),
        day_spread=0.03,
        busy_share=rng.uniform(0.15, 0.5),
        times=rng.uniform(1.2, 1.6),
        later_minutes=int(rng.integers(0, 60)),
    )
    return _mechanism(rng, "regimes", traffic)


def _trend(rng: Rng) -> Mechanism:
    traffic = Trend(week=_week(rng), day_spread=0.04, a_week=rng.uniform(0.005, 0.03))
    return _mechanism(rng, "trend", traffic, is_stationary=False)


def _month_ends(rng: Rng) -> Mechanism:
    traffic = MonthEnds(week=_week(rng), day_spread=0.04, days=int(rng.integers(2, 5)), times=rng.uniform(1.25, 1.6))
    return _mechanism(rng, "month ends", traffic, days=7 * int(rng.integers(6, 10)), is_stationary=False)


def _human_redials(rng: Rng) -> Mechanism:
    traffic = Traffic(week=_week(rng), day_spread=0.06)
    who = callers(rng, human=True, rejected=rng.uniform(0.005, 0.03))
    return _mechanism(rng, "human redials", traffic, who, recording=Recording())


def _exciting(rng: Rng) -> Mechanism:
    traffic = Exciting(
        week=_week(rng), day_spread=0.03, offspring=rng.uniform(0.25, 0.6), mean_delay_s=rng.uniform(15.0, 90.0)
    )
    return _mechanism(rng, "self-exciting", traffic)


def _dirty(rng: Rng) -> Mechanism:
    recording = Recording(
        is_inbound=True,
        duplicates=rng.uniform(0.005, 0.03),
        anonymous=0.2,
        missing_ends=rng.uniform(0.005, 0.02),
        second_clock_s=90.0,
    )
    return _mechanism(rng, "dirty", Traffic(week=_week(rng), day_spread=0.05), recording=recording)


def _two_throttles(rng: Rng) -> Mechanism:
    traffic = Traffic(week=_week(rng), day_spread=0.05)
    return _mechanism(rng, "two throttles", traffic, limit_before=rng.uniform(0.6, 0.85))


def _other_policy(rng: Rng) -> Mechanism:
    policy = Policy("token_bucket", burst=int(rng.integers(2, 15)))
    if rng.random() < 0.5:
        policy = Policy("sliding_window_admitted")
    return _mechanism(rng, "other policy", Traffic(week=_week(rng), day_spread=0.05), enforced=policy)


def _hidden_refusals(rng: Rng) -> Mechanism:
    recording = Recording(shows_refusals=False)
    return _mechanism(rng, "hidden refusals", Traffic(week=_week(rng), day_spread=0.05), recording=recording)


def _lunch_dip(rng: Rng) -> Mechanism:
    morning = (rng.uniform(10.0, 11.0), rng.uniform(1.8, 2.5), 1.0)
    afternoon = (rng.uniform(15.0, 16.5), rng.uniform(1.8, 2.5), rng.uniform(0.85, 1.0))
    week = _scaled(rng, day_curve((morning, afternoon)), saturday=rng.uniform(0.8, 1.0))
    week[5, 60 * 13 :] = week[6, 60 * 13 :]
    return _mechanism(rng, "lunch dip", Traffic(week=week, day_spread=0.05))


def _wandering(rng: Rng) -> Mechanism:
    traffic = Wandering(week=_week(rng), deviation=rng.uniform(0.12, 0.28), memory_minutes=rng.uniform(15.0, 90.0))
    return _mechanism(rng, "wandering", traffic)


KINDS: dict[str, Callable[[Rng], Mechanism]] = {
    "plain": _plain,
    "campaign": _campaign,
    "batches": _batches,
    "spikes": _spikes,
    "lognormal days": _lognormal_days,
    "regimes": _regimes,
    "trend": _trend,
    "month ends": _month_ends,
    "human redials": _human_redials,
    "self-exciting": _exciting,
    "dirty": _dirty,
    "two throttles": _two_throttles,
    "other policy": _other_policy,
    "hidden refusals": _hidden_refusals,
    "lunch dip": _lunch_dip,
    "wandering": _wandering,
}
