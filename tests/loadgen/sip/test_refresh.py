"""Session timers of whole calls, by section of RFC 4028. Times are exact: the clock is the test's."""

from __future__ import annotations

from typing import Any

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


def test_rfc3261_17_1_1_2_a_refresh_that_gets_nothing_but_a_100_is_forgotten_with_its_call(pair: Any) -> None:
    pair.establish(SessionTimer(90))
    pair.lose = is_method("INVITE")
    pair.wait(46)
    pair.customer.receive(1, response_to(pair.sent[-1], 100), pair.now)
    pair.wait(60)
    assert pair.names(pair.customer)[-1] == "Terminated"
    assert pair.customer.idle
