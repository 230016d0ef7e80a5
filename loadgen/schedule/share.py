"""Which of several worker processes places a call, listens for a customer, and has which audio ports.

Calls are shared out by the connection that they go out on, never across it: so the customers together open the
connections that the study says and the model predicts, however many processes they are played by.
"""

from __future__ import annotations

from dataclasses import dataclass

from trunkproof.loadgen.system.ports import customer_ports
from trunkproof.models.errors import InputError, Problem
from trunkproof.models.plan import PlanRow
from trunkproof.models.study import Study, Trunk
from trunkproof.models.traffic import TlsPolicy, TlsUse


@dataclass(frozen=True)
class Share:
    """What is one worker's."""

    index: int
    """From 0."""
    of: int
    connections: tuple[int, ...] = ()
    """By trunk: how many connections its customer has, and 0 where each call has its own; made by `share_of`."""

    def places(self, row: PlanRow) -> bool:
        """Whether it places that attempt: all attempts of one call, and all calls of one connection, are one worker's.

        A call's connection is its number modulo the pool's size, as in `pool` and in the model.
        """
        if self.of == 1:
            return True
        count = self.connections[row.trunk]
        slot = row.call % count if count else row.call
        # Counted on from trunk to trunk, so that customers with one connection each are shared out too.
        return (sum(self.connections[: row.trunk]) + slot) % self.of == self.index

    def listens(self, trunk: int) -> bool:
        """Whether that trunk's customer is called in this process: an address and port can be listened on once."""
        return trunk % self.of == self.index

    @property
    def ports(self) -> tuple[int, int]:
        """The audio ports that this worker's calls may have: no other worker's."""
        return customer_ports(self.index, self.of)


WHOLE = Share(0, 1)
"""Everything: of a run without workers."""


def share_of(study: Study, index: int, of: int) -> Share:
    """The share of worker `index` (from 0) of so many."""
    return Share(index, of, tuple(_connections(trunk.traffic.tls) for trunk in study.trunks))


def check_divisible(study: Study, workers: int) -> None:
    """Whether so many processes can place the study's calls over the very connections that it says.

    Raises:
        InputError: they cannot; lists every reason, each with what to write instead.
    """
    problems = [*_too_few_connections(study, workers), *_resumptions(study)] if workers > 1 else []
    if problems:
        raise InputError(f"{study.name}, with {workers} workers", problems)


def _too_few_connections(study: Study, workers: int) -> list[Problem]:
    counts = [_connections(trunk.traffic.tls) for trunk in study.trunks]
    if 0 in counts or sum(counts) >= workers:
        return []
    return [
        Problem(
            where=f"{_key(study, index)}.policy",
            what=f"{_said(trunk)} goes out from one process alone, and there are {workers}: write policy: pool with a "
            f"pool_size of at least {workers}, or per_call; or leave --workers out",
        )
        for index, trunk in enumerate(study.trunks)
    ]


def _resumptions(study: Study) -> list[Problem]:
    return [
        Problem(
            where=f"{_key(study, index)}.resumption_share",
            what="a session is remembered by the process that had it, so every worker would begin with a full "
            "handshake where the model predicts a resumption: write 0, or leave --workers out",
        )
        for index, trunk in enumerate(study.trunks)
        if trunk.traffic.tls.resumption_share > 0 and _connections(trunk.traffic.tls) != 1
    ]


def _connections(tls: TlsUse) -> int:
    match tls.policy:
        case TlsPolicy.PERSISTENT:
            return 1
        case TlsPolicy.POOL:
            return tls.pool_size
        case TlsPolicy.PER_CALL:
            return 0


def _key(study: Study, index: int) -> str:
    return "traffic.tls" if len(study.trunks) == 1 else f"trunks[{index}].traffic.tls"


def _said(trunk: Trunk) -> str:
    count = _connections(trunk.traffic.tls)
    return f"{trunk.traffic.tls.policy} is {count} TLS connection{'s' if count > 1 else ''}, each of which"
