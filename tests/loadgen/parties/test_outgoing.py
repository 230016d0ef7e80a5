"""One planned call on a manual clock: every way in which it can end, and when to the instant."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest
from tests.loadgen.scripted import (
    HOST,
    STRANGER,
    ScriptedAgent,
    ScriptedAudio,
    ScriptedCall,
    ScriptedLine,
    ScriptedPool,
    answered,
    answered_with,
    hung_up,
    record_of,
    rejected,
    ringing,
    row,
    run_manually,
)

from trunkproof.loadgen.parties.caller import Caller
from trunkproof.loadgen.parties.outgoing import PlannedCall
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.events import EndCause
from trunkproof.loadgen.sip.invite import customer_offer
from trunkproof.loadgen.sip.message import Response
from trunkproof.loadgen.sip.offer_answer import Negotiated
from trunkproof.models.plan import Outcome, PlanRow
from trunkproof.models.records import Disposition, EndedBy, Record
from trunkproof.models.refusals import RefusalRules
from trunkproof.models.throttles.fixed_window import FixedWindow

FOREIGN = RefusalRules.of(FixedWindow(), ours=False)
RINGS, ANSWERS = (0.1, ringing), (2.1, answered)


def carried(
    line: ScriptedLine,
    planned: PlanRow | None = None,
    *,
    stop_at_s: float | None = None,
    detach_at_s: float | None = None,
) -> tuple[Record, Caller]:
    """Carry one call from instant 0; perhaps the run is stopped, or the call's connection lost, in the meantime."""
    planned = planned or row()
    record = record_of(planned)

    async def run() -> Caller:
        loop = asyncio.get_running_loop()
        caller = Caller(line, 0.0)  # type: ignore[arg-type]
        if stop_at_s is not None:
            loop.call_at(stop_at_s, caller.stop)
        if detach_at_s is not None:
            loop.call_at(detach_at_s, detach)
        await PlannedCall(caller, planned, record).carry()
        return caller

    def detach() -> None:
        call = line.agent.call
        assert isinstance(call, ScriptedCall)
        call.connection_id = None

    return record, run_manually(run())


def test_an_answered_call_is_held_and_hung_up() -> None:
    line = ScriptedLine(ScriptedAgent(RINGS, ANSWERS))
    record, _ = carried(line)
    assert (record.disposition, record.status, record.ports, record.reason) == (Disposition.COMPLETED, 200, 2, None)
    assert (record.sent_s, record.ringing_s, record.answered_s) == (0.0, 0.1, 2.1)
    assert record.bye_s == record.ended_s == pytest.approx(12.1)
    assert line.agent.notes == [(0.0, "INVITE"), (12.1, "BYE")]
    assert line.audio.notes == ["listen", "early", "answered", "stop", "close"]
    assert line.pool.leased == 0
    assert record.rtp_authenticated == 500


def test_a_far_end_that_hangs_up_early_has_dropped_the_call() -> None:
    line = ScriptedLine(ScriptedAgent(RINGS, ANSWERS, (5.0, hung_up)))
    record, _ = carried(line)
    assert (record.disposition, record.ended_s, record.bye_s) == (Disposition.DROPPED, 5.0, 5.0)
    assert record.reason == "the far end hung up after 2.9 of 10.0 s: Q.850;cause=16"
    assert (record.ended_by, record.bye_cause, record.bye_reason) == (EndedBy.PEER, 16, "Q.850;cause=16")
    assert line.agent.notes == [(0.0, "INVITE")]


@pytest.mark.parametrize(
    ("at_s", "disposition"), [(11.0, Disposition.DROPPED), (11.2, Disposition.COMPLETED), (12.0, Disposition.COMPLETED)]
)
def test_a_far_end_that_hangs_up_about_when_planned_has_not(at_s: float, disposition: Disposition) -> None:
    # The call is answered at 2.1 s and planned until 12.1 s.
    record, _ = carried(ScriptedLine(ScriptedAgent(RINGS, ANSWERS, (at_s, hung_up))))
    assert (record.disposition, record.ended_by) == (disposition, EndedBy.PEER)


