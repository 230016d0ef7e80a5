"""The called side on a manual clock: what the plan's row says, when it says so, and what is given back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.loadgen.scripted import HOST, STRANGER, ScriptedAgent, ScriptedAudio, hung_up, row, run_manually

from trunkproof.loadgen.parties.agent import CallEvents, IncomingCall
from trunkproof.loadgen.parties.audio import NoPortError
from trunkproof.loadgen.parties.incoming import Answerer
from trunkproof.loadgen.parties.refusal import CallRefused, Refusal
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call_state import CallState
from trunkproof.loadgen.sip.exchange import Negotiator
from trunkproof.loadgen.sip.invite import customer_offer
from trunkproof.loadgen.sip.message import Request
from trunkproof.loadgen.sip.sdp import write_sdp
from trunkproof.models.plan import Outcome, PlanRow, dialled_number
from trunkproof.models.records import Disposition

OFFER = write_sdp(customer_offer(HOST, ScriptedAudio.port, ScriptedAudio.key, session_id=7))


class Invited:
    """A call that came in, as the answerer acts on it."""

    def __init__(
        self, agent: ScriptedAgent, dialled: str, body: bytes, required: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self._agent = agent
        self.dialled = dialled
        rows = [("Call-ID", "two@127.0.0.1"), ("From", "<sip:far@trunk>;tag=far"), *required]
        self.invite = Request("INVITE", f"sip:{dialled}@trunk", rows, body)
        self.offer, self.needs_reliable = body, bool(required)
        self.state = CallState.INCOMING
        self.negotiator: Negotiator | None = None
        self.answers: list[bytes] = []

    def trying(self, now: float) -> None:
        self._agent.note("100")

    def ring(self, now: float) -> None:
        self._agent.note("180")

    def answer(self, now: float, sdp: bytes) -> None:
        self._agent.note("200")
        self.state = CallState.ESTABLISHED
        self.answers.append(sdp)

    def bye(self, now: float, reason: tuple[str, str] | None = None) -> None:
        self._agent.note("BYE" if reason is None else f"BYE {reason[1]}")
        self.state = CallState.ENDING

    def reject(self, now: float, status: int, phrase: str | None = None, headers: Any = ()) -> None:
        self._agent.note(" ".join([str(status), *(f"{name}: {value}" for name, value in headers)]))


class Held:
    """A reservation that notes whether it was given back."""

    def __init__(self, *, has_port: bool = True) -> None:
        self._has_port = has_port
        self.audio = ScriptedAudio()
        self.closed = 0

    def open_audio(self) -> ScriptedAudio:
        if not self._has_port:
            raise NoPortError("every port is held by another program")
        return self.audio

    def close(self) -> None:
        self.closed += 1


def called(
    planned: PlanRow,
    held: Held | Refusal,
    *,
    hang_up_at_s: float | None = None,
    dialled: str | None = None,
    body: bytes = OFFER,
    admitted_after_s: float = 0.0,
    required: tuple[tuple[str, str], ...] = (),
    happens: tuple[tuple[float, Callable[[float, Invited], events.Event]], ...] = (),
) -> list[tuple[float, str]]:
    """Let one call come in at instant 0; what was sent, and when. Events of `happens` come at their instants."""

    async def admit(incoming: IncomingCall, admitted: PlanRow) -> Any:
        assert admitted is planned
        await asyncio.sleep(admitted_after_s)
        if isinstance(held, Refusal):
            raise CallRefused(held)
        return held

    async def run() -> list[tuple[float, str]]:
        agent, inbox = ScriptedAgent(), CallEvents()
        answerer = Answerer({dialled_number(planned.row): planned}.get, admit)
        call = Invited(agent, dialled or dialled_number(planned.row), body, required)
        answerer.take(agent, IncomingCall(call, HOST, inbox))  # type: ignore[arg-type]
        if hang_up_at_s is not None:
            loop = asyncio.get_running_loop()
            loop.call_at(hang_up_at_s, lambda: inbox.put(hung_up(loop.time(), call)))  # type: ignore[arg-type]
        for at_s, make in happens:
            event = make(at_s, call)
            asyncio.get_running_loop().call_at(at_s, inbox.put, event)
        while answerer.under_way:
            await asyncio.sleep(0.5)
        return agent.notes

    return run_manually(run())


def test_a_call_rings_and_is_answered_as_its_row_says() -> None:
    held = Held()
    assert called(row(), held, hang_up_at_s=12.0) == [(0.0, "100"), (0.1, "180"), (2.1, "200")]
    assert held.audio.notes == ["early", "listen", "answered", "close"]
    assert held.closed == 1


def test_the_called_side_hears_of_a_call_once_it_is_admitted() -> None:
    sent = called(row(), Held(), hang_up_at_s=20.0, admitted_after_s=3.0)
    assert sent == [(0.0, "100"), (3.1, "180"), (5.1, "200")]


@pytest.mark.parametrize(
    ("outcome", "sent"),
    [
        (Outcome.BUSY, [(0.0, "100"), (0.1, "486")]),
        (Outcome.NO_ANSWER, [(0.0, "100"), (0.1, "180"), (2.1, "480")]),
    ],
)
def test_the_called_side_refuses_with_its_own_status(outcome: Outcome, sent: list[tuple[float, str]]) -> None:
    held = Held()
    assert called(row(outcome), held) == sent
    assert held.closed == 1
    assert held.audio.notes == []


def test_a_limit_refuses_with_its_cause_and_nothing_is_held() -> None:
    refusal = Refusal(503, 42, 10, Disposition.THROTTLED)
    assert called(row(), refusal) == [(0.0, "100"), (0.0, "503 Reason: Q.850;cause=42 Retry-After: 10")]


def test_a_caller_who_gives_up_frees_what_the_call_held() -> None:
    held = Held()
    assert called(row(Outcome.ABANDONED), held, hang_up_at_s=1.5) == [(0.0, "100"), (0.1, "180")]
    assert held.closed == 1


def test_numbers_that_the_plan_does_not_know_are_not_found() -> None:
    planned = row()
    for dialled in (dialled_number(planned.row + 1), "anonymous", "+1"):
        assert called(planned, Held(), dialled=dialled) == [(0.0, "100"), (0.0, "404")]


def test_without_an_offer_that_can_be_read_there_is_no_call() -> None:
    held = Held()
    trying, refusal = called(row(), held, body=b"v=0 nonsense")
    assert trying == (0.0, "100")
    assert refusal[1].startswith('488 Warning: 399 trunkproof "')
    assert held.closed == 1


def test_audio_for_a_stranger_is_refused_before_the_200_and_nothing_leaks() -> None:
    offer = replace(customer_offer(HOST, ScriptedAudio.port, ScriptedAudio.key, session_id=7), address=STRANGER)
    held = Held()
    *_, (at_s, refusal) = called(row(), held, body=write_sdp(offer))
    assert (at_s, refusal) == (2.1, f'488 Warning: 399 trunkproof "no audio is sent to {STRANGER}"')
    assert held.audio.notes == ["close"]
    assert held.closed == 1


def late(fault: str | None) -> Callable[[float, Invited], events.Event]:
    """The caller's answer to our late offer: good, or with a fault."""

    def make(at_s: float, call: Invited) -> events.Event:
        return events.OfferAnswered(at_s, call, b"" if fault else OFFER, fault)  # type: ignore[arg-type]

    return make


