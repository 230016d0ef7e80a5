"""Divide a plan among worker processes: which of them places a call, answers for a customer, and uses which ports.

All calls of one connection belong to one worker. So the customers open as many connections as the study says and the
model predicts, with any number of workers.
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
    """The share of one worker."""

    index: int
    """The number of the worker, from 0."""
    of: int
    connections: tuple[int, ...] = ()
    """For each trunk, how many connections its customer has. 0 means one for each call. `share_of` fills it in."""

    def places(self, row: PlanRow) -> bool:
        """Tell whether this worker places that attempt.

        All attempts of one call, and all calls of one connection, belong to one worker. A call's connection is its
        number modulo the pool's size, as in `loadgen.tls.pool` and in the model.
        """
        if self.of == 1:
            return True
        count = self.connections[row.trunk]
        # By the call and not by the row: a redial is another row of the same call, and belongs to the same worker.
        slot = row.call % count if count else row.call
        # Number the connections through all trunks, so that customers with one connection each are divided too.
        return (sum(self.connections[: row.trunk]) + slot) % self.of == self.index

    def listens(self, trunk: int) -> bool:
        """Tell whether this worker answers for that trunk's customer. Only one process can listen on its port."""
        return trunk % self.of == self.index

    @property
    def ports(self) -> tuple[int, int]:
        """Return the range of audio ports of this worker's calls. The workers' ranges do not overlap."""
        return customer_ports(self.index, self.of)


WHOLE = Share(0, 1)
"""The share of a run without workers: everything."""


def share_of(study: Study, index: int, of: int) -> Share:
    """Return the share of worker `index` (from 0) out of `of` workers."""
    return Share(index, of, tuple(_connections(trunk.traffic.tls) for trunk in study.trunks))


def check_divisible(study: Study, workers: int) -> None:
    """Check that so many processes can place the study's calls over the connections that the study asks for.

    Raises:
        InputError: they cannot. Lists every reason, each with what to write instead.
    """
    found = (*_too_few_connections(study, workers), *_resumptions(study), *_limited_numbers(study))
    problems = found if workers > 1 else ()
    if problems:
        raise InputError(f"{study.name}, with {workers} workers", problems)


def _too_few_connections(study: Study, workers: int) -> list[Problem]:
    counts = [_connections(trunk.traffic.tls) for trunk in study.trunks]
    # A customer with a connection for each call has enough for any number of workers.
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
        # With one connection all its handshakes happen in one worker, which remembers the session.
        if trunk.traffic.tls.resumption_share > 0 and _connections(trunk.traffic.tls) != 1
    ]


def _limited_numbers(study: Study) -> list[Problem]:
    where = "traffic" if len(study.trunks) == 1 else "trunks[{}].traffic"
    return [
        Problem(
            where=f"{where.format(index)}.destinations",
            what="at_once and per_minute are kept by one process, and several would allow more: leave --workers out",
        )
        for index, trunk in enumerate(study.trunks)
        if any(entry.is_limited for entry in trunk.traffic.destinations)
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