def test_a_far_end_that_hangs_up_while_our_bye_has_no_connection_was_the_one_that_did() -> None:
    line = ScriptedLine(ScriptedAgent(RINGS, ANSWERS, (13.0, hung_up), answers_bye=False), ScriptedPool(failures=20))
    record, _ = carried(line, detach_at_s=5.0)
    assert (record.disposition, record.ended_by, record.bye_cause) == (Disposition.COMPLETED, EndedBy.PEER, 16)


def test_rfc4028_10_a_session_that_expires_early_has_dropped_the_call() -> None:
    expired = (6.0, lambda at_s, call: events.Terminated(at_s, call, EndCause.SESSION_EXPIRED, 200))
    record, _ = carried(ScriptedLine(ScriptedAgent(RINGS, ANSWERS, expired)))
    assert (record.disposition, record.ended_by) == (Disposition.DROPPED, EndedBy.US)
    assert record.reason == "ended by SESSION_EXPIRED after 3.9 of 10.0 s"


@pytest.mark.parametrize(
    ("planned", "refusal", "disposition", "ports", "reason"),
    [
        (row(Outcome.BUSY), rejected(486), Disposition.BUSY, 2, None),
        (row(), rejected(503, 42, 10.0), Disposition.THROTTLED, 0, None),
        (row(), rejected(503, 42), Disposition.THROTTLED, 0, "503 without Retry-After"),
        (row(), rejected(503, 34), Disposition.NO_CHANNEL, 0, None),
        (row(), rejected(403, 57), Disposition.NOT_WHITELISTED, 0, None),
    ],
)
def test_a_refusal_is_told_by_its_status_and_cause(
    planned: PlanRow, refusal: object, disposition: Disposition, ports: int, reason: str | None
) -> None:
    line = ScriptedLine(ScriptedAgent((0.1, refusal)))  # type: ignore[arg-type]
    record, _ = carried(line, planned)
    assert (record.disposition, record.ports or 0, record.reason) == (disposition, ports, reason)
    assert record.ended_s == 0.1
    assert line.audio.notes == ["listen", "close"]


def test_who_abandons_rings_as_long_as_planned_and_cancels() -> None:
    line = ScriptedLine(ScriptedAgent(RINGS))
    record, _ = carried(line, row(Outcome.ABANDONED))
    assert (record.disposition, record.status, record.ports) == (Disposition.ABANDONED, 487, 2)
    assert line.agent.notes == [(0.0, "INVITE"), (2.1, "CANCEL")]


def test_rfc3261_17_1_1_2_a_call_without_any_response_ends_with_timer_b() -> None:
    line = ScriptedLine(ScriptedAgent((32.0, events.TimedOut)))
    record, _ = carried(line)
    assert (record.disposition, record.status, record.ended_s) == (Disposition.TIMED_OUT, 408, 32.0)
    assert record.reason == "no response within 32 s (timer B)"
    assert line.agent.notes == [(0.0, "INVITE")]


def test_a_call_that_rings_is_given_up_only_when_the_callers_patience_ends() -> None:
    line = ScriptedLine(ScriptedAgent((3.0, ringing)))
    record, _ = carried(line)
    assert (record.disposition, record.status) == (Disposition.TIMED_OUT, 408)
    assert record.reason == "no answer within 180 s of the first ring: given up"
    assert line.agent.notes == [(0.0, "INVITE"), (183.0, "CANCEL")]


def test_a_call_that_is_answered_late_is_a_call() -> None:
    line = ScriptedLine(ScriptedAgent((3.0, ringing), (170.0, answered)))
    record, _ = carried(line)
    assert (record.disposition, record.answered_s) == (Disposition.COMPLETED, 170.0)


def test_keys_that_could_not_be_sent_are_told() -> None:
    line = ScriptedLine(ScriptedAgent((0.1, ringing), (0.2, answered)))
    line.audio.digits, line.audio.digits_sent = "123", "1"
    line.audio.report = replace(line.audio.report, keys_sent=1)
    record, _ = carried(line)
    assert (record.disposition, record.digits_sent) == (Disposition.COMPLETED, "1")
    assert record.reason == "2 keys were not sent: did the far end agree to telephone-event?"


