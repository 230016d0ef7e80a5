"""What a dialled number does when our side answers it, for numbers that a study lists one by one or as a block.

Behind a trunk these are the study's `destinations`, where we play their far ends. At a customer's they are the
Exophones of `inbound`. Numbers that play the plan are not here: `Plan.row_dialled` finds their rows.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trunkproof.models.destinations import Destination, Destinations
from trunkproof.models.distributions import Distribution
from trunkproof.models.plan import Outcome, Plan, PlanRow
from trunkproof.models.records import Direction, FarEnd
from trunkproof.models.traffic import Traffic

DEFAULT_REJECTION = 486
_OUTCOMES = {FarEnd.REJECTS: (Outcome.REJECTED, DEFAULT_REJECTION), FarEnd.RINGS: (Outcome.ABANDONED, 487)}
_ANSWERS = (Outcome.ANSWERED, 200)


@dataclass(frozen=True, slots=True)
class Called:
    """What the called side of one call does."""

    row: PlanRow
    """How long it rings, how it ends, and how long it holds."""
    far_end: FarEnd = FarEnd.PLAN
    hangs_up: bool = False
    """Whether our side hangs up when the row's holding time is over. Else only its caller does."""


class ListedNumbers:
    """The listed numbers of one trunk. Each call to one of them gets a row of its own, whose number no plan has."""

    def __init__(self, plan: Plan, trunk: int, direction: Direction) -> None:
        """Take the destinations of a trunk for outbound calls, and its inbound numbers for inbound ones."""
        traffic: Traffic = plan.study.trunks[trunk].traffic
        self._traffic, self._trunk, self._direction = traffic, trunk, direction
        self.numbers: Destinations = traffic.answered if direction is Direction.INBOUND else traffic.where
        self._rows = itertools.count(max(plan.rows, default=-1) + 1)
        self._random = random.Random()

    @cached_property
    def _places(self) -> dict[str, int]:
        """Return number -> place, of the numbers that are written one by one."""
        firsts = zip(self.numbers.entries, self.numbers.firsts, strict=False)
        return {number: first + place for entry, first in firsts for place, number in enumerate(entry.listed)}

    def _place(self, number: str) -> int | None:
        if number in self._places:
            return self._places[number]
        for entry, first in zip(self.numbers.entries, self.numbers.firsts, strict=False):
            if entry.range is not None and entry.far_end is not FarEnd.PLAN and entry.has(number):
                return first + entry.range.index(int(number))
        return None

    def called(self, number: str) -> Called | None:
        """Return what a number does for its next call, or None for a number that is not listed."""
        place = self._place(number)
        if place is None:
            return None
        entry = self.numbers.entry_of(place)
        outcome, status = _OUTCOMES.get(entry.far_end, _ANSWERS)
        row = next(self._rows)
        hold = self._holding(entry)
        return Called(
            PlanRow.unplanned(
                row,
                self._trunk,
                self._direction,
                ring_s=self._drawn(entry.ringing or self._traffic.ringing),
                outcome=outcome,
                status=entry.status or status,
                hold_s=0.0 if hold is None else self._drawn(hold),
                destination=place,
            ),
            entry.far_end,
            hangs_up=hold is not None,
        )

    def _holding(self, entry: Destination) -> Distribution | None:
        # Of a destination it is how long its caller holds, and the far end waits for the caller's BYE.
        return entry.holding if self._direction is Direction.INBOUND else None

    def _drawn(self, distribution: Distribution) -> float:
        return float(distribution.quantile(np.array([self._random.random()]))[0])

    def far_end(self, row: PlanRow) -> FarEnd:
        """Return the kind of the number that a call of `called` dialled."""
        return FarEnd.PLAN if row.destination is None else self.numbers.entry_of(row.destination).far_end
