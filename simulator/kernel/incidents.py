"""Events that belong to no call: arrivals, ends of standing calls, ends of handshakes, and incidents."""

from __future__ import annotations

import math

from trunkproof.models.compiled import inlined, lean
from trunkproof.simulator.kernel.codes import ARRIVAL, INCIDENT, KINDS, OPENED, STANDING
from trunkproof.simulator.kernel.heap import schedule
from trunkproof.simulator.kernel.host import audio_changes
from trunkproof.simulator.kernel.limits import give_back
from trunkproof.simulator.kernel.memory import World
from trunkproof.simulator.kernel.throttles import restart


@inlined
def other(world: World, kind: int, which: int) -> bool:
    """Let such an event happen. Return whether attempts must be broken off."""
    clock = world.clock[0]
    if kind == ARRIVAL:
        clock.arriving = which
    elif kind == STANDING:
        audio_changes(world.clock, -2)
        give_back(world, which)
    elif kind == INCIDENT:
        return _happen(world, which)
    else:
        clock.waiting, clock.was_opened = which, kind == OPENED
    return False


@inlined
def incidents_come(world: World) -> None:
    """Schedule all incidents."""
    for which in range(len(world.incidents)):
        schedule(world.clock, world.near, world.incidents[which].at_s, which * KINDS + INCIDENT)


@lean
def _happen(world: World, which: int) -> bool:
    clock, incident = world.clock[0], world.incidents[which]
    begins = incident.stage == 0
    # The same event comes twice: at the beginning of the incident, and again at its end.
    if begins:
        incident.stage = 1
        schedule(world.clock, world.near, incident.lasts_s, which * KINDS + INCIDENT)
    if incident.is_brown_out:
        clock.left = incident.channels if begins else -1
        return False
    if not begins and incident.forgets_throttle:
        restart(world, clock.now)
    clock.fallen = incident.edge
    for index in range(clock.edges):
        if incident.edge in (-1, index):
            edge = world.edges[index]
            edge.up = not begins
            if begins:
                edge.silent_until_s = clock.now + incident.lasts_s if incident.is_silent else math.nan
                # From now on every connection that was opened before counts as closed.
                edge.restarts += 1
    return bool(begins)
