"""Telephones that others wrote, as customers who call our trunk and as those whom it calls: a table, cell by cell.

Each cell asks both sides: what the trunk heard (every packet authentic, no silence but on hold, no loss, the keys that
were pressed), and what the telephone has recorded, frame by frame.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.loadgen.stacks.telephones.baresip import Baresip
from tests.loadgen.stacks.telephones.linphone import Linphone
from tests.loadgen.stacks.telephones.pjsua import Pjsua
from tests.loadgen.stacks.telephones.telephone import Setup, Telephone
from tests.loadgen.stacks.telephones.trunk import WITHIN_S, Line, PlayedTrunk, Row, played, study
from tests.loadgen.stacks.telephones.voice import speech, write_wav

from trunkproof.loadgen.media.voiceprint import Side
from trunkproof.models.plan import Outcome, dialled_number
from trunkproof.models.records import Direction, Disposition, EndedBy, Record

TALK_S = 0.8
"""Each part of a call: long enough for a verdict on one-way audio, which asks for 400 ms."""
PACKETS = 50
"""Of a second."""
ENOUGH = 0.8
"""Of the packets of a time. A machine under load makes some of them late; a fault makes half of them late, or more."""
KEYS = "4#"
TALKS = Row(1, Direction.OUTBOUND)
BUSY = Row(2, Direction.OUTBOUND, Outcome.BUSY)
RINGS = Row(3, Direction.OUTBOUND, ring_s=100)
CALLED = Row(4, Direction.INBOUND, hold_s=1.5 * TALK_S)
CALLED_LONG = Row(5, Direction.INBOUND, hold_s=4 * TALK_S)
CALLED_IN_VAIN = Row(6, Direction.INBOUND, Outcome.ABANDONED, ring_s=0.5)
ROWS = [TALKS, BUSY, RINGS, CALLED, CALLED_LONG, CALLED_IN_VAIN]
TELEPHONES = [
    pytest.param(
        (Pjsua, "127.0.61.11"),
        id="pjsua",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("pjsua2") is None, reason="pjsua2-python is not installed (make setup-dev)"
        ),
    ),
    pytest.param(
        (Linphone, "127.0.61.12"), id="linphone", marks=pytest.mark.requires("linphonec", package="linphone-cli")
    ),
    pytest.param((Baresip, "127.0.61.13"), id="baresip", marks=pytest.mark.requires("baresip", package="baresip-core")),
]


@dataclass
class Desk:
    """A telephone, and the trunk that it belongs to."""

    telephone: Telephone
    trunk: PlayedTrunk
    voices: dict[int, Path]

    def dial(self, row: Row) -> None:
        self.telephone.begin(self.voices[row.number])
        self.telephone.dial(dialled_number(row.number))

    def talk_to(self, row: Row) -> None:
        """Dial, and talk for a while."""
        self.dial(row)
        self.telephone.until_up()
        time.sleep(TALK_S)

    def over(self, row: Row) -> Line:
        """Wait for the end of a call at both sides, and return what the trunk saw of it."""
        self.telephone.until_over()
        self.trunk.until_idle()
        return self.trunk.line(row.number)

    def hung_up(self, row: Row) -> Line:
        self.telephone.hang_up()
        return self.over(row)

    def called(self, row: Row) -> Future[Record]:
        """Call the telephone, and wait until it rings."""
        self.telephone.begin(self.voices[row.number])
        record = self.trunk.call(row.number)
        self.telephone.until_rung()
        return record

    def answered(self, row: Row) -> Future[Record]:
        record = self.called(row)
        self.telephone.answer()
        self.telephone.until_up()
        return record

    def assert_heard(
        self, line: Line, seconds: float, *, sent_s: float | None = None, silence_s: float = 0, hold: bool = False
    ) -> None:
        """Check the audio of a call in which both sides talked, as each side heard the other.

        Args:
            line: the call.
            seconds: how long they talked, at least.
            sent_s: how long the trunk may have sent, where not until the end.
            silence_s: how long the telephone may have sent something else than it was told to say.
            hold: whether the telephone has held the call.
        """
        report, row = line.report, self.trunk.trunk.plan.rows[line.row]
        assert (report.failed, report.plain, report.foreign, report.echoed) == (0, 0, 0, 0), report
        assert report.unknown <= PACKETS * silence_s, report
        assert report.authenticated >= ENOUGH * PACKETS * seconds, report
        assert report.lost == 0, report
        assert report.late <= (1 - ENOUGH) * report.authenticated, report
        assert report.silence_s < 0.5, report
        if sent_s is not None:
            assert report.sent <= PACKETS * sent_s, report
        received = self.telephone.received()
        assert received is None or received >= ENOUGH * PACKETS * seconds
        ours = Side.CALLED if row.direction is Direction.OUTBOUND else Side.CALLER
        heard = self.telephone.heard()
        if not hold or self.telephone.records_after_hold:
            assert heard[ours, row.row] >= ENOUGH * PACKETS * seconds, heard
        # A frame at each edge, or where the telephone's own buffer adds or drops some samples.
        assert set(heard) <= {(ours, row.row), None}, heard
        assert heard[None] <= 0.1 * heard.total(), heard


@pytest.fixture(scope="module", params=TELEPHONES)
def telephone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    kind, address = request.param
    folder = tmp_path_factory.mktemp(kind.name)
    voices = {row.number: folder / f"{row.number}.wav" for row in ROWS}
    for row in ROWS:
        side = Side.CALLER if row.direction is Direction.OUTBOUND else Side.CALLED
        write_wav(voices[row.number], speech(side, row.number))
    question = study(kind.name, address, kind.source)
    with played(question, ROWS, folder) as trunk:
        files = trunk.card.customers[kind.name]
        (folder / kind.name).mkdir()
        made = kind(
            Setup(
                folder=folder / kind.name,
                address=address,
                port=question.trunks[0].customer_port,
                trunk=f"{trunk.card.host}:{trunk.card.port}",
                ca_file=trunk.card.ca_file,
                certificate=files.certificate,
                key=files.key,
                account=f"{kind.name}.pstn.exotel.com",
                numbers=tuple(dialled_number(row.number) for row in ROWS if row.direction is Direction.INBOUND),
            )
        )
        try:
            yield Desk(made, trunk, voices)
        finally:
            made.close()


@pytest.fixture
def desk(telephone: Desk) -> Iterator[Desk]:
    """The telephone, idle. Where a cell fails, its words and the trunk's messages are shown."""
    telephone.trunk.messages.clear()
    begun = telephone.telephone.program.mark
    yield telephone
    print(telephone.trunk.trace)
    print(telephone.telephone.program.said[begun:])
    if telephone.telephone.in_call:
        telephone.telephone.hang_up()
        time.sleep(TALK_S)


