"""Answers in provisional responses, forks, and PRACK, by section of RFC 3261, 3262 and 3264, against a foreign peer."""

from __future__ import annotations

from typing import Any

import pytest

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call_state import CallState
from trunkproof.loadgen.sip.client_call import MOST_FORKS
from trunkproof.loadgen.sip.message import Request, response_to

RELIABLE = ("Require", "100rel")


def told(endpoint: Any, kind: type[events.Event]) -> list[Any]:
    return [event for event in endpoint.events() if isinstance(event, kind)]


def lines(messages: list[Any]) -> list[str]:
    return [one.method if isinstance(one, Request) else str(one.status) for one in messages]


# ------------------------------------------------------------------------------------------------------- as caller


def test_rfc3262_4_a_reliable_183_is_acknowledged_and_its_answer_is_final(callee: Any) -> None:
    callee.respond(callee.invite, 183, 1.0, RELIABLE, ("RSeq", "7"), body=b"answer")
    (prack,) = callee.said()
    assert (prack.method, prack.headers.get("RAck"), str(prack.cseq)) == ("PRACK", "7 102 INVITE", "103 PRACK")
    assert prack.uri == "sip:far@127.0.0.9:5061;transport=tls"
    callee.respond(prack, 200, 1.1)
    callee.respond(callee.invite, 200, 2.0)
    (answered,) = told(callee.endpoint, events.Answered)
    assert (answered.body, answered.fault) == (b"answer", None)
    assert callee.negotiator.notes == [("accept", "answer", "far"), ("confirm", "far")]
    assert lines(callee.said()) == ["ACK"]
    callee.call.bye(3.0)
    assert str(callee.said()[0].cseq) == "104 BYE"


def test_rfc3261_13_2_1_what_follows_a_reliable_answer_is_ignored(callee: Any) -> None:
    callee.respond(callee.invite, 183, 1.0, RELIABLE, ("RSeq", "7"), body=b"answer")
    callee.respond(callee.invite, 183, 1.1, RELIABLE, ("RSeq", "8"), body=b"another")
    callee.respond(callee.invite, 200, 2.0, body=b"a third")
    assert [note for note in callee.negotiator.notes if note[0] == "accept"] == [("accept", "answer", "far")]


def test_rfc3262_4_repeated_and_early_responses_are_neither_acknowledged_nor_told(callee: Any) -> None:
    for number in ("7", "7", "9"):
        callee.respond(callee.invite, 180, 1.0, RELIABLE, ("RSeq", number))
    assert lines(callee.said()) == ["PRACK"]
    assert len(told(callee.endpoint, events.Ringing)) == 1
    callee.respond(callee.invite, 180, 1.0, RELIABLE, ("RSeq", "8"))
    assert [message.headers.get("RAck") for message in callee.said()] == ["8 102 INVITE"]


@pytest.mark.parametrize("rseq", [None, "seven", "-1"])
def test_rfc3262_7_1_a_reliable_response_without_a_number_still_rings(callee: Any, rseq: str | None) -> None:
    callee.respond(callee.invite, 180, 1.0, RELIABLE, *([("RSeq", rseq)] if rseq else []))
    assert callee.said() == []
    assert len(told(callee.endpoint, events.Ringing)) == 1


def test_rfc3261_13_2_1_the_preview_of_a_plain_183_holds_where_the_200_has_no_body(callee: Any) -> None:
    callee.respond(callee.invite, 183, 1.0, body=b"preview")
    assert callee.said() == []
    callee.respond(callee.invite, 200, 2.0)
    (answered,) = told(callee.endpoint, events.Answered)
    assert (answered.body, answered.fault) == (b"preview", None)
    assert callee.negotiator.notes == [*[("accept", "preview", "far")] * 2, ("confirm", "far")]


def test_rfc6337_3_1_1_the_200_may_say_otherwise_than_a_plain_183(callee: Any) -> None:
    callee.respond(callee.invite, 183, 1.0, body=b"preview")
    callee.respond(callee.invite, 200, 2.0, body=b"answer")
    (answered,) = told(callee.endpoint, events.Answered)
    assert answered.body == b"answer"
    assert callee.negotiator.notes[-2:] == [("accept", "answer", "far"), ("confirm", "far")]


def test_rfc3261_13_2_1_a_200_without_any_answer_is_a_fault_that_is_told(callee: Any) -> None:
    callee.respond(callee.invite, 180, 1.0)
    callee.respond(callee.invite, 200, 2.0)
    (answered,) = told(callee.endpoint, events.Answered)
    assert answered.fault == "no session description"
    assert lines(callee.said()) == ["ACK"]


