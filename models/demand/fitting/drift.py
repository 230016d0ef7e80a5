"""Does the level of a history drift, and where will it be at the horizon?

Days that are busy together, for a week or a month, are not yet a drift. So the error of the slope is that of a level
that wanders (`models.demand.fitting.levels`). A slope is clear if such wandering hardly ever makes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from trunkproof.models.arrays import FloatArray
from trunkproof.models.demand.fitting.grid import Grid
from trunkproof.models.demand.fitting.levels import SLOPE_PER_DAY, Levels
from trunkproof.models.demand.fitting.outlook import levels_of, ordinary, seasonal
from trunkproof.models.demand.fitting.result import Ranged, ranged

LEAST_DAYS = 14
_SIGNIFICANT = 0.05
_WEEK = 7
_DRAWS = 4000


@dataclass(frozen=True, eq=False)
class Drift:
    """How the level moves in a history; all values are logs."""

    per_week: Ranged
    """What a week adds to the log of the level, with its 95 % interval."""
    p_value: float
    """Probability that a level that only wanders seems to drift this much."""
    is_clear: bool
    end_level: Ranged
    """Level at the end over the mean of the whole history, log, with its 95 % interval."""
    per_week_draws: FloatArray
    end_level_draws: FloatArray
    days: int
    """Days of the history without odd ones."""

    @property
    def words(self) -> str:
        """Return the drift in a sentence."""
        week = [100 * np.expm1(value) for value in (self.per_week.value, self.per_week.low, self.per_week.high)]
        said = f"{week[0]:+.1f} % a week ({week[1]:+.1f} to {week[2]:+.1f} %)"
        if not self.is_clear:
            return f"No clear drift: {said}."
        return f"The level drifts: {said}; at its end it is {100 * np.expm1(self.end_level.value):+.0f} % off its mean."


def find_drift(grid: Grid, *, draws: int = _DRAWS, seed: int = 1) -> Drift:
    """Return the drift of the counts of `grid`; with fewer than `LEAST_DAYS` usual days no drift is clear."""
    random = np.random.default_rng([seed, 5])
    levels, days = _levels(grid, slope=True)
    p_value = _p_value(levels, days)
    slopes = _slope_draws(levels, draws, random)
    is_clear = p_value < _SIGNIFICANT
    # A slope that is not clear would still tilt the end of the level, so without a clear one the level has none.
    ends = (levels if is_clear else _levels(grid, slope=False)[0]).draw(0.0, draws, random)
    per_week = _WEEK * slopes
    return Drift(
        per_week=ranged(per_week, float(np.median(per_week))),
        p_value=p_value,
        is_clear=is_clear,
        end_level=ranged(ends, float(np.median(ends))),
        per_week_draws=per_week,
        end_level_draws=ends,
        days=days,
    )


def local_level(grid: Grid) -> FloatArray:
    """Return the smoothed log level of each day over the mean of the history, shape (D,), interpolated at odd days."""
    return _levels(grid, slope=_p_value(*_levels(grid, slope=True)) < _SIGNIFICANT)[0].local


def level_draws(
    grid: Grid, horizon_days: float, draws: int, random: np.random.Generator, *, continues: bool
) -> FloatArray:
    """Return equally likely factors from the level at the history's end to that `days_ahead` later, shape (draws,).

    With `continues` the drift goes on, with its uncertainty; without, it stops. A drift that is not clear goes on in as
    many draws as it is probable. A fall that is not clear goes on in none: nobody should count on it. The wandering
    part is averaged over the days up to the horizon. A day of the history is brought to the horizon by
    exp(local_level[-1] - local_level[day]) times such a factor.
    """
    plain, sloped = _levels(grid, slope=False)[0], _levels(grid, slope=True)
    p_value = _p_value(*sloped)
    is_clear = p_value < _SIGNIFICANT
    drifting = sloped[0].draw(horizon_days, draws, random, continues=continues, averaged_days=horizon_days)
    if not is_clear:
        steady = plain.draw(horizon_days, draws, random, averaged_days=horizon_days)
        # A probability of the drift and not 1 - p: a p-value says how rare the slope is without a drift, not how likely
        # one is.
        believed = random.random(draws) < _drift_probability(*sloped)
        drifting = np.where(believed & (drifting > np.median(steady)), drifting, steady)
    # Relative to the smoothed last day, from which `local_level` brings the other days here.
    end = (sloped[0] if is_clear else plain).local[-1]
    return np.asarray(np.exp(drifting - end))


def _levels(grid: Grid, *, slope: bool) -> tuple[Levels, int]:
    history = ordinary(grid)
    base = seasonal(history.days)
    return levels_of(history, base, slope=slope), int(history.usual.sum())


def _p_value(levels: Levels, days: int) -> float:
    """Return the two-sided p-value, averaged over the lattice. A level that wanders for weeks has few degrees."""
    if days < LEAST_DAYS:
        return 1.0
    t_values, degrees = _t_values(levels, days)
    # Averaged over the lattice: no single memory is taken for the truth.
    return float(levels.weight @ (2 * stats.t.sf(t_values, degrees)))


def _drift_probability(levels: Levels, days: int) -> float:
    """Return the probability of a drift, if drift and no drift were equally probable before the history was seen.

    A p-value does not say that. A drift is expected to be of ordinary size, and a tiny slope in a long history can be
    significant without being one. Source: Gönen, Johnson, Lu and Westfall, "The Bayesian two-sample t test", The
    American Statistician 59 (2005), equation 3.
    """
    t_values, degrees = _t_values(levels, days)
    wider = 1 + (SLOPE_PER_DAY / np.maximum(levels.plain_slope[:, 1], 1e-12)) ** 2
    squares = t_values**2 / degrees
    odds = ((1 + squares) / (1 + squares / wider)) ** ((degrees + 1) / 2) / np.sqrt(wider)
    return float(levels.weight @ (odds / (1 + odds)))


def _t_values(levels: Levels, days: int) -> tuple[FloatArray, FloatArray]:
    """Return the t-values of the slope and their degrees of freedom, by entry of the lattice."""
    t_values = np.abs(levels.plain_slope[:, 0]) / np.maximum(levels.plain_slope[:, 1], 1e-12)
    # A level that wanders with a memory of m days has only days / m independent pieces, however many days there are.
    pieces = np.where(levels.wandering > 0, days / levels.memory_days, np.inf)
    return t_values, np.maximum(np.minimum(levels.degrees, pieces), 1.0)


def _slope_draws(levels: Levels, draws: int, random: np.random.Generator) -> FloatArray:
    chosen = random.choice(len(levels.weight), draws, p=levels.weight)
    # The lattice's entry is drawn first: entries differ in their slope, and that is uncertainty too.
    deviations = np.sqrt(levels.covariance[chosen, 1, 1])
    return np.asarray(levels.terms[chosen, 1] + deviations * random.standard_t(max(levels.degrees, 3), draws))
