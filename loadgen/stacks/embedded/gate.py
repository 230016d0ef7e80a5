"""The embedded trunk's gate: whether a call may pass the limits, and if not, why.

The limits themselves are `models.limits`, which the simulator asks too. It speaks no SIP and opens no socket; time is a
parameter, on the trunk's own clock.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from trunkproof.loadgen.parties.refusal import CallRefused, Refusal
from trunkproof.models.limits import Limits, Ports
from trunkproof.models.records import Direction, Disposition
from trunkproof.models.study import Study
from trunkproof.models.throttles.decision import Refused


class Gate:
    """The way into one PoP; every method raises `CallRefused` where it ends."""

    def __init__(self, study: Study, *, anchor: float) -> None:
        """`anchor` is the instant at which fixed windows begin, the trunk's own start."""
        self._trunks = study.trunks
        self.limits = Limits(study, {trunk.name: anchor for trunk in study.trunks})

    def check_source(self, trunk: int, source: str) -> None:
        """Ask the trunk's whitelist."""
        if not self._trunks[trunk].admits(IPv4Address(source)):
            raise CallRefused(Refusal.of(Disposition.NOT_WHITELISTED))

    def throttle(self, trunk: int, direction: Direction, now: float) -> float:
        """Ask the throttle: the delay in seconds after which the call may go on."""
        decision = self.limits.ask_throttle(trunk, direction, now)
        if isinstance(decision, Refused):
            raise CallRefused(Refusal.by_throttle(decision))
        return decision.delay_s

    def reserve(self, trunk: int, direction: Direction, now: float) -> Ports:
        """Take port pairs and a channel; where it raises, nothing was taken."""
        taken = self.limits.take(trunk, now)
        if isinstance(taken, Disposition):
            raise CallRefused(Refusal.of(taken, direction))
        return taken
