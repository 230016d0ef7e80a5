"""When callers come: each mechanism gives a day's rates by minute, and places calls by them.

They are smooth day curves, uniform and lognormal days, peaks, batches, self-exciting calls and wandering rates. None of
them is the weekly gamma-gamma model that the review fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from scipy.signal import lfilter

from trunkproof.models.arrays import FloatArray

MINUTES = 1440


@dataclass(frozen=True)
class Day:
    """A day, as far as traffic depends on it."""

    number: float
    """Days since the history's first day."""
    weekday: int
    """Monday is 0."""
    of_month: int
    """Counted back from the end of its month; the last day is 1."""

    @classmethod
    def at(cls, first: date, number: int) -> Day:
        """Return the day that lies `number` days after the first one."""
        here = first + timedelta(days=number)
        following = (here.replace(day=1) + timedelta(days=32)).replace(day=1)
        return cls(float(number), here.weekday(), (following - here).days)


@dataclass(frozen=True, kw_only=True, eq=False)
class Traffic:
    """Poisson calls by a smooth curve. The classes below change one thing each."""

    week: FloatArray
    """Usual calls per minute, by weekday and minute, shape (7, 1440)."""
    day_spread: float = 0.0
    """A day's factor is uniform within this distance of 1."""

    def instants(self, rng: np.random.Generator, day: Day, from_s: float, to_s: float) -> FloatArray:
        """Draw the instants of calls on one such day between two instants in seconds after midnight, ascending."""
        low, high = max(0, int(from_s // 60)), min(MINUTES, int(np.ceil(to_s / 60)))
        found = self.placed(rng, self.rates(rng, day), low, high)
        return np.sort(found[(found >= from_s) & (found < to_s)])

    def rates(self, rng: np.random.Generator, day: Day) -> FloatArray:
        """Draw the calls per minute of one such day, shape (1440,)."""
        rates: FloatArray = self.week[day.weekday] * self.factor(rng, day)
        return rates

    def factor(self, rng: np.random.Generator, day: Day) -> float:
        """Draw the factor of the whole day."""
        del day
        return 1.0 + self.day_spread * float(rng.uniform(-1, 1))

    def placed(self, rng: np.random.Generator, rates: FloatArray, low: int, high: int) -> FloatArray:
        """Draw the calls of the minutes from `low` to below `high`, in any order."""
        return poisson(rng, rates, low, high)


def poisson(rng: np.random.Generator, rates: FloatArray, low: int, high: int) -> FloatArray:
    """Draw independent calls: a Poisson number for each minute's rate, spread evenly over the minute."""
    minutes = np.repeat(np.arange(low, high), rng.poisson(rates[low:high]))
    placed: FloatArray = 60.0 * (minutes + rng.random(len(minutes)))
    return placed


@dataclass(frozen=True, kw_only=True, eq=False)
class Campaign(Traffic):
    """A dialler runs at the same minutes of every weekday."""

    first_minute: int
    minutes: int
    per_minute: float
    deviation: float = 0.0
    """Standard deviation of the log of the dialler's own factor of the day, whose mean is 1."""

    def rates(self, rng: np.random.Generator, day: Day) -> FloatArray:
        """Draw the day's rates, with the dialler's calls added on weekdays."""
        rates = super().rates(rng, day)
        if day.weekday < 5:
            factor = np.exp(self.deviation * rng.standard_normal() - self.deviation**2 / 2)
            rates[self.first_minute : self.first_minute + self.minutes] += self.per_minute * factor
        return rates


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches(Traffic):
    """A part of the calls comes in batches, as a dialler places them: some together, then none."""

    batched_share: float
    mean_size: float
    within_s: float

    def placed(self, rng: np.random.Generator, rates: FloatArray, low: int, high: int) -> FloatArray:
        """Draw single calls and batches. A batch begins at any time, and its size is geometric."""
        alone = poisson(rng, (1 - self.batched_share) * rates, low, high)
        begins = poisson(rng, self.batched_share / self.mean_size * rates, low, high)
        together = np.repeat(begins, rng.geometric(1 / self.mean_size, len(begins)))
        return np.concatenate([alone, together + self.within_s * rng.random(len(together))])


@dataclass(frozen=True, kw_only=True, eq=False)
class Spikes(Traffic):
    """On some weekdays one hour has a multiple of its calls."""

    share: float
    times: float
    hours: tuple[int, ...]
    """The hour is one of these, at random."""

    def rates(self, rng: np.random.Generator, day: Day) -> FloatArray:
        """Draw the day's rates, on some weekdays with one busier hour."""
        rates = super().rates(rng, day)
        if day.weekday < 5 and rng.random() < self.share:
            begin = 60 * int(rng.choice(self.hours))
            rates[begin : begin + 60] *= self.times
        return rates


@dataclass(frozen=True, kw_only=True, eq=False)
class LognormalDays(Traffic):
    """Whole days are more or less busy, with a heavy tail."""

    deviation: float
    """Standard deviation of the log of the day's factor, whose mean is 1."""

    def factor(self, rng: np.random.Generator, day: Day) -> float:
        """Draw the lognormal factor of the whole day."""
        del day
        return float(np.exp(self.deviation * rng.standard_normal() - self.deviation**2 / 2))


@dataclass(frozen=True, kw_only=True, eq=False)
class Regimes(Traffic):
    """Two kinds of days, mixed at random. Calls of the busy kind also come a little later."""

    busy_share: float
    times: float
    later_minutes: int

    def rates(self, rng: np.random.Generator, day: Day) -> FloatArray:
        """Draw the day's rates, of a usual or a busy day."""
        rates = super().rates(rng, day)
        if rng.random() < self.busy_share:
            return np.roll(self.times * rates, self.later_minutes)
        return rates


@dataclass(frozen=True, kw_only=True, eq=False)
class Trend(Traffic):
    """The level grows week by week, and goes on doing so."""

    a_week: float

    def factor(self, rng: np.random.Generator, day: Day) -> float:
        """Draw the factor of the whole day, with the growth so far."""
        return super().factor(rng, day) * float((1 + self.a_week) ** (day.number / 7))


@dataclass(frozen=True, kw_only=True, eq=False)
class MonthEnds(Traffic):
    """The last days of each month are busier."""

    days: int
    times: float

    def factor(self, rng: np.random.Generator, day: Day) -> float:
        """Draw the factor of the whole day, larger on the last days of a month."""
        return super().factor(rng, day) * (self.times if day.of_month <= self.days else 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Exciting(Traffic):
    """Every call may cause others (Hawkes 1971, as families of calls): callers tell each other, or one event makes many
    people call."""

    offspring: float
    """Mean number of calls that a call causes directly; below 1."""
    mean_delay_s: float

    def placed(self, rng: np.random.Generator, rates: FloatArray, low: int, high: int) -> FloatArray:
        """Draw families of calls. They begin up to an hour before `low`, so that the first minutes have theirs."""
        generation = poisson(rng, (1 - self.offspring) * rates, max(0, low - 60), high)
        families = [generation]
        while len(generation):
            children = np.repeat(generation, rng.poisson(self.offspring, len(generation)))
            generation = children + rng.exponential(self.mean_delay_s, len(children))
            families.append(generation)
        return np.concatenate(families)


@dataclass(frozen=True, kw_only=True, eq=False)
class Wandering(Traffic):
    """The log of the rate is an Ornstein-Uhlenbeck process: busy for a while, quiet for a while."""

    deviation: float
    memory_minutes: float

    def rates(self, rng: np.random.Generator, day: Day) -> FloatArray:
        """Draw the day's rates, times the wandering factor."""
        keeps = np.exp(-1 / self.memory_minutes)
        kicks = self.deviation * np.sqrt(1 - keeps**2) * rng.standard_normal(MINUTES)
        kicks[0] = self.deviation * rng.standard_normal()
        path = lfilter([1.0], [1.0, -keeps], kicks)
        return super().rates(rng, day) * np.exp(path - self.deviation**2 / 2)


def day_curve(peaks: tuple[tuple[float, float, float], ...]) -> FloatArray:
    """Return a day by minute, scaled to 1 at its highest, from peaks of (hour, half width in hours, height).

    A peak is a squared cosine: it is smooth, and zero outside its width. Nights have a little traffic.
    """
    hours = (np.arange(MINUTES) + 0.5) / 60
    curve = np.full(MINUTES, 0.01)
    for at, half_width, height in peaks:
        away = np.clip(np.abs(hours - at) / half_width, 0, 1)
        curve += height * np.cos(np.pi / 2 * away) ** 2
    return np.asarray(curve / curve.max())