def test_rfc3264_4_a_faulty_reliable_answer_is_told_with_the_200(callee: Any) -> None:
    callee.negotiator.fault = "no codec in common"
    callee.respond(callee.invite, 183, 1.0, RELIABLE, ("RSeq", "1"), body=b"answer")
    callee.respond(callee.invite, 200, 2.0)
    assert told(callee.endpoint, events.Answered)[0].fault == "no codec in common"


def test_rfc3261_13_2_2_4_every_fork_has_its_own_answer_and_numbers(callee: Any) -> None:
    callee.respond(callee.invite, 183, 1.0, RELIABLE, ("RSeq", "7"), tag="a", body=b"answer a")
    callee.respond(callee.invite, 183, 1.0, RELIABLE, ("RSeq", "500"), tag="b", body=b"answer b")
    callee.respond(callee.invite, 183, 1.0, RELIABLE, ("RSeq", "8"), tag="a")
    pracks = callee.said()
    assert [str(prack.cseq) for prack in pracks] == ["103 PRACK", "103 PRACK", "104 PRACK"]
    assert [prack.to.tag for prack in pracks] == ["a", "b", "a"]
    callee.respond(callee.invite, 200, 2.0, tag="a")
    (answered,) = told(callee.endpoint, events.Answered)
    assert answered.body == b"answer a"
    # The audio followed fork b meanwhile.
    assert callee.negotiator.notes[-1] == ("confirm", "a")
    callee.said()
    # The other fork answers too: ACK, then a BYE with the next number of *its* dialog.
    callee.respond(callee.invite, 200, 2.1, tag="b")
    assert [str(one.cseq) for one in callee.said()] == ["102 ACK", "104 BYE"]


def test_rfc3261_12_2_2_a_fork_that_lost_is_over(callee: Any) -> None:
    callee.respond(callee.invite, 183, 1.0, tag="a", body=b"answer a")
    callee.respond(callee.invite, 200, 2.0, tag="b", body=b"answer b")
    callee.said()
    callee.ask("UPDATE", 1, 3.0, tag="a", body=b"new")
    callee.ask("UPDATE", 1, 3.0, tag="b")
    assert [one.status for one in callee.said()] == [481, 200]


def test_rfc3311_5_1_update_of_an_early_dialog(callee: Any) -> None:
    callee.respond(callee.invite, 183, 1.0, RELIABLE, ("RSeq", "7"), body=b"answer")
    callee.said()
    callee.ask("UPDATE", 1, 1.5, body=b"moved")
    (response,) = callee.said()
    assert (response.status, response.body) == (200, b"our answer")
    callee.respond(callee.invite, 200, 2.0)
    assert told(callee.endpoint, events.Answered)[0].body == b"moved"
    assert callee.negotiator.notes[1:] == [("answer", "moved", "far"), ("confirm", "far")]


def test_rfc3311_5_2_update_before_our_offer_is_answered_is_491(callee: Any) -> None:
    callee.respond(callee.invite, 183, 1.0, body=b"preview")
    callee.ask("UPDATE", 1, 1.5, body=b"moved")
    callee.ask("INVITE", 2, 1.5, body=b"moved")
    assert [one.status for one in callee.said()] == [491, 491]


def test_rfc3261_12_1_the_early_dialogs_of_one_call_are_bounded_and_none_is_left_behind(callee: Any) -> None:
    for fork in range(2 * MOST_FORKS):
        callee.respond(callee.invite, 183, 1.0, tag=str(fork), body=b"answer")
    assert len(callee.call.dialogs) == MOST_FORKS
    callee.respond(callee.invite, 486, 2.0)
    callee.said()
    assert callee.endpoint.idle


def test_rfc3262_4_a_call_that_we_gave_up_acknowledges_too(callee: Any) -> None:
    callee.call.cancel(0.5)
    callee.respond(callee.invite, 183, 1.0, RELIABLE, ("RSeq", "7"), body=b"answer")
    assert lines(callee.said()) == ["PRACK", "CANCEL"]


# ------------------------------------------------------------------------------------------------------- as callee


def rack(response: Any) -> tuple[str, str]:
    return "RAck", f"{response.headers.get('RSeq')} 1 INVITE"


def test_rfc3262_3_required_makes_every_provisional_reliable(caller: Any) -> None:
    call = caller.place(("Require", "100rel"), ("Record-Route", "<sip:proxy;lr>"))
    call.trying(0.0)
    call.ring(0.1)
    trying, ringing = caller.said()
    assert trying.headers.get("RSeq") is None
    assert 1 <= int(ringing.headers.get("RSeq")) < 2**31
    assert ringing.headers.get("Require") == "100rel"
    assert ringing.headers.get("Record-Route") == "<sip:proxy;lr>"
    caller.ask("PRACK", 2, 0.2, rack(ringing))
    assert lines(caller.said()) == ["200"]
    assert call.next_timer() is None