def test_a_trunk_that_only_says_100_is_waited_for_as_long() -> None:
    line = ScriptedLine(ScriptedAgent((0.1, events.Trying)))
    line.ring_patience_s = 60.0
    record, _ = carried(line)
    assert record.reason == "no answer within 60 s of the INVITE: given up"
    assert line.agent.notes == [(0.0, "INVITE"), (60.0, "CANCEL")]


def test_patience_is_never_shorter_than_what_was_planned() -> None:
    line = ScriptedLine(ScriptedAgent((0.1, ringing), (50.1, answered)))
    line.ring_patience_s = 10.0
    record, _ = carried(line, row(ring_s=50.0))
    assert record.disposition is Disposition.COMPLETED


def test_a_foreign_refusal_is_told_in_words_and_masked() -> None:
    def refused(at_s: float, call: ScriptedCall) -> events.Event:
        headers = [
            ("Reason", 'Q.850;cause=21;text="call rejected"'),
            ("Warning", '399 edge "no such Exophone sip:+919876543210@trunk"'),
        ]
        return events.Rejected(at_s, call, 403, "Forbidden", None, 21, Response(403, "Forbidden", headers))

    line = ScriptedLine(ScriptedAgent((0.1, refused)))
    line.refusals = FOREIGN
    record, _ = carried(line)
    assert (record.disposition, record.status, record.cause) == (Disposition.FORBIDDEN, 403, 21)
    assert record.reason == (
        '403 Forbidden; Reason: Q.850;cause=21;text="call rejected"; '
        'Warning: 399 edge "no such Exophone sip:+91********10@trunk"'
    )


def test_rfc3261_21_3_a_redirect_is_told_and_not_followed_unless_the_study_says_so() -> None:
    def moved(at_s: float, call: ScriptedCall) -> events.Event:
        headers = [("Contact", "<sip:+919876543210@203.0.113.9:5061>")]
        return events.Rejected(at_s, call, 302, "Moved", None, None, Response(302, "Moved", headers))

    line = ScriptedLine(ScriptedAgent((0.1, moved)))
    record, _ = carried(line)
    assert (record.disposition, record.status) == (Disposition.REDIRECTED, 302)
    assert record.reason == "302 Moved; Contact: <sip:+91********10@203.0.113.9:5061>"


def test_an_answer_that_cannot_be_used_says_why_without_numbers_or_addresses_in_memory() -> None:
    def answered(at_s: float, call: ScriptedCall) -> events.Event:
        return events.ProtocolViolation(at_s, call, "no route to 919876543210")

    record, _ = carried(ScriptedLine(ScriptedAgent((0.1, answered))))
    assert record.disposition is Disposition.CONNECTION_FAILED
    assert record.reason == "the answer cannot be used: no route to 91********10"


def test_rfc3261_20_10_the_contact_of_a_refusal_that_redirects_nowhere_is_not_told() -> None:
    def refused(at_s: float, call: ScriptedCall) -> events.Event:
        headers = [("Contact", "<sip:pbx@203.0.113.9:5061>")]
        return events.Rejected(at_s, call, 484, "Incomplete", None, None, Response(484, "Incomplete", headers))

    record, _ = carried(ScriptedLine(ScriptedAgent((0.1, refused))))
    assert record.reason == "484 Incomplete"


def test_a_connection_that_does_not_come_about_and_one_that_goes() -> None:
    line = ScriptedLine(ScriptedAgent(), ScriptedPool(stands=False, failures=1))
    record, _ = carried(line)
    assert (record.disposition, record.sent_s) == (Disposition.CONNECTION_FAILED, None)
    assert record.reason is not None
    assert "nobody listens there" in record.reason
    lost = ScriptedLine(ScriptedAgent((1.0, events.ConnectionLost)))  # type: ignore[arg-type]
    record, _ = carried(lost)
    assert (record.disposition, record.ended_s) == (Disposition.CONNECTION_FAILED, 1.0)
    assert lost.pool.leased == 0


