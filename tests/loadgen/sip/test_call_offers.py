"""Offers inside a dialog: late offers, UPDATE, re-INVITE and glare, by section of the RFCs, against a foreign peer."""

from __future__ import annotations

from typing import Any

import pytest

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call_state import CallState
from trunkproof.loadgen.sip.message import Request


def told(endpoint: Any, kind: type[events.Event]) -> list[Any]:
    return [event for event in endpoint.events() if isinstance(event, kind)]


@pytest.fixture
def answered(caller: Any) -> Any:
    """A foreign caller's call, answered and acknowledged."""
    caller.place().answer(0.0, b"our answer")
    caller.ask("ACK", 1, 0.1)
    caller.said()
    caller.endpoint.events()
    return caller


@pytest.fixture
def placed(callee: Any) -> Any:
    """A call to a foreign callee, answered."""
    callee.respond(callee.invite, 200, 1.0, body=b"answer")
    callee.said()
    callee.endpoint.events()
    callee.negotiator.notes.clear()
    return callee


# ------------------------------------------------------------------------------------------------------ late offer


def test_rfc3261_13_2_1_late_offer_is_in_the_200_and_its_answer_in_the_ack(caller: Any) -> None:
    call = caller.place(body=b"")
    assert call.offer == b""
    call.ring(0.0, 183, b"too early for an offer")
    call.answer(0.1, b"our offer")
    ringing, response = caller.said()
    assert (ringing.body, response.body) == (b"", b"our offer")
    caller.ask("ACK", 1, 0.2, body=b"their answer")
    acknowledged, answered = caller.endpoint.events()
    assert isinstance(acknowledged, events.Acknowledged)
    assert (answered.answer, answered.fault) == (b"their answer", None)
    assert caller.negotiator.notes == [("accept", "their answer", "far")]


def test_rfc3261_13_2_1_an_ack_without_the_answer_is_a_fault_that_is_told(caller: Any) -> None:
    call = caller.place(body=b"")
    call.answer(0.1, b"our offer")
    caller.ask("ACK", 1, 0.2)
    assert told(caller.endpoint, events.OfferAnswered)[0].fault == "no session description"
    assert call.state is CallState.ESTABLISHED


def test_rfc3261_14_2_a_reinvite_without_a_body_gets_our_offer(answered: Any) -> None:
    answered.ask("INVITE", 2, 1.0)
    (response,) = answered.said()
    assert (response.status, response.body) == (200, b"our offer")
    # Our offer is open until the ACK: another one has to wait.
    answered.ask("UPDATE", 3, 1.1, body=b"too soon")
    assert [one.status for one in answered.said()] == [491]
    answered.ask("ACK", 2, 1.2, body=b"moved")
    assert answered.negotiator.notes == [("offer", "far"), ("accept", "moved", "far")]
    # An ACK without it changes nothing, and the call goes on.
    answered.ask("INVITE", 4, 2.0)
    answered.ask("ACK", 4, 2.1)
    assert told(answered.endpoint, events.OfferAnswered)[-1].fault == "no session description"
    assert answered.call.state is CallState.ESTABLISHED


# ----------------------------------------------------------------------------------------------- the peer offers anew


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_rfc3264_8_a_new_offer_is_negotiated_and_told(answered: Any, method: str) -> None:
    answered.negotiator.answers = b"new answer"
    answered.ask(method, 2, 1.0, ("Contact", "<sip:moved@127.0.0.9>"), body=b"hold")
    (response,) = answered.said()
    assert (response.status, response.body) == (200, b"new answer")
    assert response.headers.get("Content-Type") == "application/sdp"
    (reoffered,) = told(answered.endpoint, events.Reoffered)
    assert (reoffered.offer, reoffered.status) == (b"hold", 200)
    assert answered.negotiator.notes == [("answer", "hold", "far")]
    assert answered.call.dialog.exchange.local == b"new answer"


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_rfc3261_14_2_what_cannot_be_done_gets_488_and_the_call_goes_on(answered: Any, method: str) -> None:
    answered.negotiator.answers = None
    target = answered.call.dialog.remote_target
    answered.ask(method, 2, 1.0, ("Contact", "<sip:moved@127.0.0.9>"), body=b"video only")
    assert [one.status for one in answered.said()] == [488]
    assert told(answered.endpoint, events.Reoffered)[0].status == 488
    assert (answered.call.state, answered.call.dialog.remote_target) == (CallState.ESTABLISHED, target)
    assert answered.call.dialog.exchange.local == b"our answer"


