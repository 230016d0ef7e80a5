"""Trials of the forecast within the history: from many origins forecast what came next, and keep how wide an interval
would have had to be.

This is split conformal prediction with rolling origins: it corrects an interval for whatever its model leaves out, as
far as the past shows it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.fitting.forecast import CLASSES, draw_days, hour_class, score
from models.fitting.grid import BoolArray, FloatArray, Grid
from models.fitting.outlook import fit_levels, level, origins, profile, usual_days
from models.fitting.result import Outlook

_DRAWS = 500
_MOST_ORIGINS = 8
LEAST_DAYS = 42
"""Days that trials must cover: fewer say too little of the days to come."""
_LEAST_SCORES = 200


def with_trials(outlook: Outlook, attempts: Grid, seed: int) -> Outlook:
    """`outlook` with the scores of its trials; as it is where the history is too short for them."""
    starts = origins(attempts)
    if not starts or len(attempts) - starts[0] < LEAST_DAYS:
        return outlook
    starts = starts[:: max(1, -(-len(starts) // _MOST_ORIGINS))]
    usual = usual_days(attempts)
    half_life = fit_levels(attempts, usual, float(np.sqrt(np.mean(outlook.day_cv**2)))).half_life_weeks
    days: list[FloatArray] = []
    hours: list[tuple[FloatArray, FloatArray]] = []
    for start in starts:
        of_days, of_hours, expected = _one(
            replace(outlook, last=attempts.dates[start - 1]), attempts, usual, half_life, seed
        )
        days.append(of_days)
        hours.append((of_hours, expected))
    every, expectations = (np.concatenate(parts) for parts in zip(*hours, strict=True))
    classes = hour_class(expectations)
    overall = np.sort(every)
    by_class = [np.sort(every[classes == number]) for number in range(len(CLASSES) + 1)]
    return replace(
        outlook,
        day_scores=np.sort(np.concatenate(days)),
        hour_scores=tuple(scores if len(scores) >= _LEAST_SCORES else overall for scores in by_class),
    )


def _one(
    outlook: Outlook, grid: Grid, usual: BoolArray, half_life_weeks: float, seed: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Scores by day, and by hour with its expectation, from the day after `outlook.last` on; all but the spreads is
    from the days before.
    """
    start = grid.dates.index(outlook.last) + 1
    past, rest = grid.keep(slice(0, start)), grid.keep(slice(start, len(grid)))
    base = profile(past.keep(usual[:start]))
    then = replace(
        outlook,
        attempts_per_minute=base.per_minute,
        recent=level(past, usual[:start], base, half_life_weeks),
        calls_behind=base.calls,
    )
    random = np.random.default_rng([seed, 4, start])
    by_day, by_hour = [], []
    for row, drawn in enumerate(draw_days(then, list(rest.dates), _DRAWS, random)):
        by_hour.append(score(drawn, rest.hours[row]))
        by_day.append(score(drawn.sum(axis=1), np.asarray(rest.totals[row])))
    levels = np.exp([then.level((day - then.last).days / 7)[0] for day in rest.dates])
    expected = then.attempts_per_minute[rest.weekdays] * 60 * levels[:, None]
    whole = rest.minutes == 60
    return np.array(by_day), np.array(by_hour)[whole], expected[whole]
