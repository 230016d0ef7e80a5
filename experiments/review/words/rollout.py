"""A raise in steps: what busy hours should show at each step, and the rule that halts the raise.

Each step has a band per indicator: 95 % of single busy hours at that throttle should lie in it. So the probability of a
false alarm can be computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from scipy.stats import binom

from trunkproof.experiments.common.formatting import formatted
from trunkproof.experiments.review.judging import Judge
from trunkproof.experiments.review.result import RolloutStep
from trunkproof.models.demand.fitting.result import Ranged
from trunkproof.models.kpis import DEFINITIONS

_STEPS = 3
HOURS_WATCHED, HOURS_TO_HALT = 5, 2
_BAND = 0.95
WATCHED = ("refused_share", "customers_lost_share")
"""Indicators that can halt a raise. Only values above the band are bad."""
_RAREST = 0.001
"""The band of a watched share reaches at least up to here: the few hours of a sweep cannot show rarer events."""
_BANDS = (*WATCHED, "attempts", "peak_concurrency", "srd_p95_ms")


def rollout_of(
    judge: Judge, recommended: int | None, interpretation: int, busy_hours_a_week: int
) -> tuple[RolloutStep, ...]:
    """Return the steps from the present throttle to the recommended one; none where there is no raise.

    Args:
        judge: holds the sweep's responses.
        recommended: the throttle after the last step.
        interpretation: index of the strictest interpretation, whose bands count.
        busy_hours_a_week: number of judged hours in a week; it decides how long a step lasts.
    """
    if recommended is None:
        return ()
    days = 7 * math.ceil(HOURS_WATCHED / max(1, busy_hours_a_week))
    limits = sorted({limit for _, (_, limit) in judge.sweep.responses})
    steps = steps_to(judge.request.now_per_minute, recommended, limits)
    return tuple(_step(judge, limit, interpretation, days) for limit in steps)


def steps_to(now: int, recommended: int, limits: Sequence[int]) -> list[int]:
    """Return at most three simulated throttles, as evenly spaced as possible; the last is the recommended one."""
    between = [limit for limit in limits if now < limit <= recommended]
    wanted = [now + (recommended - now) * part / _STEPS for part in range(1, _STEPS + 1)]
    return sorted({_nearest(goal, between) for goal in wanted})


def _nearest(goal: float, limits: Sequence[int]) -> int:
    return min(limits, key=lambda limit: abs(limit - goal))


def _step(judge: Judge, limit: int, interpretation: int, days: int) -> RolloutStep:
    response = judge.sweep.response(interpretation, limit)
    bands = {name: response.band(name, judge.demand, _BAND) for name in _BANDS}
    bands = {name: band for name, band in bands.items() if not math.isnan(band.value)}
    bands |= {name: replace(bands[name], high=max(_RAREST, bands[name].high)) for name in WATCHED if name in bands}
    return RolloutStep(limit, days, bands, _halt(bands, limit, judge.request.now_per_minute))


def false_alarm() -> float:
    """Return an upper bound on the probability that the rule halts a raise that goes as forecast.

    Hours are of different days and independent. Each indicator is above its band with probability 0.025. The
    probabilities of the indicators are added up.
    """
    return len(WATCHED) * float(binom.sf(HOURS_TO_HALT - 1, HOURS_WATCHED, (1 - _BAND) / 2))


def _halt(bands: dict[str, Ranged], limit: int, now: int) -> str:
    tops = " or ".join(
        f"{DEFINITIONS[name].title.lower()} above {formatted(bands[name].high, DEFINITIONS[name].unit)}"
        for name in WATCHED
        if name in bands
    )
    return (
        f"Halt, and go back to the step before (from the first step to {now}), if the same indicator is above its band "
        f"in {HOURS_TO_HALT} of the first {HOURS_WATCHED} busy hours at {limit}: {tops}. If all goes as forecast, this "
        f"happens with a probability of at most {100 * false_alarm():.1f} %."
    )
