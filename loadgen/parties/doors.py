"""Where the edges of a trunk are: approved targets, or names that are looked up again for each new connection.

Every address that a lookup gives is asked of the guard, so no name can lead the load elsewhere later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trunkproof.loadgen.card import FOREIGN, TrunkCard
from trunkproof.loadgen.guard import Guard, Target
from trunkproof.loadgen.sip.fields import is_address
from trunkproof.loadgen.sip.invite import Place
from trunkproof.loadgen.system.dns_names import Names
from trunkproof.loadgen.tls.connection import ConnectError, ConnectFailure
from trunkproof.loadgen.tls.pool import Locate
from trunkproof.models.edges import Dns, Edge, EdgeDown, edge_problems
from trunkproof.models.errors import GuardError, InputError, Problem, StackError
from trunkproof.models.study import Study


class Doors:
    """The edges that a card names, for one customer. `target` is the first, which the run has approved."""

    def __init__(self, card: TrunkCard, target: Target, guard: Guard, calls_per_minute: float, dns: Dns) -> None:
        """Approve the edges behind the first.

        Raises:
            GuardError: one of them may not be called.
            StackError: the name of one does not resolve.
        """
        self._names = Names(dns)
        self._guard, self._rate = replace(guard, resolve=self._names.resolve), calls_per_minute
        _, *others = card.doors
        self.targets = [target, *(self._approved(door) for door in others)]
        """The last approved target of each edge."""
        self.places: list[Target | Locate] = [
            self._locator(index, door) if card.edges and not is_address(_host(door)) else self.targets[index]
            for index, door in enumerate(card.doors)
        ]
        """What the pool of each edge connects to."""
        self.addresses = {each.address for each in self.targets}
        """All addresses that the edges have had."""

    def place_of(self, edge: int) -> Place:
        """Return address and port of an edge, as they were found last."""
        return Place(self.targets[edge].address, self.targets[edge].port)

    def _approved(self, door: Edge) -> Target:
        return self._guard.check(_host(door), door.port, self._rate)

    def _locator(self, index: int, door: Edge) -> Locate:
        async def locate() -> Sequence[Target]:
            try:
                found = await self._names.addresses(door.host, door.port)
                targets = [self._guard.check_found(door.host, each, door.port, self._rate) for each in found]
            except (StackError, GuardError) as error:
                raise ConnectError(ConnectFailure.REFUSED, str(error)) from error
            self.targets[index] = targets[0]
            self.addresses.update(target.address for target in targets)
            return targets

        return locate


def _host(door: Edge) -> str:
    return str(door.address or door.host)


def with_edges_found(study: Study) -> Study:
    """Return the study with the edges that its SRV records name, for the model too.

    Raises:
        StackError: there are no such records.
        InputError: they name more edges than a trunk can have, or an incident names none of them.
    """
    if study.pop.dns.srv is None:
        return study
    edges = Names(study.pop.dns).edges(study.pop.dns.srv)
    dns = study.pop.dns.model_copy(update={"srv": None})
    pop = study.pop.model_copy(update={"edges": edges, "dns": dns})
    downs = [incident for incident in pop.incidents if isinstance(incident, EdgeDown)]
    problems = [Problem(where="pop.dns.srv", what=what) for what in edge_problems(edges, downs)]
    if problems:
        raise InputError(study.name, problems)
    return study.model_copy(update={"pop": pop})


def card_of_edges(study: Study, ca_file: Path | None) -> TrunkCard:
    """Return the card of a foreign trunk with the study's edges. One without TLS needs no authority."""
    first, *_ = doors = study.pop.doors
    return TrunkCard(
        stack=FOREIGN,
        server_name=first.host,
        host=str(first.address or first.host),
        port=first.port,
        edges=doors,
        transport=study.transport,
        ca_file=None if ca_file is None else str(ca_file),
    )
