"""The limits of `models.limits` on arrays: throttle, ports, carrier. Of a port only its number of places is kept, as no
record says which one it was.
"""

from __future__ import annotations

from models.compiled import inlined
from simulator.kernel.codes import CARRIER_REJECTED, NO_CHANNEL, NO_PORT, TAKEN
from simulator.kernel.memory import World
from simulator.kernel.throttles import REFUSES, try_admit


@inlined
def take(world: World) -> int:
    """Take the ports and the channel of a call: `TAKEN`, or the disposition of who refused."""
    clock = world.clock[0]
    if not take_ports(world):
        return NO_PORT
    if clock.is_rate_limited and try_admit(world.throttles, world.rings, clock.trunks, clock.now) == REFUSES:
        release(world)
        return CARRIER_REJECTED
    if clock.channels >= 0 and clock.used >= clock.channels:
        release(world)
        return NO_CHANNEL
    clock.used += 1
    return TAKEN


@inlined
def take_ports(world: World) -> bool:
    """Take the ports of a call; whether there were enough."""
    clock, resting = world.clock[0], world.resting
    while clock.resting > 0 and resting[clock.resting_first] <= clock.now:
        clock.resting_first = (clock.resting_first + 1) % len(resting)
        clock.resting -= 1
        clock.ports += clock.legs
    if clock.ports < clock.legs:
        return False
    clock.ports -= clock.legs
    return True


@inlined
def release(world: World) -> None:
    """Give the ports of a call back; they rest before they are free."""
    clock = world.clock[0]
    free_at = clock.now + clock.quarantine_s
    if free_at <= clock.now:
        clock.ports += clock.legs
        return
    world.resting[(clock.resting_first + clock.resting) % len(world.resting)] = free_at
    clock.resting += 1


@inlined
def give_back(world: World) -> None:
    """Release ports and channel."""
    release(world)
    world.clock[0].used -= 1
