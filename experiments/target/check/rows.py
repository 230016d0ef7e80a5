"""Which calls a check-up places: one to each kind of far end that the study calls, as rows of its plan.

Where the study lists numbers, the first number of each kind is called, and no other. In the laboratory one call of the
plan is placed, to a number that our answering side plays.
"""

from __future__ import annotations

from trunkproof.models.errors import InputError, Problem
from trunkproof.models.plan import Outcome, Plan, PlanRow
from trunkproof.models.records import Direction, FarEnd

_OUTCOMES = {FarEnd.REJECTS: Outcome.BUSY, FarEnd.RINGS: Outcome.ABANDONED}
_TALKS = (FarEnd.ECHO, FarEnd.PLAN, FarEnd.ANSWERS, FarEnd.PLAYS)
"""Far ends that answer; the first of them that there is takes the calls that try something in mid-call."""
RINGS_S = 1.0
"""How long a call rings that is given up."""


def canaries(plan: Plan, trunk: int) -> dict[FarEnd, PlanRow]:
    """Return one row for each kind of far end that the trunk's study calls.

    Raises:
        InputError: the study plans no outbound call of this trunk that is answered, or lists no numbers either.
    """
    rows = [row for row in plan.first_attempts() if row.trunk == trunk and row.direction is Direction.OUTBOUND]
    found: dict[FarEnd, PlanRow] = {}
    for destination, far_end in _listed(plan, trunk):
        if far_end is FarEnd.PLAN or far_end in found or not rows:
            continue
        outcome = _OUTCOMES.get(far_end, Outcome.ANSWERED)
        entry = plan.destinations[trunk].entry_of(destination)
        status = (entry.status or 486) if far_end is FarEnd.REJECTS else 200
        found[far_end] = rows[0]._replace(
            destination=destination, outcome=outcome, status=status, setup_s=0.0, ring_s=0.0, next_row=None
        )
    played = [row for row in rows if plan.far_end(row) is FarEnd.PLAN and row.outcome is Outcome.ANSWERED]
    if played:
        # The one that is answered soonest: our answering side rings for as long as the plan says.
        found[FarEnd.PLAN] = min(played, key=lambda row: row.setup_s + row.ring_s)._replace(next_row=None)
    if not found:
        name = plan.study.trunks[trunk].name
        what = "the study plans no outbound call that is answered: list numbers to call, or use --inbound"
        raise InputError("check", [Problem(where=f"trunk {name}", what=what)])
    return found


def _listed(plan: Plan, trunk: int) -> list[tuple[int, FarEnd]]:
    """Return the place of the first number of each entry, with what its far end does."""
    where = plan.destinations[trunk]
    return [(first, entry.far_end) for first, entry in zip(where.firsts, where.entries, strict=False)]


def talking(rows: dict[FarEnd, PlanRow]) -> PlanRow | None:
    """Return the row for calls that try something once they are answered, or None where no far end answers."""
    return next((rows[far_end] for far_end in _TALKS if far_end in rows), None)


def held_for(row: PlanRow, seconds: float) -> PlanRow:
    """Return the row with another time in which the call is up."""
    return row._replace(hold_s=seconds)


def given_up(plan: Plan, trunk: int, rows: dict[FarEnd, PlanRow]) -> PlanRow | None:
    """Return the row for a call that is cancelled while it rings, or None where nothing may ring long enough."""
    if FarEnd.RINGS in rows:
        return rows[FarEnd.RINGS]._replace(ring_s=RINGS_S)
    if FarEnd.PLAN in rows:
        # A row that our answering side lets ring, whatever comes of it later.
        mine = (row for row in plan.first_attempts() if row.trunk == trunk and row.direction is Direction.OUTBOUND)
        longest = max((row for row in mine if plan.far_end(row) is FarEnd.PLAN), key=lambda row: row.ring_s)
        ring_s = min(RINGS_S, longest.ring_s / 2)
        return longest._replace(outcome=Outcome.ABANDONED, status=487, ring_s=ring_s, next_row=None)
    row = talking(rows)
    return None if row is None else row._replace(outcome=Outcome.ABANDONED, status=487, ring_s=0.0)