def test_rfc3311_5_2_an_update_without_a_body_only_refreshes(answered: Any) -> None:
    answered.ask("UPDATE", 2, 1.0)
    (response,) = answered.said()
    assert (response.status, response.body) == (200, b"")
    assert answered.negotiator.notes == []


def test_rfc3311_5_2_update_before_we_answered_is_500_with_a_random_wait(caller: Any) -> None:
    call = caller.place()
    call.ring(0.0)
    caller.said()
    for number in range(2, 40):
        caller.ask("UPDATE" if number % 2 else "INVITE", number, 0.5, body=b"moved")
    responses = caller.said()
    assert {one.status for one in responses} == {500}
    waits = {int(one.headers.get("Retry-After")) for one in responses}
    assert waits <= set(range(11))
    assert len(waits) > 5


def test_rfc3311_5_1_update_of_an_early_dialog_that_we_answered_reliably(caller: Any) -> None:
    call = caller.place(("Supported", "100rel"))
    call.ring(0.0, 183, b"our answer")
    (progress,) = caller.said()
    caller.ask("PRACK", 2, 0.1, ("RAck", f"{progress.headers.get('RSeq')} 1 INVITE"))
    caller.ask("UPDATE", 3, 0.2, body=b"moved")
    call.answer(0.3, b"our answer")
    assert [(one.status, one.body) for one in caller.said()] == [(200, b""), (200, b"our answer"), (200, b"")]


def test_rfc5407_3_1_4_a_reinvite_that_overtakes_the_ack_says_that_our_200_arrived(caller: Any) -> None:
    call = caller.place()
    call.answer(0.0, b"our answer")
    caller.ask("INVITE", 2, 0.1, body=b"hold")
    assert [one.status for one in caller.said()] == [200, 200]
    assert call.state is CallState.ESTABLISHED
    caller.ask("ACK", 1, 0.2)  # the late one changes nothing
    assert call.next_timer() == 0.1 + 0.5
    caller.ask("ACK", 2, 0.2)
    assert call.next_timer() is None


def test_rfc5407_3_2_2_a_reinvite_that_crosses_our_bye_is_481(answered: Any) -> None:
    answered.call.bye(1.0)
    answered.ask("INVITE", 2, 1.0, body=b"hold")
    answered.ask("UPDATE", 3, 1.0, body=b"hold")
    bye, *responses = answered.said()
    assert bye.method == "BYE"
    assert [one.status for one in responses] == [481, 481]


# ------------------------------------------------------------------------------------------------------ we offer anew


def reoffer(peer: Any, now: float = 2.0) -> Request:
    peer.call.reoffer(b"our hold", now)
    (invite,) = peer.said()
    assert (invite.method, invite.body) == ("INVITE", b"our hold")
    return invite


def test_rfc3261_14_1_our_reinvite_is_acknowledged_and_its_answer_taken(placed: Any) -> None:
    invite = reoffer(placed)
    placed.respond(invite, 200, 2.1, body=b"held")
    (ack,) = placed.said()
    assert str(ack.cseq) == f"{invite.cseq.number} ACK"
    (answered,) = told(placed.endpoint, events.OfferAnswered)
    assert (answered.answer, answered.fault) == (b"held", None)
    assert placed.negotiator.notes == [("accept", "held", "far")]
    # A repeated 2xx gets its ACK again, with its own number, and counts only once.
    placed.respond(invite, 200, 2.6, body=b"held")
    assert [str(one.cseq) for one in placed.said()] == [f"{invite.cseq.number} ACK"]
    assert placed.endpoint.events() == []


def test_rfc3264_8_a_refused_offer_leaves_what_was_agreed(placed: Any) -> None:
    before = placed.call.dialog.exchange.local
    placed.respond(reoffer(placed), 488, 2.1)
    assert told(placed.endpoint, events.OfferRefused)[0].status == 488
    assert placed.call.dialog.exchange.local == before
    assert placed.call.state is CallState.ESTABLISHED


