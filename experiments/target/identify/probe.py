"""When to place the next call, so that few calls tell the throttle. No I/O: time is a parameter.

1. **Burst**: calls as fast as allowed, until most of them are refused.
2. **Aimed**: each family that still explains everything says when it would admit the next call. The next call goes
   where their answers differ most, for its price in calls and time. Where all agree that it is open, calls follow
   quickly until it closes again, each time at another pace: what repeats only because we repeat ourselves then shows.

It ends when one family is left and all of its values are told, or at a bound.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from trunkproof.experiments.target.identify.attempts import Attempt, observed
from trunkproof.experiments.target.identify.judgement import (
    CLOCK_S,
    CLOCK_STEPS,
    Family,
    Identification,
    families_of,
    identify_attempts,
    reopenings,
)
from trunkproof.models.arrays import FloatArray
from trunkproof.models.throttles.observed import Observed


@dataclass(frozen=True)
class ProbeBounds:
    """What a probe may never exceed."""

    calls: int = 400
    seconds: float = 120.0
    per_minute: int = 400
    """Calls in any 60 s."""
    gap_s: float = 0.02
    """Between two calls, at least."""


_RECENT, _MOSTLY = 15, 9
"""The burst ends when so many of the recent calls were refused."""
_REFUSED = 40
"""Or when so many were refused in all: short windows open again before most of the recent ones are."""
_BURST_PACE, _BURST_CALLS = 3.3, 250
"""Factor of the gap in the first burst, for so many calls. Later rushes are faster: a sliding window opens again at the
pace of the burst, and a rush must overtake it."""
_PACES = (1.0, 1.6, 1.3)
"""Factors of the gap, from one rush to the next."""
_UNEVEN = (1.0, 1.5, 1.2, 1.05, 1.3)
"""Factors of the gap, from call to call: evenly spaced calls could keep step with a window of the same length."""
_CALL_PRICE = 3.0
"""A call costs so many times what its share of the bound says: the calls left are worth more than the time left."""
_CONFIRM_S = 60.0
"""A description must hold for so long: a second limit, per minute, shows only then."""
_HOPELESS = 60
"""Calls after which a throttle that nothing explains is given up."""
_EVERY = 5
"""After so many refusals everything is searched anew."""
_MOST_RANGES = 200
"""So many ranges of each family, and so many instants, are looked at."""
_PATIENCE, _NEVER_S = 3.0, 1e6
"""A refusal comes within so many times the slowest one."""
_ANSWER_S = 0.05
"""How often a probe that waits for an answer is asked again."""


class Probe:
    """Chooses the instants of calls. Ask `next_probe`, tell `placed` and `observe`."""

    def __init__(self, bounds: ProbeBounds | None = None, clock_s: float = CLOCK_S) -> None:
        self.bounds = bounds or ProbeBounds()
        self._clock_s = clock_s
        self.attempts: list[Attempt] = []
        self.lost = 0
        """Calls that were never answered."""
        self._begun: float | None = None
        self._placed: deque[float] = deque()
        self._open: list[float] = []
        """When the calls were placed that have no answer yet."""
        self._slowest_s = _ANSWER_S
        self._calls = 0
        self._recent: deque[bool] = deque(maxlen=_RECENT)
        self._refused = 0
        self._bursting = True
        self._families: tuple[Family, ...] | None = None
        self._next: float | None = None
        self._ranges: FloatArray | None = None
        self._rushes, self._rushing = 0, True
        self._lost_at: int | None = None
        self._is_done = False

    def placed(self, now: float) -> None:
        """Take note that a call was placed now."""
        self._begun = now if self._begun is None else self._begun
        self._placed.append(now)
        self._calls += 1
        self._open.append(now)
        self._next = None

    def observe(self, attempt: Attempt, placed_s: float) -> None:
        """Take note of the answer to the call that was placed then."""
        self.attempts.append(attempt)
        self._open.remove(placed_s)
        if not attempt.admitted:
            self._slowest_s = max(self._slowest_s, attempt.responded_s - attempt.sent_s)
        self._recent.append(attempt.admitted)
        self._refused += not attempt.admitted
        self._next = None
        if self._bursting:
            mostly = len(self._recent) == _RECENT and self._recent.count(False) >= _MOSTLY
            self._bursting = not mostly and self._refused < _REFUSED
        elif attempt.admitted:
            # In a rush, one more that is admitted tells nothing new.
            self._families = self._families if self._rushing else None
        elif self._rushing or self._refused % _EVERY == 0 or not self._still_closed(attempt):
            self._families = None

    def next_probe(self, now: float) -> float | None:
        """Return when to place the next call, if no answer comes before; at or before `now`: at once. None: enough.

        Answers change it, so ask again after each, and when the instant has come.
        """
        over = self._begun is not None and now - self._begun >= self.bounds.seconds
        if self._is_done or over or self._calls >= self.bounds.calls:
            # Every call counts for the throttle, so what becomes of each must be known.
            return now + _ANSWER_S if self._open else None
        if self._next is None:
            rushing = self._bursting or (self._rushing and self._families is not None)
            if not rushing and self._is_awaited(now):
                # One at a time: the answer decides on the next.
                return now + _ANSWER_S
            wanted = self._wanted(now)
            self._is_done = wanted is None
            self._next = max(wanted, self._allowed(now)) if wanted is not None else math.inf
            if self._begun is not None and self._next >= self._begun + self.bounds.seconds:
                self._is_done = True
            if self._is_done:
                return now + _ANSWER_S if self._open else None
        return self._next

    def unanswered(self, placed_s: float) -> None:
        """Take note that a call placed then will never be answered."""
        self._open.remove(placed_s)
        self.lost += 1

    def result(self) -> Identification:
        """Return what was told."""
        return identify_attempts(self.attempts, self._clock_s, unknown=self.lost)

    def _is_awaited(self, now: float) -> bool:
        """Tell whether a refusal may still come. A call that waits for longer is admitted, whenever it will ring."""
        return any(placed_s > now - _PATIENCE * self._slowest_s for placed_s in self._open)

    def _seen(self, step: float = 1) -> Observed:
        waiting = [Attempt(placed_s, placed_s + _NEVER_S, admitted=True) for placed_s in self._open]
        return observed([*self.attempts, *waiting], self._clock_s * step)

    def _allowed(self, now: float) -> float:
        if not self._placed:
            return now
        while self._placed and self._placed[0] <= now - 60:
            self._placed.popleft()
        earliest = (self._placed[-1] if self._placed else -math.inf) + self.bounds.gap_s
        if len(self._placed) >= self.bounds.per_minute:
            earliest = max(earliest, self._placed[-self.bounds.per_minute] + 60)
        return earliest

    def _wanted(self, now: float) -> float | None:
        if self._bursting or (self._rushing and self._families is not None):
            pace = _PACES[self._rushes % len(_PACES)]
            if self._bursting and self._calls < _BURST_CALLS:
                pace = _BURST_PACE
            return (self._placed[-1] if self._placed else -math.inf) + self.bounds.gap_s * pace * _UNEVEN[
                self._calls % len(_UNEVEN)
            ]
        if self._families is None:
            self._families = self._explained()
            self._ranges, self._rushing = None, False
        if not self._families:
            return self._groped(now)
        self._lost_at = None
        if (
            self._is_told()
            and self._begun is not None
            and now - self._begun >= min(_CONFIRM_S, self.bounds.seconds / 2)
        ):
            return None
        if self._ranges is None:
            self._ranges = self._all_ranges()
        return self._aimed(now, self._ranges)

    def _explained(self) -> tuple[Family, ...]:
        for step in CLOCK_STEPS:
            if found := families_of(self._seen(step)):
                return found
        return ()

    def _is_told(self) -> bool:
        assert self._families is not None
        return len(self._families) == 1 and not self._families[0].untold and reopenings(self.attempts) >= 2

    def _groped(self, now: float) -> float | None:
        """Return when to call a throttle that nothing explains; None: it is hopeless."""
        self._lost_at = self._calls if self._lost_at is None else self._lost_at
        return None if self._calls - self._lost_at >= _HOPELESS else now + 0.3

    def _all_ranges(self) -> FloatArray:
        """Return when the families left would open again: least, most and weight, shape (n, 3)."""
        assert self._families is not None
        found = []
        for family in self._families:
            own = np.concatenate([explanation.reopens_s for explanation in family.explanations])
            own = own[:: 1 + len(own) // _MOST_RANGES]
            found.append(np.column_stack([own, np.full(len(own), 1 / len(own))]))
        return np.concatenate(found)

    def _still_closed(self, attempt: Attempt) -> bool:
        """Leave out what would have admitted a refused attempt; return whether anything is left.

        This spares us a search for each call that waits for the throttle to open.
        """
        if self._ranges is None:
            return False
        ranges = self._ranges[self._ranges[:, 1] >= attempt.sent_s - self._clock_s]
        ranges[:, 0] = np.maximum(ranges[:, 0], attempt.sent_s - self._clock_s)
        self._ranges = ranges
        return len(ranges) > 0

    def _aimed(self, now: float, ranges: FloatArray) -> float:
        """Return the instant at which the answer says most for its price."""
        low, high, weight = ranges.T
        weight = weight / weight.sum()
        soonest = self._allowed(now)
        if high.max() <= soonest:
            self._rushing, self._rushes = True, self._rushes + 1
            return soonest
        seen = self._seen()
        doubt_s = max(2 * self._clock_s, seen.doubt_s)
        if high.max() - low.min() <= doubt_s:
            # Known as well as instants are: call when it is surely open, which costs no refusal.
            return max(soonest, float(high.max()))
        begun = self._begun if self._begun is not None else now
        left_s = max(1.0, begun + self.bounds.seconds - now)
        left = max(1, self.bounds.calls - self._calls)
        at = np.unique(np.concatenate([low, high, (low + high) / 2]))
        at = at[(at > soonest) & (at < now + left_s)]
        at = np.append(at[:: 1 + len(at) // _MOST_RANGES], soonest)
        length = np.maximum(high - low, 1e-9)
        open_share = np.clip((at[:, None] - low[None, :]) / length[None, :], 0, 1) @ weight
        open_share = np.clip(open_share, 1e-12, 1 - 1e-12)
        told = -open_share * np.log2(open_share) - (1 - open_share) * np.log2(1 - open_share)
        price = _CALL_PRICE / left + (at - now) / left_s
        best = int(np.argmax(told / price))
        return float(at[best])
