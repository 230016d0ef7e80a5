"""Choose the busy periods: the hour of each group of weekdays that the review judges.

A period may begin at any five minutes. Its level is what a throttle would meet: the rate per minute that one call in a
hundred exceeds, over all days. So a campaign of forty minutes is found, which a mean over the hour would hide.

A period that was chosen because it looked the busiest looks busier than it is. A bootstrap over its days shows by how
much (`BusyPeriods.optimism`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from trunkproof.models.arrays import BoolArray, FloatArray, IntArray
from trunkproof.models.demand.fitting.day_rates import DayRates
from trunkproof.models.demand.fitting.result import WEEKDAYS

LENGTH_S = 3600.0
NEARLY_BUSIEST = 0.9
"""A class of weekdays is judged if its busiest period reaches this share of the week's busiest one. Otherwise one
weekday that happened to be busy in this history would be judged alone."""
EXCEEDED_SHARE = 0.01
_STEP_S = 300.0
_DAY_S = 86_400.0
_RIVAL = 0.85
_BITES = 0.9
"""Share of the highest level at which periods are compared: by chance alone, few calls exceed the level itself."""
_SAME_RUSH = 0.95
_REDRAWN = 100


@dataclass(frozen=True)
class BusyPeriod:
    """An hour of some weekdays."""

    weekdays: tuple[int, ...]
    """Monday is 0."""
    start_s: float
    """Local time, in seconds after midnight."""
    length_s: float
    level_per_minute: float
    """Fresh calls per minute that one call in a hundred exceeds in its minute, at the level of the horizon."""

    @property
    def words(self) -> str:
        """Return the period for people, such as `Monday to Friday 10:05 to 11:05`."""
        days = [WEEKDAYS[day] for day in self.weekdays]
        run = len(days) > 2 and self.weekdays == tuple(range(self.weekdays[0], self.weekdays[-1] + 1))
        named = f"{days[0]} to {days[-1]}" if run else " and ".join(filter(None, [", ".join(days[:-1]), days[-1]]))
        return f"{named} {_clock(self.start_s)} to {_clock(self.start_s + self.length_s)}"


def _is_whole(usable: BoolArray | None, day: int, start_s: float) -> bool:
    first, last = int(start_s // 3600), min(23, int((start_s + LENGTH_S - 1) // 3600))
    # A breakdown in the period hides demand: such a day would say that the period is quiet.
    return usable is None or bool(usable[day, first : last + 1].all())


def _clock(second: float) -> str:
    return f"{int(second // 3600):02d}:{int(second % 3600 // 60):02d}"


@dataclass(frozen=True, eq=False)
class BusyPeriods:
    """The judged periods, and the days of the history that have them."""

    periods: tuple[BusyPeriod, ...]
    days: IntArray
    """Indices of `DayRates.dates`, ascending, shape (D,)."""
    period_of_day: IntArray
    """Index of `periods`, shape (D,)."""
    optimism: float
    """How much the log of the level is too high because the busiest period was chosen; never below 0."""

    @classmethod
    def of(cls, rates: DayRates, factors: FloatArray, seed: int, usable: BoolArray | None = None) -> Self:
        """Choose the busiest period of every class of weekdays that has a busy one.

        Args:
            rates: the history's days.
            factors: factor from each day's calls to the level at which they are judged, shape (all days,).
            seed: seed of the bootstrap.
            usable: whether each hour is without a breakdown, shape (all days, 24); a day whose period has a breakdown
                is not judged.
        """
        kinds = rates.class_of_day
        best = {kind: _busiest(rates, np.flatnonzero(kinds == kind), factors) for kind in np.unique(kinds).tolist()}
        # Saturdays with a tenth of the calls are no busy period, however busy they are for a Saturday.
        top = max(level for _, level in best.values())
        chosen = {kind: found for kind, found in best.items() if found[1] >= NEARLY_BUSIEST * top and found[1] > 0}
        days = np.array(
            [
                day
                for day in np.flatnonzero(np.isin(kinds, list(chosen)))
                if _is_whole(usable, int(day), best[kinds[day]][0])
            ],
            dtype=np.int64,
        )
        order = {kind: number for number, kind in enumerate(chosen)}
        seen = [tuple(sorted(set(rates.weekdays[kinds == kind].tolist()))) for kind in chosen]
        periods = tuple(
            BusyPeriod(weekdays, start_s, LENGTH_S, level)
            for weekdays, (start_s, level) in zip(seen, chosen.values(), strict=True)
        )
        random = np.random.default_rng([seed, 11])
        optimism = [_optimism(rates, np.flatnonzero(kinds == kind), factors, random) for kind in chosen]
        return cls(periods, days, np.array([order[kinds[day]] for day in days], dtype=np.int64), max(optimism))

    @property
    def start_s(self) -> FloatArray:
        """Return the begin of the period on each day, in seconds after midnight, shape (D,)."""
        return np.array([self.periods[index].start_s for index in self.period_of_day])

    @property
    def length_s(self) -> float:
        """Return the length of every period."""
        return self.periods[0].length_s

    @property
    def words(self) -> str:
        """Return the periods for people."""
        return "; ".join(period.words for period in self.periods)


def level_per_minute(minutes: FloatArray) -> FloatArray:
    """Return the rate L per minute that `EXCEEDED_SHARE` of all calls exceed in their minute.

    L solves: the sum of max(N - L, 0) is that share of the sum of N. `minutes` holds the calls N per minute, shape
    (..., n). The result has one entry per row.
    """
    falling = -np.sort(-minutes, axis=-1)
    reached = np.cumsum(falling, axis=-1)
    allowed = EXCEEDED_SHARE * reached[..., -1:]
    count = np.arange(1, falling.shape[-1] + 1)
    # If the k largest exceed L, their sum minus k L is the allowed number. Take the first k with L above the next N.
    level = (reached - allowed) / count
    following = np.concatenate([falling[..., 1:], np.zeros_like(falling[..., :1])], axis=-1)
    first = np.argmax(level >= following, axis=-1)
    return np.maximum(np.take_along_axis(level, first[..., None], axis=-1)[..., 0], 0.0)


def _starts(period_s: float) -> FloatArray:
    """Return the possible begins of a busy period, about five minutes apart."""
    # A history of quarters of an hour cannot be cut at five minutes.
    step = period_s * max(1, round(_STEP_S / period_s))
    return np.arange(0.0, _DAY_S - LENGTH_S + 1.0, step)


def _windows(rates: DayRates, days: IntArray, factors: FloatArray) -> Iterator[tuple[float, FloatArray]]:
    """Yield each begin, and the calls per minute of its period on these days, shape (days, periods within)."""
    per_minute = rates.counts[days] * factors[days, None] * (60.0 / rates.period_s) * rates.multiplied
    within = round(LENGTH_S / rates.period_s)
    for start in _starts(rates.period_s):
        first = round(start / rates.period_s)
        yield float(start), per_minute[:, first : first + within]


def _busiest(rates: DayRates, days: IntArray, factors: FloatArray) -> tuple[float, float]:
    """Return begin and level of the busiest period."""
    windows = list(_windows(rates, days, factors))
    seen = [each for _, each in windows]
    levels = _levels(seen)
    chosen = _most_met(seen, levels)
    return windows[chosen][0], float(levels[chosen])


def _levels(windows: Sequence[FloatArray]) -> FloatArray:
    return np.array([float(level_per_minute(seen.ravel())) for seen in windows])


def _most_met(windows: Sequence[FloatArray], levels: FloatArray) -> int:
    """Return the index of the busiest period.

    Imagine a throttle near the highest level of any period. The period in which it would refuse the most calls is the
    busiest. Of periods that contain the same rush, the one with the most calls is taken.
    """
    throttle = _BITES * levels.max()
    met = np.array([float(np.maximum(seen - throttle, 0.0).sum()) for seen in windows])
    calls = np.array([float(seen.sum()) for seen in windows])
    rivals = np.flatnonzero(met >= _SAME_RUSH * met.max())
    return int(rivals[calls[rivals].argmax()])


def _optimism(rates: DayRates, days: IntArray, factors: FloatArray, random: np.random.Generator) -> float:
    """Return how much choosing the busiest period raises the log of its level, by a bootstrap over days.

    In each redrawn set of days the busiest period is chosen in the same way. Its level there is compared with the level
    of the same period in the history.
    """
    windows = [seen for _, seen in _windows(rates, days, factors)]
    own = _levels(windows)
    # Periods far below the busiest are hardly ever chosen in a redrawn set of days, and would only cost time.
    rivals = np.flatnonzero(own >= _RIVAL * own.max())
    # Without a choice nothing was gained by choosing.
    if len(rivals) < 2 or len(days) < 2 or own.max() <= 0:
        return 0.0
    gained = []
    for _ in range(_REDRAWN):
        drawn = random.integers(len(days), size=len(days))
        redrawn = [windows[index][drawn] for index in rivals]
        again = _levels(redrawn)
        chosen = _most_met(redrawn, again)
        gained.append(np.log(max(again[chosen], 1e-9) / max(own[rivals[chosen]], 1e-9)))
    # Below 0 only by chance: choosing the largest cannot lower the level.
    return max(0.0, float(np.mean(gained)))
