"""Two endpoints against each other, by section of the RFCs. Times are exact: the clock is the test's."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from loadgen.sip import events
from loadgen.sip.call import UserAgent
from loadgen.sip.call_state import CallState
from loadgen.sip.endpoint import SipEndpoint
from loadgen.sip.events import EndCause
from loadgen.sip.message import Request, Response, response_to
from loadgen.sip.parser import parse_message
from loadgen.sip.session_timer import SessionTimer


def is_status(status: int) -> Callable[[Any], bool]:
    return lambda message: isinstance(message, Response) and message.status == status


def is_method(method: str) -> Callable[[Any], bool]:
    return lambda message: isinstance(message, Request) and message.method == method


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


def test_rfc3261_17_1_1_2_timer_b(pair: Any) -> None:
    pair.lose = is_method("INVITE")
    call = pair.customer.start_call(1, pair.invite(), 0.0)
    pair.wait(40)
    assert pair.seen[pair.customer] == [events.TimedOut(32.0, call)]
    assert pair.customer.idle


def test_rfc3261_17_2_1_repeated_invite_is_absorbed(pair: Any) -> None:
    pair.place()
    pair.trunk.receive(1, pair.sent[0], 0.0)
    assert pair.trunk.events() == []
    assert pair.trunk.messages_to_send() == []


def test_rfc3261_17_2_1_lost_ack_of_failure_ends_with_timer_h(pair: Any) -> None:
    pair.lose = is_method("ACK")
    pair.place()[1].reject(0.0, 486)
    pair.wait(31.9)
    assert not pair.trunk.idle
    pair.wait(0.2)
    assert pair.trunk.idle


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


@pytest.mark.parametrize(
    ("method", "status"),
    [("BYE", 481), ("OPTIONS", 200), ("REFER", 405), ("UPDATE", 481), ("REGISTER", 405), ("BREW", 501), ("ACK", None)],
)
def test_rfc3261_8_2_1_requests_outside_a_dialog(pair: Any, method: str, status: int | None) -> None:
    rows = [(name, value.replace("INVITE", method)) for name, value in pair.invite().headers if name != "Content-Type"]
    pair.trunk.receive(1, Request(method, "sip:127.0.0.1", rows), 0.0)
    statuses = [int(data.split()[1]) for _, data in pair.trunk.messages_to_send()]
    assert statuses == ([status] if status else [])
    assert pair.trunk.idle


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Max-Forwards", "0", 483),
        ("Require", "timer, 100rel", 420),
        ("CSeq", "102 BYE", 400),
        ("CSeq", "x", 400),
        ("From", "nobody", 400),
        ("Contact", "<broken", 400),
        ("Session-Expires", "soon", 400),
        ("Session-Expires", "10", 422),
    ],
)
def test_rfc3261_8_2_2_header_inspection(pair: Any, name: str, value: str, status: int) -> None:
    invite = pair.invite()
    invite.headers.replace(name, value)
    pair.trunk.receive(1, parse_message(_bytes(invite)), 0.0)
    ((_, data),) = pair.trunk.messages_to_send()
    assert int(data.split()[1]) == status
    assert pair.trunk.events() == []


def _bytes(request: Request) -> bytes:
    lines = [request.start_line(), *(f"{name}: {value}" for name, value in request.headers), "Content-Length: 0"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize(("method", "status"), [("INFO", 200), ("NOTIFY", 200), ("UPDATE", 200), ("REFER", 405)])
def test_rfc3261_12_2_2_requests_inside_a_dialog(pair: Any, method: str, status: int) -> None:
    call, _ = pair.establish()
    request = call.dialog.request(method, pair.customer.agent.via("z9hG4bKx"))
    pair.trunk.receive(1, request, 1.0)
    ((_, data),) = pair.trunk.messages_to_send()
    assert int(data.split()[1]) == status


def test_rfc3261_12_2_2_old_cseq_is_500(pair: Any) -> None:
    call, _ = pair.establish()
    call.dialog.local_cseq = 10
    pair.trunk.receive(1, call.dialog.request("INFO", pair.customer.agent.via("z9hG4bKx")), 1.0)
    ((_, data),) = pair.trunk.messages_to_send()
    assert data.startswith(b"SIP/2.0 500 ")


def test_rfc3261_14_2_reinvite_is_answered_with_the_same_sdp(pair: Any) -> None:
    call, _ = pair.establish()
    rows = (("Contact", "<sip:moved@127.0.0.9:5061>"),)
    request = call.dialog.request("INVITE", pair.customer.agent.via("z9hG4bKx"), rows, b"v=0\r\n")
    pair.trunk.receive(1, request, 1.0)
    ((_, data),) = pair.trunk.messages_to_send()
    response = parse_message(data)
    assert response.start_line() == "SIP/2.0 200 OK"
    assert response.body == b"v=0\r\n"
    pair.trunk.receive(1, call.dialog.ack(pair.customer.agent.via("z9hG4bKy")), 1.0)
    incoming = pair.incoming()
    assert incoming.dialog.remote_target == "sip:moved@127.0.0.9:5061"
    assert incoming.next_timer() is None


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


def test_rfc4028_7_4_422_is_tried_once_more(pair: Any) -> None:
    call = pair.customer.start_call(1, pair.invite(SessionTimer(30)), 0.0)
    pair.settle()
    assert pair.log == [">INVITE", "<422", ">ACK", ">INVITE"]
    retried = pair.incoming().invite
    assert retried.headers.get("Session-Expires") == retried.headers.get("Min-SE") == "90"
    assert str(retried.cseq) == "103 INVITE"
    assert retried.call_id == pair.sent[0].call_id
    assert call.state is CallState.CALLING


def test_rfc3261_11_options_is_answered(pair: Any) -> None:
    probe = pair.customer.send_options(1, "sip:127.0.0.1:5443", 0.0)
    pair.settle()
    (answered,) = pair.seen[pair.customer]
    assert (answered.probe, answered.status) == (probe, 200)
    assert answered.response.headers.get("Accept") == "application/sdp"


def test_rfc3261_8_1_3_1_options_without_answer_is_408_and_lost_is_503(pair: Any) -> None:
    pair.lose = is_method("OPTIONS")
    pair.customer.send_options(1, "sip:127.0.0.1:5443", 0.0)
    pair.wait(32)
    pair.customer.send_options(1, "sip:127.0.0.1:5443", pair.now)
    pair.customer.connection_lost(1, pair.now)
    pair.settle()
    assert [event.status for event in pair.seen[pair.customer]] == [408, 503]


def test_rfc3581_4_received_and_rport(pair: Any) -> None:
    invite = pair.invite()
    invite.headers.replace("Via", "SIP/2.0/TLS 10.0.0.1:5061;branch=z9hG4bKa;rport, SIP/2.0/TLS b;branch=z9hG4bKb")
    pair.trunk.receive(1, parse_message(_bytes(invite)), 0.0, source=("127.0.0.2", 40000))
    (event,) = pair.trunk.events()
    vias = response_to(event.invite, 200).headers.rows("Via")
    assert vias == [
        "SIP/2.0/TLS 10.0.0.1:5061;branch=z9hG4bKa;rport=40000;received=127.0.0.2",
        "SIP/2.0/TLS b;branch=z9hG4bKb",
    ]


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
    "wait_long": 1, "options": 1,
}  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_any_sequence_of_inputs_ends_every_call_exactly_once(make_pair: Any, seed: int) -> None:
    pair, dice, connection = make_pair(seed), random.Random(seed), 1
    for action in dice.choices(list(ACTIONS), list(ACTIONS.values()), k=150):
        connection = _walk(pair, action, dice.randrange(8), connection)
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
    return {event.call for event in pair.seen[pair.trunk] if isinstance(event, events.IncomingInvite)}


def _walk(pair: Any, action: str, pick: int, connection: int) -> int:
    now = pair.now
    incoming = [event.call for event in pair.seen[pair.trunk] if isinstance(event, events.IncomingInvite)]
    placed = pair.customer.calls
    server = incoming[pick % len(incoming)] if incoming else None
    client = placed[pick % len(placed)] if placed else None
    if action == "start":
        invite = pair.invite(SessionTimer(90) if pick % 2 else None)
        pair.placed.add(pair.customer.start_call(connection, invite, now))
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
    elif client is not None and action in ("bye", "hang_up", "cancel"):
        getattr(client, action)(now)
    elif client is not None and action == "reconnect":
        client.use_connection(connection)
    elif server is not None:
        _act_as_callee(server, action, now)
    return connection


def _act_as_callee(server: Any, action: str, now: float) -> None:
    if action in ("trying", "ring"):
        getattr(server, action)(now)
    elif action == "answer":
        server.answer(now, b"v=0\r\n")
    elif action == "reject":
        server.reject(now, 486)
    elif action == "remote_bye":
        server.hang_up(now)


def repeated(request: Request, change: Callable[[str, str], str]) -> Response:
    """A 200 to our request, as a peer would send it that changes header values."""
    rows = [(name, change(name, request.headers.get(name) or "")) for name in ("Via", "From", "Call-ID", "CSeq")]
    rows += [("To", f"{request.headers.get('To')};tag=9"), ("Contact", "<sip:b@t>"), ("Content-Length", "0")]
    head = "".join(f"{name}: {value}\r\n" for name, value in rows)
    response = parse_message(f"SIP/2.0 200 OK\r\n{head}\r\n".encode())
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize(
    "change",
    [
        lambda name, value: value,
        lambda name, value: f"{value};received=127.0.0.9;rport=5" if name == "Via" else value,
        lambda name, value: value.replace(" ", "   ") if name in {"Via", "CSeq"} else value,
        lambda name, value: value.replace("102", "0102") if name == "CSeq" else value,
    ],
)
def test_rfc3261_17_1_3_a_response_is_recognised_by_branch_and_method_in_whatever_words(
    pair: Any, change: Callable[[str, str], str]
) -> None:
    invite = pair.invite()
    pair.customer.start_call(1, invite, 0.0)
    response = repeated(invite, change)
    read_alone = repeated(invite, change)
    pair.customer.receive(1, response, 0.0)
    assert [type(event).__name__ for event in pair.customer.events()] == ["Answered"]
    for name in ("via", "cseq", "from_", "to", "call_id"):
        assert getattr(response, name) == getattr(read_alone, name)


def test_rfc3261_17_1_3_a_response_to_another_branch_or_method_is_a_stray(pair: Any) -> None:
    invite = pair.invite()
    pair.customer.start_call(1, invite, 0.0)
    for name, value in (("Via", "SIP/2.0/TLS h;branch=z9hG4bKother"), ("CSeq", "102 OPTIONS")):
        pair.customer.receive(1, repeated(invite, lambda row, said, n=name, v=value: v if row == n else said), 0.0)
    assert pair.customer.events() == []


@pytest.mark.parametrize("name", ["Via", "From", "Call-ID", "CSeq"])
def test_rfc3261_8_1_1_a_response_without_a_header_that_it_must_have_is_not_taken(pair: Any, name: str) -> None:
    invite = pair.invite()
    pair.customer.start_call(1, invite, 0.0)
    response = repeated(invite, lambda _, value: value)
    response.headers.replace_all(name, [])
    pair.customer.receive(1, response, 0.0)
    assert pair.customer.events() == []