def test_rfc3262_3_supported_makes_a_183_with_sdp_reliable_and_a_180_not(caller: Any) -> None:
    call = caller.place(("Supported", "Timer, 100Rel"))  # option tags compare without case
    call.ring(0.1)
    call.ring(0.2, 183, b"answer")
    ringing, progress = caller.said()
    assert ringing.headers.get("RSeq") is None
    assert progress.headers.get("Require") == "100rel"
    caller.ask("PRACK", 2, 0.3, rack(progress))
    call.answer(0.4, b"answer")
    assert [(one.status, one.body) for one in caller.said()] == [(200, b""), (200, b"")]


def test_rfc3262_3_without_the_extension_nothing_is_reliable(caller: Any) -> None:
    call = caller.place()
    call.ring(0.1, 183, b"answer")
    call.answer(0.2, b"answer")
    progress, answer = caller.said()
    assert progress.headers.get("RSeq") is None
    # A plain 183 is a preview only: the 2xx repeats the answer (RFC 3261 section 13.2.1).
    assert answer.body == b"answer"


def test_rfc3262_3_the_next_reliable_response_waits_for_the_prack_and_so_does_the_200(caller: Any) -> None:
    call = caller.place(("Require", "100rel"))
    call.ring(0.1, 183, b"answer")
    call.ring(0.2)
    call.answer(0.3, b"answer")
    (progress,) = caller.said()
    assert call.state is CallState.INCOMING
    caller.ask("PRACK", 2, 0.4, rack(progress))
    prack_ok, ringing, answer = caller.said()
    assert (prack_ok.status, ringing.status, answer.status) == (200, 180, 200)
    assert int(ringing.headers.get("RSeq")) == int(progress.headers.get("RSeq")) + 1
    # A 180 without SDP need not be acknowledged before the 2xx, and its late PRACK is in order.
    caller.ask("PRACK", 3, 0.5, rack(ringing))
    assert lines(caller.said()) == ["200"]


def test_rfc3262_3_is_repeated_with_t1_doubled_and_ends_with_504(caller: Any) -> None:
    call = caller.place(("Require", "100rel"))
    call.ring(0.0)
    caller.said()
    at_s = []
    while (due := caller.endpoint.next_timer()) is not None and due <= 32.0:
        caller.endpoint.handle_timer(due)
        for message in caller.said():
            at_s.append((due, message.status))
    assert at_s == [(0.5, 180), (1.5, 180), (3.5, 180), (7.5, 180), (15.5, 180), (31.5, 180), (32.0, 504)]
    assert told(caller.endpoint, events.LocallyRejected)[0].status == 504


@pytest.mark.parametrize("value", ["1 1 INVITE", "x", ""])
def test_rfc3262_3_a_prack_for_nothing_is_481(caller: Any, value: str) -> None:
    call = caller.place(("Require", "100rel"))
    call.ring(0.0)
    caller.said()
    caller.ask("PRACK", 2, 0.2, ("RAck", value))
    assert lines(caller.said()) == ["481"]
    assert call.next_timer() == 0.5


def test_rfc3262_3_a_second_prack_for_the_same_response_is_481(caller: Any) -> None:
    call = caller.place(("Require", "100rel"))
    call.ring(0.0)
    (ringing,) = caller.said()
    caller.ask("PRACK", 2, 0.2, rack(ringing))
    caller.ask("PRACK", 3, 0.2, rack(ringing))
    assert lines(caller.said()) == ["200", "481"]


def test_rfc3262_5_a_prack_may_carry_an_offer(caller: Any) -> None:
    call = caller.place(("Require", "100rel"))
    call.ring(0.0, 183, b"answer")
    (progress,) = caller.said()
    caller.ask("PRACK", 2, 0.2, rack(progress), body=b"moved")
    (response,) = caller.said()
    assert (response.status, response.body) == (200, b"our answer")
    assert caller.negotiator.notes == [("answer", "moved", "far")]
    # A refused offer refuses the PRACK, and the response counts as acknowledged all the same (RFC 6337 section 3.4).
    call.ring(0.3)
    (ringing,) = caller.said()
    caller.negotiator.answers = None
    caller.ask("PRACK", 3, 0.4, rack(ringing), body=b"worse")
    assert lines(caller.said()) == ["488"]
    assert call.next_timer() is None


