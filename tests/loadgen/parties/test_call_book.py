"""The record of every call that comes to a served trunk, whatever comes first: its last event, or its release."""

from __future__ import annotations

from typing import Any

import pytest

from trunkproof.loadgen.media.report import MediaReport
from trunkproof.loadgen.parties.call_book import MOST_STRANGERS, CallBook, ServedCall
from trunkproof.loadgen.parties.refusal import CallRefused, Refusal
from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call_state import CallState
from trunkproof.loadgen.sip.events import EndCause
from trunkproof.loadgen.sip.message import Request
from trunkproof.loadgen.sip.reason import EndReason
from trunkproof.loadgen.sip.server_call import ServerCall
from trunkproof.models.plan import Outcome, PlanRow
from trunkproof.models.records import Direction, Disposition

ZERO = 100.0
ROW = PlanRow(7, 7, 1, 0, Direction.OUTBOUND, None, None, None, 0, Outcome.ANSWERED, 200, 0.0, 1.0, 5.0, False)
INVITE = Request("INVITE", "sip:+919876543210@trunk", [("From", "<sip:+918012345678@a>;tag=1"), ("Call-ID", "c")])


class Came:
    """An incoming call, of which the book needs the call alone."""

    def __init__(self) -> None:
        self.call = ServerCall.__new__(ServerCall)
        self.call.invite = INVITE
        self.call.state = CallState.INCOMING


class Heard:
    """Audio with a report."""

    secure = True

    def __init__(self, **counts: Any) -> None:
        self.report = MediaReport(**counts)


@pytest.fixture
def told() -> list[ServedCall]:
    return []


@pytest.fixture
def book(told: list[ServedCall]) -> CallBook:
    return CallBook(ZERO, told.append, "bank")


def answered(book: CallBook, audio: Heard | None = None, *, released_first: bool = False, cause: Any = None) -> Came:
    """A call that comes at 1 s, is answered at 2 s, and ends at 5 s."""
    incoming: Any = Came()
    book.came(incoming, ZERO + 1)
    book.asked(incoming, ROW, "shop", planned=True)
    book.admitted(incoming, 2)
    if audio is not None:
        book.has_audio(incoming, audio)  # type: ignore[arg-type]
    book.happened(events.Acknowledged(ZERO + 2, incoming.call))
    end = events.Terminated(ZERO + 5, incoming.call, cause or EndCause.REMOTE_BYE, None)
    steps = [lambda: book.happened(end), lambda: book.released(incoming)]
    for step in reversed(steps) if released_first else steps:
        step()
    return incoming


@pytest.mark.parametrize("released_first", [False, True])
def test_a_completed_call_has_its_times_its_audio_its_keys_and_who_ended_it(
    book: CallBook, told: list[ServedCall], released_first: bool
) -> None:
    counts = {"sent": 150, "received": 150, "authenticated": 149, "lost": 1, "digits": "12#"}
    answered(book, Heard(**counts), released_first=released_first)
    (call,) = told
    record = call.record
    assert (record.row, record.call, record.attempt, record.trunk) == (7, 0, 1, "shop")
    assert (record.sent_s, record.answered_s, record.bye_s, record.ended_s) == (1, 2, 5, 5)
    assert (record.disposition, record.status, record.ports) == (Disposition.COMPLETED, 200, 2)
    assert (record.rtp_received, record.rtp_lost, call.heard) == (150, 1, True)
    # This side was called, so they are none that a caller received.
    assert (record.far_digits_received, record.digits_received) == ("12#", None)
    assert record.reason == "+91********78 called +91********10, pressed 12#, ended by the caller"


def test_a_call_without_a_packet_back_is_media_failed_with_its_reason(book: CallBook, told: list[ServedCall]) -> None:
    answered(book, Heard(sent=150, silence_s=3.0))
    assert told[0].record.disposition is Disposition.MEDIA_FAILED
    assert (told[0].record.reason or "").startswith("no audio came back (one-way audio); +91")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (EndCause.ACK_TIMEOUT, "the trunk, as its answer was never acknowledged"),
        (EndCause.BYE_CONNECTION_LOST, "a lost connection"),
        (EndCause.LOCAL_BYE, "the trunk"),
    ],
)
def test_who_ended_an_answered_call_is_told(
    cause: EndCause, words: str, book: CallBook, told: list[ServedCall]
) -> None:
    answered(book, cause=cause)
    assert (told[0].record.reason or "").endswith(f"ended by {words}")


def test_rfc3326_2_the_callers_reason_is_in_the_record_and_masked(book: CallBook, told: list[ServedCall]) -> None:
    incoming: Any = Came()
    book.came(incoming, ZERO)
    why = EndReason(31, 'Q.850;cause=31;text="to 919876543210"')
    book.happened(events.Terminated(ZERO + 5, incoming.call, EndCause.REMOTE_BYE, None, why))
    record = told[0].record
    assert (record.bye_cause, record.bye_reason) == (31, 'Q.850;cause=31;text="to 91********10"')


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (Refusal.of(Disposition.NO_CHANNEL), ("no_channel", 503, 34)),
        (Refusal(503, 42, 10, Disposition.THROTTLED), ("throttled", 503, 42)),
        (None, ("busy", 486, None)),
        (None, ("not_found", 404, None)),
    ],
)
def test_a_refused_call_has_the_limit_that_refused_it(
    refusal: Refusal | None, expected: tuple[str, int, int | None], book: CallBook, told: list[ServedCall]
) -> None:
    incoming: Any = Came()
    book.came(incoming, ZERO)
    if refusal is not None:
        book.refused(incoming, CallRefused(refusal))
    book.happened(events.LocallyRejected(ZERO + 1, incoming.call, expected[1]))
    (call,) = told
    assert (call.record.row, call.record.trunk) == (-1, "bank")
    assert (call.record.disposition, call.record.status, call.record.cause) == expected


def test_calls_that_are_cancelled_lost_or_still_up_are_told_too(book: CallBook, told: list[ServedCall]) -> None:
    calls: list[Any] = [Came(), Came(), Came()]
    for incoming in calls:
        book.came(incoming, ZERO)
    book.happened(events.Cancelled(ZERO + 1, calls[0].call, confirmed=True))
    book.happened(events.ConnectionLost(ZERO + 1, calls[1].call))
    book.close()
    assert [call.record.disposition for call in told] == ["abandoned", "connection_failed", "still_up"]
    book.close()
    assert len(told) == 3


def test_a_flood_of_strangers_fills_no_memory(book: CallBook, told: list[ServedCall]) -> None:
    for _ in range(MOST_STRANGERS + 50):
        book.refused_stranger(INVITE, ZERO)
    assert (len(told), book.strangers) == (MOST_STRANGERS, MOST_STRANGERS + 50)
    assert {(call.record.status, call.record.cause) for call in told} == {(403, 57)}
