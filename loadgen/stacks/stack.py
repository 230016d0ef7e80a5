"""What plays a PoP: the `Stack` that the trunk process serves, whatever program it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trunkproof.loadgen.card import CustomerFiles, TrunkCard
from trunkproof.loadgen.stacks.control import StackStatus
from trunkproof.loadgen.tls.certificates import Authority
from trunkproof.loadgen.verdict import GeneratorVerdict
from trunkproof.models.records import Record
from trunkproof.models.study import Study


@dataclass(frozen=True)
class Finish:
    """What a stack has to say when the run is over."""

    records: Sequence[Record]
    """Of the inbound calls."""
    health: GeneratorVerdict | None = None
    """Of the carrier that was played behind a foreign stack; `None` where the stack itself is tested."""


class Stack(Protocol):
    """A PoP between `start` and `close`. Instants are of the event loop's clock, the machine's monotonic one."""

    async def start(self) -> TrunkCard:
        """Listen; the card says where.

        Raises:
            OSError: the port is taken, or may not be used.
            StackError: a program that it needs is missing or does not start.
        """

    def begin(self, zero: float) -> dict[str, float]:
        """Plan zero: place inbound calls and let incidents happen from then on.

        Returns:
            Trunk name -> an instant, relative to `zero`, at which a window of its throttle began.
        """

    async def finish(self, *, stop: bool) -> Finish:
        """Wait for the last inbound call (with `stop`, end them)."""

    def status(self) -> StackStatus:
        """What is in use now."""

    async def close(self) -> None:
        """Let go of everything at once."""


def customer_files(study: Study, authority: Authority) -> dict[str, CustomerFiles]:
    """Trunk name -> a certificate for its customer's listener."""
    issued = {trunk.name: authority.issue(str(trunk.customer_address)) for trunk in study.trunks}
    return {
        name: CustomerFiles(certificate=str(files.cert_chain_pem.resolve()), key=str(files.key_pem.resolve()))
        for name, files in issued.items()
    }
