"""Arrivals: each trunk's calls from the buffer of the plan, and the calls that stand when a simulation begins."""

from __future__ import annotations

import math

from trunkproof.models.arrays import FloatArray
from trunkproof.models.compiled import inlined, lean
from trunkproof.simulator.kernel.codes import ARRIVAL, KINDS, STANDING
from trunkproof.simulator.kernel.heap import schedule, schedule_far
from trunkproof.simulator.kernel.host import audio_changes
from trunkproof.simulator.kernel.incidents import incidents_come
from trunkproof.simulator.kernel.limits import take_ports
from trunkproof.simulator.kernel.memory import World


@inlined
def look_ahead(world: World) -> bool:
    """Find the calls of the arriving trunk that are due, and wait for the next one. Return False if the buffer ends."""
    clock = world.clock[0]
    which, now = clock.arriving, clock.now
    trunk = world.trunks[which]
    while trunk.looked < trunk.filled:
        place_s = world.plan[which, trunk.looked].place_s
        # A caller whose event has come is due, even if now + delay was rounded to a little before the intended instant.
        if not trunk.is_awaited and not math.isnan(place_s) and place_s > now:
            schedule(world.clock, world.near, place_s - now, which * KINDS + ARRIVAL)
            trunk.is_awaited = 1
            break
        trunk.is_awaited = 0
        trunk.looked += _rows(world, which, trunk.looked)
        # They do not begin here but one by one, later at this instant: SimPy too first schedules the next caller.
        trunk.starting += 1
        clock.starting += 1
    if trunk.looked == trunk.filled and not trunk.is_last:
        return False
    if clock.initialising and which + 1 < clock.trunks:
        clock.arriving += 1
        return True
    # At the beginning each trunk looks once, in their order. The incidents are scheduled after the last one.
    if clock.initialising:
        incidents_come(world)
    clock.arriving, clock.initialising = -1, 0
    return True


@inlined
def starts(world: World) -> bool:
    """Return whether there is room for the next caller who is due."""
    clock = world.clock[0]
    which = _starting(world)
    return bool(clock.free > 0 and clock.rows >= _rows(world, which, world.trunks[which].first))


@inlined
def start(world: World) -> int:
    """Take a place for that caller, with the rows of all attempts that the caller may make. Return the place."""
    clock, which = world.clock[0], _starting(world)
    trunk = world.trunks[which]
    rows = _rows(world, which, trunk.first)
    clock.free -= 1
    call, following = world.free[clock.free], -1
    # Backwards, so that each row can note the place of the one that follows it.
    for offset in range(rows - 1, -1, -1):
        clock.rows -= 1
        place = world.free_rows[clock.rows]
        world.rows[place] = world.plan[which, trunk.first + offset]
        world.rows[place].follows = following
        following = place
    trunk.first += rows
    trunk.starting -= 1
    clock.starting -= 1
    attempt = world.attempts[call]
    attempt.trunk, attempt.row, attempt.intended_s = which, following, clock.now
    return int(call)


@inlined
def _starting(world: World) -> int:
    which = 0
    # In the order of the trunks, as the processes of SimPy that wake at the same instant.
    while world.trunks[which].starting == 0:
        which += 1
    return which


@inlined
def _rows(world: World, which: int, first: int) -> int:
    """Return how many attempts a caller may make, given the first of the caller's rows."""
    rows = 1
    while world.plan[which, first + rows - 1].redial_after:
        rows += 1
    return rows


@lean
def stand_up(world: World, pool: int, residual_s: FloatArray) -> None:
    """Set up a trunk's calls that stand at the beginning. They hold channels of a pool for their residual times."""
    for index in range(len(residual_s)):
        if take_ports(world):
            world.pools[pool].used += 1
            audio_changes(world.clock, +2)
            # Talk lasts for minutes: such an event belongs to the heap of long waits.
            schedule_far(world.clock, world.far, residual_s[index], pool * KINDS + STANDING)
