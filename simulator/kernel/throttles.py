"""The policies of `models.throttles` on records: the same decisions by the same arithmetic.

Each policy brings its own `decide`. Numba cannot call a function that it finds in a table, so the functions form a
chain: the first compares the record's code with its own and decides, or hands over to the rest. All links are inlined,
so that what is left is one comparison per policy, as of ifs written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from trunkproof.models.arrays import FloatArray
from trunkproof.models.compiled import lean, part
from trunkproof.models.throttles.policy import Policy
from trunkproof.models.throttles.registry import KERNEL_CODE, POLICIES
from trunkproof.simulator.kernel.memory import Records, World

Decide = Callable[[Records, FloatArray, int, float], float]


def _chain(policies: Sequence[type[Policy]]) -> Decide:
    """Return the compiled decision of whichever of these policies a record is of."""
    first, *others = policies
    decide = _compiled(first.kernel.decide)
    if not others:
        # Records are written by `encoding` alone, from the same table: there is no other code to ask about.
        return decide
    code, rest = KERNEL_CODE[first], _chain(others)

    @part
    def decide_or_hand_over(throttles: Records, rings: FloatArray, which: int, now: float) -> float:
        if throttles[which].policy == code:
            return decide(throttles, rings, which, now)
        return rest(throttles, rings, which, now)

    return decide_or_hand_over


@cache
def _compiled(decide: Decide) -> Decide:
    """Compile once what several policies share."""
    return part(decide)


_decide = _chain(POLICIES)


@lean
def try_admit(throttles: Records, rings: FloatArray, which: int, now: float) -> float:
    """Return for how many seconds a call that comes now is delayed, or `REFUSES`."""
    return _decide(throttles, rings, which, now)


@lean
def restart(world: World, which: int, now: float) -> None:
    """Forget everything, and begin a fixed window now."""
    world.throttles[which] = world.unused_throttles[which]
    # The copy brought the old anchor back. The windows of a restarted process begin when it starts.
    world.throttles[which].anchor_s = now
