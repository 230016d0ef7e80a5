"""Find everything in a study that Kamailio and rtpengine cannot play, each with its key and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from trunkproof.loadgen.stacks.kamailio.throttles import unsupported_throttle
from trunkproof.models.edges import EdgeDown
from trunkproof.models.errors import Problem
from trunkproof.models.study import EdgeRestart, Study, Trunk


def unsupported(study: Study) -> list[Problem]:
    """Return everything in the study that this stack cannot play."""
    found = [
        *_addresses(study),
        *_accounts(study),
        *_media(study),
        *_ports(study),
        *_incidents(study),
        *_edges(study),
    ]
    for index, trunk in enumerate(study.trunks):
        found += [Problem(where=f"trunks[{index}].{key}", what=what) for key, what in _trunk(trunk)]
    return found


def _addresses(study: Study) -> Iterator[Problem]:
    pop = study.pop
    inside = {"pop.inner_address": pop.inner_address, "pop.carrier.address": pop.carrier.address}
    outside = {"pop.address": pop.address}
    outside |= {f"pop.edges[{i}]": edge.address for i, edge in enumerate(pop.edges) if edge.address is not None}
    outside |= {f"trunks[{i}].customer_address": trunk.customer_address for i, trunk in enumerate(study.trunks)}
    everything = outside | inside
    for where, address in inside.items():
        same = sorted(key for key, other in everything.items() if other == address and key != where)
        if same:
            yield Problem(where=where, what=f"is {', '.join(same)} too: Kamailio tells its sides apart by address")


def _accounts(study: Study) -> Iterator[Problem]:
    accounts = [trunk.account for trunk in study.trunks]
    for index, account in enumerate(accounts):
        first = accounts.index(account)
        if first != index:
            yield Problem(
                where=f"trunks[{index}].account",
                what=f"is that of trunks[{first}] too: Kamailio's script tells trunks by it; give each its own",
            )


def _media(study: Study) -> Iterator[Problem]:
    for index, trunk in enumerate(study.trunks):
        if trunk.media != study.trunks[0].media:
            what = f"is not that of trunks[0], {study.trunks[0].media}: our script has one profile for all customers"
            yield Problem(where=f"trunks[{index}].media", what=what)


def _ports(study: Study) -> Iterator[Problem]:
    quarantine_s = study.pop.ports.quarantine_s
    # Rounding it would be another study than the one that the model predicts.
    if quarantine_s != int(quarantine_s):
        yield Problem(where="pop.ports.quarantine_s", what=f"is {quarantine_s:g}: rtpengine waits whole seconds")


def _incidents(study: Study) -> Iterator[Problem]:
    throttled = any(trunk.throttle.is_asked for trunk in study.trunks)
    for index, incident in enumerate(study.pop.incidents):
        if isinstance(incident, EdgeRestart) and throttled and not incident.forgets_throttle:
            yield Problem(
                where=f"pop.incidents[{index}].forgets_throttle",
                what="must be true: Kamailio keeps its counts in the process that restarts",
            )


def _edges(study: Study) -> Iterator[Problem]:
    """Yield what several edges cannot play: each is a Kamailio of its own, which knows nothing of the others."""
    pop = study.pop
    if pop.failover.record_route != "address":
        yield Problem(where="pop.failover.record_route", what="Kamailio names its address; write address")
    for index, trunk in enumerate(study.trunks):
        if len(pop.doors) > 1 and trunk.throttle.is_asked:
            what = "several Kamailios have no common count, and their windows begin apart; write policy: none"
            yield Problem(where=f"trunks[{index}].throttle", what=what)
        if trunk.customer_edges:
            what = "Kamailio knows one destination of a customer: leave it out"
            yield Problem(where=f"trunks[{index}].customer_edges", what=what)
    for index, incident in enumerate(pop.incidents):
        if not isinstance(incident, EdgeDown):
            continue
        if incident.connects != "refused":
            what = "a Kamailio that is gone refuses connections; write refused"
            yield Problem(where=f"pop.incidents[{index}].connects", what=what)
        if pop.edge_of(incident) == 0 and any(trunk.traffic.inbound_share > 0 for trunk in study.trunks):
            what = "inbound calls come through the first Kamailio: take another edge away, or leave inbound_share out"
            yield Problem(where=f"pop.incidents[{index}].edge", what=what)
        if len(pop.doors) == 1 and any(trunk.throttle.is_asked for trunk in study.trunks):
            what = "Kamailio forgets its counts; write edge_restart with forgets_throttle"
            yield Problem(where=f"pop.incidents[{index}]", what=what)


def _trunk(trunk: Trunk) -> Iterator[tuple[str, str]]:
    yield from unsupported_throttle(trunk.throttle)
    if list(trunk.suites) != sorted(trunk.suites, reverse=True):
        yield "suites", f"rtpengine always prefers {max(trunk.suites)}: put it first"
