"""The limits of `models.limits` and `models.channels` on arrays: throttle, ports, carrier.

Free ports are only counted, because no record says which port a call had.
"""

from __future__ import annotations

from trunkproof.models.compiled import inlined
from trunkproof.models.throttles.decision import REFUSES, SAME_INSTANT_S
from trunkproof.simulator.kernel.codes import CARRIER_REJECTED, NO_CHANNEL, NO_PORT, TAKEN
from trunkproof.simulator.kernel.memory import World
from trunkproof.simulator.kernel.throttles import try_admit


@inlined
def take(world: World, pool: int) -> int:
    """Take the ports of a call and a channel of a pool. Return `TAKEN`, or the disposition of a limit that refuses."""
    clock = world.clock[0]
    if not take_ports(world):
        return NO_PORT
    # The throttle behind those of the trunks is the carrier's own rate.
    rate = len(world.throttles) - 1
    if clock.is_rate_limited and try_admit(world.throttles, world.rings, rate, clock.now) == REFUSES:
        release(world)
        return CARRIER_REJECTED
    # `left`: the channels that an incident has left to all pools together. -1 without an incident.
    if not (clock.left >= 0 and _used(world) >= clock.left) and _take_channel(world, pool):
        return TAKEN
    release(world)
    return NO_CHANNEL


@inlined
def _used(world: World) -> int:
    used = 0
    for pool in range(len(world.pools)):
        used += world.pools[pool].used
    return used


@inlined
def _take_channel(world: World, which: int) -> bool:
    _settle(world, which)
    pool = world.pools[which]
    if pool.base >= 0 and pool.used >= pool.base:
        # Above the base a channel is lent, as long as the burst's time is not spent.
        lends = pool.used < pool.most and pool.spent_s < pool.burst_s - SAME_INSTANT_S
        if not lends:
            return False
    pool.used += 1
    return True


@inlined
def _settle(world: World, which: int) -> None:
    """Bring the time that a pool has spent above its base up to date."""
    pool, now = world.pools[which], world.clock[0].now
    if pool.base < 0 or pool.most == 0:
        return
    # Use has not changed since the last call of this function, so one step covers all the time in between.
    if pool.used > pool.base:
        pool.spent_s = min(pool.burst_s, pool.spent_s + (now - pool.settled_s))
        pool.rests_since_s = now
    elif now - pool.rests_since_s >= pool.burst_s - SAME_INSTANT_S:
        pool.spent_s = 0.0
    pool.settled_s = now


@inlined
def take_ports(world: World) -> bool:
    """Take the ports of a call. Return False if there are not enough."""
    clock, resting = world.clock[0], world.resting
    while clock.resting > 0 and resting[clock.resting_first] <= clock.now:
        # All rest equally long, so they are free again in the order of their release: a ring, and no heap.
        clock.resting_first = (clock.resting_first + 1) % len(resting)
        clock.resting -= 1
        clock.ports += clock.legs
    if clock.ports < clock.legs:
        return False
    clock.ports -= clock.legs
    return True


@inlined
def release(world: World) -> None:
    """Give the ports of a call back. They rest for the quarantine before they are free."""
    clock = world.clock[0]
    free_at = clock.now + clock.quarantine_s
    # Without a quarantine they are free at once, and the ring stays empty.
    if free_at <= clock.now:
        clock.ports += clock.legs
        return
    world.resting[(clock.resting_first + clock.resting) % len(world.resting)] = free_at
    clock.resting += 1


@inlined
def give_back(world: World, pool: int) -> None:
    """Give a call's ports and its channel back."""
    release(world)
    _settle(world, pool)
    world.pools[pool].used -= 1
