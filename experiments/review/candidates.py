"""Choose the throttles to simulate, and find the smallest one that keeps every target.

The present and the requested throttle are always simulated, and those that the request names in `candidates`. If it
names none, the search guesses by formula which throttle is needed. Then it tries throttles between the smallest good
one and the next lower one, in at most three rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from trunkproof.experiments.review.judging import Judge
from trunkproof.experiments.review.theory.premises import Premises
from trunkproof.experiments.review.verdict import with_headroom

_FINE = 0.06
"""The search ends once the next lower throttle that was tried is nearer than this to the smallest good one."""
_ROUNDS = 3
_GUESSES = (0.94, 1.06)
_FAR = 1.15
"""If two throttles are further apart than this factor, two between them are tried at a time."""


@dataclass(frozen=True)
class Search:
    """A search for the smallest throttle that keeps every target."""

    judge: Judge
    interpretations: Sequence[int]
    premises: Premises
    executor: Executor | None
    advance: Callable[[float, str], None]

    def limits(self) -> tuple[int, ...]:
        """Simulate, and return the simulated throttles, ascending; the smallest good one is among them."""
        request = self.judge.request
        now, asked = request.now_per_minute, request.requested_per_minute
        tried: set[int] = {now, asked, *request.candidates}
        self._simulate(tried, 0)
        if request.candidates:
            return tuple(sorted(tried))
        if self._holds(now):
            return tuple(sorted(tried))
        tried |= {limit for guess in self._guesses() if now < (limit := round(guess)) < asked}
        self._simulate(tried, 1)
        for number in range(_ROUNDS):
            between = self._between(tried)
            if not between:
                break
            tried |= set(between)
            self._simulate(tried, 2 + number)
        return tuple(sorted(tried))

    def with_limit(self, limits: Sequence[int], limit: int) -> tuple[int, ...]:
        """Simulate one more throttle, and return all, ascending."""
        self._simulate({limit}, _ROUNDS + 1)
        return tuple(sorted({*limits, limit}))

    def with_headroom(self, limits: Sequence[int]) -> tuple[int, ...]:
        """Return the throttles and the one that would be recommended: the smallest good one with headroom.

        The added one is not simulated here. Only what it protects is judged.
        """
        request = self.judge.request
        good = [limit for limit in limits if limit <= request.requested_per_minute and self._holds(limit)]
        return tuple(sorted({*limits, *(with_headroom(limit, request) for limit in good[:1])}))

    def _simulate(self, limits: set[int], number: int) -> None:
        def part(share: float, words: str) -> None:
            self.advance((number + share) / (_ROUNDS + 2), words)

        cells = [(interpretation, limit) for interpretation in self.interpretations for limit in sorted(limits)]
        self.judge.sweep.extend(cells, self.executor, part)

    def _holds(self, limit: int) -> bool | None:
        return self.judge.holds(self.interpretations, limit)

    def _guesses(self) -> list[float]:
        """Return guesses near the throttle that demand needs by the formulas.

        If the requested throttle does not keep the targets, the throttle that all other resources carry is added.
        """
        demand = self.judge.demand.mean_per_minute.high
        needed = max(
            (self._needed(number, demand) for number in self.interpretations), default=self.judge.request.now_per_minute
        )
        guesses = [needed * factor for factor in _GUESSES]
        guard = self.premises.guard
        if guard is not None and not self._holds(self.judge.request.requested_per_minute):
            # Above it another resource runs out, so a lower throttle may keep targets that a higher one does not.
            guesses.append(guard)
        return guesses

    def _needed(self, interpretation: int, per_minute: float) -> float:
        """Return the throttle at which the formulas lose as much as the request allows."""
        low, high = 1.0, 1.0
        bound = self.premises.bounds.lost or self.premises.bounds.refused or 0.01
        throttle = self.judge.request.interpretations[interpretation]
        while self.premises.lost(throttle, max(1, round(high * per_minute)), per_minute) > bound and high < 64:
            low, high = high, 1.3 * high
        for _ in range(6):
            middle = math.sqrt(low * high)
            lost = self.premises.lost(throttle, max(1, round(middle * per_minute)), per_minute)
            low, high = (low, middle) if lost <= bound else (middle, high)
        return high * per_minute

    def _between(self, tried: set[int]) -> list[int]:
        """Return throttles between the smallest good one and the next lower one, if these are far apart."""
        request = self.judge.request
        within = sorted(limit for limit in tried if request.now_per_minute <= limit <= request.requested_per_minute)
        good = [limit for limit in within if self._holds(limit)]
        if good:
            lower = max((limit for limit in within if limit < good[0]), default=good[0])
            upper = good[0]
        else:
            # No throttle is good, not even the requested one: a lower one is hardly better.
            return []
        if upper - lower <= max(1.0, _FINE * upper):
            return []
        apart = upper / max(lower, 1)
        count = 2 if apart > _FAR else 1
        found = {round(lower * apart ** (step / (count + 1))) for step in range(1, count + 1)}
        return sorted(limit for limit in found if lower < limit < upper)