def test_without_a_port_of_our_own_the_generator_is_to_blame() -> None:
    record, caller = carried(ScriptedLine(ScriptedAgent(), has_port=False))
    assert (record.disposition, record.reason) == (
        Disposition.CONNECTION_FAILED,
        "this machine: no free UDP port pair",
    )
    assert caller.local_failures == 1


def test_rfc3261_13_2_2_4_an_answer_without_sdp_is_hung_up_on_at_once_and_told_why() -> None:
    line = ScriptedLine(ScriptedAgent(RINGS, (2.1, answered_with(None))))
    record, _ = carried(line)
    assert (record.disposition, record.reason) == (Disposition.MEDIA_FAILED, "no session description")
    assert line.agent.notes == [(0.0, "INVITE"), (2.1, 'BYE SIP;cause=488;text="no session description"')]
    assert "follow" not in line.audio.notes


def test_an_answer_that_names_a_stranger_for_the_audio_is_this_calls_result() -> None:
    negotiated = ScriptedAudio().answer(customer_offer(HOST, 50_000, ScriptedAudio.key, session_id=7))
    assert isinstance(negotiated, Negotiated)
    strange = replace(negotiated.answer, address=STRANGER)
    line = ScriptedLine(ScriptedAgent(RINGS, (2.1, answered_with(strange))))
    record, _ = carried(line)
    assert (record.disposition, record.reason) == (Disposition.MEDIA_FAILED, f"no audio is sent to {STRANGER}")
    assert "follow" not in line.audio.notes


@pytest.mark.parametrize(("stop_at_s", "last"), [(1.0, "CANCEL"), (5.0, "BYE")])
@pytest.mark.parametrize("answers", [True, False])
def test_a_stopped_call_is_ended_and_waited_for_no_longer_than_four_seconds(
    stop_at_s: float, last: str, answers: bool
) -> None:
    line = ScriptedLine(ScriptedAgent(RINGS, ANSWERS, answers_bye=answers, answers_cancel=answers))
    if last == "CANCEL":
        line.agent = ScriptedAgent(RINGS, answers_bye=answers, answers_cancel=answers)
    record, _ = carried(line, stop_at_s=stop_at_s)
    assert record.disposition is Disposition.STILL_UP
    assert line.agent.notes == [(0.0, "INVITE"), (stop_at_s, last)]
    assert record.ended_s == pytest.approx(stop_at_s if answers else stop_at_s + 4.0)
    assert line.audio.notes[-1] == "close"


def test_the_bye_of_a_call_without_a_connection_waits_for_the_edge() -> None:
    line = ScriptedLine(ScriptedAgent(RINGS, ANSWERS), ScriptedPool(failures=3))
    record, _ = carried(line, detach_at_s=5.0)
    assert record.disposition is Disposition.COMPLETED
    assert line.agent.notes == [(0.0, "INVITE"), (12.4, "moved"), (12.4, "BYE")]
    gone = ScriptedLine(ScriptedAgent(RINGS, ANSWERS), ScriptedPool(failures=10_000))
    record, _ = carried(gone, detach_at_s=5.0)
    assert (record.disposition, record.reason) == (
        Disposition.CONNECTION_FAILED,
        "no way to send the BYE: the trunk is gone",
    )
    assert record.ended_s == pytest.approx(12.1 + 32.0, abs=0.11)  # It looks every 0.1 s.


def test_what_is_logged_names_the_call_and_masks_numbers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trunkproof.loadgen.parties")
    carried(ScriptedLine(ScriptedAgent((0.1, rejected(503, 42)))), row(call=21, attempt=1))
    first, last = caplog.messages[0], caplog.messages[-1]
    assert first == "call 21, attempt 1, one@127.0.0.1: INVITE sent over a reused connection"
    assert last == "call 21, attempt 1, one@127.0.0.1: throttled, status 503, 503 without Retry-After"
    assert caplog.records[-1].levelno == logging.INFO
