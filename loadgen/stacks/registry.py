"""The list of all stacks. Options, pages, the suite and the trunk process use it.

To add a stack, make a folder beside this file, a line below, and a calibration in `models/calibrations`.
"""

from __future__ import annotations

from collections.abc import Iterator

from trunkproof.loadgen.stacks.asterisk.definition import ASTERISK
from trunkproof.loadgen.stacks.definition import StackDefinition
from trunkproof.loadgen.stacks.embedded.definition import EMBEDDED
from trunkproof.loadgen.stacks.kamailio.definition import KAMAILIO
from trunkproof.models.errors import InputError, Problem, nearest
from trunkproof.models.study import StackName, Study

STACKS: dict[StackName, StackDefinition] = {stack.name: stack for stack in (EMBEDDED, KAMAILIO, ASTERISK)}
"""Name -> stack, in the order of options and pages."""


def definition_of(name: StackName) -> StackDefinition:
    """Return the stack of that name.

    Raises:
        InputError: there is no such stack.
    """
    if name not in STACKS:
        raise InputError(
            f"stack {name}", [Problem(where="pop.stack", what=f"there is no stack `{name}`; {nearest(name, STACKS)}")]
        )
    return STACKS[name]


def label_of(name: StackName) -> str:
    """Return the label of a stack on pages, or its name where another installation defines it."""
    return STACKS[name].label if name in STACKS else name


def is_ours(name: StackName) -> bool:
    """Tell whether it is the embedded trunk, which shares the code of the limits with the model."""
    return name in STACKS and STACKS[name].foreign is None


def edge_of(name: StackName) -> str | None:
    """Return the program of that stack that takes the calls. None where the stack is one process."""
    foreign = definition_of(name).foreign
    return None if foreign is None else foreign.edge


def check_playable(study: Study) -> StackDefinition:
    """Check that the study's stack can play it, before anything is started. Return that stack.

    Raises:
        InputError: it cannot, or there is no such stack. Lists everything that it cannot play.
    """
    stack = definition_of(study.pop.stack)
    problems = stack.unsupported(study)
    if study.pop.dns.srv is not None:
        what = "a trunk that we play has its edges from pop.edges: write them there, or call another trunk"
        problems.append(Problem(where="pop.dns.srv", what=what))
    if stack.foreign is not None:
        if study.pop.carrier.transport != "tls":
            what = f"is {study.pop.carrier.transport}: we run {stack.label} with TLS towards its carrier; write tls"
            problems.append(Problem(where="pop.carrier.transport", what=what))
        problems += _ipv6(study, stack.label)
        if stack.foreign.edge_names is None:
            problems += _edges(study, stack.label)
    if problems:
        raise InputError(f"{study.name}, on {stack.name}", problems)
    return stack


def _edges(study: Study, label: str) -> Iterator[Problem]:
    """Yield what needs more than one edge, of a stack that is run with one, at `pop.address`."""
    pop = study.pop
    if pop.edges:
        yield Problem(where="pop.edges", what=f"we run {label} with one edge, that of pop.host and pop.address")
    if pop.failover.record_route != "address":
        what = f"is {pop.failover.record_route}: we run {label} with its address in Record-Route; write address"
        yield Problem(where="pop.failover.record_route", what=what)
    for index, incident in enumerate(pop.incidents):
        if incident.kind == "edge_down":
            what = f"we run {label} with one edge; it does not play edge_down"
            yield Problem(where=f"pop.incidents[{index}]", what=what)
    for index, trunk in enumerate(study.trunks):
        if trunk.customer_edges:
            what = f"we run {label} with one destination of a customer: leave it out"
            yield Problem(where=f"trunks[{index}].customer_edges", what=what)


def _ipv6(study: Study, label: str) -> Iterator[Problem]:
    """Yield the IPv6 addresses of a study: the configurations of the foreign stacks are written for IPv4."""
    pop = study.pop
    addresses = [("pop.address", pop.address), ("pop.inner_address", pop.inner_address)]
    addresses.append(("pop.carrier.address", pop.carrier.address))
    addresses += [(f"pop.edges[{index}].address", edge.address) for index, edge in enumerate(pop.edges) if edge.address]
    for index, trunk in enumerate(study.trunks):
        addresses.append((f"trunks[{index}].customer_address", trunk.customer_address))
        addresses += [(f"trunks[{index}].whitelist", network.network_address) for network in trunk.whitelist]
    for where, address in addresses:
        if address.version == 6:
            yield Problem(where=where, what=f"{address} is IPv6, and we run {label} with IPv4: write an IPv4 address")
