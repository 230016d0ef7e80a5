"""Answer incoming calls: ring, answer or refuse as the plan says. The dialled number contains the plan's row.

This plays the customer's PBX for inbound calls. Behind the embedded trunk's gate it plays the called side in the PSTN.
An `Admission` decides whether a call may come in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from trunkproof.loadgen.bugs import note_bug
from trunkproof.loadgen.parties.agent import CallEvents, IncomingCall, SipAgent
from trunkproof.loadgen.parties.audio import Audio, NoPortError
from trunkproof.loadgen.parties.call_log import CallLog
from trunkproof.loadgen.parties.called import Called
from trunkproof.loadgen.parties.negotiation import AudioNegotiator
from trunkproof.loadgen.parties.refusal import CallRefused, Refusal
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call_state import IN_DIALOG, CallState
from trunkproof.loadgen.sip.fields import quote
from trunkproof.loadgen.sip.reason import readable, sip_reason
from trunkproof.loadgen.sip.sdp import MalformedSdpError
from trunkproof.loadgen.sip.sdp_reader import parse_sdp
from trunkproof.loadgen.sip.server_call import ServerCall
from trunkproof.models.errors import RemoteError
from trunkproof.models.plan import Outcome, PlanRow
from trunkproof.models.records import Disposition, FarEnd
from trunkproof.models.refusals import REFUSALS
from trunkproof.models.timers import TRANSACTION_TIMEOUT_S

logger = logging.getLogger(__name__)

_NOT_FOUND, _NOT_ACCEPTABLE, _OUR_FAULT = 404, 488, 500


class _Gone(Exception):  # noqa: N818
    """The caller cancelled, or the connection was lost, before the call was answered."""


class _NotAcceptable(Exception):  # noqa: N818
    """The call can have no audio. The message says why."""


class Reservation(Protocol):
    """What a call holds while it lasts: ports, a channel or a telephone."""

    def open_audio(self) -> Audio:
        """Return audio for the call: ports and a key."""

    def close(self) -> None:
        """Release everything."""


class Admission(Protocol):
    """Decides whether a call may come in."""

    async def __call__(self, incoming: IncomingCall, row: PlanRow) -> Reservation:
        """Return what the call holds from now on.

        Raises:
            CallRefused: the call may not come in.
        """


class Answerer:
    """The called side. `admission` decides first. `planned` returns the plan's row of a dialled number.

    `listed` knows the numbers that do something else. Any other number gets the row that `unplanned` returns for it, or
    404 without it.
    """

    def __init__(
        self,
        planned: Callable[[str], PlanRow | None],
        admission: Admission,
        unplanned: Callable[[str], PlanRow] | None = None,
        listed: Callable[[str], Called | None] = lambda number: None,
    ) -> None:
        self._planned, self._unplanned, self._listed = planned, unplanned, listed
        self._admission = admission
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[asyncio.Task[None], tuple[SipAgent, IncomingCall]] = {}

    def take(self, agent: SipAgent, incoming: IncomingCall) -> None:
        """Answer one call in its own task."""
        # Kept here, because the event loop itself holds tasks only weakly.
        task = asyncio.create_task(self._guarded(agent, incoming))
        self._tasks[task] = agent, incoming
        task.add_done_callback(self._tasks.pop)

    @property
    def under_way(self) -> int:
        """Return the number of calls that are not over."""
        return len(self._tasks)

    def stop(self) -> None:
        """Hang up every call, or refuse it where it is not answered yet."""
        for agent, incoming in tuple(self._tasks.values()):
            agent.act(incoming.call.hang_up)

    async def ended(self, within_s: float) -> None:
        """Wait until no call is under way, or until that time is over."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=within_s)

    async def close(self) -> None:
        """Drop every call at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _guarded(self, agent: SipAgent, incoming: IncomingCall) -> None:
        """Serve a call, and end it whatever goes wrong, so that its caller does not wait for an answer in vain."""
        try:
            await self._serve(agent, incoming)
        except RemoteError as error:
            CallLog(logger, incoming.call.invite.call_id).info("ended: %s", error)
            agent.act(lambda now: _end(incoming.call, _NOT_ACCEPTABLE, now))
        except Exception as error:
            note_bug("an incoming call", error)
            agent.act(lambda now: _end(incoming.call, _OUR_FAULT, now))

    async def _serve(self, agent: SipAgent, incoming: IncomingCall) -> None:
        call = incoming.call
        log = CallLog(logger, call.invite.call_id)
        # At once: setup, ringing and a shaper's delay together may be longer than the caller's timer B.
        agent.act(call.trying)
        try:
            called = self._called(call)
            row = called.row
            log = log.of(row.call, row.attempt)
            log.debug("came in from %s", incoming.source)
            reservation = await self._admission(incoming, row)
            talk = _Conversation(agent, call, incoming.events, log)
            try:
                await self._converse(talk, called, reservation)
            except Exception:
                # A call that is up keeps its ports and its channel until it is over.
                await talk.end()
                raise
            finally:
                talk.close()
                # On every way out. A channel that is not released would be missing for the rest of the run.
                reservation.close()
        except NoPortError as error:
            log.warning("refused: %s", error)
            agent.act(lambda now: call.reject(now, REFUSALS[Disposition.NO_PORT].status))
        except _NotAcceptable as error:
            log.info("refused with %s: %s", _NOT_ACCEPTABLE, error)
            # 399: a warning in words (RFC 3261 section 20.43).
            warning = ("Warning", f"399 trunkproof {quote(readable(str(error)))}")
            agent.act(lambda now: call.reject(now, _NOT_ACCEPTABLE, headers=[warning]))
        except CallRefused as refused:
            refusal = refused.refusal
            log.debug("refused with %s", refusal.status)
            agent.act(lambda now: call.reject(now, refusal.status, refusal.phrase, refusal.headers))
        except _Gone:
            log.debug("the caller gave up")

    def _called(self, call: ServerCall) -> Called:
        if (listed := self._listed(call.dialled)) is not None:
            return listed
        row = self._planned(call.dialled)
        if row is None and self._unplanned is not None:
            row = self._unplanned(call.dialled)
        if row is None:
            raise CallRefused(Refusal(_NOT_FOUND))
        return Called(row)

    async def _converse(self, talk: _Conversation, called: Called, reservation: Reservation) -> None:
        row = called.row
        # Setup and ringing count from here, after admission: the delay of a shaper comes before.
        handed_over = self._loop.time()
        # Before ringing: nobody should hear a telephone ring for a call that cannot have audio.
        if talk.call.offer:
            _check_offer(talk.call.offer)
        await talk.sleep_until(handed_over + row.setup_s)
        if row.outcome in {Outcome.BUSY, Outcome.REJECTED}:
            raise CallRefused(Refusal(row.status))
        # A caller that makes no offer gets ours in the first reliable response (RFC 3262 section 5).
        if talk.call.needs_reliable and not talk.call.offer:
            talk.open(reservation, called.far_end)
        talk.agent.act(talk.call.ring)
        # An abandoned call rings until its caller cancels it.
        await talk.sleep_until(None if row.outcome is Outcome.ABANDONED else handed_over + row.setup_s + row.ring_s)
        if row.outcome is Outcome.NO_ANSWER:
            raise CallRefused(Refusal(row.status))
        # Only for a call that is answered: a ringing telephone needs no socket.
        talk.hold_s, talk.hangs_up = row.hold_s, called.hangs_up
        await self.talk(talk, talk.open(reservation, called.far_end))

    async def talk(self, talk: _Conversation, media: AudioNegotiator) -> None:
        """Answer with our SDP, exchange audio, and wait for the end, or hang up when our side does."""
        call = talk.call
        body = media.answer(call.offer, talk.dialog) if call.offer else media.offer(talk.dialog)
        if body is None:
            raise _NotAcceptable(media.refusal)
        media.audio.listen()
        talk.agent.act(lambda now: call.answer(now, body))
        # The answer first: our audio must not reach the caller before it knows our key.
        media.confirm(talk.dialog)
        if talk.hangs_up and not await talk.until_ended(self._loop.time() + talk.hold_s):
            talk.agent.act(call.bye)
        await talk.until_ended()


class _Conversation:
    """An incoming call with the answerer's actions."""

    def __init__(self, agent: SipAgent, call: ServerCall, call_events: CallEvents, log: CallLog) -> None:
        self.agent = agent
        self.call: ServerCall = call
        self._events = call_events
        self._log = log
        self._media: AudioNegotiator | None = None
        self._is_over = False
        self.hold_s = 0.0
        """How long the call is planned to last. 0: nobody knows."""
        self.hangs_up = False
        """Whether our side ends it then."""

    @property
    def dialog(self) -> str:
        """Return the name by which the negotiator knows the dialog."""
        return self.call.invite.from_.tag

    def open(self, reservation: Reservation, far_end: FarEnd = FarEnd.PLAN) -> AudioNegotiator:
        """Return the call's audio, opened when it is asked for first."""
        if self._media is None:
            audio = reservation.open_audio()
            audio.far_end = far_end
            self._media = AudioNegotiator(audio)
            self.call.negotiator = self._media
        return self._media

    def close(self) -> None:
        """Release the audio."""
        if self._media is not None:
            self._media.close()

    async def sleep_until(self, instant: float | None) -> None:
        """Wait until an instant of the loop's clock, or forever for None.

        Raises:
            _Gone: the caller gave up first.
            _NotAcceptable: the caller's answer to our offer cannot be used.
        """
        while (event := await self._events.next(instant)) is not None:
            match event:
                case events.FinalEvent():
                    raise _Gone
                case events.OfferAnswered(fault=fault) if fault is not None:
                    raise _NotAcceptable(fault)

    async def until_ended(self, until: float | None = None) -> bool:
        """Wait until an answered call ends, or until that instant. Return whether it has ended.

        Hang up where its caller's answer to our offer cannot be used. A call without a connection ends when its caller
        has given up to send the BYE (timer F).
        """
        lost_at = asyncio.get_running_loop().time() + self.hold_s + TRANSACTION_TIMEOUT_S if self.hold_s else None
        while not self._is_over:
            event = await self._events.next(min((at for at in (until, lost_at) if at is not None), default=None))
            self._is_over = isinstance(event, events.FinalEvent)
            match event:
                case None if until is not None and (lost_at is None or until <= lost_at):
                    return False
                case None:
                    lost_at = None
                    if self.call.connection_id is None:
                        self._log.info("its connection is gone, and no BYE came")
                        self.agent.act(self.call.bye)
                case events.OfferAnswered(fault=fault) if fault is not None:
                    self._log.info("the answer to our offer cannot be used: %s", fault)
                    # In mid-call, what was agreed before goes on.
                    if self._media is not None and not self._media.is_agreed:
                        self._hang_up(488, fault)
                case events.Reoffered(status=status) if status != 200 and self._media is not None:
                    self._log.info("an offer in mid-call was refused: %s", self._media.refusal)
        return True

    async def end(self) -> None:
        """Hang up a call that is answered, and wait until it is over."""
        if self.call.state in IN_DIALOG:
            self._hang_up(500, "internal error")
            await self.until_ended()

    def _hang_up(self, status: int, why: str) -> None:
        self.agent.act(lambda now: self.call.bye(now, sip_reason(status, why)))


def _end(call: ServerCall, status: int, now: float) -> None:
    """Refuse a call with that status, or hang up where it is answered already. Do nothing where it has ended."""
    if call.state is CallState.INCOMING:
        call.reject(now, status)
    else:
        call.hang_up(now)


def _check_offer(body: bytes) -> None:
    """Raise `_NotAcceptable` where an offer is no valid SDP."""
    try:
        parse_sdp(body)
    except MalformedSdpError as error:
        raise _NotAcceptable(str(error)) from None