def result(record: Future[Record]) -> Record:
    return record.result(WITHIN_S)


class TestCustomer:
    """The telephone dials, and the trunk answers."""

    def test_audio_both_ways_until_the_telephone_hangs_up(self, desk: Desk) -> None:
        desk.talk_to(TALKS)
        # RFC 4568 section 5.1.3: what keys the audio is the attribute that was chosen, not the first.
        assert f"a=crypto:1 {desk.telephone.first_suite} " in desk.trunk.trace
        desk.assert_heard(desk.hung_up(TALKS), TALK_S)

    def test_the_trunk_hangs_up(self, desk: Desk) -> None:
        desk.talk_to(TALKS)
        desk.trunk.hang_up(TALKS.number)
        desk.assert_heard(desk.over(TALKS), TALK_S)

    def test_rfc3264_8_4_hold_and_resume(self, desk: Desk) -> None:
        desk.talk_to(TALKS)
        desk.telephone.hold()
        time.sleep(TALK_S)
        desk.telephone.resume()
        time.sleep(TALK_S)
        desk.assert_heard(desk.hung_up(TALKS), 1.9 * TALK_S, sent_s=2.6 * TALK_S, silence_s=1.2 * TALK_S, hold=True)

    def test_rfc3264_8_3_1_the_telephone_moves_its_audio(self, desk: Desk) -> None:
        if desk.telephone.words.move is None:
            pytest.skip(f"{desk.telephone.name} has no command that moves its audio")
        desk.talk_to(TALKS)
        desk.telephone.move()
        time.sleep(TALK_S)
        # Its new stream begins before it is told again what to say.
        desk.assert_heard(desk.hung_up(TALKS), 1.9 * TALK_S, silence_s=0.1)

    def test_rfc4733_keys_are_heard(self, desk: Desk) -> None:
        desk.talk_to(TALKS)
        desk.telephone.press(KEYS)
        time.sleep(2 * TALK_S)
        line = desk.hung_up(TALKS)
        assert line.report.digits == KEYS
        assert (line.report.failed, line.report.lost) == (0, 0)

    def test_rfc3261_9_the_telephone_cancels(self, desk: Desk) -> None:
        desk.dial(RINGS)
        desk.telephone.until_ringing()
        desk.telephone.hang_up()
        desk.trunk.until_said("SIP/2.0 487 ")
        desk.telephone.until_over()
        desk.trunk.until_idle()

    def test_the_called_side_is_busy(self, desk: Desk) -> None:
        desk.dial(BUSY)
        desk.trunk.until_said("SIP/2.0 486 ")
        desk.telephone.until_over()
        desk.trunk.until_idle()

    def test_rfc4028_the_telephone_refreshes_the_session(self, desk: Desk) -> None:
        if desk.telephone.words.refresh is None:
            pytest.skip(f"{desk.telephone.name} has no session timer")
        desk.talk_to(TALKS)
        desk.telephone.refresh()
        time.sleep(TALK_S)
        assert "UPDATE sip:" in desk.trunk.trace
        # In the telephone's two requests and in our two answers.
        assert desk.trunk.trace.count("Session-Expires: 1800") == 4
        desk.assert_heard(desk.hung_up(TALKS), 1.9 * TALK_S)


