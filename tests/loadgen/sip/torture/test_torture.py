"""RFC 4475 and RFC 5118: what becomes of each message, that its connection goes on, and that the table says so."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.loadgen.sip.torture.cases import CALLERS_VIA, CASES, Case, Outcome, readme, request

from trunkproof.loadgen.sip import events
from trunkproof.loadgen.sip.call import UserAgent
from trunkproof.loadgen.sip.endpoint import SipEndpoint
from trunkproof.loadgen.sip.message import MalformedMessageError, Request, Response
from trunkproof.loadgen.sip.parser import StreamParser, parse_message
from trunkproof.loadgen.sip.server_call import IncomingInvite

CALL = Request(
    "INVITE",
    "sip:them@192.0.2.9",
    [
        ("Via", CALLERS_VIA),
        ("From", "<sip:us@127.0.0.1>;tag=ours"),
        ("To", "<sip:them@192.0.2.9>"),
        ("Call-ID", "ours@127.0.0.1"),
        ("CSeq", "102 INVITE"),
    ],
)


class Peer:
    """An endpoint with a call of its own under way, and the connection that a message comes over."""

    def __init__(self, size: int) -> None:
        self.endpoint = SipEndpoint(UserAgent("127.0.0.1", 5061), random.Random(1))
        self.parser = StreamParser()
        self.size = size
        self.endpoint.start_call(1, CALL, 0.0)
        self.endpoint.messages_to_send()

    def take(self, data: bytes) -> tuple[list[Response], list[events.Event]]:
        """Return our responses and events, with the message read in pieces."""
        for begin in range(0, len(data), self.size):
            self.parser.receive_data(data[begin : begin + self.size])
            while not self.parser.lost:
                try:
                    message = self.parser.next_message()
                except MalformedMessageError as error:
                    self.endpoint.reject_malformed(1, error)
                    continue
                if message is None:
                    break
                self.endpoint.receive(1, message, 0.0)
        sent = [parse_message(sent) for _, sent in self.endpoint.messages_to_send()]
        return [message for message in sent if isinstance(message, Response)], self.endpoint.events()


EVENTS = {
    Outcome.CALL: [IncomingInvite],
    Outcome.ANSWERED: [events.Answered],
    Outcome.TRYING: [events.Trying],
    Outcome.DROPPED: [],
    Outcome.WAITS: [],
}


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("case", CASES, ids=[f"rfc{case.rfc}_{case.section}_{case.name}" for case in CASES])
def test_each_message_has_its_outcome_and_the_connection_goes_on(case: Case, size: int) -> None:
    peer = Peer(size)
    responses, happened = peer.take(case.data)
    if isinstance(case.outcome, int):
        assert responses[0].status == case.outcome
        # What cannot be read is repeated as it is, and what is not there is not invented.
        assert case.name in ("quotbal", "insuf") or responses[0].to.tag
        assert happened == []
    else:
        assert responses == []
        assert [type(event) for event in happened] == EVENTS[case.outcome]
    assert peer.parser.lost is case.lost
    if not case.lost and case.outcome is not Outcome.WAITS:
        assert peer.take(request("after"))[0][0].status == 200


def test_what_the_refusals_tell() -> None:
    told = {case.name: Peer(10_000).take(case.data)[0] for case in CASES if isinstance(case.outcome, int)}
    assert told["bext01"][0].headers.get("Unsupported") == "nothingSupportsThis, nothingSupportsThisEither"
    assert told["invut"][0].headers.get("Accept") == told["sdp01"][0].headers.get("Accept")
    assert "INVITE" in (told["intmeth"][0].headers.get("Allow") or "")
    assert len(told["transports"][0].headers.elements("Via")) == 5
    assert [response.status for response in told["dblreq"]] == [405, 200]


def test_every_section_of_rfc_4475_has_its_message() -> None:
    sections = [f"3.1.1.{n}" for n in range(1, 14)] + [f"3.1.2.{n}" for n in range(1, 20)]
    sections += ["3.2.1", *(f"3.3.{n}" for n in range(1, 16)), "3.4.1"]
    assert [case.section for case in CASES if case.rfc == 4475] == sections
    assert len(sections) == 49
    assert {case.section for case in CASES if case.rfc == 5118} == {f"4.{n}" for n in range(1, 11)}


def test_the_table_is_made_of_these_cases() -> None:
    assert (Path(__file__).parent / "README.md").read_text(encoding="utf-8") == readme()
