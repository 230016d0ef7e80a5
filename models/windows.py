"""An indicator in every window of a run, and of a run that still goes on, from attempts that come as they end.

A window of `window_s` holds the attempts that were intended in it. It slides by a tenth of its length, and by at least
one second. It is judged once it is full; in a run that is shorter there is one window, the whole run.

While a run goes on, calls under way are missing. Failed attempts end at once and good ones last, so that a plain share
would look worse than it is. `Sums.at_best` counts what is under way as good: what it says is missed, stays missed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from trunkproof.models.arrays import FloatArray
from trunkproof.models.columns import Columns
from trunkproof.models.kpis import DEFINITIONS, Count, Mean, Quantile, Reduction, Share
from trunkproof.models.targets import Target

_STEPS = 10


def is_windowed(kpi: str) -> bool:
    """Tell whether an indicator can be had of a part of a run: its attempts say it, and not what is in use at once."""
    return isinstance(DEFINITIONS[kpi].reduction, Count | Share | Mean | Quantile)


@dataclass(slots=True)
class Sums:
    """What attempts add to one indicator. It may be added to another's."""

    attempts: int = 0
    part: float = 0.0
    whole: float = 0.0
    values: list[FloatArray] = field(default_factory=list)

    def add(self, reduction: Reduction, records: Columns) -> None:
        """Add attempts."""
        self.attempts += len(records)
        match reduction:
            case Count(total):
                self.part += total.of(records)
            case Share(part, whole):
                self.part += part.of(records)
                self.whole += whole.of(records)
            case Mean(values) | Quantile(values, _):
                found = values.of(records)
                self.values.append(found[~np.isnan(found)])

    def merge(self, other: Sums) -> None:
        """Add the attempts of another sum."""
        self.attempts += other.attempts
        self.part += other.part
        self.whole += other.whole
        self.values += other.values

    def value(self, reduction: Reduction) -> float | None:
        """Return the indicator of the attempts so far, or None where they have none."""
        if isinstance(reduction, Count):
            return self.part
        if isinstance(reduction, Share):
            return self.part / self.whole if self.whole else None
        found = np.concatenate(self.values) if self.values else np.empty(0)
        if not len(found):
            return None
        # The definition of `LogHistogram.quantile`, here exact.
        q = reduction.q if isinstance(reduction, Quantile) else None
        return float(found.mean() if q is None else np.quantile(found, q, method="inverted_cdf"))

    def at_best(self, target: Target, under_way: int) -> float | None:
        """Return the indicator as it would be if all attempts under way ended in the target's favour."""
        reduction = target.definition.reduction
        if not isinstance(reduction, Share) or not reduction.whole.of_all:
            return self.value(reduction)
        whole = self.whole + under_way
        good = 0 if target.is_upper else under_way
        return (self.part + good) / whole if whole else None


@dataclass(frozen=True, slots=True)
class Window:
    """One window and the indicator in it."""

    from_s: float
    until_s: float
    attempts: int
    value: float | None


class WindowedKpi:
    """One indicator of a run, in windows."""

    def __init__(self, target: Target, window_s: float) -> None:
        self._target = target
        self._step_s = max(1.0, window_s / _STEPS)
        self._steps = max(1, round(window_s / self._step_s))
        self._buckets: dict[int, Sums] = defaultdict(Sums)
        self._changed: set[int] = set()

    def step_of(self, instant_s: float) -> int:
        """Return the number of the step in which an instant lies."""
        return int(instant_s // self._step_s)

    def add(self, records: Columns) -> None:
        """Add attempts that have ended."""
        steps = np.floor(records.intended_s / self._step_s).astype(np.int64)
        for step in np.unique(steps).tolist():
            self._buckets[step].add(self._target.definition.reduction, records.where(steps == step))
            self._changed.add(step)

    def windows(self) -> Iterator[Window]:
        """Yield every window of a run that is over, in the order of time."""
        if self._buckets:
            last = max(self._buckets)
            for end in range(min(self._steps - 1, last), last + 1):
                yield self._window(end, {})

    def fresh(self, now_s: float, under_way: Mapping[int, int]) -> Iterator[Window]:
        """Yield the full windows with attempts that came since the last time. `under_way` is by step."""
        last = self.step_of(now_s) - 1
        ends = {end for step in self._changed for end in range(max(step, self._steps - 1), step + self._steps)}
        self._changed.clear()
        yield from (self._window(end, under_way) for end in sorted(ends) if end <= last)

    def _window(self, end: int, under_way: Mapping[int, int]) -> Window:
        sums, missing = Sums(), 0
        first = max(0, end - self._steps + 1)
        for step in range(first, end + 1):
            missing += under_way.get(step, 0)
            if step in self._buckets:
                sums.merge(self._buckets[step])
        value = sums.at_best(self._target, missing)
        return Window(first * self._step_s, (end + 1) * self._step_s, sums.attempts, value)