def test_rfc3261_13_2_1_an_invite_without_an_offer_is_answered_with_ours() -> None:
    held = Held()
    sent = called(row(), held, body=b"", hang_up_at_s=12.0, happens=((2.2, late(None)),))
    assert sent == [(0.0, "100"), (0.1, "180"), (2.1, "200")]
    assert held.audio.notes == ["listen", "close"]


def test_rfc3261_13_2_1_without_the_answer_in_the_ack_the_call_is_hung_up_and_told_why() -> None:
    held = Held()
    happens = ((2.2, late("no session description")),)
    sent = called(row(), held, body=b"", hang_up_at_s=2.3, happens=happens)
    assert sent[-1] == (2.2, 'BYE SIP;cause=488;text="no session description"')
    assert held.closed == 1


def test_rfc3262_5_a_faulty_answer_in_a_prack_refuses_the_call() -> None:
    held = Held()
    happens = ((0.2, late("no codec in common")),)
    sent = called(row(), held, body=b"", required=(("Require", "100rel"),), happens=happens)
    assert sent[-1] == (0.2, '488 Warning: 399 trunkproof "no codec in common"')
    assert held.audio.notes == ["close"]


def test_an_error_of_ours_ends_an_answered_call_before_its_ports_are_given_back() -> None:
    class BrokenAnswerer(Answerer):
        async def talk(self, talk: Any, media: Any) -> None:
            talk.agent.act(lambda now: talk.call.answer(now, b""))
            raise ZeroDivisionError

    async def run() -> None:
        held, agent, inbox = Held(), ScriptedAgent(), CallEvents()

        async def admit(incoming: IncomingCall, admitted: PlanRow) -> Any:
            return held

        answerer = BrokenAnswerer({dialled_number(7): row()}.get, admit)
        call = Invited(agent, dialled_number(7), OFFER)
        answerer.take(agent, IncomingCall(call, HOST, inbox))  # type: ignore[arg-type]
        await asyncio.sleep(3)
        # The BYE is under way: the call still holds what it had.
        assert agent.notes[-1] == (2.1, 'BYE SIP;cause=500;text="internal error"')
        assert held.closed == 0
        inbox.put(hung_up(3.0, call))  # type: ignore[arg-type]
        await asyncio.sleep(1)
        assert (held.closed, answerer.under_way) == (1, 0)

    run_manually(run())


def test_a_pool_whose_ports_are_taken_refuses_as_the_trunk_does() -> None:
    held = Held(has_port=False)
    assert called(row(), held)[-1][1].startswith("503")
    assert held.closed == 1


def test_closing_lets_go_of_calls_that_talk() -> None:
    async def run() -> None:
        held = Held()

        async def admit(incoming: IncomingCall, admitted: PlanRow) -> Any:
            return held

        answerer = Answerer({dialled_number(7): row()}.get, admit)
        agent = ScriptedAgent()
        incoming = IncomingCall(Invited(agent, dialled_number(7), OFFER), HOST, CallEvents())  # type: ignore[arg-type]
        answerer.take(agent, incoming)  # type: ignore[arg-type]
        await asyncio.sleep(5)
        assert (answerer.under_way, held.closed) == (1, 0)
        await answerer.close()
        assert (answerer.under_way, held.closed) == (0, 1)

    run_manually(run())
