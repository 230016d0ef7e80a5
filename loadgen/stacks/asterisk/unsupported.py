"""Find everything in a study that Asterisk cannot play, each with its key and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from itertools import combinations

from trunkproof.loadgen.stacks.asterisk.throttles import RENDERED
from trunkproof.models.errors import Problem
from trunkproof.models.study import Study, Trunk

CAUSE_OF_STATUS = {
    403: 21,
    404: 1,
    408: 18,
    410: 22,
    480: 19,
    484: 28,
    486: 17,
    488: 58,
    500: 38,
    501: 29,
    502: 27,
    503: 66,
    603: 16,
}
"""SIP status -> the Q.850 cause with which Asterisk's dialplan hangs up to send it. It can send no other refusal.

Asterisk sends 503 only for the causes 34, 42 and 66. Here 34 means that there is no free channel, and 42 that the
throttle refuses. So 66 is left for any other 503.
"""
_STATUSES = ", ".join(map(str, CAUSE_OF_STATUS))
_LEAST_PORT = 1024
"""The lowest port that Asterisk uses for audio."""


def unsupported(study: Study) -> list[Problem]:
    """Return everything in a study that Asterisk cannot play, each with its key and what to write instead.

    One difference to the model is not reported: Asterisk takes the caller's port pair before the dialplan asks the
    throttle. So a call that finds no free pair is refused with 488, and the throttle does not count it.
    """
    problems = list(_pop_problems(study))
    for index, trunk in enumerate(study.trunks):
        problems += _throttle_problems(f"trunks[{index}].throttle", trunk)
        problems += _outcome_problems(f"trunks[{index}].traffic.outcomes", trunk)
    return problems + list(_overlaps(study))


def _pop_problems(study: Study) -> Iterator[Problem]:
    pop = study.pop
    for index, incident in enumerate(pop.incidents):
        if incident.kind == "edge_restart":
            yield Problem(
                where=f"pop.incidents[{index}]",
                what="Asterisk is edge and media in one: its restart ends every call; leave edge_restart out",
            )
    if pop.ports.quarantine_s > 0:
        yield Problem(where="pop.ports.quarantine_s", what="Asterisk gives a released port again at once; write 0")
    if pop.ports.low < _LEAST_PORT:
        yield Problem(where="pop.ports.low", what=f"Asterisk uses no port below {_LEAST_PORT} for audio")
    # With one leg counted, the other leg's pair has to come from another address, or the pool would be used twice as
    # fast.
    if pop.ports.legs == 1 and pop.address == pop.inner_address:
        yield Problem(
            where="pop.ports.legs",
            what="both legs of a call take a pair of the one address: write 2, or give pop.inner_address another one",
        )


def _throttle_problems(where: str, trunk: Trunk) -> Iterator[Problem]:
    throttle = trunk.throttle
    if not throttle.is_asked:
        return
    if type(throttle) not in RENDERED:
        *names, last = (policy.name() for policy in RENDERED)
        yield Problem(
            where=f"{where}.policy",
            what=f"Asterisk's dialplan does not keep {throttle.policy}; write {', '.join(names)} or {last}",
        )
    if throttle.refusal_status not in CAUSE_OF_STATUS:
        yield Problem(where=f"{where}.refusal_status", what=f"Asterisk can refuse with {_STATUSES} only")
    if throttle.retry_after_s is not None:
        yield Problem(where=f"{where}.retry_after_s", what="Asterisk can add no Retry-After to a refusal; write null")


def _outcome_problems(where: str, trunk: Trunk) -> Iterator[Problem]:
    for index, rejected in enumerate(trunk.traffic.outcomes.rejected):
        if rejected.status not in CAUSE_OF_STATUS:
            yield Problem(
                where=f"{where}.rejected[{index}].status",
                what=f"Asterisk cannot hand on {rejected.status}; it can {_STATUSES}",
            )


def _overlaps(study: Study) -> Iterator[Problem]:
    """Yield whitelists that overlap: Asterisk knows a call's trunk by its source address alone."""
    networks = [
        (f"trunks[{index}].whitelist", network)
        for index, trunk in enumerate(study.trunks)
        for network in trunk.whitelist
    ]
    networks += [
        (f"trunks[{index}].customer_address", ip_network(trunk.customer_address))
        for index, trunk in enumerate(study.trunks)
        if not trunk.whitelist
    ]
    # The carrier is told by its address too.
    networks.append(("pop.carrier.address", ip_network(study.pop.carrier.address)))
    for (one, network), (other, second) in combinations(networks, 2):
        # Two networks of the same trunk may overlap: they lead to the same trunk.
        if one != other and network.overlaps(second):
            yield Problem(where=one, what=f"{network} also belongs to {other}: Asterisk tells trunks by source address")
