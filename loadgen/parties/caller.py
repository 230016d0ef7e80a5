"""A caller places calls over one line, knows which are under way, and ends them when the run is stopped.

The same class plays a customer who calls the trunk, and the PSTN that calls a customer. A `Line` says how each of them
connects and what its INVITE looks like. The dialler decides when to call. `outgoing` carries each call.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from trunkproof.loadgen.capture.recorder import Recorder
from trunkproof.loadgen.parties.agent import CallEvents, SipAgent, Stopped
from trunkproof.loadgen.parties.audio import Audio
from trunkproof.loadgen.parties.redirect import Redirector
from trunkproof.loadgen.sip.digest import Credentials
from trunkproof.loadgen.sip.message import Request
from trunkproof.loadgen.sip.sdp import SessionDescription
from trunkproof.loadgen.tls.edges import EdgePools
from trunkproof.models.plan import PlanRow
from trunkproof.models.records import FarEnd
from trunkproof.models.refusals import RefusalRules


class Line(Protocol):
    """How one side of the trunk places its calls."""

    @property
    def agent(self) -> SipAgent:
        """Return the user agent that sends the calls."""

    def edges(self, row: PlanRow) -> EdgePools:
        """Return the TLS connections that a call may use."""

    @property
    def ports_per_call(self) -> int:
        """Return how many port pairs of the PoP's pool an admitted call holds."""

    @property
    def refusals(self) -> RefusalRules:
        """Return how refusals of this trunk are read."""

    @property
    def ring_patience_s(self) -> float:
        """Return how long a caller lets it ring who did not plan to give up."""

    @property
    def redirector(self) -> Redirector | None:
        """Return who decides about redirects. None: they are not followed."""

    @property
    def credentials(self) -> Credentials | None:
        """Return with what challenges are answered. None: they are refusals."""

    @property
    def recorder(self) -> Recorder | None:
        """Return what captures the calls, if anything does."""

    def far_end(self, row: PlanRow) -> FarEnd:
        """Return what the called side is expected to do."""

    def open_audio(self, row: PlanRow) -> Audio:
        """Return audio for a call: ports and a key."""

    def offer(self, row: PlanRow, audio: Audio) -> SessionDescription:
        """Return the SDP offer of the INVITE."""

    def invite(self, row: PlanRow, sdp: bytes, edge: int = 0) -> Request:
        """Return the INVITE to an edge."""


class Caller:
    """Places calls over one line. `zero` is plan zero on the event loop's clock."""

    def __init__(self, line: Line, zero: float) -> None:
        self.line = line
        self.zero = zero
        self._loop = asyncio.get_running_loop()
        self._under_way: set[CallEvents] = set()
        self._stopping = False
        self.local_failures = 0
        """How many attempts failed because of this machine and not because of the trunk."""

    def begin(self, call_events: CallEvents) -> None:
        """Note a call under way, so that `stop` reaches it."""
        # An attempt that was prepared before the stop may begin after it.
        if self._stopping:
            call_events.put(Stopped())
        self._under_way.add(call_events)

    def end(self, call_events: CallEvents) -> None:
        """Note that a call is over."""
        self._under_way.discard(call_events)

    def stop(self) -> None:
        """End every call under way with CANCEL or BYE. Their records say `still_up`."""
        self._stopping = True
        for call_events in self._under_way:
            call_events.put(Stopped())

    def now_s(self) -> float:
        """Return the seconds after plan zero."""
        return self._loop.time() - self.zero
