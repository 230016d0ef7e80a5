"""Run the incidents of a study: restarts of all edges, one edge that goes away, and brown-outs of the carrier."""

from __future__ import annotations

from collections.abc import Generator

import simpy

from trunkproof.models.edges import EdgeDown
from trunkproof.models.study import CarrierBrownOut, EdgeRestart, Incident
from trunkproof.simulator.trunk import World


def happen(world: World, incident: Incident) -> Generator[simpy.Event, object, None]:
    """Run one incident as a process."""
    yield world.env.timeout(incident.at_s)
    match incident:
        case EdgeRestart():
            for edge in world.edges:
                edge.go_down()
            world.break_off(range(len(world.edges)))
            yield world.env.timeout(incident.down_s)
            if incident.forgets_throttle:
                world.limits.restart_throttles(world.env.now)
            for edge in world.edges:
                edge.come_back()
        case EdgeDown():
            which = world.study.pop.edge_of(incident)
            back_s = world.env.now + incident.lasts_s
            world.edges[which].go_down(back_s if incident.connects == "time_out" else None)
            world.break_off([which])
            yield world.env.timeout(incident.lasts_s)
            world.edges[which].come_back()
        case CarrierBrownOut():
            world.limits.carrier.left = incident.channels
            yield world.env.timeout(incident.lasts_s)
            world.limits.carrier.left = None
