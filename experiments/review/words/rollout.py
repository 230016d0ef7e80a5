"""A raise step by step: what each step's busy hours should show, and the rule that halts it.

The bands are the forecast of single busy hours at that throttle, so a rule on them has a false alarm probability that
can be said.
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
"""Indicators on which a raise is halted; they are bad above their band only."""
_RAREST = 0.001
"""A share that so few simulated hours as a sweep has would show: no band of these ends below it."""
_BANDS = (*WATCHED, "attempts", "peak_concurrency", "srd_p95_ms")


def rollout_of(
    judge: Judge, recommended: int | None, interpretation: int, busy_hours_a_week: int
) -> tuple[RolloutStep, ...]:
    """The steps from the present throttle to the recommended one; none where there is no raise.

    Args:
        judge: with the sweep's responses.
        recommended: where to.
        interpretation: number of the strictest interpretation, whose bands count.
        busy_hours_a_week: how many there are, which says how long a step lasts.
    """
    if recommended is None:
        return ()
    days = 7 * math.ceil(HOURS_WATCHED / max(1, busy_hours_a_week))
    limits = sorted({limit for _, (_, limit) in judge.sweep.responses})
    steps = steps_to(judge.request.now_per_minute, recommended, limits)
    return tuple(_step(judge, limit, interpretation, days) for limit in steps)


def steps_to(now: int, recommended: int, limits: Sequence[int]) -> list[int]:
    """At most three throttles that were simulated, the last of them the recommended one, as even as they are."""
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
    """Probability that the rule halts a raise that goes as forecast, at most: hours of different days, each indicator
    above its band with probability 0.025, and the indicators' probabilities added up.
    """
    return len(WATCHED) * float(binom.sf(HOURS_TO_HALT - 1, HOURS_WATCHED, (1 - _BAND) / 2))


def _halt(bands: dict[str, Ranged], limit: int, now: int) -> str:
    tops = " or ".join(
        f"{DEFINITIONS[name].title.lower()} above {formatted(bands[name].high, DEFINITIONS[name].unit)}"
        for name in WATCHED
        if name in bands
    )
    return (
        f"Halt, and go back to the step before ({now} at the first), when in {HOURS_TO_HALT} of the first "
        f"{HOURS_WATCHED} busy hours at {limit} the same indicator is beyond its band: {tops}. If all goes as forecast "
        f"this happens with a probability of at most {100 * false_alarm():.1f} %."
    )