def test_rfc3262_5_a_late_offer_goes_out_in_the_first_reliable_response(caller: Any) -> None:
    call = caller.place(("Require", "100rel"), body=b"")
    call.ring(0.0)
    (ringing,) = caller.said()
    assert ringing.body == b"our offer"
    caller.ask("PRACK", 2, 0.2, rack(ringing), body=b"their answer")
    (answered,) = told(caller.endpoint, events.OfferAnswered)
    assert (answered.answer, answered.fault) == (b"their answer", None)
    call.answer(0.3, b"our offer")
    assert [(one.status, one.body) for one in caller.said()] == [(200, b""), (200, b"")]


def test_rfc3261_9_2_the_answer_to_a_cancel_has_the_tag_of_the_invites_responses(caller: Any) -> None:
    call = caller.place()
    call.ring(0.0)
    (ringing,) = caller.said()
    caller.branches -= 1  # a CANCEL has its INVITE's branch
    caller.request("CANCEL", 1, 0.5, to="<sip:us@127.0.0.1>", from_=caller.from_, call_id="one")
    cancel_ok, terminated = caller.said()
    assert (cancel_ok.status, terminated.status) == (200, 487)
    assert ringing.to.tag == cancel_ok.to.tag == terminated.to.tag


def test_rfc3261_12_1_a_response_that_only_rings_makes_an_early_dialog_too(callee: Any) -> None:
    callee.respond(callee.invite, 180, 1.0)
    callee.ask("UPDATE", 1, 1.5)
    assert [one.status for one in callee.said()] == [200]
    # Another fork of the same call has not rung.
    callee.ask("UPDATE", 1, 1.6, tag="stranger")
    assert [one.status for one in callee.said()] == [481]


EARLY_SESSION = ("Content-Disposition", "early-session;handling=optional")


def test_rfc3959_3_a_183_for_early_media_alone_is_no_answer(callee: Any) -> None:
    callee.respond(callee.invite, 183, 1.0, EARLY_SESSION, body=b"of a media server")
    callee.respond(callee.invite, 200, 2.0, body=b"answer")
    assert [note for note in callee.negotiator.notes if note[0] == "accept"] == [("accept", "answer", "far")]


@pytest.mark.parametrize(
    "rows", [(EARLY_SESSION,), (("Content-Disposition", "session;handling=optional"), ("e", "gzip"))]
)
def test_rfc3261_20_11_an_optional_body_that_is_no_offer_for_us_is_ignored(caller: Any, rows: Any) -> None:
    assert caller.place(*rows).offer == b""


def test_rfc3262_3_a_prack_that_gets_400_acknowledges_nothing(caller: Any) -> None:
    call = caller.place(("Supported", "100rel"))
    call.ring(1.0, 183, b"our answer")
    (ringing,) = caller.said()
    call.answer(1.1, b"our answer")
    rack = ("RAck", f"{ringing.headers.get('RSeq')} 1 INVITE")
    caller.ask("PRACK", 2, 1.2, ("Session-Expires", "soon"), rack, body=b"another offer")
    assert lines(caller.said()) == ["400"]
    caller.ask("PRACK", 3, 1.3, rack)
    assert lines(caller.said()) == ["200", "200"]
    assert call.state is CallState.ANSWERED


def test_rfc3261_13_2_2_4_a_200_with_an_unreadable_interval_is_acknowledged_all_the_same(callee: Any) -> None:
    callee.respond(callee.invite, 200, 1.0, ("Session-Expires", "soon"), body=b"answer")
    assert lines(callee.said()) == ["ACK"]
    (answered,) = told(callee.endpoint, events.Answered)
    assert answered.fault is None


def test_rfc3261_13_2_2_4_answers_without_end_are_not_remembered(callee: Any) -> None:
    for number in range(3 * MOST_FORKS):
        callee.respond(callee.invite, 200, 1.0, tag=f"t{number}", body=b"answer")
    said = lines(callee.said())
    # The first answer is the call, and every other one is ended at once.
    assert (said.count("ACK"), said.count("BYE")) == (MOST_FORKS, MOST_FORKS - 1)


@pytest.mark.parametrize("contact", ["nobody", "*", "<sip:far@[::1>", "<sip:>"])
def test_rfc3261_13_2_2_4_a_200_with_an_unreadable_contact_is_acknowledged(callee: Any, contact: str) -> None:
    answer = response_to(callee.invite, 200, to_tag="far", headers=(("Contact", contact),))
    callee.endpoint.receive(1, answer, 1.0)
    (ack,) = callee.said()
    assert (ack.method, ack.uri) == ("ACK", callee.invite.uri)
    assert len(told(callee.endpoint, events.Answered)) == 1
