"""What listed numbers do when our side answers them: each call gets a row of its own."""

from __future__ import annotations

from typing import Any

from trunkproof.loadgen.parties.called import ListedNumbers
from trunkproof.models.plan import Outcome, draw_plan
from trunkproof.models.records import Direction, FarEnd
from trunkproof.models.study import Study

ONE, TWO, BLOCK = "+918040005551", "+918040005552", "+918040010000-+918040010099"
ENTRIES: list[dict[str, Any]] = [
    {"numbers": [ONE, TWO], "far_end": "echo", "ringing": 0.5, "holding": 3},
    {"number": "+918040005553", "far_end": "rejects", "status": 603},
    {"number": "+918040005554", "far_end": "rejects"},
    {"block": BLOCK, "far_end": "rings"},
]


def listed(direction: Direction) -> ListedNumbers:
    key = "inbound" if direction is Direction.INBOUND else "destinations"
    traffic = {"arrivals": {"kind": "replay", "instants_s": [0.0, 1.0]}, "holding": 1, "ringing": 2, key: ENTRIES}
    return ListedNumbers(draw_plan(Study.model_validate({"name": "t", "trunks": [{"traffic": traffic}]})), 0, direction)


def test_a_number_does_what_its_entry_says() -> None:
    numbers = listed(Direction.INBOUND)
    two = numbers.called(TWO)
    assert two is not None
    assert (two.row.outcome, two.row.status, two.row.ring_s, two.row.destination) == (Outcome.ANSWERED, 200, 0.5, 1)
    assert (two.far_end, numbers.far_end(two.row)) == (FarEnd.ECHO, FarEnd.ECHO)
    refused, busy, rings = map(numbers.called, ("+918040005553", "+918040005554", "+918040010042"))
    assert refused is not None
    assert busy is not None
    assert rings is not None
    assert (refused.row.outcome, refused.row.status, busy.row.status) == (Outcome.REJECTED, 603, 486)
    # Until its caller gives up.
    assert (rings.row.outcome, rings.row.destination) == (Outcome.ABANDONED, 4 + 42)
    assert numbers.called("+918040010100") is numbers.called("sip") is None


def test_only_at_an_inbound_number_our_side_hangs_up() -> None:
    inbound, outbound = listed(Direction.INBOUND).called(ONE), listed(Direction.OUTBOUND).called(ONE)
    assert inbound is not None
    assert outbound is not None
    # Of a destination, the holding time is its caller's.
    assert (inbound.hangs_up, inbound.row.hold_s, outbound.hangs_up) == (True, 3.0, False)


def test_no_row_is_used_twice_or_is_one_of_the_plan() -> None:
    numbers = listed(Direction.OUTBOUND)
    rows = [called.row.row for called in map(numbers.called, [ONE, ONE, TWO]) if called is not None]
    assert len(set(rows)) == 3
    assert min(rows) > 1