@pytest.mark.parametrize(("fixture", "low", "high"), [("placed", 2.1, 4.0), ("answered", 0.0, 2.0)])
def test_rfc3261_14_1_491_is_tried_again_after_a_wait_that_tells_the_two_sides_apart(
    request: Any, fixture: str, low: float, high: float
) -> None:
    peer = request.getfixturevalue(fixture)
    waits, now = [], 2.0
    invite = reoffer(peer, now)
    for _ in range(30):
        peer.respond(invite, 491, now)
        assert [one.method for one in peer.said()] == ["ACK"]
        due = peer.call.next_timer()
        waits.append(due - now)
        peer.endpoint.handle_timer(due)
        (again,) = peer.said()
        assert (again.body, again.cseq.number) == (b"our hold", invite.cseq.number + 1)
        invite, now = again, due
        if now > 40:  # before the session of the placed call is refreshed
            break
    assert all(low - 1e-9 <= wait <= high + 1e-9 for wait in waits)
    assert all(abs(wait * 100 - round(wait * 100)) < 1e-6 for wait in waits)
    assert len(set(waits)) > 5
    peer.respond(invite, 200, now, body=b"held")
    assert len(told(peer.endpoint, events.OfferAnswered)) == 1


def test_rfc3261_14_2_glare_the_peers_reinvite_is_491_while_ours_is_under_way(placed: Any) -> None:
    invite = reoffer(placed)
    placed.ask("INVITE", 1, 2.1, body=b"their hold")
    placed.ask("UPDATE", 2, 2.1, body=b"their hold")
    assert [one.status for one in placed.said()] == [491, 491]
    placed.respond(invite, 491, 2.2)
    # Now it is free for the peer, whose wait is shorter or longer than ours.
    placed.ask("INVITE", 3, 2.3, body=b"their hold")
    ack, response = placed.said()
    assert (ack.method, response.status) == ("ACK", 200)
    # Ours waits for the peer's to be over.
    due = placed.call.next_timer()
    while due < 10.0:
        placed.endpoint.handle_timer(due)
        due = placed.call.next_timer()
    assert "INVITE" not in [one.method for one in placed.said() if isinstance(one, Request)]
    placed.ask("ACK", 3, 10.0)
    placed.endpoint.handle_timer(placed.call.next_timer())
    assert [one.method for one in placed.said()] == ["INVITE"]


def test_rfc3261_14_1_a_second_offer_waits_for_the_first(placed: Any) -> None:
    invite = reoffer(placed)
    placed.call.reoffer(b"resume", 2.05)
    assert placed.said() == []
    placed.respond(invite, 200, 2.1, body=b"held")
    ack, second = placed.said()
    assert (ack.method, second.body) == ("ACK", b"resume")


def test_rfc3261_14_1_before_the_answer_there_is_nothing_to_offer_anew(caller: Any) -> None:
    call = caller.place()
    call.reoffer(b"too early", 0.0)
    call.answer(0.1, b"our answer")
    call.reoffer(b"our hold", 0.2)
    assert [one.status for one in caller.said()] == [200]
    caller.ask("ACK", 1, 0.3)
    caller.endpoint.handle_timer(0.7)
    (invite,) = caller.said()
    assert invite.body == b"our hold"


def test_rfc3261_14_1_a_reinvite_whose_dialog_is_gone_ends_the_call(placed: Any) -> None:
    placed.respond(reoffer(placed), 481, 2.1)
    assert [one.method for one in placed.said()] == ["ACK", "BYE"]


def test_rfc3261_13_2_2_4_the_200_to_a_reinvite_needs_an_answer(placed: Any) -> None:
    placed.respond(reoffer(placed), 200, 2.1)
    assert told(placed.endpoint, events.OfferAnswered)[0].fault == "no session description"
    assert placed.call.state is CallState.ESTABLISHED


# ----------------------------------------------------------------------------------------------------------- the end


def test_rfc3326_2_the_peers_reason_is_told(placed: Any) -> None:
    placed.ask("BYE", 1, 2.0, ("Reason", 'SIP;cause=200;text="Call completed elsewhere"'), ("Reason", "Q.850;cause=16"))
    (terminated,) = told(placed.endpoint, events.Terminated)
    assert terminated.reason.q850_cause == 16
    assert terminated.reason.text == 'SIP;cause=200;text="Call completed elsewhere", Q.850;cause=16'


def test_rfc3326_2_our_bye_says_why(placed: Any) -> None:
    placed.call.bye(2.0, ("Reason", 'SIP;cause=488;text="no codec in common"'))
    (bye,) = placed.said()
    assert bye.headers.get("Reason") == 'SIP;cause=488;text="no codec in common"'
