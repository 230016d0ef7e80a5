"""Who places calls, over one line: it knows which are under way, and ends them when the run is being ended.

The same caller plays a customer who calls the trunk and, inside the embedded trunk, the PSTN that calls a customer; a
`Line` says how each of them connects and what its INVITE looks like. It never decides when to call: the dialler does.
What becomes of one call is `outgoing`'s.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from trunkproof.loadgen.parties.agent import CallEvents, SipAgent, Stopped
from trunkproof.loadgen.parties.audio import Audio
from trunkproof.loadgen.sip.message import Request
from trunkproof.loadgen.sip.sdp import SessionDescription
from trunkproof.loadgen.tls.pool import ConnectionPool
from trunkproof.models.plan import PlanRow


class Line(Protocol):
    """How one side of the trunk places its calls."""

    @property
    def agent(self) -> SipAgent:
        """The user agent that sends them."""

    @property
    def pool(self) -> ConnectionPool:
        """The TLS connections that they go out on."""

    @property
    def ports_per_call(self) -> int:
        """Port pairs of the PoP's pool that an admitted call holds."""

    @property
    def throttle_status(self) -> int:
        """The status of a refusal by the throttle."""

    @property
    def throttle_retries(self) -> bool:
        """Whether a refusal by the throttle is to carry Retry-After."""

    def open_audio(self, row: PlanRow) -> Audio:
        """Ports and a key for a call."""

    def offer(self, row: PlanRow, audio: Audio) -> SessionDescription:
        """The SDP that the INVITE carries."""

    def invite(self, row: PlanRow, sdp: bytes) -> Request:
        """The INVITE."""


class Caller:
    """Places calls over one line. `zero` is plan zero on the event loop's clock."""

    def __init__(self, line: Line, zero: float) -> None:
        self.line = line
        self.zero = zero
        self._loop = asyncio.get_running_loop()
        self._under_way: set[CallEvents] = set()
        self._stopping = False
        self.local_failures = 0
        """Attempts that this machine, not the trunk, could not carry."""

    def begin(self, call_events: CallEvents) -> None:
        """A call is under way: it is told when the run is being ended."""
        if self._stopping:
            call_events.put(Stopped())
        self._under_way.add(call_events)

    def end(self, call_events: CallEvents) -> None:
        """It is not any more."""
        self._under_way.discard(call_events)

    def stop(self) -> None:
        """End every call under way with CANCEL or BYE; their records say `still_up`."""
        self._stopping = True
        for call_events in self._under_way:
            call_events.put(Stopped())

    def now_s(self) -> float:
        """Seconds after plan zero."""
        return self._loop.time() - self.zero
