"""The calls of a check-up: which rows they dial, how one is placed, and what is seen of it.

They are the load generator's own calls (`PlannedCall` over a `Customer`). A `WatchedLine` stands between the two: it
hands everything on, changes the caller or the offer where a call must differ, and keeps what a record does not tell.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from trunkproof.experiments.target.check.wiretap import Trail, Wiretap
from trunkproof.loadgen.capture.recorder import Recorder
from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.parties.agent import CallEvents, SipAgent, Stopped
from trunkproof.loadgen.parties.audio import Audio
from trunkproof.loadgen.parties.caller import Caller
from trunkproof.loadgen.parties.customer import Customer
from trunkproof.loadgen.parties.negotiation import AudioNegotiator
from trunkproof.loadgen.parties.outgoing import PlannedCall
from trunkproof.loadgen.parties.redirect import Redirector
from trunkproof.loadgen.parties.refusal import read_refusal
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.client_call import ClientCall
from trunkproof.loadgen.sip.digest import Credentials
from trunkproof.loadgen.sip.fields import NameAddr, quote
from trunkproof.loadgen.sip.headers import Headers
from trunkproof.loadgen.sip.message import Request
from trunkproof.loadgen.sip.sdp import AVP, Codec, MediaDirection, SessionDescription
from trunkproof.loadgen.tls.edges import EdgePools
from trunkproof.models.destinations import NumberLimits
from trunkproof.models.errors import RemoteError
from trunkproof.models.plan import Plan, PlanRow
from trunkproof.models.records import Disposition, FarEnd, Record
from trunkproof.models.refusals import RefusalRules
from trunkproof.models.throttles.refused_as import FinalResponse

_SILENT_S = 8.0
"""A trunk that has not even said 100 by then is taken as silent. A healthy one says it at once."""
_STEP_S, _WAIT_S = 0.25, 5.0
"""Between two offers in mid-call; and how long the answer to one is awaited."""
OTHER_CODECS = (Codec("G722", 9), Codec("G729", 18), Codec("GSM", 3), Codec("opus", 120))
"""What a trunk without G.711 may take instead. They are offered only to find that out."""


class Offer(Enum):
    """What a call offers."""

    USUAL = auto()
    PLAIN = auto()
    """Plain RTP instead of SRTP."""
    ALL_CODECS = auto()
    """More codecs than G.711."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Under which number and domain a call goes out. None: as the study says."""

    caller: str | None = None
    domain: str | None = None


@dataclass(eq=False)
class WatchedLine:
    """The `Line` of a check-up's calls: a customer's, with another identity or offer where asked."""

    customer: Customer
    identity: Identity = field(default_factory=Identity)
    offers: Offer = Offer.USUAL
    invite_sent: Request | None = None
    """The INVITE as it was made. It may go out again with credentials."""
    audio: Audio | None = None

    @property
    def agent(self) -> SipAgent:
        """Return the customer's user agent."""
        return self.customer.agent

    def edges(self, row: PlanRow) -> EdgePools:
        """Return the customer's connections."""
        return self.customer.edges(row)

    @property
    def ports_per_call(self) -> int:
        """Return how many port pairs an admitted call holds."""
        return self.customer.ports_per_call

    @property
    def refusals(self) -> RefusalRules:
        """Return how refusals of this trunk are read."""
        return self.customer.refusals

    @property
    def ring_patience_s(self) -> float:
        """Return how long a caller lets it ring."""
        return self.customer.ring_patience_s

    @property
    def redirector(self) -> Redirector | None:
        """Return who decides about redirects."""
        return self.customer.redirector

    @property
    def credentials(self) -> Credentials | None:
        """Return with what challenges are answered."""
        return self.customer.credentials

    @property
    def recorder(self) -> Recorder | None:
        """Return what captures the calls, if anything does."""
        return self.customer.recorder

    def far_end(self, row: PlanRow) -> FarEnd:
        """Return what the called side is expected to do."""
        return self.customer.far_end(row)

    def open_audio(self, row: PlanRow) -> Audio:
        """Return the customer's audio, and keep it for its report."""
        self.audio = self.customer.open_audio(row)
        return self.audio

    def offer(self, row: PlanRow, audio: Audio) -> SessionDescription:
        """Return the customer's offer, or the one that this call is to make."""
        usual = self.customer.offer(row, audio)
        if self.offers is Offer.PLAIN:
            return replace(usual, profile=AVP, crypto=())
        return replace(usual, codecs=(*usual.codecs, *OTHER_CODECS)) if self.offers is Offer.ALL_CODECS else usual

    def invite(self, row: PlanRow, sdp: bytes, edge: int = 0) -> Request:
        """Return the customer's INVITE to an edge, under this call's identity."""
        made = self.customer.invite(row, sdp, edge)
        if self.identity != Identity():
            was = NameAddr.parse(made.headers.get("From") or "")
            number, _, domain = was.uri.removeprefix("sip:").partition("@")
            number, domain = self.identity.caller or number, self.identity.domain or domain
            rows = [(name, value) for name, value in made.headers if name != "From"]
            rows.append(("From", f"{quote(number)} <sip:{number}@{domain}>;tag={was.tag}"))
            made = Request("INVITE", made.uri, Headers.canonical(rows), made.body)
        self.invite_sent = made
        return made


class _WatchedEvents(CallEvents):
    """The inbox of a call, which also tells a watcher of each event."""

    __slots__ = ("_tell",)

    def __init__(self, tell: Callable[[events.Event | Stopped], None]) -> None:
        super().__init__()
        self._tell = tell

    def put(self, event: events.Event | Stopped) -> None:
        """Tell the watcher, then add the event."""
        self._tell(event)
        super().put(event)