class TestCalled:
    """The trunk calls the telephone, which is the customer's."""

    def test_audio_both_ways_until_the_trunk_hangs_up(self, desk: Desk) -> None:
        record = result(desk.answered(CALLED))
        assert (record.disposition, record.reason, record.status) == (Disposition.COMPLETED, None, 200)
        desk.assert_heard(desk.over(CALLED), TALK_S)

    def test_the_telephone_hangs_up(self, desk: Desk) -> None:
        record = desk.answered(CALLED_LONG)
        time.sleep(TALK_S)
        desk.telephone.hang_up()
        ended = result(record)
        assert ended.status == 200
        assert (ended.disposition, ended.ended_by) == (Disposition.DROPPED, EndedBy.PEER), ended.reason
        assert ended.answered_s is not None
        assert ended.bye_s is not None
        assert ended.bye_s - ended.answered_s < 2 * TALK_S
        desk.assert_heard(desk.over(CALLED_LONG), TALK_S)

    def test_rfc3264_8_4_hold_and_resume(self, desk: Desk) -> None:
        record = desk.answered(CALLED_LONG)
        time.sleep(TALK_S)
        desk.telephone.hold()
        time.sleep(TALK_S)
        desk.telephone.resume()
        ended = result(record)
        assert (ended.disposition, ended.reason) == (Disposition.COMPLETED, None)
        desk.assert_heard(desk.over(CALLED_LONG), 2.8 * TALK_S, sent_s=3.6 * TALK_S, silence_s=1.2 * TALK_S, hold=True)

    def test_rfc3264_8_3_1_the_telephone_moves_its_audio(self, desk: Desk) -> None:
        if desk.telephone.words.move is None:
            pytest.skip(f"{desk.telephone.name} has no command that moves its audio")
        record = desk.answered(CALLED_LONG)
        time.sleep(TALK_S)
        desk.telephone.move()
        ended = result(record)
        assert (ended.disposition, ended.reason) == (Disposition.COMPLETED, None)
        desk.assert_heard(desk.over(CALLED_LONG), 3.8 * TALK_S, silence_s=0.1)

    def test_rfc4733_keys_are_heard(self, desk: Desk) -> None:
        record = desk.answered(CALLED_LONG)
        desk.telephone.press(KEYS)
        ended = result(record)
        assert (ended.disposition, ended.reason) == (Disposition.COMPLETED, None)
        assert desk.over(CALLED_LONG).report.digits == KEYS

    def test_rfc3261_9_the_trunk_cancels(self, desk: Desk) -> None:
        record = result(desk.called(CALLED_IN_VAIN))
        desk.telephone.until_over()
        assert (record.disposition, record.status) == (Disposition.ABANDONED, 487)

    def test_the_telephone_is_busy(self, desk: Desk) -> None:
        record = desk.called(CALLED)
        desk.telephone.refuse()
        assert result(record).status == desk.telephone.busy_status
        desk.telephone.until_over()

    def test_rfc4028_the_telephone_refreshes_the_session(self, desk: Desk) -> None:
        if desk.telephone.words.refresh is None:
            pytest.skip(f"{desk.telephone.name} has no session timer")
        record = desk.answered(CALLED_LONG)
        time.sleep(TALK_S)
        desk.telephone.refresh()
        ended = result(record)
        assert (ended.disposition, ended.reason) == (Disposition.COMPLETED, None)
        assert "UPDATE sip:" in desk.trunk.trace
        desk.assert_heard(desk.over(CALLED_LONG), 3.8 * TALK_S)
