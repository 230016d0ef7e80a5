"""The `Stack` protocol: what plays a PoP, whatever programs it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from trunkproof.loadgen.card import CustomerFiles, TrunkCard
from trunkproof.loadgen.guard import LOOPBACK_ONLY, Guard
from trunkproof.loadgen.observer import Observer
from trunkproof.loadgen.parties.call_book import OnCall
from trunkproof.loadgen.sip.trace import Trace
from trunkproof.loadgen.stacks.control import StackStatus
from trunkproof.loadgen.tls.certificates import Authority
from trunkproof.loadgen.verdict import GeneratorVerdict
from trunkproof.models.records import Record
from trunkproof.models.study import Study


@dataclass(frozen=True)
class Finish:
    """The results of a stack when the run is over."""

    records: Sequence[Record]
    """The records of the inbound calls."""
    health: GeneratorVerdict | None = None
    """The health of the carrier that we play behind a foreign stack. None for the embedded trunk."""
    keys: Mapping[int, str] = field(default_factory=dict)
    """Plan row -> keys that the called side in the PSTN received."""


@dataclass(frozen=True)
class ServeOptions:
    """How a stack is played, beside what the study says."""

    port: int = 0
    """The TLS port of the edge. 0 takes a free one."""
    keylog: Path | None = None
    """The file to which TLS secrets are appended, to decode a capture."""
    trace: Trace | None = None
    """Is told every SIP message."""
    guard: Guard = LOOPBACK_ONLY
    """Decides where the embedded trunk may send audio and place calls."""
    answer_any: bool = False
    """Whether the embedded trunk answers numbers that no plan dials."""
    observer: Observer | None = None
    """Is told of the calls from the PSTN, when they begin and when they are over."""
    on_call: OnCall | None = None
    """Is called with each call to the embedded trunk when it is over. None: no such records are made."""


class Stack(Protocol):
    """A PoP, from `start` to `close`. Instants are of the event loop's clock, the machine's monotonic one."""

    async def start(self) -> TrunkCard:
        """Listen, and return the card that says where.

        Raises:
            OSError: the port is in use, or may not be used.
            StackError: a program that it needs is missing or does not start.
        """

    def begin(self, zero: float) -> dict[str, float]:
        """Set plan zero, from which inbound calls and incidents are counted.

        Returns:
            Trunk name -> an instant, relative to `zero`, at which a window of its throttle began.
        """

    async def finish(self, *, stop: bool) -> Finish:
        """Wait for the last inbound call, or with `stop` end all of them. Return the results."""

    def status(self) -> StackStatus:
        """Return what is in use now."""

    async def close(self) -> None:
        """Close everything at once."""


def customer_files(study: Study, authority: Authority) -> dict[str, CustomerFiles]:
    """Return trunk name -> the certificate files of its customer's listener."""
    issued = {
        # For every place at which the trunk calls the customer.
        trunk.name: authority.issue(
            *dict.fromkeys((str(trunk.customer_address), *(e.host for e in trunk.inbound_edges)))
        )
        for trunk in study.trunks
    }
    return {
        name: CustomerFiles(certificate=str(files.cert_chain_pem.absolute()), key=str(files.key_pem.absolute()))
        for name, files in issued.items()
    }