@dataclass
class MidCall:
    """What became of the offers in mid-call: the status of each, or None where no answer came."""

    hold: int | None = None
    resume: int | None = None
    refresh: int | None = None
    fault: str | None = None
    """What was wrong with an answer."""


@dataclass
class PlacedCall:
    """One call of the check-up, when it is over."""

    row: PlanRow
    far_end: FarEnd
    record: Record
    trail: Trail
    report: MediaReport
    final: FinalResponse | None = None
    """The refusal, where there was one."""
    mid_call: MidCall | None = None
    is_silent: bool = False
    """Nothing came to the INVITE, not even a 100."""

    @property
    def is_answered(self) -> bool:
        """Tell whether a 2xx came."""
        return self.record.answered_s is not None


class CheckCalls:
    """Places the calls of one customer, one after another, within the limits of each number."""

    def __init__(self, customer: Customer, plan: Plan, trunk: int, tap: Wiretap) -> None:
        self.customer, self.plan, self.trunk, self.tap = customer, plan, trunk, tap
        self._limits = NumberLimits(plan.destinations)
        self._loop = asyncio.get_running_loop()
        self._zero = self._loop.time()
        self._numbers = itertools.count()
        self.identity = Identity()
        """Of all further calls."""

    def may_call(self, row: PlanRow) -> bool:
        """Tell whether the number may be called now, and count the call if so."""
        return self._limits.begin(self.trunk, row.destination, self._loop.time() - self._zero)

    async def place(
        self, row: PlanRow, *, identity: Identity | None = None, offers: Offer = Offer.USUAL, in_mid_call: bool = False
    ) -> PlacedCall | None:
        """Place one call and wait for its end. Return None where the number's own limit forbids it."""
        if not self.may_call(row):
            return None
        line = WatchedLine(self.customer, identity or self.identity, offers)
        watch = _Watch(line.agent, in_mid_call=in_mid_call)
        caller = Caller(line, self._zero)
        record = Record(
            row=row.row,
            # A number of its own: several calls dial the same row.
            call=next(self._numbers),
            attempt=0,
            trunk=self.plan.study.trunks[self.trunk].name,
            direction=row.direction,
            disposition=Disposition.STILL_UP,
            intended_s=caller.now_s(),
        )
        call = PlannedCall(caller, row, record, _WatchedEvents(watch.told))
        call.prepare()
        call.start()
        silence = self._loop.call_later(_SILENT_S, watch.give_up_if_silent, caller)
        try:
            await call.finish()
        except RemoteError as error:
            record.disposition, record.reason = Disposition.CONNECTION_FAILED, str(error)
        finally:
            silence.cancel()
            await watch.close()
            if line.recorder is not None:
                line.recorder.ended(record)
            self._limits.end(self.trunk, row.destination)
        trail = Trail([]) if line.invite_sent is None else self.tap.trail(line.invite_sent.call_id)
        return PlacedCall(
            row=row,
            far_end=line.far_end(row),
            record=record,
            trail=trail,
            report=MediaReport() if line.audio is None else line.audio.report,
            final=watch.final,
            mid_call=watch.mid_call,
            is_silent=watch.is_silent,
        )


class _Watch:
    """Follows the events of one call, and makes its offers in mid-call."""

    def __init__(self, agent: SipAgent, *, in_mid_call: bool) -> None:
        self._agent = agent
        self._acts = in_mid_call
        self._task: asyncio.Task[None] | None = None
        self._answered: asyncio.Future[int] | None = None
        self.mid_call: MidCall | None = MidCall() if in_mid_call else None
        self.final: FinalResponse | None = None
        self.is_silent = False
        self._heard = False

    def told(self, event: events.Event | Stopped) -> None:
        """Take an event of the call."""
        self._heard |= isinstance(event, events.CallEvent)
        match event:
            case events.Answered(call=ClientCall() as call) if self._acts and event.fault is None:
                self._task = asyncio.create_task(self._act(call))
            case events.Rejected():
                self.final = read_refusal(event)
            case events.OfferAnswered(fault=fault):
                if fault is not None and self.mid_call is not None:
                    self.mid_call.fault = fault
                self._settle(200)
            case events.OfferRefused(status=status):
                self._settle(status)

    def give_up_if_silent(self, caller: Caller) -> None:
        """End a call to which nothing came, which would otherwise wait for timer B."""
        if not self._heard:
            self.is_silent = True
            caller.stop()

    async def close(self) -> None:
        """Stop acting."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _settle(self, status: int) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(status)

    async def _act(self, call: ClientCall) -> None:
        """Hold, resume and refresh the call. A refresh is the same offer once more (RFC 4028 section 7.4)."""
        assert self.mid_call is not None
        await asyncio.sleep(_STEP_S)
        self.mid_call.hold = await self._offered(call, MediaDirection.SENDONLY)
        await asyncio.sleep(_STEP_S)
        self.mid_call.resume = await self._offered(call, MediaDirection.SENDRECV)
        await asyncio.sleep(_STEP_S)
        self.mid_call.refresh = await self._offered(call, MediaDirection.SENDRECV)

    async def _offered(self, call: ClientCall, direction: MediaDirection) -> int | None:
        media, dialog = call.negotiator, call.dialog
        if not isinstance(media, AudioNegotiator) or dialog is None or call.ended:
            return None
        offer = media.reoffer(dialog.remote_tag, direction)
        self._answered = asyncio.get_running_loop().create_future()
        self._agent.act(lambda now: call.reoffer(offer, now))
        try:
            return await asyncio.wait_for(self._answered, _WAIT_S)
        except TimeoutError:
            return None
