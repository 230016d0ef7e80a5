"""The gate of the embedded trunk decides whether a call may pass the limits, and why not.

The limits are those of `models.limits`, which the simulator uses too. The gate speaks no SIP and opens no socket. Time
is a parameter, on the trunk's own clock.
"""

from __future__ import annotations

from ipaddress import ip_address

from trunkproof.loadgen.parties.refusal import CallRefused, Refusal
from trunkproof.models.limits import Limits, Ports
from trunkproof.models.records import Direction, Disposition
from trunkproof.models.study import Study
from trunkproof.models.throttles.decision import Refused


class Gate:
    """The gate of one PoP. Every method raises `CallRefused` for a call that may not pass."""

    def __init__(self, study: Study, *, anchor: float) -> None:
        """Make a gate. Fixed windows begin at `anchor`, the start of the trunk."""
        self._trunks = study.trunks
        # All trunks of the PoP count from the same instant, that of the process.
        self.limits = Limits(study, {trunk.name: anchor for trunk in study.trunks})

    def check_source(self, trunk: int, source: str) -> None:
        """Check the source address against the trunk's whitelist."""
        if not self._trunks[trunk].admits(ip_address(source)):
            raise CallRefused(Refusal.of(Disposition.NOT_WHITELISTED))

    def throttle(self, trunk: int, direction: Direction, now: float, edge: int = 0) -> float:
        """Ask the throttle of an edge. Return the delay in seconds after which the call may go on."""
        decision = self.limits.ask_throttle(trunk, direction, now, edge)
        if isinstance(decision, Refused):
            raise CallRefused(Refusal.by_throttle(decision))
        return decision.delay_s

    def reserve(self, trunk: int, direction: Direction, now: float) -> Ports:
        """Take port pairs and a channel. Where it raises, nothing was taken."""
        taken = self.limits.take(trunk, now)
        if isinstance(taken, Disposition):
            raise CallRefused(Refusal.of(taken, direction))
        return taken
