"""Run the incidents of a study: restarts of the edge, and brown-outs of the carrier."""

from __future__ import annotations

from collections.abc import Generator

import simpy

from trunkproof.models.study import CarrierBrownOut, EdgeRestart, Incident
from trunkproof.simulator.trunk import World


def happen(world: World, incident: Incident) -> Generator[simpy.Event, object, None]:
    """Run one incident as a process."""
    yield world.env.timeout(incident.at_s)
    match incident:
        case EdgeRestart():
            world.edge.go_down()
            # In the order of their INVITEs, as the compiled engine does: their redials must be scheduled in the same
            # order.
            for process in list(world.inviting):
                process.interrupt()
            yield world.env.timeout(incident.down_s)
            if incident.forgets_throttle:
                world.limits.restart_throttles(world.env.now)
            world.edge.come_back()
        case CarrierBrownOut():
            world.limits.carrier.left = incident.channels
            yield world.env.timeout(incident.lasts_s)
            world.limits.carrier.left = None
