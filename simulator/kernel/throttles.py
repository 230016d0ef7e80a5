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

Decide = Callable[..., float]
"""`KernelPart.decide` or `take_back`, with the parameters (throttles, rings, which, now)."""


def _chain(policies: Sequence[type[Policy]], compiled: Callable[[type[Policy]], Decide]) -> Decide:
    """Return the compiled decision of whichever of these policies a record is of."""
    first, *others = policies
    decide = compiled(first)
    if not others:
        # Records are written by `encoding` alone, from the same table: there is no other code to ask about.
        return decide
    code, rest = KERNEL_CODE[first], _chain(others, compiled)

    @part
    def decide_or_hand_over(throttles: Records, rings: FloatArray, which: int, now: float) -> float:
        if throttles[which].policy == code:
            return decide(throttles, rings, which, now)
        return rest(throttles, rings, which, now)

    return decide_or_hand_over


@cache
def _below(depth: int) -> tuple[Decide, Decide]:
    """Return what asks, and what takes back, for records of all policies of lower depths."""
    policies = [policy for policy in POLICIES if policy.kernel.depth < depth]
    return _chain(policies, _decision), _chain(policies, _taking_back)


def _decision(policy: type[Policy]) -> Decide:
    return _compiled(policy.kernel.decide, policy.kernel.depth)


def _taking_back(policy: type[Policy]) -> Decide:
    return _compiled(policy.kernel.take_back, policy.kernel.depth)


@cache
def _compiled(decide: Decide, depth: int) -> Decide:
    """Compile once what several policies share."""
    inner = part(decide)
    if depth == 0:
        return inner
    ask, take_back = _below(depth)

    @part
    def decide_with_parts(throttles: Records, rings: FloatArray, which: int, now: float) -> float:
        return inner(ask, take_back, throttles, rings, which, now)

    return decide_with_parts


_decide = _chain(POLICIES, _decision)


@lean
def try_admit(throttles: Records, rings: FloatArray, which: int, now: float) -> float:
    """Return for how many seconds a call that comes now is delayed, or `REFUSES`."""
    return _decide(throttles, rings, which, now)


@lean
def restart(world: World, now: float) -> None:
    """Have all throttles of trunks forget everything, and begin a fixed window now."""
    # All but the last, which is the carrier's.
    for which in range(len(world.throttles) - 1):
        world.throttles[which] = world.unused_throttles[which]
        # The copy brought the old anchor back. The windows of a restarted process begin when it starts.
        world.throttles[which].anchor_s = now
