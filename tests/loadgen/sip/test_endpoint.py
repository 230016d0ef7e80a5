"""Two endpoints against each other, by section of the RFCs. Times are exact: the clock is the test's."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.loadgen.sip.conftest import ScriptedNegotiator, is_method, is_status

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call import UserAgent
from trunkproof.loadgen.sip.call_state import CallState
from trunkproof.loadgen.sip.endpoint import SipEndpoint
from trunkproof.loadgen.sip.events import EndCause
from trunkproof.loadgen.sip.message import Request, Response
from trunkproof.loadgen.sip.parser import parse_message
from trunkproof.loadgen.sip.server_call import IncomingInvite
from trunkproof.loadgen.sip.session_timer import SessionTimer


def causes(pair: Any, endpoint: SipEndpoint) -> list[EndCause]:
    return [event.cause for event in pair.seen[endpoint] if isinstance(event, events.Terminated)]


def test_rfc3261_13_a_whole_call(pair: Any) -> None:
    call, incoming = pair.place()
    incoming.trying(0.0)
    incoming.ring(0.0)
    incoming.answer(0.0, b"v=0\r\n")
    pair.settle()
    call.bye(10.0)
    pair.wait(40)
    assert pair.log == [">INVITE", "<100", "<180", "<200", ">ACK", ">BYE", "<200"]
    assert pair.names(pair.customer) == ["Trying", "Ringing", "Answered", "Terminated"]
    assert pair.names(pair.trunk) == ["IncomingInvite", "Acknowledged", "Terminated"]
    assert causes(pair, pair.customer) == [EndCause.LOCAL_BYE]
    assert causes(pair, pair.trunk) == [EndCause.REMOTE_BYE]
    assert pair.customer.idle
    assert pair.trunk.idle


def test_rfc3261_13_dialled_number_reaches_the_callee(pair: Any) -> None:
    assert pair.place()[1].dialled == "+919812345678"


def test_rfc3261_13_3_1_4_lost_ack_repeats_the_2xx_and_each_is_acknowledged(pair: Any) -> None:
    acks = iter([True, True, False])
    pair.lose = lambda message: is_method("ACK")(message) and next(acks)
    pair.establish()
    pair.wait(3)
    assert pair.log == [">INVITE", "<180", "<200", ">ACK lost", "<200", ">ACK lost", "<200", ">ACK"]
    assert pair.names(pair.trunk).count("Acknowledged") == 1
    assert pair.names(pair.customer).count("Answered") == 1


def test_rfc3261_13_3_1_4_lost_200_is_repeated_after_t1(pair: Any) -> None:
    losses = iter([True, False])
    pair.lose = lambda message: is_status(200)(message) and next(losses)
    call, _ = pair.establish()
    assert call.state is CallState.PROCEEDING
    pair.wait(0.5)
    assert call.state is CallState.ESTABLISHED


def test_rfc3261_13_3_1_4_no_ack_for_64_t1_ends_with_bye(pair: Any) -> None:
    pair.lose = is_method("ACK")
    pair.establish()
    pair.wait(31.9)
    # T1 = 0.5 s doubling to T2 = 4 s: at 0.5, 1.5, 3.5, 7.5, 11.5 … 31.5 s.
    assert pair.log.count("<200") == 1 + 10
    assert "AckTimeout" not in pair.names(pair.trunk)
    pair.wait(0.2)
    assert causes(pair, pair.trunk) == [EndCause.ACK_TIMEOUT]
    assert causes(pair, pair.customer) == [EndCause.REMOTE_BYE]
    assert pair.names(pair.trunk)[-2:] == ["AckTimeout", "Terminated"]


def test_rfc3261_15_callee_holds_its_bye_until_the_ack(pair: Any) -> None:
    losses = iter([True, False])
    pair.lose = lambda message: is_method("ACK")(message) and next(losses)
    _, incoming = pair.establish()
    incoming.bye(pair.now)
    pair.settle()
    assert "<BYE" not in pair.log
    pair.wait(0.5)
    assert pair.log[-3:] == [">ACK", "<BYE", ">200"]


def test_rfc3261_9_1_cancel_waits_for_a_provisional(pair: Any) -> None:
    call, incoming = pair.place()
    call.cancel(0.0)
    pair.settle()
    assert pair.log == [">INVITE"]
    incoming.ring(0.0)
    pair.settle()
    assert pair.log == [">INVITE", "<180", ">CANCEL", "<200", "<487", ">ACK"]
    assert pair.names(pair.customer) == ["Cancelled"]
    assert pair.names(pair.trunk) == ["IncomingInvite", "Cancelled"]
    assert pair.customer.idle
    assert pair.trunk.idle


def test_rfc3261_9_1_cancel_glare_is_acknowledged_and_ended(pair: Any) -> None:
    call, incoming = pair.place()
    incoming.ring(0.0)
    pair.settle()
    call.cancel(0.0)
    incoming.answer(0.0, b"v=0\r\n")
    pair.wait(40)
    assert causes(pair, pair.customer) == [EndCause.CANCEL_GLARE]
    assert causes(pair, pair.trunk) == [EndCause.REMOTE_BYE]
    assert "Answered" not in pair.names(pair.customer)
    assert pair.customer.idle
    assert pair.trunk.idle


def test_rfc3261_9_1_answer_without_provisional_to_a_cancelled_call_is_ended(pair: Any) -> None:
    call, incoming = pair.place()
    call.cancel(0.0)
    incoming.answer(0.0, b"v=0\r\n")
    pair.settle()
    assert pair.log == [">INVITE", "<200", ">ACK", ">BYE", "<200"]
    assert causes(pair, pair.customer) == [EndCause.CANCEL_GLARE]


def test_rfc3261_9_1_cancel_without_final_response_gives_up_after_64_t1(pair: Any) -> None:
    call, incoming = pair.place()
    incoming.ring(0.0)
    pair.settle()
    pair.lose = is_method("CANCEL")
    call.cancel(0.0)
    pair.wait(31.9)
    assert pair.names(pair.customer) == ["Ringing"]
    pair.wait(0.1)
    assert pair.seen[pair.customer][-1] == events.Cancelled(32.0, call, confirmed=False)
    assert pair.customer.idle


def test_rfc3261_9_2_cancel_of_nothing_is_481(pair: Any) -> None:
    call, incoming = pair.place()
    incoming.ring(0.0)
    pair.settle()
    pair.lose = is_method("CANCEL")
    call.cancel(0.0)
    pair.settle()
    cancel = next(message for message in pair.sent if is_method("CANCEL")(message))
    stranger = SipEndpoint(UserAgent("127.0.0.1", 5443), random.Random(1))
    stranger.receive(1, cancel, 0.0)
    ((_, data),) = stranger.messages_to_send()
    assert data.startswith(b"SIP/2.0 481 ")


def test_rfc3261_20_33_rejection_carries_retry_after_and_cause(pair: Any) -> None:
    rows = [("Retry-After", "7 (busy minute);duration=60"), ("Reason", 'Q.850;cause=42;text="congestion"')]
    pair.place()[1].reject(0.0, 503, headers=rows)
    pair.settle()
    (rejected,) = pair.seen[pair.customer]
    assert (rejected.status, rejected.reason) == (503, "Service Unavailable")
    assert (rejected.retry_after_s, rejected.q850_cause) == (7.0, 42)
    assert pair.log == [">INVITE", "<503", ">ACK"]


def test_rfc3261_21_5_4_503_without_retry_after(pair: Any) -> None:
    pair.place()[1].reject(0.0, 503)
    pair.settle()
    assert pair.seen[pair.customer][0].retry_after_s is None


def test_reject_with_a_success_is_a_bug_of_ours(pair: Any) -> None:
    with pytest.raises(ValueError, match="does not reject"):
        pair.place()[1].reject(0.0, 200)


def test_rfc3261_15_1_2_simultaneous_byes(pair: Any) -> None:
    call, incoming = pair.establish()
    call.bye(1.0)
    incoming.bye(1.0)
    pair.wait(40)
    assert len(causes(pair, pair.customer)) == len(causes(pair, pair.trunk)) == 1
    assert pair.customer.idle
    assert pair.trunk.idle


def test_rfc3261_17_1_2_2_unanswered_bye_ends_after_timer_f(pair: Any) -> None:
    call, _ = pair.establish()
    pair.lose = is_method("BYE")
    call.bye(0.0)
    pair.wait(33)
    assert causes(pair, pair.customer) == [EndCause.BYE_TIMEOUT]


def test_rfc3261_17_1_4_connection_lost_before_the_answer(pair: Any) -> None:
    pair.place()
    pair.customer.connection_lost(1, 2.0)
    pair.trunk.connection_lost(1, 2.0)
    pair.settle()
    assert pair.names(pair.customer) == ["ConnectionLost"]
    assert pair.names(pair.trunk) == ["IncomingInvite", "ConnectionLost"]
    assert pair.customer.idle
    assert pair.trunk.idle


def test_rfc3261_12_dialog_outlives_its_connection(pair: Any) -> None:
    call, incoming = pair.establish()
    pair.customer.connection_lost(1, 2.0)
    pair.trunk.connection_lost(1, 2.0)
    call.use_connection(2)
    call.bye(2.0)
    pair.settle()
    assert causes(pair, pair.customer) == [EndCause.LOCAL_BYE]
    assert causes(pair, pair.trunk) == [EndCause.REMOTE_BYE]
    assert incoming.ended
    assert pair.names(pair.customer)[-2:] == ["Detached", "Terminated"]


def test_bye_without_a_connection_ends_the_call_at_once(pair: Any) -> None:
    call, _ = pair.establish()
    pair.customer.connection_lost(1, 2.0)
    call.bye(2.0)
    pair.settle()
    assert causes(pair, pair.customer) == [EndCause.BYE_CONNECTION_LOST]


def test_rfc3261_13_2_2_4_second_callee_is_acknowledged_and_ended(pair: Any) -> None:
    pair.establish()
    answer = next(message for message in pair.sent if is_status(200)(message))
    answer.headers.replace("To", f"{answer.headers.get('To').partition(';')[0]};tag=other")
    fork = Response(200, "OK", answer.headers, answer.body)
    pair.customer.receive(1, fork, 1.0)
    methods = [parse_message(data).start_line().split()[0] for _, data in pair.customer.messages_to_send()]
    assert methods == ["ACK", "BYE"]
    assert pair.customer.events() == []


def test_many_calls_leave_nothing_behind(make_pair: Any) -> None:
    pair = make_pair(5)
    for _ in range(200):
        call, _ = pair.establish()
        call.bye(pair.now)
        pair.wait(0.1)
    pair.wait(33)
    assert pair.customer.idle
    assert pair.trunk.idle


ACTIONS = {
    "start": 6, "settle": 2, "step": 12, "trying": 2, "ring": 6, "answer": 6, "reject": 2, "cancel": 4, "bye": 2,
    "hang_up": 2, "remote_bye": 2, "lose": 2, "keep": 4, "lose_connection": 1, "reconnect": 2, "wait": 4,
    "wait_long": 1, "options": 1, "progress": 4, "reoffer": 4, "reoffer_back": 4, "late_offer": 2, "update": 3,
}  # fmt: skip


@pytest.mark.parametrize("seed", range(120))
def test_any_sequence_of_inputs_ends_every_call_exactly_once(make_pair: Any, seed: int) -> None:
    pair, random_source, connection = make_pair(seed), random.Random(seed), 1
    for action in random_source.choices(list(ACTIONS), list(ACTIONS.values()), k=150):
        connection = _walk(pair, action, random_source.randrange(8), connection)
    pair.settle()  # what is still on the wire may be an INVITE, and its callee's user has to end that too
    for endpoint in (pair.customer, pair.trunk):
        for call in endpoint.calls:
            call.hang_up(pair.now)
    pair.wait(100 if seed % 2 else 0)  # half of the walks end while messages are still lost
    pair.lose = lambda message: False
    pair.wait(300)
    for endpoint in (pair.customer, pair.trunk):
        assert endpoint.calls == ()
        assert endpoint.idle
        finals = [event.call for event in pair.seen[endpoint] if isinstance(event, events.FinalEvent)]
        assert len(finals) == len(set(finals))
        assert set(finals) == (pair.placed if endpoint is pair.customer else incoming_calls(pair))


def incoming_calls(pair: Any) -> set[Any]:
    return {event.call for event in pair.seen[pair.trunk] if isinstance(event, IncomingInvite)}


def _walk(pair: Any, action: str, pick: int, connection: int) -> int:
    now = pair.now
    incoming = [event.call for event in pair.seen[pair.trunk] if isinstance(event, IncomingInvite)]
    placed = pair.customer.calls
    server = incoming[pick % len(incoming)] if incoming else None
    client = placed[pick % len(placed)] if placed else None
    if action in ("start", "late_offer"):
        pair.placed.add(pair.customer.start_call(connection, _invite(pair, action, pick), now))
    elif action == "options":
        pair.customer.send_options(connection, "sip:127.0.0.1", now)
    elif action in ("settle", "step"):
        getattr(pair, action)()
    elif action in ("wait", "wait_long"):
        pair.wait(pick / 4 if action == "wait" else 10.0 * pick)
    elif action in ("lose", "keep"):
        pair.lose = lambda message: action == "lose" and len(message.start_line()) % 8 == pick
    elif action == "lose_connection":
        pair.customer.connection_lost(connection, now)
        pair.trunk.connection_lost(connection, now)
        return connection + 1
    elif client is not None and action in ("bye", "hang_up", "cancel", "reoffer", "update", "reconnect"):
        _act_as_caller(pair, client, action, connection)
    elif server is not None:
        _act_as_callee(server, action, now)
    return connection


def _invite(pair: Any, action: str, pick: int) -> Request:
    invite = pair.invite(SessionTimer(90) if pick % 2 else None)
    if pick > 4:
        invite.headers.add("Require", "100rel")
    body = invite.body if action == "start" else b""
    return Request("INVITE", invite.uri, invite.headers, body)


def _act_as_caller(pair: Any, client: Any, action: str, connection: int) -> None:
    if action == "reconnect":
        client.use_connection(connection)
    elif action == "reoffer":
        client.reoffer(b"v=0 anew", pair.now)
    elif action != "update":
        getattr(client, action)(pair.now)
    elif client.dialogs and client.connection_id is not None:
        via = pair.customer.agent.via(pair.ids.branch())
        request = client.dialogs[-1].request("UPDATE", via, (), b"v=0 update")
        pair.customer.start(client.connection_id, request, lambda event, at_s: None, pair.now)


def _act_as_callee(server: Any, action: str, now: float) -> None:
    if server.negotiator is None and server.invite.via.branch[-1] < "8":
        server.negotiator = ScriptedNegotiator()
    if action in ("trying", "ring"):
        getattr(server, action)(now)
    elif action == "progress":
        server.ring(now, 183, b"v=0\r\n")
    elif action == "reoffer_back":
        server.reoffer(b"v=0 anew", now)
    elif action == "answer":
        server.answer(now, b"v=0\r\n")
    elif action == "reject":
        server.reject(now, 486)
    elif action == "remote_bye":
        server.hang_up(now)
