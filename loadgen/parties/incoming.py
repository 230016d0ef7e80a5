"""Answer incoming calls: ring, answer or refuse as the plan says. The dialled number contains the plan's row.

This plays the customer's PBX for inbound calls. Behind the embedded trunk's gate it plays the called side in the PSTN.
An `Admission` decides whether a call may come in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from trunkproof.loadgen.bugs import note_bug
from trunkproof.loadgen.parties.agent import CallEvents, IncomingCall, SipAgent
from trunkproof.loadgen.parties.audio import Audio, NoPortError
from trunkproof.loadgen.parties.call_log import CallLog
from trunkproof.loadgen.parties.refusal import CallRefused, Refusal
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call_state import CallState
from trunkproof.loadgen.sip.offer_answer import SdpFault
from trunkproof.loadgen.sip.sdp import MalformedSdpError, SessionDescription, write_sdp
from trunkproof.loadgen.sip.sdp_reader import parse_sdp
from trunkproof.loadgen.sip.server_call import ServerCall
from trunkproof.models.errors import RemoteError
from trunkproof.models.plan import Outcome, PlanRow, row_of
from trunkproof.models.records import Disposition
from trunkproof.models.refusals import REFUSALS

logger = logging.getLogger(__name__)

_NOT_FOUND, _NOT_ACCEPTABLE, _OUR_FAULT = 404, 488, 500


class _Gone(Exception):  # noqa: N818
    """The caller cancelled, or the connection was lost, before the call was answered."""


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
    """The called side. `admission` decides first. `rows` are the plan's, by number.

    A number that is not the plan's gets the row that `unplanned` returns for it, or 404 without it.
    """

    def __init__(
        self, rows: Mapping[int, PlanRow], admission: Admission, unplanned: Callable[[str], PlanRow] | None = None
    ) -> None:
        self._rows, self._unplanned = rows, unplanned
        self._admission = admission
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, agent: SipAgent, incoming: IncomingCall) -> None:
        """Answer one call in its own task."""
        # The set keeps the task alive: the event loop itself holds tasks only weakly.
        task = asyncio.create_task(self._guarded(agent, incoming))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def under_way(self) -> int:
        """Return the number of calls that are not over."""
        return len(self._tasks)

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
            row = self._row_dialled(call)
            log = log.of(row.call, row.attempt)
            log.debug("came in from %s", incoming.source)
            reservation = await self._admission(incoming, row)
            try:
                await self._converse(_Conversation(agent, call, incoming.events), row, reservation)
            finally:
                # On every way out. A channel that is not released would be missing for the rest of the run.
                reservation.close()
        except NoPortError as error:
            log.warning("refused: %s", error)
            agent.act(lambda now: call.reject(now, REFUSALS[Disposition.NO_PORT].status))
        except CallRefused as refused:
            refusal = refused.refusal
            log.debug("refused with %s", refusal.status)
            agent.act(lambda now: call.reject(now, refusal.status, refusal.phrase, refusal.headers))
        except _Gone:
            log.debug("the caller gave up")

    def _row_dialled(self, call: ServerCall) -> PlanRow:
        number = row_of(call.dialled)
        row = None if number is None else self._rows.get(number)
        if row is None and self._unplanned is not None:
            row = self._unplanned(call.dialled)
        if row is None:
            raise CallRefused(Refusal(_NOT_FOUND))
        return row

    async def _converse(self, talk: _Conversation, row: PlanRow, reservation: Reservation) -> None:
        # Setup and ringing count from here, after admission: the delay of a shaper comes before.
        handed_over = self._loop.time()
        # Before ringing: nobody should hear a telephone ring for a call that cannot have audio.
        offer = read_offer(talk.call.invite.body)
        await talk.sleep_until(handed_over + row.setup_s)
        if row.outcome in {Outcome.BUSY, Outcome.REJECTED}:
            raise CallRefused(Refusal(row.status))
        talk.agent.act(talk.call.ring)
        # An abandoned call rings until its caller cancels it.
        await talk.sleep_until(None if row.outcome is Outcome.ABANDONED else handed_over + row.setup_s + row.ring_s)
        if row.outcome is Outcome.NO_ANSWER:
            raise CallRefused(Refusal(row.status))
        # Only for a call that is answered: a ringing telephone needs no socket.
        audio = reservation.open_audio()
        try:
            await self.talk(talk, offer, audio)
        finally:
            audio.close()

    async def talk(self, talk: _Conversation, offer: SessionDescription, audio: Audio) -> None:
        """Answer with our SDP, exchange audio, and wait for the end."""
        answer = audio.answer(offer)
        if isinstance(answer, SdpFault):
            raise CallRefused(Refusal(_NOT_ACCEPTABLE))
        # The answer first: our audio must not reach the caller before it knows our key.
        talk.agent.act(lambda now: talk.call.answer(now, write_sdp(answer)))
        audio.start(answer, offer)
        await talk.until_ended()


class _Conversation:
    """An incoming call with the answerer's actions."""

    def __init__(self, agent: SipAgent, call: ServerCall, call_events: CallEvents) -> None:
        self.agent = agent
        self.call: ServerCall = call
        self._events = call_events

    async def sleep_until(self, instant: float | None) -> None:
        """Wait until an instant of the loop's clock, or forever for None.

        Raises:
            _Gone: the caller gave up first.
        """
        while (event := await self._events.next(instant)) is not None:
            if isinstance(event, events.FinalEvent):
                raise _Gone

    async def until_ended(self) -> None:
        """Wait until an answered call ends."""
        while not isinstance(await self._events.next(), events.FinalEvent):
            pass


def _end(call: ServerCall, status: int, now: float) -> None:
    """Refuse a call with that status, or hang up where it is answered already. Do nothing where it has ended."""
    if call.state is CallState.INCOMING:
        call.reject(now, status)
    else:
        call.hang_up(now)


def read_offer(body: bytes) -> SessionDescription:
    """Return the SDP offer of an INVITE.

    Raises:
        CallRefused: the body is no valid SDP.
    """
    try:
        return parse_sdp(body)
    except MalformedSdpError:
        raise CallRefused(Refusal(_NOT_ACCEPTABLE)) from None
