"""Turn the attempts that callers want into those that they make: the throttle refuses, and refusals bring redials.

The throttle's own object decides each attempt, but only in stretches in which it may refuse; elsewhere every attempt is
admitted. Whether a redial follows an attempt depends on how the attempt ended, so attempts and redials are handled
together in the order of time.

Example with a fixed window of 1 per minute: attempts are wanted at 0 s and 10 s. The second is refused, and its caller
redials at 50 s, which is refused too. A further redial at 70 s falls into the next window and is admitted. Redials that
the second caller would have made after another ending do not happen.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl

from trunkproof.experiments.histories.calls import REFUSED, draw_endings, duration_s, redial_chances
from trunkproof.experiments.histories.truth import Truth
from trunkproof.models.arrays import BoolArray
from trunkproof.models.streams import uniforms
from trunkproof.models.throttles.decision import Refused, Throttle

_BLOCK = 16_384
_LATER = 99
"""Number of the streams for redials after refusals. All attempts share them, in the order in which they need draws."""


def admit(truth: Truth, wanted: pl.DataFrame) -> pl.DataFrame:
    """Return the attempts that are made, in the order of time, with the columns of `wanted`.

    Refused ones have the status `REFUSED`.
    """
    walk = _Walk(truth, wanted)
    walk.run()
    return walk.result()


class _Next(NamedTuple):
    """A redial that is due."""

    at_s: float
    call: int
    attempt: int


@dataclass(eq=False)
class _Walk:
    """One pass through the attempts of a history."""

    truth: Truth
    wanted: pl.DataFrame
    refused: list[int] = field(default_factory=list)
    """Rows of `wanted` that the throttle refused."""
    delayed: dict[int, float] = field(default_factory=dict)
    """Seconds that a shaper delayed attempts, by row of `wanted`."""
    brought: list[tuple[int, int, float, int, int, float]] = field(default_factory=list)
    """Redials after refusals, as rows of the table of attempts."""

    def __post_init__(self) -> None:
        # Read one by one, an `array` is faster than a NumPy array, and far smaller than a list.
        self._instants = array("d", self.wanted["at_s"].to_numpy().tobytes())
        self._calls = array("q", self.wanted["call"].to_numpy().tobytes())
        self._attempts = array("b", self.wanted["attempt"].to_numpy().tobytes())
        self._ends_s = duration_s(self.truth)
        attempts = range(self.truth.redial.attempts)
        self._chances: list[list[float]] = [redial_chances(self.truth, attempt).tolist() for attempt in attempts]
        self._diverged: set[int] = set()
        self._pending: list[_Next] = []
        self._willing = _uniform_stream(self.truth, "redial")
        self._waits = _wait_stream(self.truth)
        self._endings = _ending_stream(self.truth)

    def run(self) -> None:
        """Walk through every stretch in which the throttle may refuse."""
        hot = self.truth.throttle.may_refuse(self.wanted["at_s"].to_numpy(), self.truth.anchor_s)
        rows = np.flatnonzero(hot)
        reached = 0
        while (index := int(np.searchsorted(rows, reached))) < len(rows):
            reached = self._stretch(int(rows[index]), hot)

    def _stretch(self, row: int, hot: BoolArray) -> int:
        """Handle attempts from `row` until the throttle has forgotten every refusal and redial. Return the next row."""
        instants, pending = self._instants, self._pending
        throttle = self.truth.throttle.make_throttle(self.truth.anchor_s)
        memory_s, rows = self.truth.throttle.memory_s, len(instants)
        changed_until_s = -np.inf
        while True:
            if pending and (row == rows or pending[0].at_s < instants[row]):
                redial = heapq.heappop(pending)
                self._redial(throttle, redial)
                changed_until_s = redial.at_s + memory_s
            elif row < rows and (hot[row] or pending or instants[row] < changed_until_s):
                if self._ask(throttle, row):
                    changed_until_s = instants[row] + memory_s
                row += 1
            else:
                return row

    def _ask(self, throttle: Throttle, row: int) -> bool:
        """Ask the throttle about an attempt of `wanted`. Return whether the attempt is not made as it was wanted."""
        call, now = self._calls[row], self._instants[row]
        if call in self._diverged:
            return True
        decision = throttle.try_admit(now)
        if isinstance(decision, Refused):
            self.refused.append(row)
            self._diverged.add(call)
            self._after(decision, now, call, self._attempts[row], REFUSED)
            return True
        if decision.delay_s > 0:
            self.delayed[row] = decision.delay_s
        return False

    def _redial(self, throttle: Throttle, redial: _Next) -> None:
        decision = throttle.try_admit(redial.at_s)
        if isinstance(decision, Refused):
            status, code, ring_s = REFUSED, decision.status, 0.0
        else:
            status, code, ring_s = next(self._endings)
            ring_s += decision.delay_s
        self.brought.append((redial.call, redial.attempt, redial.at_s, status, code, ring_s))
        refusal = decision if isinstance(decision, Refused) else None
        self._after(refusal, redial.at_s + ring_s, redial.call, redial.attempt, status)

    def _after(self, refusal: Refused | None, ended_s: float, call: int, attempt: int, status: int) -> None:
        """Schedule the caller's next attempt, if any, by the same rules as `simulator.trunk.Caller`."""
        chance = self._chances[attempt][status]
        if not chance or next(self._willing) >= chance:
            return
        retry_after_s = None if refusal is None else refusal.retry_after_s
        wait_s = self.truth.redial.wait_s(next(self._waits), retry_after_s)
        if ended_s + wait_s < self._ends_s:
            heapq.heappush(self._pending, _Next(ended_s + wait_s, call, attempt + 1))

    def result(self) -> pl.DataFrame:
        """Return the attempts made."""
        status, code, ring_s = (self.wanted[name].to_numpy().copy() for name in ("status", "code", "ring_s"))
        status[self.refused], code[self.refused] = REFUSED, self.truth.throttle.refusal_status
        ring_s[self.refused] = 0.0
        ring_s[list(self.delayed)] += list(self.delayed.values())
        made = self.wanted.with_columns(status=pl.Series(status), code=pl.Series(code), ring_s=pl.Series(ring_s))
        brought = pl.DataFrame(self.brought, schema=made.schema, orient="row")
        return pl.concat([self._without_dropped(made), brought]).sort("at_s", "call")

    def _without_dropped(self, made: pl.DataFrame) -> pl.DataFrame:
        """Remove wanted redials of callers whose earlier attempt was refused: those callers redial differently."""
        refused = made[self.refused].select("call", refused_attempt="attempt")
        joined = made.join(refused, on="call", how="left", maintain_order="left")
        kept = pl.col("refused_attempt").is_null() | (pl.col("attempt") <= pl.col("refused_attempt"))
        return joined.filter(kept).drop("refused_attempt")


def _uniform_stream(truth: Truth, purpose: str) -> Iterator[float]:
    start = 0
    while True:
        yield from uniforms(truth.seed, f"history {purpose}", _LATER, start=start, count=_BLOCK).tolist()
        start += _BLOCK


def _wait_stream(truth: Truth) -> Iterator[float]:
    start = 0
    while True:
        draws = uniforms(truth.seed, "history redial delay", _LATER, start=start, count=_BLOCK)
        yield from truth.redial.delay.quantile(draws).tolist()
        start += _BLOCK


def _ending_stream(truth: Truth) -> Iterator[tuple[int, int, float]]:
    start = 0
    while True:
        drawn = draw_endings(truth, _LATER, _BLOCK, start=start)
        yield from zip(drawn.status.tolist(), drawn.code.tolist(), drawn.ring_s.tolist(), strict=True)
        start += _BLOCK
