"""Session timers of whole calls, by section of RFC 4028. Times are exact: the clock is the test's."""

from __future__ import annotations

from typing import Any

import pytest
from tests.loadgen.sip.conftest import is_method

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call_state import CallState
from trunkproof.loadgen.sip.events import EndCause
from trunkproof.loadgen.sip.message import response_to
from trunkproof.loadgen.sip.session_timer import SessionTimer


def test_rfc4028_7_caller_refreshes_at_half_the_interval(pair: Any) -> None:
    pair.establish(SessionTimer(90))
    pair.wait(44.9)
    before = list(pair.log)
    pair.wait(0.2)
    assert pair.log == [*before, ">INVITE", "<200", ">ACK"]
    assert pair.names(pair.customer)[-1] == "Refreshed"
    pair.wait(45)
    assert pair.names(pair.customer).count("Refreshed") == 2


def test_rfc4028_7_repeated_answer_to_a_refresh_is_acknowledged_but_told_once(pair: Any) -> None:
    pair.establish(SessionTimer(90))
    losses = iter([True, False])
    pair.lose = lambda message: is_method("ACK")(message) and next(losses)
    pair.wait(46)
    assert pair.log[-5:] == [">INVITE", "<200", ">ACK lost", "<200", ">ACK"]
    assert pair.names(pair.customer).count("Refreshed") == 1


def test_rfc4028_10_session_without_refresh_ends(pair: Any) -> None:
    pair.establish(SessionTimer(90))
    pair.lose = is_method("INVITE")
    pair.wait(90)
    # Both give up at 90 - min(32, 30) = 60 s, the refresher because its refresh is not answered.
    for endpoint in (pair.customer, pair.trunk):
        ended = [event for event in pair.seen[endpoint] if isinstance(event, events.Terminated)]
        assert [(event.at_s, event.cause) for event in ended] == [(60.0, EndCause.SESSION_EXPIRED)]


def test_rfc4028_7_3_422_is_tried_once_more(pair: Any) -> None:
    call = pair.customer.start_call(1, pair.invite(SessionTimer(30)), 0.0)
    pair.settle()
    assert pair.log == [">INVITE", "<422", ">ACK", ">INVITE"]
    retried = pair.incoming().invite
    assert retried.headers.get("Session-Expires") == retried.headers.get("Min-SE") == "90"
    assert str(retried.cseq) == "103 INVITE"
    assert retried.call_id == pair.sent[0].call_id
    assert call.state is CallState.CALLING


@pytest.mark.parametrize(("status", "rows"), [(491, ()), (500, (("Retry-After", "3"),)), (503, ()), (504, ())])
def test_rfc3261_14_1_a_refresh_that_is_refused_for_now_is_tried_again(callee: Any, status: int, rows: Any) -> None:
    callee.respond(callee.invite, 200, 0.0, ("Session-Expires", "90;refresher=uac"), body=b"answer")
    callee.said()
    callee.endpoint.handle_timer(45.0)
    (refresh,) = callee.said()
    callee.respond(refresh, status, 45.0, *rows)
    assert [one.method for one in callee.said()] == ["ACK"]
    due = callee.call.next_timer()
    assert due == 48.0 if rows else 47.1 <= due <= 50.0
    callee.endpoint.handle_timer(due)
    (again,) = callee.said()
    assert again.headers.get("Session-Expires") == "90;refresher=uac"
    callee.respond(again, 200, due, ("Session-Expires", "90;refresher=uac"))
    assert callee.call.next_timer() == due + 45
    assert callee.call.state is CallState.ESTABLISHED


def test_rfc4028_10_a_refresh_that_is_always_refused_ends_the_call_at_its_expiry_only(callee: Any) -> None:
    callee.respond(callee.invite, 200, 0.0, ("Session-Expires", "90;refresher=uac"), body=b"answer")
    callee.said()
    sent = []
    while not sent or sent[-1][1] != "BYE":
        due = callee.endpoint.next_timer()
        callee.endpoint.handle_timer(due)
        for message in callee.said():
            sent.append((due, message.method))
            if message.method == "INVITE":
                callee.respond(message, 503, due)
    assert sent[0] == (45.0, "INVITE")
    assert sent[-1] == (60.0, "BYE")
    assert 2 < sum(method == "INVITE" for _, method in sent) < 6  # the wait doubles


def test_rfc4028_10_a_refresh_whose_dialog_is_gone_ends_the_call(callee: Any) -> None:
    callee.respond(callee.invite, 200, 0.0, ("Session-Expires", "90;refresher=uac"), body=b"answer")
    callee.said()
    callee.endpoint.handle_timer(45.0)
    (refresh,) = callee.said()
    callee.respond(refresh, 481, 45.0)
    ack, bye = callee.said()
    assert (ack.method, bye.method) == ("ACK", "BYE")
    assert bye.headers.get("Reason") == 'SIP;cause=408;text="session expired"'


def test_rfc4028_7_4_422_raises_the_interval_of_a_refresh(callee: Any) -> None:
    callee.respond(callee.invite, 200, 0.0, ("Session-Expires", "90;refresher=uac"), body=b"answer")
    callee.said()
    callee.endpoint.handle_timer(45.0)
    (refresh,) = callee.said()
    callee.respond(refresh, 422, 45.0, ("Min-SE", "600"))
    ack, again = callee.said()
    assert ack.method == "ACK"
    assert again.headers.get("Session-Expires") == "600;refresher=uac"
    assert again.headers.get("Min-SE") == "600"
    # Once only: a peer that goes on to ask for more is not followed for ever.
    callee.respond(again, 422, 45.1, ("Min-SE", "6000"))
    assert [one.method for one in callee.said()] == ["ACK"]


def test_rfc4028_7_4_a_refresh_by_the_peer_makes_our_next_try_unneeded(callee: Any) -> None:
    callee.respond(callee.invite, 200, 0.0, ("Session-Expires", "90;refresher=uac"), body=b"answer")
    callee.said()
    callee.endpoint.handle_timer(45.0)
    (refresh,) = callee.said()
    callee.respond(refresh, 491, 45.0)
    callee.ask("UPDATE", 1, 46.0, ("Session-Expires", "90;refresher=uac"), ("Supported", "timer"))
    callee.said()
    for now in (50.0, 60.0, 100.0):
        callee.endpoint.handle_timer(now)
    assert callee.said() == []
    assert callee.call.next_timer() == 46.0 + 60


def test_rfc3264_8_the_answer_to_a_refresh_may_say_otherwise_than_before(callee: Any) -> None:
    callee.respond(callee.invite, 200, 0.0, ("Session-Expires", "90;refresher=uac"), body=b"answer")
    callee.said()
    callee.endpoint.handle_timer(45.0)
    (refresh,) = callee.said()
    assert refresh.body == callee.invite.body
    callee.respond(refresh, 200, 45.0, ("Session-Expires", "90;refresher=uac"), body=b"moved")
    assert callee.negotiator.notes[-1] == ("accept", "moved", "far")


def test_rfc3261_17_1_1_2_a_refresh_that_gets_nothing_but_a_100_is_forgotten_with_its_call(pair: Any) -> None:
    pair.establish(SessionTimer(90))
    pair.lose = is_method("INVITE")
    pair.wait(46)
    pair.customer.receive(1, response_to(pair.sent[-1], 100), pair.now)
    pair.wait(60)
    assert pair.names(pair.customer)[-1] == "Terminated"
    assert pair.customer.idle
